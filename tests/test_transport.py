"""Transports against asyncio's own servers, pipes and each other."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import pty
import random
import socket
import struct
import subprocess
import sys
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from yateway import transport as transport_module
from yateway.errors import ConfigError
from yateway.memory import memory_pair
from yateway.module import Module
from yateway.transport import (
    Transport,
    open_stdio,
    open_tcp,
    open_unix,
    opener_of,
    started_by_engine,
    wrap_sockets,
)

MIB = 1024 * 1024


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
each_socket = pytest.mark.parametrize(
    "kind", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6), "unix"]
)


class Server:
    """One of asyncio's own servers, which waits for a single connection."""

    def __init__(self) -> None:
        self.address: Any = ""
        self._accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._accepted = asyncio.Queue()

    async def accept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._accepted.get()

    @asynccontextmanager
    async def listen(self, kind: str, folder: Path) -> AsyncIterator[Server]:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accepted.put((reader, writer))

        if kind == "unix":
            server = await asyncio.start_unix_server(accepted, folder / "engine.sock")
        else:
            server = await asyncio.start_server(accepted, kind, 0)
        self.address = server.sockets[0].getsockname()
        async with server:
            yield self


@asynccontextmanager
async def connected(
    kind: str, folder: Path
) -> AsyncIterator[tuple[Transport, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield our end of a connection, and the far end's reader and writer."""
    async with Server().listen(kind, folder) as server:
        if kind == "unix":
            near = await open_unix(server.address)
        else:
            near = await open_tcp(kind, server.address[1])
        reader, writer = await server.accept()
        try:
            yield near, reader, writer
        finally:
            near.abort()
            await near.close()
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a TCP connection by RST instead of FIN."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def received(transport: Transport, count: int) -> bytes:
    """Receive until there are so many bytes, or the stream ends."""
    data = b""
    while len(data) < count and (more := await transport.receive()):
        data += more
    return data


async def turns(count: int = 20) -> None:
    """Let everything that can happen now happen."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- Sockets -----------------------------------------------------------------------------------


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Cut the same bytes in several ways."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    dice = random.Random(5678)
    for _ in range(10):
        places = [0, *sorted(dice.sample(range(1, len(data)), 9)), len(data)]
        yield [data[i:j] for i, j in itertools.pairwise(places)]


@each_socket
async def test_bytes_arrive_however_they_are_cut(kind: str, tmp_path: Path) -> None:
    """Both directions carry the same bytes in the same order, whatever the pieces."""
    data = bytes(range(256))
    async with connected(kind, tmp_path) as (near, reader, writer):
        for pieces in cuts(data):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                near.write(piece)
            assert await received(near, len(data)) == data
            assert await reader.readexactly(len(data)) == data


@each_socket
async def test_what_came_while_nobody_received_comes_in_one_piece(
    kind: str, tmp_path: Path
) -> None:
    """Receive returns everything that is there, and a single read as it came."""
    async with connected(kind, tmp_path) as (near, reader, writer):
        for piece in (b"one", b"two", b"three"):
            writer.write(piece)
            near.write(b".")
            await reader.readexactly(1)
            await turns()
        assert await near.receive() == b"onetwothree"


@each_socket
async def test_the_end_comes_after_the_data_and_stays(kind: str, tmp_path: Path) -> None:
    """Data before the end is delivered, and then the end, as often as one asks."""
    async with connected(kind, tmp_path) as (near, _, writer):
        writer.write(b"last words")
        writer.close()
        assert await received(near, 2**31) == b"last words"
        for _ in range(3):
            assert await near.receive() == b""


@each_socket
async def test_the_end_wakes_who_waits(kind: str, tmp_path: Path) -> None:
    """A receive that began before the end returns at the end."""
    async with connected(kind, tmp_path) as (near, _, writer):
        waiting = asyncio.create_task(near.receive())
        await turns()
        assert not waiting.done()
        writer.close()
        assert await waiting == b""


@each_socket
async def test_a_far_end_that_only_stops_writing_ends_the_connection(
    kind: str, tmp_path: Path
) -> None:
    """After a half-close there is nobody left to talk to, and what was written still goes out."""
    async with connected(kind, tmp_path) as (near, reader, writer):
        near.write(b"answer")
        writer.write_eof()
        assert await near.receive() == b""
        assert await reader.read() == b"answer"
        near.write(b"too late")
        await near.drain()


@pytest.mark.parametrize("kind", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_a_reset_is_an_end_like_any_other(kind: str, tmp_path: Path) -> None:
    """RST does not raise, ends a waiting receive and stays the end."""
    async with connected(kind, tmp_path) as (near, _, writer):
        writer.write(b"read before")
        assert await received(near, 11) == b"read before"
        waiting = asyncio.create_task(near.receive())
        await turns()
        reset(writer)
        assert await waiting == b""
        assert await near.receive() == b""
        near.write(b"nobody hears this")
        await near.drain()
        await near.close()


@each_socket
async def test_close_sends_what_was_written(kind: str, tmp_path: Path) -> None:
    """Close waits until a slow reader has everything; a second close is harmless."""
    data = random.Random(1).randbytes(8 * MIB)
    async with connected(kind, tmp_path) as (near, reader, _):
        near.write(data)
        closing = asyncio.create_task(near.close())
        await turns()
        assert not closing.done()
        assert await reader.read(-1) == data
        await closing
        await near.close()
        assert await near.receive() == b""
        near.write(b"too late")


@each_socket
async def test_abort_loses_what_was_not_sent(kind: str, tmp_path: Path) -> None:
    """Abort does not wait for a far end that reads nothing."""
    async with connected(kind, tmp_path) as (near, reader, _):
        near.write(bytes(32 * MIB))
        waiting = asyncio.create_task(near.receive())
        await turns()
        near.abort()
        assert await waiting == b""
        near.write(b"too late")
        await near.drain()
        count = 0
        try:
            while data := await reader.read(MIB):
                count += len(data)
        except ConnectionResetError:
            pass
        assert count < 32 * MIB


@each_socket
async def test_abort_is_an_end_and_no_error_although_something_is_unread(
    kind: str, tmp_path: Path
) -> None:
    """An engine that reads an error holds on to its requests; at an end it lets go at once (A6)."""
    async with connected(kind, tmp_path) as (near, reader, writer):
        near.write(b"said")
        assert await reader.read(4) == b"said"
        writer.write(b"came in this very moment")
        near.abort()
        assert await reader.read() == b""
        await near.close()
        near.abort()


@each_socket
async def test_drain_waits_for_the_kernel_and_reading_goes_on(kind: str, tmp_path: Path) -> None:
    """A far end that does not read holds up writers, and never our reading (D2, C5)."""
    async with connected(kind, tmp_path) as (near, reader, writer):
        # What the kernel takes at once does not count.
        near.write(bytes(64 * 1024))
        assert near.waiting == 0
        at_once = asyncio.create_task(near.drain())
        await asyncio.sleep(0)
        assert at_once.done()
        near.write(bytes(32 * MIB))
        assert near.full
        draining = asyncio.create_task(near.drain())
        for number in range(10):
            writer.write(b"%d" % number)
            assert await near.receive() == b"%d" % number
        assert not draining.done()
        assert near.waiting > 16 * MIB
        while not draining.done():
            await reader.read(64 * 1024)
        assert near.waiting == 0
        await near.drain()


@each_socket
async def test_of_many_that_wait_each_looks_again(kind: str, tmp_path: Path) -> None:
    """The first that may write fills it again, and the others go on waiting (D2)."""
    async with connected(kind, tmp_path) as (near, reader, _):
        most = 0

        async def write() -> None:
            nonlocal most
            await near.drain()
            near.write(bytes(16 * MIB))
            most = max(most, near.waiting)

        writing = [asyncio.create_task(write()) for _ in range(5)]
        while not all(one.done() for one in writing):
            await reader.read(MIB)
        assert most <= 16 * MIB


@each_socket
async def test_drain_ends_when_the_connection_does(kind: str, tmp_path: Path) -> None:
    """Nobody waits to write to a connection that is gone."""
    async with connected(kind, tmp_path) as (near, _, writer):
        near.write(bytes(32 * MIB))
        draining = asyncio.create_task(near.drain())
        await turns()
        assert not draining.done()
        writer.transport.abort()
        await draining
        await near.drain()


@each_socket
async def test_a_receive_that_is_cancelled_loses_nothing(kind: str, tmp_path: Path) -> None:
    """The next receive has what the cancelled one would have had."""
    async with connected(kind, tmp_path) as (near, _, writer):
        for steps in range(4):
            waiting = asyncio.create_task(near.receive())
            await asyncio.sleep(0)
            writer.write(b"x")
            await turns(steps)
            waiting.cancel()
            got = (await asyncio.gather(waiting, return_exceptions=True))[0]
            if isinstance(got, asyncio.CancelledError):
                got = await near.receive()
            assert got == b"x"
        writer.write(b"y")
        assert await near.receive() == b"y"


async def test_a_transport_is_named_by_its_address(tmp_path: Path) -> None:
    """People see where a connection leads."""
    async with connected("127.0.0.1", tmp_path) as (near, _, writer):
        assert near.name == f"tcp://127.0.0.1:{writer.get_extra_info('sockname')[1]}"
        assert not near.single
    async with connected("unix", tmp_path) as (near, _, writer):
        assert near.name == f"unix://{tmp_path / 'engine.sock'}"
        assert not near.single


@needs_ipv6
async def test_an_ipv6_address_is_named_in_brackets(tmp_path: Path) -> None:
    """The name of an IPv6 connection can be given as an address again."""
    async with connected("::1", tmp_path) as (near, _, writer):
        assert near.name == f"tcp://[::1]:{writer.get_extra_info('sockname')[1]}"


async def test_who_cannot_connect_gets_an_oserror(tmp_path: Path) -> None:
    """Nobody listens: that is for the caller to try again."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await open_tcp("127.0.0.1", port)
    with pytest.raises(FileNotFoundError):
        await open_unix(str(tmp_path / "nobody"))


async def test_a_server_hands_on_each_connection() -> None:
    """What `wrap_sockets` accepts is a transport like the others, under the name it was given."""
    accepted: list[Transport] = []
    names = iter(["first", "second"])
    loop = asyncio.get_running_loop()
    factory = wrap_sockets(lambda: next(names), accepted.append)
    server = await loop.create_server(factory, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ends = [await open_tcp("127.0.0.1", port) for _ in range(2)]
        for end in ends:
            end.write(b"hello")
        while len(accepted) < 2:
            await asyncio.sleep(0)
        assert [transport.name for transport in accepted] == ["first", "second"]
        for transport in accepted:
            assert await transport.receive() == b"hello"
            transport.write(b"hi")
        for end in ends:
            assert await end.receive() == b"hi"
        for transport in (*ends, *accepted):
            transport.abort()
            await transport.close()


def test_it_works_on_uvloop_too(tmp_path: Path) -> None:
    """Transports of another event loop derive from none of asyncio's classes."""
    uvloop = pytest.importorskip("uvloop")

    async def exchange() -> None:
        for kind in ("127.0.0.1", "unix"):
            async with connected(kind, tmp_path) as (near, reader, writer):
                near.write(b"question")
                assert await reader.readexactly(8) == b"question"
                writer.write(b"answer")
                assert await near.receive() == b"answer"
                near.write(bytes(4 * MIB))
                draining = asyncio.create_task(near.drain())
                assert await reader.readexactly(4 * MIB) == bytes(4 * MIB)
                await draining
                writer.close()
                assert await near.receive() == b""

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(exchange())


# --- TCP_QUICKACK ------------------------------------------------------------------------------

needs_quickack = pytest.mark.skipif(
    not hasattr(socket, "TCP_QUICKACK"), reason="no TCP_QUICKACK on this platform"
)


@pytest.fixture
def quickacks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record each time that a socket is told to acknowledge at once."""
    told: list[int] = []
    original = socket.socket.setsockopt

    def setsockopt(self: socket.socket, level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_QUICKACK):
            told.append(value)
        original(self, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
    return told


@needs_quickack
async def test_a_piece_of_a_line_is_acknowledged_at_once(
    quickacks: list[int], tmp_path: Path
) -> None:
    """The kernel forgets TCP_QUICKACK: it is set for each piece, and for no whole line."""
    async with connected("127.0.0.1", tmp_path) as (near, reader, writer):
        for number in range(1, 6):
            writer.write(b"%%>message:")
            assert await near.receive() == b"%%>message:"
            assert quickacks == [1] * number
            writer.write(b"1:1:a:\n")
            assert await near.receive() == b"1:1:a:\n"
            assert quickacks == [1] * number
            near.write(b"%%<message:\n")
            await reader.readline()
        assert quickacks == [1] * 5


@needs_quickack
async def test_nothing_is_acknowledged_over_a_unix_socket(
    quickacks: list[int], tmp_path: Path
) -> None:
    """A UNIX socket has no acknowledgements."""
    async with connected("unix", tmp_path) as (near, _, writer):
        writer.write(b"x")
        assert await near.receive() == b"x"
        assert quickacks == []


async def test_without_quickack_an_empty_line_acknowledges(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the option does not exist it is not set: what ends within a line is answered by LF."""
    told: list[int] = []
    original = socket.socket.setsockopt

    def setsockopt(self: socket.socket, level: int, option: int, value: Any) -> None:
        told.append(option)
        original(self, level, option, value)

    monkeypatch.setattr(transport_module, "_QUICKACK", None)
    async with connected("127.0.0.1", tmp_path) as (near, reader, writer):
        monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
        for piece in (b"%%>message:1", b":1:a:\n", b"%%>message:2:1:a:\n", b"%%"):
            writer.write(piece)
            assert await near.receive() == piece
        assert told == []
        near.write(b"answer")
        assert await reader.readexactly(8) == b"\n\nanswer"


async def test_a_unix_socket_needs_no_acknowledgement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is sent for a piece of a line there, nor by the side that accepted."""
    monkeypatch.setattr(transport_module, "_QUICKACK", None)
    async with connected("unix", tmp_path) as (near, reader, writer):
        writer.write(b"x")
        assert await near.receive() == b"x"
        near.write(b"answer")
        assert await reader.readexactly(6) == b"answer"
    accepted: asyncio.Queue[Transport] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    factory = wrap_sockets(lambda: "accepted", accepted.put_nowait)
    server = await loop.create_server(factory, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        end = await accepted.get()
        writer.write(b"x")
        assert await end.receive() == b"x"
        end.write(b"answer")
        assert await reader.readexactly(6) == b"answer"
        writer.close()
        end.abort()
        await end.close()


@needs_quickack
async def test_a_socket_that_is_gone_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A failing setsockopt does not cost the bytes that were read."""
    async with connected("127.0.0.1", tmp_path) as (near, _, writer):

        def setsockopt(self: socket.socket, *_: Any) -> None:
            raise OSError("Bad file descriptor")

        monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
        for piece in (b"x", b"y", b"z"):
            writer.write(piece)
            assert await near.receive() == piece


# --- In memory ---------------------------------------------------------------------------------


async def test_a_pair_carries_bytes_in_order() -> None:
    """What one end writes the other receives, in both directions, in one piece."""
    one, other = memory_pair("memory:x")
    assert (one.name, other.name) == ("memory:x", "memory:x")
    assert not one.single
    for piece in (b"a", b"", b"b", b"c"):
        one.write(piece)
    other.write(b"back")
    assert await other.receive() == b"abc"
    assert await one.receive() == b"back"


async def test_an_empty_write_is_not_the_end_of_a_pair() -> None:
    """Receive goes on waiting when nothing was written."""
    one, other = memory_pair()
    waiting = asyncio.create_task(other.receive())
    one.write(b"")
    await turns()
    assert not waiting.done()
    one.write(b"x")
    assert await waiting == b"x"


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_pair_ends_for_both_and_for_ever(how: str) -> None:
    """Data before the end is delivered first, then the end, as often as one asks."""
    one, other = memory_pair()
    one.write(b"to other")
    other.write(b"to one")
    if how == "close":
        await one.close()
        await one.close()
    else:
        one.abort()
        one.abort()
    for end, last in ((one, b"to one"), (other, b"to other")):
        assert await end.receive() == last
        assert [await end.receive() for _ in range(3)] == [b"", b"", b""]


async def test_the_end_of_a_pair_wakes_who_waits() -> None:
    """A receive that began before the end returns at the end."""
    one, other = memory_pair()
    waiting = [asyncio.create_task(end.receive()) for end in (one, other)]
    await turns()
    other.abort()
    assert await asyncio.gather(*waiting) == [b"", b""]


async def test_writing_to_a_closed_pair_is_harmless() -> None:
    """Neither end can write once one is closed, and neither notices."""
    one, other = memory_pair()
    await one.close()
    one.write(b"x")
    other.write(b"y")
    await one.drain()
    await other.drain()
    assert (await one.receive(), await other.receive()) == (b"", b"")


async def test_drain_lets_others_run() -> None:
    """A writer that drains in a loop does not keep the far end from reading."""
    one, other = memory_pair()
    reading = asyncio.create_task(other.receive())
    one.write(b"x")
    while not reading.done():
        await one.drain()
    assert reading.result() == b"x"


# --- Addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("tcp://127.0.0.1:5678", ("tcp", "127.0.0.1", 5678)),
        ("tcp://127.0.0.1:5678/", ("tcp", "127.0.0.1", 5678)),
        ("tcp://localhost:1", ("tcp", "localhost", 1)),
        ("tcp://yate.example.:65535", ("tcp", "yate.example.", 65535)),
        ("tcp://bücher.example:5678", ("tcp", "bücher.example", 5678)),
        ("tcp://[::1]:5678", ("tcp", "::1", 5678)),
        ("unix:///run/yate/engine.sock", ("unix", "/run/yate/engine.sock")),
        ("unix:///run/with blank/%20", ("unix", "/run/with blank/%20")),
    ],
)
async def test_good_addresses(
    url: str, opened: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address says how to connect and where."""
    calls: list[tuple[object, ...]] = []

    async def opening(*arguments: object) -> Transport:
        calls.append(arguments)
        return memory_pair()[0]

    monkeypatch.setattr(transport_module, f"open_{opened[0]}", opening)
    opener = opener_of(url, allow_remote=True)
    await opener()
    await opener()
    assert calls == [opened[1:]] * 2


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.255.255.254", True), ("localhost", True), ("[::1]", True),
        ("[0:0:0:0:0:0:0:1]", True), ("LOCALHOST", True), ("0", False), ("[::]", False),
        ("10.0.0.1", False), ("192.0.2.1", False), ("128.0.0.1", False), ("[2001:db8::1]", False),
        ("localhost.example", False), ("example", False), ("127.0.0.1.example", False),
        ("127.1", False), ("0x7f000001", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_another_machine_has_to_be_allowed(
    host: str, here: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not this machine for certain is refused, and told where it is allowed (F8)."""
    url = f"tcp://{host}:5678"
    if here:
        opener_of(url)
        opener_of(url, allow_remote=True)
        assert caplog.text == ""
        return
    with pytest.raises(ConfigError, match=r"may lead to another machine.*allow_remote=True"):
        opener_of(url)
    assert caplog.text == ""
    opener_of(url, allow_remote=True)
    assert "may lead to another machine" in caplog.text


async def test_a_module_runs_on_this_machine_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By argument or from the environment, an address elsewhere is refused (F8)."""
    module = Module("m")
    monkeypatch.setenv("YATEWAY_ENGINE", "tcp://192.0.2.1:5678")
    for engine in (None, "tcp://192.0.2.1:5678"):
        with pytest.raises(ConfigError, match="another machine"):
            await module.serve(engine)
    assert not module.attached


@pytest.mark.parametrize(
    ("url", "quoted"),
    [
        ("", "''"),
        ("127.0.0.1:5678", "'127.0.0.1:5678'"),
        ("localhost", "'localhost'"),
        ("http://127.0.0.1:5678", "'http://127.0.0.1:5678'"),
        ("tcp://", "'tcp://'"),
        ("tcp://127.0.0.1", "'tcp://127.0.0.1'"),
        ("tcp://:5678", "'tcp://:5678'"),
        ("tcp://127.0.0.1:0", "'tcp://127.0.0.1:0'"),
        ("tcp://127.0.0.1:65536", "'tcp://127.0.0.1:65536'"),
        ("tcp://127.0.0.1:-1", "'tcp://127.0.0.1:-1'"),
        ("tcp://127.0.0.1:port", "'tcp://127.0.0.1:port'"),
        ("tcp://127.0.0.1:5678/path", "'tcp://127.0.0.1:5678/path'"),
        ("tcp://127.0.0.1:5678?role=global", "'tcp://127.0.0.1:5678?role=global'"),
        ("tcp://127.0.0.1:5678#1", "'tcp://127.0.0.1:5678#1'"),
        ("tcp://user:secret@127.0.0.1:5678", "'tcp://user:secret@127.0.0.1:5678'"),
        ("tcp://127.0.0.1:56\n78", r"'tcp://127.0.0.1:56\n78'"),
        ("tcp://[::1:5678", "'tcp://[::1:5678'"),
        ("tcp://::1:5678", "'tcp://::1:5678'"),
        ("tcp://..:5678", "'tcp://..:5678'"),
        (f"tcp://{'a' * 64}:5678", f"'tcp://{'a' * 64}:5678'"),
        (f"tcp://{'a' * 80}:5678", f"'tcp://{'a' * 69}'... (91 characters)"),
        ("unix://", "'unix://'"),
        ("unix://relative/path", "'unix://relative/path'"),
        ("unix:relative", "'unix:relative'"),
        ("unix:///run/a\0b", r"'unix:///run/a\x00b'"),
        ("unix:///run/a?b", "'unix:///run/a?b'"),
        ("unix:///run/a#b", "'unix:///run/a#b'"),
        ("stdio", "'stdio'"),
        ("stdio://", "'stdio://'"),
        ("tcp://\x1b[31m:1", r"'tcp://\x1b[31m:1'"),
    ],
)
def test_bad_addresses(url: str, quoted: str) -> None:
    """What is no address is named, escaped and cut, together with what would be one."""
    with pytest.raises(ConfigError) as caught:
        opener_of(url)
    assert str(caught.value) == (
        f"{quoted} is no address of an engine:"
        " give tcp://host:port, unix:///path or stdio:, for example tcp://127.0.0.1:5678"
    )


# --- Standard input and output -----------------------------------------------------------------


@contextmanager
def standard(stdin: int, stdout: int) -> Iterator[None]:
    """Put other descriptors in the place of standard input and output while the block lasts."""
    saved = os.dup(0), os.dup(1)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    try:
        yield
    finally:
        for number, fd in enumerate(saved):
            os.dup2(fd, number)
            os.close(fd)


class Pipes:
    """The engine's ends of the two pipes of a script."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self.stdin = os.fdopen(stdin, "wb", 0)
        self.stdout = os.fdopen(stdout, "rb", 0)


@contextmanager
def piped() -> Iterator[Pipes]:
    """Let standard input and output be pipes, as when Yate starts a script."""
    stdin, theirs = os.pipe()
    ours, stdout = os.pipe()
    pipes = Pipes(theirs, ours)
    with pipes.stdin, pipes.stdout, standard(stdin, stdout):
        os.close(stdin)
        os.close(stdout)
        yield pipes


async def test_stdio_carries_the_protocol() -> None:
    """Standard input is received, what is written goes to standard output, and an end is an end."""
    with piped() as pipes:
        transport = await open_stdio()
        assert (transport.name, transport.single) == ("stdio:", True)
        pipes.stdin.write(b"question")
        assert await transport.receive() == b"question"
        transport.write(b"answer")
        assert pipes.stdout.read(100) == b"answer"
        pipes.stdin.write(b"last words")
        pipes.stdin.close()
        assert await received(transport, 2**31) == b"last words"
        assert await transport.receive() == b""
        transport.write(b"and the answer to it")
        await transport.close()
        await transport.close()
        assert pipes.stdout.read(100) == b"and the answer to it"
        assert pipes.stdout.read(100) == b""


@pytest.mark.parametrize("ended_before", [False, True])
async def test_closing_stdio_sends_what_was_written(ended_before: bool) -> None:
    """Close waits for a reader that is slower than the pipe is large, input or not."""
    data = random.Random(2).randbytes(MIB)
    with piped() as pipes:
        transport = await open_stdio()
        if ended_before:
            pipes.stdin.close()
            assert await transport.receive() == b""
        transport.write(data)
        closing = asyncio.create_task(transport.close())
        await turns()
        assert not closing.done()
        os.set_blocking(pipes.stdout.fileno(), False)
        got = b""
        while not closing.done():
            got += pipes.stdout.read(MIB) or b""
            await asyncio.sleep(0)
        got += pipes.stdout.read(MIB) or b""
        assert got == data


async def test_stdio_drains_though_its_input_has_ended() -> None:
    """The end of standard input does not make room in standard output."""
    with piped() as pipes:
        transport = await open_stdio()
        transport.write(bytes(2 * MIB))
        draining = asyncio.create_task(transport.drain())
        pipes.stdin.close()
        assert await transport.receive() == b""
        await turns()
        assert not draining.done()
        transport.abort()
        await draining
        await transport.close()


async def test_stdio_ends_when_the_engine_does_not_listen_any_more() -> None:
    """An engine that closed its reading end is gone, though its writing end is still open."""
    with piped() as pipes:
        transport = await open_stdio()
        waiting = asyncio.create_task(transport.receive())
        await turns()
        pipes.stdout.close()
        assert await waiting == b""
        await transport.close()
        with pytest.raises(BrokenPipeError):
            pipes.stdin.write(b"nobody has the other end")


async def test_aborting_stdio_lets_go_of_both_pipes() -> None:
    """After an abort neither pipe has our end."""
    with piped() as pipes:
        before = os.listdir("/dev/fd")
        transport = await open_stdio()
        transport.abort()
        assert await transport.receive() == b""
        await transport.close()
        assert os.listdir("/dev/fd") == before
        assert pipes.stdout.read(1) == b""
        with pytest.raises(BrokenPipeError):
            pipes.stdin.write(b"x")


async def test_the_stdio_opener_works_once() -> None:
    """There is no second standard input and output."""
    with piped() as pipes:
        opener = opener_of("stdio:")
        transport = await opener()
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"only one connection, .* one priority, or att"):
                await opener()
        pipes.stdin.write(b"x")
        assert await transport.receive() == b"x"
        transport.abort()
        await transport.close()


async def test_what_was_printed_before_goes_to_standard_error_in_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python's buffer is emptied after the switch, and from then on at each line."""
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written)
    monkeypatch.setattr(sys, "stdout", stdout)
    with piped() as pipes:
        print("before")
        assert written.getvalue() == b""
        transport = await open_stdio()
        assert written.getvalue() == b"before\n"
        print("after")
        assert written.getvalue() == b"before\nafter\n"
        transport.abort()
        await transport.close()
        assert pipes.stdout.read(1) == b""


