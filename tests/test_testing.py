"""The virtual clock, and the suite's own guard, which stands on it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from yateway.testing import DeadlockError, VirtualClockLoop

pytest_plugins = ["pytester"]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_an_hour_takes_no_time() -> None:
    started = time.monotonic()
    await asyncio.sleep(3600)
    assert now() == 3600.0
    assert time.monotonic() - started < 1.0


async def test_half_a_year_takes_no_time() -> None:
    await asyncio.sleep(182 * 86400)
    assert now() == 182 * 86400


async def test_timers_keep_their_order_and_their_time() -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, now()))

    for name, delay in (("c", 30.0), ("a", 0.1), ("b", 2.5), ("b2", 2.5)):
        asyncio.get_running_loop().call_later(delay, note, name)
    await asyncio.sleep(60)
    assert seen == [("a", 0.1), ("b", 2.5), ("b2", 2.5), ("c", 30.0)]


async def test_the_clock_stands_still_while_there_is_something_to_do() -> None:
    timer = asyncio.get_running_loop().call_later(0.001, pytest.fail, "came first")
    for _ in range(1000):
        await asyncio.sleep(0)
    timer.cancel()
    assert now() == 0.0


async def test_a_deadline_comes_exactly_on_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.6):
            await asyncio.Event().wait()
    assert now() == 1.6


async def test_real_sockets_carry_bytes_before_the_clock_jumps() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    async with asyncio.timeout(5), await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(100):
            writer.write(b"%%>message\n")
            assert await reader.readline() == b"%%>message\n"
        writer.close()
        await writer.wait_closed()
        await done.wait()
    assert now() == 0.0


async def test_reading_a_silent_socket_does_not_stop_the_clock() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(ours, 1), 5)
        theirs.send(b"x")
        assert await loop.sock_recv(ours, 1) == b"x"
    assert now() == 5.0


async def test_work_in_a_thread_takes_no_virtual_time() -> None:
    pause = threading.Event().wait
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(pause, 0.05) is False
    assert now() == 0.0


async def test_work_in_a_thread_that_outlasts_a_timer_loses() -> None:
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asyncio.to_thread(go_on.wait)
    assert now() == 0.05
    go_on.set()


async def test_a_thread_of_ones_own_can_wake_the_loop() -> None:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    thread = threading.Timer(0.05, loop.call_soon_threadsafe, [woken.set])
    thread.start()
    await woken.wait()
    thread.join()


def test_a_deadlock_names_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yateway.testing._PATIENCE", 0.1)

    async def caller() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        with pytest.raises(DeadlockError, match=r"caller.* running at .*test_testing\.py:\d+"):
            runner.run(caller())
        # The loop is still good for cleaning up.
        runner.run(asyncio.sleep(1))


GUARDED = """
import asyncio
import pytest

async def test_good():
    await asyncio.sleep(3600)

async def test_leak():
    asyncio.get_running_loop().leak = asyncio.create_task(asyncio.sleep(1), name="forgotten")

async def test_loop_error():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(1)

async def test_never_retrieved():
    async def broken():
        raise ValueError("nobody looks")
    asyncio.create_task(broken())
    await asyncio.sleep(1)

async def test_never_awaited():
    asyncio.sleep(1)

async def test_hang():
    while True:
        await asyncio.sleep(0)

async def test_hang_in_a_task():
    async def spin():
        while True:
            pass
    await asyncio.gather(spin(), return_exceptions=True)

@pytest.mark.real_clock
async def test_real_clock():
    assert asyncio.get_running_loop().time() > 0

@pytest.mark.yate
def test_yate():
    assert False
"""


@pytest.mark.real_clock
def test_the_suite_fails_what_leaks_and_what_hangs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    conftest = Path(__file__).with_name("conftest.py").read_text()
    pytester.makeconftest(conftest.replace("\nLIMIT = 10.0", "\nLIMIT = 0.2"))
    pytester.makepyprojecttoml(
        '[tool.pytest.ini_options]\nfilterwarnings = ["error"]\nmarkers = ["real_clock", "yate"]'
    )
    pytester.makepyfile(GUARDED)
    monkeypatch.setenv("YATEWAY_YATE", str(pytester.path))
    result = pytester.runpytest_subprocess("-ra", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=6, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*left pending: <Task pending name='forgotten' coro=<sleep() *",
            "*loop: *ZeroDivisionError*",
            "*loop: *never retrieved*nobody looks*",
            "*coroutine 'sleep' was never awaited*",
            "*still running after 0.2 real seconds*",
            "*still running after 0.2 real seconds*",
            "SKIPPED * YATEWAY_YATE names no installed engine",
        ]
    )
