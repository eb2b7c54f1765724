"""The watchdog sees what blocks the event loop, on the real clock."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from yateway import Message, Module
from yateway.engine import Engine
from yateway.watchdog import BLOCKED, Watchdog

pytestmark = pytest.mark.real_clock


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Return what was reported until now."""
    caplog.set_level(logging.WARNING, "yateway")
    yield lambda: [record.getMessage() for record in caplog.records if record.name == "yateway"]
    assert not [thread for thread in threading.enumerate() if "watchdog" in thread.name]


def nobody() -> str | None:
    return None


def block_until(true: Callable[[], object], seconds: float) -> None:
    """Block the event loop until something is the case, but not for longer."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.005)


def line_of(function: Callable[..., object], text: str) -> int:
    """Return the number of the line of a function that holds a text."""
    lines, start = inspect.getsourcelines(function)
    (found,) = [start + number for number, line in enumerate(lines) if text in line]
    return found


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_handler_that_blocks_is_named_while_it_does(
    suspends: bool, reports: Callable[[], list[str]]
) -> None:
    """Half a second is reported with handler, file and line before it is over (guarantee A4)."""
    module = Module("blocking")
    while_blocked: list[str] = []

    def block(message: Message) -> bool:
        end = time.monotonic() + 0.5
        while not while_blocked and time.monotonic() < end:
            time.sleep(0.005)
            while_blocked.extend(reports())
        return True

    async def wait_and_block(message: Message) -> bool:
        await asyncio.sleep(0.01)
        return block(message)

    handler = wait_and_block if suspends else block
    module.handler("call.route")(handler)
    async with Engine(module) as engine:
        watchdog = Watchdog(module._running)
        answer = await engine.dispatch("call.route", called="123")
        watchdog.stop()
    assert answer.processed
    (report,) = while_blocked
    name = f"{handler.__qualname__} (test_watchdog.py:{line_of(handler, 'def')})"
    who = f"task {name}" if suspends else f"handler {name}"
    assert report.startswith(
        f"the event loop is blocked for more than 0.25 s by {who}, no request is answered:"
        f" test_watchdog.py:{line_of(block, 'time.sleep')} in block < "
    )


async def test_a_block_that_begins_at_the_worst_moment_is_seen(
    reports: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block right after a sign of life is reported before twice the limit has passed."""
    loop = asyncio.get_running_loop()
    alive = asyncio.Event()
    original = loop.call_soon_threadsafe

    def call_soon_threadsafe(callback: Callable[[], object]) -> object:
        original(callback)
        return original(alive.set)

    monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
    watchdog = Watchdog(nobody)
    await alive.wait()
    block_until(reports, 2 * BLOCKED - 0.05)
    assert len(reports()) == 1
    watchdog.stop()


async def test_a_block_outside_of_handlers_and_tasks_has_its_place(
    reports: Callable[[], list[str]],
) -> None:
    """A mere callback has no name but file and line; one block is one report."""
    watchdog = Watchdog(nobody, 0.05)

    def block() -> None:
        expected = len(reports()) + 1
        end = time.monotonic() + 5
        while len(reports()) < expected and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(0.1)  # and on, without a second report

    for count in (1, 2):
        asyncio.get_running_loop().call_soon(block)
        await asyncio.sleep(0.01)
        assert len(reports()) == count
    watchdog.stop()
    for report in reports():
        assert report.startswith(
            "the event loop is blocked for more than 0.05 s, no request is answered:"
            f" test_watchdog.py:{line_of(block, 'time.sleep(0.005)')} in block < "
        )
        assert report.count(" < ") == 2


async def test_nothing_is_reported_while_nothing_blocks(reports: Callable[[], list[str]]) -> None:
    """Neither a busy loop nor an idle one is a blocked one."""
    watchdog = Watchdog(nobody, 0.2)
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.2
    while loop.time() < until:
        await asyncio.sleep(0)
    await asyncio.sleep(0.2)
    watchdog.stop()
    assert reports() == []


async def test_stop_ends_the_thread_at_once(reports: Callable[[], list[str]]) -> None:
    """It neither waits for the next sign of life nor reports, and may be called again."""
    watchdog = Watchdog(nobody, 60.0)
    await asyncio.sleep(0.01)
    before = time.monotonic()
    watchdog.stop()
    watchdog.stop()
    assert time.monotonic() - before < 1.0
    for _ in range(50):
        watchdog = Watchdog(nobody, 60.0)
        watchdog.stop()
        assert not watchdog._thread.is_alive()
    assert reports() == []


async def test_stop_ends_the_thread_while_the_loop_is_blocked(
    reports: Callable[[], list[str]],
) -> None:
    """Another thread may stop it before as well as after the report."""
    for reported in (False, True):
        watchdog = Watchdog(nobody, 0.05)
        stopped = threading.Event()

        def stop(
            watchdog: Watchdog = watchdog,
            stopped: threading.Event = stopped,
            reported: bool = reported,
        ) -> None:
            while reported and not reports():
                time.sleep(0.001)
            watchdog.stop()
            stopped.set()

        stopping = threading.Thread(target=stop)
        stopping.start()
        assert stopped.wait(5)
        stopping.join()
        assert len(reports()) == reported


async def test_a_stop_in_the_middle_of_a_question_is_not_lost(
    reports: Callable[[], list[str]],
) -> None:
    """The thread may be just about to ask when it is stopped; nobody would answer it any more."""
    watchdog = Watchdog(nobody, 0.05)
    asking = threading.Event()

    class Raced(threading.Event):
        def clear(self) -> None:
            # All that `stop` sets is set between the thread's last look and this.
            asking.set()
            self.wait(5)
            super().clear()

    watchdog._alive = Raced()
    assert asking.wait(5)
    stopping = threading.Thread(target=watchdog.stop, daemon=True)
    stopping.start()
    stopping.join(5)
    assert not stopping.is_alive()
    assert reports() == []