async def test_a_replaced_standard_output_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no file of Python's needs no flush."""
    with piped() as pipes:
        monkeypatch.setattr(sys, "stdout", None)
        transport = await open_stdio()
        transport.write(b"x")
        assert pipes.stdout.read(1) == b"x"
        transport.abort()
        await transport.close()


@contextmanager
def one_is(what: str, folder: Path) -> Iterator[None]:
    """Let standard input or output be something else than a pipe."""
    which, _, kind = what.partition(" ")
    reading, writing = os.pipe()
    other = os.open(folder / "file", os.O_RDWR | os.O_CREAT)
    null = os.open(os.devnull, os.O_RDWR)
    near, far = socket.socketpair()
    instead = {"file": other, "null": null, "closed": null, "socket": near.fileno()}[kind]
    fds = (instead, writing) if which == "stdin" else (reading, instead)
    try:
        with near, far, standard(*fds):
            if kind == "closed":
                os.close(0 if which == "stdin" else 1)
            yield
    finally:
        for fd in (reading, writing, other, null):
            os.close(fd)


NO_PIPES = ("file", "null", "closed", "socket")
not_both_pipes = pytest.mark.parametrize(
    "what",
    [f"{which} {kind}" for which in ("stdin", "stdout") for kind in NO_PIPES],
)


