"""Who has to wait while a module does not read, as measured on the real engine."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.by_hand import EIGHT_WORKERS, Hand
from yateway.engine import Engine
from yateway.engine.outlet import BATCH, Outlet
from yateway.memory import SOCKET_ROOM, memory_pair
from yateway.transport import Transport

BIG = "x" * 60_000  # three fit into a socket, a fourth does not


@asynccontextmanager
async def stuck(*lines: str, requests: int = 8) -> AsyncIterator[tuple[Hand, Hand]]:
    """Run an engine with a module that does not read, and one that has sent it requests.

    The first handles t.big, allows three seconds for answers, and has said `lines` before.
    """
    async with Engine(conf=EIGHT_WORKERS) as engine:
        deaf, other = await Hand.on(engine), await Hand.on(engine)
        await deaf.ask("%%>setlocal:timeout:3000", "%%>install:50:t.big", *lines)
        await other.ask("%%>setlocal:bufsize:65536")
        for number in range(requests):
            other.say(f"%%>message:{number}:0:t.big::x={BIG}")
            await asyncio.sleep(0.02)
        yield deaf, other


def ids(answers: list[str]) -> list[str]:
    """Return the ids of answers, all of which say false."""
    assert all(answer.split(":")[2] == "false" for answer in answers)
    return [answer.split(":")[1] for answer in answers]


async def test_requests_beyond_its_socket_come_back_at_the_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those that it has got wait on, past their timeout: it may not even be looked at (Y11)."""
    async with stuck() as (deaf, other):
        assert ids(await other.hear(4)) == ["4", "5", "6", "7"]
        assert caplog.text.count("failed to lock: the module does not read") == 4
        assert await other.is_quiet(60)
        assert len(await deaf.hear(4)) == 4
        assert sorted(ids(await other.hear(4))) == ["0", "1", "2", "3"]
        assert caplog.text.count("no answer in 3000 ms") == 4


async def test_other_messages_pass_if_it_watches_nothing() -> None:
    """As long as there are workers."""
    async with stuck(requests=6) as (_, other):
        assert await other.ask("%%>message:free:0:t.free:") == ["%%<message:free:false:t.free:"]


async def test_one_watch_stops_all_messages_of_the_engine() -> None:
    """Whatever is watched: the real engine takes the lock before it looks at the name."""
    async with stuck("%%>watch:nothing", requests=6) as (deaf, other):
        other.say("%%>message:free:0:t.free:")
        assert await other.is_quiet(60)
        await deaf.hear(4)
        assert sorted(ids(await other.hear(7))) == ["0", "1", "2", "3", "4", "5", "free"]


async def test_what_it_says_itself_is_not_heard() -> None:
    """The reader waits for the lock too."""
    async with stuck("%%>watch:x") as (deaf, _):
        deaf.say("%%>setlocal:timeout:", "%%>message:own:0:t.own:")
        await asyncio.sleep(60)
        lines = await deaf.hear(6)
        assert lines[4:] == ["%%<setlocal:timeout:3000:true", "%%<message:own:false:t.own:"]


async def test_its_end_releases_everybody() -> None:
    """At once."""
    async with stuck("%%>watch:nothing") as (deaf, other):
        assert await other.is_quiet(60)
        before = asyncio.get_running_loop().time()
        await deaf.transport.close()
        assert sorted(ids(await other.hear(8))) == list("01234567")
        assert asyncio.get_running_loop().time() == before


async def test_the_end_of_the_engine_waits_for_nobody() -> None:
    """Nothing hangs."""
    async with stuck("%%>watch:nothing"):
        await asyncio.sleep(60)


