"""How bytes travel: TCP, UNIX socket, standard input and output.

A transport never stops reading by itself: the engine must never wait for us (engine.md Y11). It
must not know lines. `Opener` is what the upper layers hold: a function that opens one more
connection to the same engine, for the first attempt, for each new one, and for further priorities.
"""

from __future__ import annotations

import abc
import asyncio
import io
import ipaddress
import os
import socket
import stat
import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from .errors import ConfigError, shown
from .log import logger
from .sockets import end_by_error, end_in_order

__all__ = [
    "DEFAULT_ENGINE",
    "Opener",
    "Transport",
    "is_loopback",
    "open_stdio",
    "open_tcp",
    "open_unix",
    "opener_of",
    "started_by_engine",
    "wrap_sockets",
]

#: The address of the article and of Yate's own example.
DEFAULT_ENGINE = "tcp://127.0.0.1:5678"

#: Bytes that are read at once.
READ = 64 * 1024

_NOT_IN_ADDRESS = {"?", "#", "\x7f", *map(chr, range(0x20))}

# Linux only.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Transport(abc.ABC):
    """One connection that carries bytes.

    Attributes:
        name: where it leads, for people, for example "tcp://127.0.0.1:5678".
        single: there is no second one like it (standard input and output).
        remote: the far end's address, as "127.0.0.1:40000", where it has one.
    """

    name: str
    remote: str = ""
    single: bool = False

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """Return the bytes that came, all of them; empty at the end of the stream, then forever."""

    async def deliver(self, take: Callable[[bytes], None]) -> None:
        """Hand all that comes to `take`, in order, until the end of the stream.

        Raises:
            BaseException: what `take` raised; it is given nothing more.
        """
        while data := await self.receive():
            take(data)

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Send or keep the bytes; never waits, and does nothing once the connection is gone."""

    @abc.abstractmethod
    async def drain(self) -> None:
        """Wait until all that was written has left this process, or the connection is gone."""

    @property
    def full(self) -> bool:
        """Whether `drain` would wait, as far as the transport can tell."""
        return False

    @property
    def waiting(self) -> int:
        """How many bytes wait to leave this process, as far as the transport can tell."""
        return 0

    @abc.abstractmethod
    async def close(self) -> None:
        """Close after what was written is sent, and wait for the end; a second call is harmless."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""

    def reset(self) -> None:
        """Close at once, and let the far end see an error if the connection knows one."""
        self.abort()


Opener: TypeAlias = Callable[[], Awaitable[Transport]]
"""Opens one more connection to the same engine; raises OSError or ConfigError."""


class _StreamTransport(asyncio.BufferedProtocol, Transport):
    """A transport over one of asyncio's."""

    _writer: asyncio.WriteTransport

    def __init__(self, name: str) -> None:
        self.name = name
        self._buffer = memoryview(b"")
        self._received: list[bytes] = []
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._quickack: socket.socket | None = None
        # Set for a connection to an engine where there is no TCP_QUICKACK; see `_acknowledge`.
        self.pokes = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports derive from none of asyncio's.
        self._writer = cast(asyncio.WriteTransport, transport)
        # The kernel has room for a lot; what it does not take is too much (guarantee D2).
        self._writer.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # One for all reads: asyncio's own has the system find memory for a quarter of a
            # mebibyte with each, which takes longer than to read a lone message.
            self._buffer = memoryview(bytearray(READ))
        if sock is not None and _QUICKACK is not None and sock.family != socket.AF_UNIX:
            self._quickack = sock
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.remote = f"{peer[0]}:{peer[1]}"

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if (self._quickack is not None or self.pokes) and not data.endswith(b"\n"):
            self._acknowledge()
        if self._take is None:
            self._received.append(data)
            self._wake()
            return
        try:
            self._take(data)
        except BaseException as error:
            self._take = None
            if self._reader is not None and not self._reader.done():
                self._reader.set_exception(error)

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._quickack = None
        self._end()
        self._writable.set()
        self._closed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _acknowledge(self) -> None:
        """Acknowledge at once what ended within a line.

        The engine writes each line in two pieces and holds the second until the first is
        acknowledged: 44 ms with the kernel's delayed acknowledgement, 5 ms with this (engine.md
        part 2). The kernel forgets the option, so that it is set each time.
        """
        if self._quickack is None or _QUICKACK is None:
            # What does the same: an empty line, which is nothing to the engine, takes it along.
            self.write(b"\n")
            return
        try:  # noqa: SIM105 - `suppress` would take as long as the call
            self._quickack.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            pass

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Our side

    async def receive(self) -> bytes:
        while not self._received and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        return data

    async def deliver(self, take: Callable[[bytes], None]) -> None:
        # Where it is read, without waking a task first: for a lone message half the time.
        while self._received:
            take(await self.receive())
        if self._ended:
            return
        self._take = take
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._take = self._reader = None

    def write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        # Of several that waited, the first may have filled it again.
        while not self._writable.is_set():
            await self._writable.wait()

    @property
    def full(self) -> bool:
        return not self._writable.is_set()

    @property
    def waiting(self) -> int:
        return self._writer.get_write_buffer_size()

    async def close(self) -> None:
        self._writer.close()
        await self._closed.wait()

    def abort(self) -> None:
        self._drop(end_in_order)

    def reset(self) -> None:
        self._drop(end_by_error)

    def _drop(self, say: Callable[[socket.socket], None]) -> None:
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            say(sock)
        # asyncio's own raises when the connection has ended by `close`.
        if not self._closed.is_set():
            self._writer.abort()


