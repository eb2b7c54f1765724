"""Modules that the engine starts itself: programs whose standard input and output are the line.

It must not know the protocol. Standard error is the engine's own, so that what a script prints
there shows up where the engine runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os

from ..errors import ConfigError
from ..transport import Transport
from .config import Script

__all__ = ["ScriptTransport", "start"]

#: Seconds a script may take to end once its standard input is closed, before it gets SIGTERM
#: (`recv_die_waitpid` of extmodule.conf), and as many more before it gets SIGKILL.
PATIENCE = 0.06
LAST_PATIENCE = 1.0

READ_SIZE = 65536


class _Exit(asyncio.SubprocessProtocol):
    """Waits for the end of a program."""

    def __init__(self) -> None:
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def process_exited(self) -> None:
        self.exited.set_result(None)


class _Writing(asyncio.BaseProtocol):
    """Waits for room in a pipe."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()


class ScriptTransport(Transport):
    """Carries bytes from and to a running program.

    Attributes:
        exited: done when the program has ended.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.single = True
        self._exit = _Exit()
        self.exited = self._exit.exited
        self._reader = asyncio.StreamReader()
        self._writing = _Writing()
        self._aborted = False
        self._process: asyncio.SubprocessTransport
        self._read_pipe: asyncio.ReadTransport
        self._write_pipe: asyncio.WriteTransport

    async def start(self, path: str, argument: str, fds: tuple[int, int]) -> None:
        """Start the program.

        Args:
            path: of the program.
            argument: its only one.
            fds: become its fds 3 and 4; -1 for none.

        Raises:
            OSError: it cannot be started.
        """
        command, keep = _command(path, argument, fds)
        loop = asyncio.get_running_loop()
        # Pipes as from the real engine, by which a script tells that it was started by one; the
        # event loop's own may be sockets.
        their_input, our_output = os.pipe()
        our_input, their_output = os.pipe()
        with os.fdopen(their_input, "rb", 0) as stdin, os.fdopen(their_output, "wb", 0) as stdout:
            reader = asyncio.StreamReaderProtocol(self._reader)
            self._read_pipe, _ = await loop.connect_read_pipe(
                lambda: reader, os.fdopen(our_input, "rb", 0)
            )
            self._write_pipe, _ = await loop.connect_write_pipe(
                lambda: self._writing, os.fdopen(our_output, "wb", 0)
            )
            self._write_pipe.set_write_buffer_limits(high=0)
            try:
                process, _ = await loop.subprocess_exec(
                    lambda: self._exit,
                    *command,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=None,
                    pass_fds=keep,
                    # The keyboard's interrupt is meant for the engine, which then ends its scripts.
                    start_new_session=True,
                )
            except OSError:
                self.abort()
                raise
            self._process = process

    async def receive(self) -> bytes:
        return await self._reader.read(READ_SIZE)

    def write(self, data: bytes) -> None:
        if not self._write_pipe.is_closing():
            self._write_pipe.write(data)

    async def drain(self) -> None:
        await self._writing.writable.wait()

    @property
    def full(self) -> bool:
        return not self._writing.writable.is_set()

    async def close(self) -> None:
        self._write_pipe.close()
        for patience, stop in (
            (PATIENCE, self._process.terminate),
            (LAST_PATIENCE, self._process.kill),
        ):
            exited, _ = await asyncio.wait((self.exited,), timeout=patience)
            if not exited:
                with contextlib.suppress(ProcessLookupError):
                    stop()
        await asyncio.wait((self.exited,))
        self._process.close()
        self._read_pipe.close()

    def abort(self) -> None:
        # asyncio's pipe cannot be aborted twice, nor after it was closed.
        if not self._aborted:
            self._aborted = True
            if not self._write_pipe.is_closing():
                self._write_pipe.abort()
            self._read_pipe.close()


def _command(
    path: str, argument: str, fds: tuple[int, int]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the command that starts a program, and the fds that it needs.

    A child has the fds of its parent under their numbers; a shell puts them where they belong
    before it becomes the program.

    Raises:
        OSError: there is no such program, or it is not executable.
    """
    if not os.access(path, os.X_OK):
        # asyncio's own attempt would leave half a process behind.
        number = errno.EACCES if os.path.exists(path) else errno.ENOENT
        raise OSError(number, os.strerror(number), path)
    places = [(place, fd) for place, fd in zip((3, 4), fds, strict=True) if fd >= 0]
    if not places:
        return (path, argument), ()
    signs = " ".join(f"{place}{'<' if place == 3 else '>'}/dev/fd/{fd}" for place, fd in places)
    return ("/bin/sh", "-c", f'exec "$0" "$1" {signs}', path, argument), tuple(
        fd for _, fd in places
    )


async def start(script: Script, fds: tuple[int, int] = (-1, -1)) -> ScriptTransport:
    """Start a script and return what carries the protocol to it.

    Args:
        script: what to start.
        fds: become its fds 3, for reading, and 4, for writing; -1 for none.

    Raises:
        ConfigError: there is no such program, or it cannot be executed.
    """
    transport = ScriptTransport(script.name)
    try:
        await transport.start(script.path, script.argument, fds)
    except OSError as error:
        raise ConfigError(
            f"{script.place}: cannot start {script.path!a}: {error.strerror}; give the path"
            " of an executable file, absolute or below scripts_dir"
        ) from None
    return transport