async def test_answers_that_do_not_fit_are_lost_after_the_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One holds its worker until it fits; the others wait for it, but not for ever."""
    async with Engine(conf=EIGHT_WORKERS) as engine:
        deaf = await Hand.on(engine)
        await deaf.ask("%%>setlocal:timeout:3000", "%%>setlocal:bufsize:65536")
        for number in range(6):
            deaf.say(f"%%>message:{number}:0:t.big::x={BIG}")
            await asyncio.sleep(0.02)
        await asyncio.sleep(4)
        assert caplog.text.count("lost a line: the module does not read") == 2
        answers = await deaf.hear(4)
        assert ids(answers) == ["0", "1", "2", "3"]
        assert await deaf.ask("%%>message:6:0:t.small:") == ["%%<message:6:false:t.small:"]


async def test_a_lost_line_sets_off_the_timebomb(caplog: pytest.LogCaptureFixture) -> None:
    """As a request that is not answered does."""
    caplog.set_level(logging.ERROR)
    async with Engine(conf=EIGHT_WORKERS) as engine:
        deaf = await Hand.on(engine)
        bomb = "%%>setlocal:timebomb:true"
        await deaf.ask("%%>setlocal:timeout:3000", "%%>setlocal:bufsize:65536", bomb)
        for number in range(6):
            deaf.say(f"%%>message:{number}:0:t.big::x={BIG}")
            await asyncio.sleep(0.02)
        await asyncio.sleep(4)
        assert len(ids(await deaf.hear_rest())) == 4


@pytest.mark.real_clock
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_socket_that_is_not_read_holds_up_too(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel's own limits count: there is no buffer of ours behind them."""
    url = "tcp://127.0.0.1:0" if kind == "tcp" else f"unix://{tmp_path}/engine"
    async with Engine(listen=[f"{url}?role=global"], conf=EIGHT_WORKERS) as engine:
        with deaf_socket(engine.urls[0]) as deaf:
            deaf.send(b"%%>setlocal:timeout:20\n%%>install:50:t.ask\n%%>watch:t.big\n")
            while not engine.handles("t.ask"):
                await asyncio.sleep(0.01)
            for _ in range(200):  # twelve megabytes: more than any socket takes
                engine.enqueue("t.big", x=BIG)
            await asyncio.sleep(0.1)
            assert not (await engine.dispatch("t.ask")).processed
            assert "lost a line: the module does not read" in caplog.text
        await engine.dispatch("t.ask")


def deaf_socket(url: str) -> socket.socket:
    """Connect to a listener."""
    if url.startswith("tcp"):
        return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    one = socket.socket(socket.AF_UNIX)
    one.connect(url.removeprefix("unix://"))
    return one


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("bytes_", "error"), [(8191, False), (8192, True), (9000, True)], ids=["read", "one", "more"]
)
async def test_input_that_nobody_read_resets_the_connection(bytes_: int, error: bool) -> None:
    """Over TCP; what was read to the last byte ends without an error."""
    async with Engine(listen=["tcp://127.0.0.1:0?role=global"]) as engine:
        with deaf_socket(engine.urls[0]) as module:
            module.sendall(b"x" * bytes_)
            receive = asyncio.to_thread(module.recv, 1)
            if error:
                with pytest.raises(ConnectionResetError):
                    await receive
            else:
                assert await receive == b""


async def test_lines_of_one_turn_go_out_in_one_write() -> None:
    """But no more than a few kilobytes wait for others."""
    written: list[bytes] = []

    class Paper(Transport):
        name = "paper"

        async def receive(self) -> bytes:
            return b""

        def write(self, data: bytes) -> None:
            written.append(data)

        async def drain(self) -> None:
            pass

        async def close(self) -> None:
            pass

        def abort(self) -> None:
            pass

    outlet = Outlet(Paper())
    outlet.write(b"a\n")
    assert await outlet.put(b"b\n", None)
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"a\nb\n"]
    outlet.write(b"c\n")
    outlet.write(b"x" * BATCH)
    assert written[1:] == [b"c\n" + b"x" * BATCH]
    outlet.write(b"last\n")
    outlet.close()
    outlet.write(b"nothing more\n")
    await asyncio.sleep(0)
    assert written[2:] == [b"last\n"]
    assert outlet.lines == 5


async def test_the_lock_is_one_at_a_time() -> None:
    """Who comes later waits as long as he says."""
    one, _ = memory_pair()
    outlet = Outlet(one)
    assert await outlet.lock(1)
    assert outlet.locked
    assert not await outlet.lock(1)
    waiting = [asyncio.create_task(outlet.lock(5)), asyncio.create_task(outlet.pass_lock())]
    await asyncio.sleep(1)
    outlet.unlock()
    await asyncio.sleep(0)
    assert await waiting[0] is True
    outlet.unlock()
    assert await waiting[1] is None


async def test_room_is_waited_for() -> None:
    """The line that does not fit waits without a limit, the next one with one."""
    one, other = memory_pair()
    outlet = Outlet(one)
    first = asyncio.create_task(outlet.put(b"x" * (SOCKET_ROOM + 1), 1))
    await asyncio.sleep(10)
    assert not first.done()
    assert not await outlet.put(b"lost", 1)
    second = asyncio.create_task(outlet.put(b"y", None))
    assert len(await other.receive()) == SOCKET_ROOM + 1
    assert await first
    assert await second
    assert await other.receive() == b"y"