async def open_tcp(host: str, port: int) -> Transport:
    """Connect to an engine's TCP listener.

    Raises:
        OSError: it cannot be reached.
    """
    name = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    loop = asyncio.get_running_loop()
    _, transport = await loop.create_connection(lambda: _StreamTransport(name), host, port)
    transport.pokes = _QUICKACK is None
    return transport


async def open_unix(path: str) -> Transport:
    """Connect to an engine's UNIX socket; preferred over TCP, see docs/performance.md.

    Raises:
        OSError: it cannot be reached.
    """
    loop = asyncio.get_running_loop()
    try:
        _, transport = await loop.create_unix_connection(
            lambda: _StreamTransport(f"unix://{path}"), path
        )
    except OSError as error:
        # The system does not say which path it means.
        raise OSError(error.errno, error.strerror, path) from None
    return transport


def wrap_sockets(
    name: Callable[[], str], accepted: Callable[[Transport], None]
) -> Callable[[], asyncio.BaseProtocol]:
    """Return a protocol factory for asyncio's servers that hands each connection on.

    Args:
        name: names the next connection.
        accepted: called with the transport as soon as the connection stands.
    """

    class Accepted(_StreamTransport):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted(self)

    return lambda: Accepted(name())


# Standard input and output


def started_by_engine() -> bool:
    """Tell whether standard input and output are both pipes, as when Yate started the script."""
    try:
        return all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in (0, 1))
    except OSError:
        return False


class _StdioTransport(_StreamTransport):
    """Writes to one pipe; what comes by the other is handed on by `_Input`."""

    single = True
    input: asyncio.BaseTransport

    def __init__(self) -> None:
        super().__init__("stdio:")
        self.input_closed = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.input.close()

    async def close(self) -> None:
        await super().close()
        await self.input_closed.wait()


class _Input(asyncio.Protocol):
    """The reading half of standard input and output."""

    def __init__(self, transport: _StdioTransport) -> None:
        self._transport = transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport.input = transport

    def data_received(self, data: bytes) -> None:
        self._transport.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        # The answers to what was read may still be on their way out.
        self._transport.eof_received()
        self._transport.input_closed.set()


async def open_stdio() -> Transport:
    """Take standard input and output for the protocol.

    From here on `print` writes to standard error, which Yate puts into its log, and standard input
    is empty: a stray line must not reach the protocol (features row 27).

    Raises:
        ConfigError: they cannot carry it.
    """
    if not all(map(_carries_bytes, (0, 1))):
        raise ConfigError(
            "standard input and output must be pipes, as when Yate starts the script:"
            " give tcp://host:port or unix:///path"
        )
    loop = asyncio.get_running_loop()
    read_fd, write_fd = _take_stdio()
    transport = _StdioTransport()
    await loop.connect_read_pipe(lambda: _Input(transport), os.fdopen(read_fd, "rb", 0))
    await loop.connect_write_pipe(lambda: transport, os.fdopen(write_fd, "wb", 0))
    return transport


def _carries_bytes(fd: int) -> bool:
    # On a file asyncio raises ValueError, the null device it never finds readable, and a socket it
    # closes as soon as the other end speaks.
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or os.isatty(fd)


def _take_stdio() -> tuple[int, int]:
    read_fd, write_fd = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # What was printed before this still waits in Python's buffer and goes to standard error too;
    # what is printed from now on must not wait there until the script ends.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return read_fd, write_fd


# Addresses


def opener_of(url: str, *, allow_remote: bool = False) -> Opener:
    """Return what opens connections to the engine at `url`.

    Args:
        url: `tcp://host:port`, `unix:///path` or `stdio:`.
        allow_remote: the host may be another machine than this one (guarantee F8).

    Raises:
        ConfigError: it is none of these, or leads to another machine and that was not allowed.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        # As the look-up of the name will do it; what it cannot encode is no host.
        host.encode("idna")
    except ValueError:
        raise _bad_address(url) from None
    # `urlsplit` drops control characters and would cut a path at these.
    if set(url) & _NOT_IN_ADDRESS or "@" in parts.netloc:
        raise _bad_address(url)
    if parts.scheme == "tcp" and host and port and parts.path in ("", "/"):
        if not is_loopback(host):
            _check_remote(url, allow_remote)
        return lambda: open_tcp(host, port)
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return lambda: open_unix(parts.path)
    if url == "stdio:":
        return _once(open_stdio)
    raise _bad_address(url)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, without asking anybody for its address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_remote(url: str, allowed: bool) -> None:
    reason = f"""{shown(url)} may lead to another machine, and the protocol has neither passwords \
nor encryption: who is on the way reads every call and owns the module"""
    if not allowed:
        raise ConfigError(f"""{reason}. Use a UNIX socket, 127.0.0.1, or a tunnel that ends here; \
or say that you want this: --allow-remote, in a program allow_remote=True""")
    logger.warning("%s", reason)


def _bad_address(url: str) -> ConfigError:
    return ConfigError(
        f"{shown(url)} is no address of an engine:"
        " give tcp://host:port, unix:///path or stdio:, for example tcp://127.0.0.1:5678"
    )


def _once(open_one: Opener) -> Opener:
    used = False

    async def opener() -> Transport:
        nonlocal used
        if used:
            raise ConfigError(
                "standard input and output are only one connection, and another is needed:"
                " give all handlers of a message one priority, or attach over TCP or UNIX"
            )
        used = True
        return await open_one()

    return opener
