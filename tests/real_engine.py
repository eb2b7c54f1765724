"""Starts the real engine for a test: only extmodule, listeners on loopback, a folder of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

#: Seconds until the engine must listen; it takes about two. What it listens on last tells that.
PATIENCE = 30.0
#: Seconds that it may take to end.
END_PATIENCE = 4.0

#: Of yate.conf [general]: as many messages at a time as in the recordings.
WORKERS = "minworkers=8\nmaxworkers=20"

YATE_CONF = """\
[general]
modload=disable
{general}

[modules]
{modules}
"""

EXTMODULE_CONF = """\
{more}

[listener test]
type=tcp
addr=127.0.0.1
port={port}

[listener local]
type=unix
path={folder}/yate.sock
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a TCP or UDP port that nobody has."""
    with socket.socket(type=kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class RealEngine:
    """A running engine, its addresses, and the means to kill it and start it again.

    Attributes:
        tcp, unix: its addresses; neither listener has a role.
        folder: where its files are.
        log: the file with all that it prints.
    """

    def __init__(
        self,
        folder: Path,
        more: str,
        modules: Iterable[str],
        general: str,
        files: Mapping[str, str],
    ) -> None:
        port = free_port()
        self.folder = folder
        self._socket = folder / "yate.sock"
        self.tcp = f"tcp://127.0.0.1:{port}"
        self.unix = f"unix://{self._socket}"
        self.log = folder / "yate.log"
        loaded = "\n".join(f"{module}.yate=yes" for module in ("extmodule", *modules))
        (folder / "yate.conf").write_text(YATE_CONF.format(general=general, modules=loaded))
        text = EXTMODULE_CONF.format(port=port, folder=folder, more=more)
        (folder / "extmodule.conf").write_text(text)
        for name, text in files.items():
            (folder / name).write_text(text)

    async def start(self) -> None:
        """Start the engine and wait until it listens."""
        prefix = Path(os.environ["YATEWAY_YATE"])
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                prefix / "bin" / "yate",
                *("-c", self.folder),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # An engine that is installed below a folder of its own finds its library so.
                env=os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")},
            )
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._listens():
                    assert self._process.returncode is None, self.log.read_text()
                    await asyncio.sleep(0.05)
        except BaseException:
            await self.kill()
            raise

    @property
    def pid(self) -> int:
        """The number of the engine's process."""
        return self._process.pid

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        """Kill the engine without a word."""
        await self._end(signal.SIGKILL)
        self._socket.unlink(missing_ok=True)

    async def stop(self) -> None:
        """End the engine in good order, which takes up to a second, or at all."""
        try:
            await self._end(signal.SIGTERM)
        except TimeoutError:
            # One that was left with a request pending behind a quit does not end by itself.
            await self.kill()

    async def _end(self, how: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(how)
            async with asyncio.timeout(END_PATIENCE):
                await self._process.wait()


@asynccontextmanager
async def real_engine(
    more: str = "",
    modules: Iterable[str] = (),
    general: str = WORKERS,
    files: Mapping[str, str] | None = None,
) -> AsyncIterator[RealEngine]:
    """Run a real engine while the block lasts.

    Args:
        more: further sections of its extmodule.conf; `{folder}` is the folder of its files.
        modules: what it loads beside extmodule.
        general: further lines of the section general of its yate.conf.
        files: the text of further files in its folder, by their names.
    """
    with tempfile.TemporaryDirectory(prefix="yateway-") as folder:
        more = more.replace("{folder}", folder)
        engine = RealEngine(Path(folder), more, modules, general, files or {})
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()