@not_both_pipes
async def test_stdio_must_be_pipes(what: str, tmp_path: Path) -> None:
    """Over anything else the module would never hear a word, and it says so at once."""
    with one_is(what, tmp_path):
        assert not started_by_engine()
        with pytest.raises(ConfigError, match=r"must be pipes, as when Yate starts the script: g"):
            await open_stdio()


def test_two_pipes_mean_that_the_engine_started_us() -> None:
    """Standard input and output of a script of the engine are pipes."""
    with piped():
        assert started_by_engine()


async def test_stdio_may_be_a_terminal() -> None:
    """One may type the protocol by hand; an engine does not."""
    near, far = pty.openpty()
    try:
        tty.setraw(near)
        with standard(near, near):
            assert not started_by_engine()
            transport = await open_stdio()
            os.write(far, b"question")
            assert await transport.receive() == b"question"
            transport.write(b"answer")
            assert os.read(far, 100) == b"answer"
            transport.abort()
            await transport.close()
    finally:
        os.close(near)
        os.close(far)


SCRIPT = """
import asyncio
import sys
from yateway.transport import open_stdio, started_by_engine

async def main():
    print("started by the engine:", started_by_engine())
    transport = await open_stdio()
    print("after")
    try:
        input()
    except EOFError:
        print("input is empty", flush=True)
    print("child", flush=True)
    while data := await transport.receive():
        transport.write(data.upper())
    await transport.close()

asyncio.run(main())
"""


@pytest.mark.real_clock
def test_a_script_cannot_disturb_the_protocol_by_print_and_input() -> None:
    """`print` reaches standard error at once, and `input()` does not eat the engine's lines."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SCRIPT]
    # Unbuffered, Python would have sent the first line before the protocol begins.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=buffered
    ) as script:
        assert script.stdin is not None
        assert script.stdout is not None
        assert script.stderr is not None
        # The script is still running: nothing of this waits in a buffer for its end.
        printed = [script.stderr.readline() for _ in range(4)]
        assert printed == [
            b"started by the engine: True\n",
            b"after\n",
            b"input is empty\n",
            b"child\n",
        ]
        script.stdin.write(b"%%>message:1:1:call.route::\n")
        assert script.stdout.readline() == b"%%>MESSAGE:1:1:CALL.ROUTE::\n"
        script.stdin.close()
        assert script.stdout.read() == b""
        assert script.stderr.read() == b""
    assert script.returncode == 0
