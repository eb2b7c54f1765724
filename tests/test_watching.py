"""Watchers are told, and whatever they do, they harm nobody."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from yateway.message import Message
from yateway.watching import (
    STUBBORN,
    WATCH_CHARACTERS,
    WATCH_QUEUE,
    Watcher,
    WatcherFunction,
    Watchers,
)


class Told:
    """Watchers that note what they are told, in the order in which they are."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def sync(self, label: str) -> Callable[[Message], None]:
        def watch(message: Message) -> None:
            self.events.append((label, message["n"]))

        return watch

    def slow(self, label: str, seconds: float = 1.0) -> Callable[[Message], Awaitable[None]]:
        async def watch(message: Message) -> None:
            await asyncio.sleep(seconds)
            self.events.append((label, message["n"]))

        return watch


def message(number: int, name: str = "call.answered") -> Message:
    return Message(name, n=number)


@asynccontextmanager
async def watching(*watchers: tuple[str, WatcherFunction]) -> AsyncIterator[Watchers]:
    """Have these watchers, by the name of what they watch, while the block lasts."""
    it = Watchers([Watcher(name, function) for name, function in watchers])
    try:
        yield it
    finally:
        await it.close()


# --- Who is told -------------------------------------------------------------------------------


async def test_watchers_are_told_of_their_messages_in_the_order_of_registration() -> None:
    """The empty name watches everything, any other exactly that message."""
    told = Told()
    async with watching(
        ("call.answered", told.sync("first")),
        ("", told.sync("all")),
        ("call.hangup", told.sync("hangup")),
        ("call", told.sync("prefix")),
        ("call.answered", told.sync("last")),
    ) as it:
        it.tell(message(1))
        it.tell(message(2, "call.hangup"))
        it.tell(message(3, "engine.timer"))
    assert told.events == [
        ("first", "1"),
        ("all", "1"),
        ("last", "1"),
        ("all", "2"),
        ("hangup", "2"),
        ("all", "3"),
    ]


async def test_a_coroutine_is_told_of_one_message_after_the_other() -> None:
    """Telling does not wait for it, and its messages keep their order."""
    told = Told()
    loop = asyncio.get_running_loop()
    async with watching(("", told.slow("slow")), ("", told.sync("sync"))) as it:
        for number in range(3):
            it.tell(message(number))
        assert told.events == [("sync", "0"), ("sync", "1"), ("sync", "2")]
        assert loop.time() == 0
        await asyncio.sleep(2.5)
        assert told.events[3:] == [("slow", "0"), ("slow", "1")]
        it.tell(message(3))
        await asyncio.sleep(10)
        assert told.events[4:] == [("slow", "1"), ("sync", "3"), ("slow", "2"), ("slow", "3")]
        # It has fallen idle and begins again.
        it.tell(message(4))
        await asyncio.sleep(2)
        assert told.events[-1] == ("slow", "4")
        assert it.dropped == 0


async def test_slow_watchers_do_not_wait_for_each_other() -> None:
    """Each coroutine has a queue of its own, also when it is registered for two names."""
    told = Told()
    function = told.slow("both", 3.0)
    async with watching(
        ("call.answered", function), ("", function), ("", told.slow("other", 1.0))
    ) as it:
        it.tell(message(1))
        await asyncio.sleep(1.5)
        assert told.events == [("other", "1")]
        await asyncio.sleep(2)
        assert told.events[1:] == [("both", "1"), ("both", "1")]


async def test_whatever_returns_something_to_await_is_awaited() -> None:
    """A partial, an object with an async `__call__`, a lambda and a future count as coroutines."""
    told = Told()

    class Callable_:
        async def __call__(self, message: Message) -> None:
            await told.slow("object")(message)

    async def labelled(label: str, message: Message) -> None:
        await told.slow(label)(message)

    def future(message: Message) -> asyncio.Future[None]:
        return asyncio.ensure_future(labelled("future", message))

    async with watching(
        ("", functools.partial(labelled, "partial")),
        ("", Callable_()),
        ("", lambda message: labelled("lambda", message)),
        ("", future),
    ) as it:
        it.tell(message(1))
        assert told.events == []
        await asyncio.sleep(1.5)
    assert sorted(told.events) == [
        ("future", "1"),
        ("lambda", "1"),
        ("object", "1"),
        ("partial", "1"),
    ]


async def test_what_else_a_watcher_returns_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """A watcher may be any function at hand; only what can be awaited means something."""
    told: list[str] = []

    def popular(message: Message) -> None:
        told.append(message["n"])
        return "True"  # type: ignore[return-value]

    async with watching(("", popular)) as it:
        it.tell(message(1))
        it.tell(message(2))
        await asyncio.sleep(1)
    assert told == ["1", "2"]
    assert caplog.records == []


# --- Failures ----------------------------------------------------------------------------------


class Odd(BaseException):
    """What is no Exception either."""


def text_of(records: list[logging.LogRecord]) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in records]


each_error = pytest.mark.parametrize(
    "error",
    [ValueError("x\n\x1b[31m"), Odd("odd"), asyncio.CancelledError(), TimeoutError()],
    ids=lambda error: type(error).__name__,
)


@each_error
@pytest.mark.parametrize("suspends", [False, True])
async def test_a_watcher_that_fails_harms_nobody(
    error: BaseException, suspends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Others are told, it is told of the next message, and it is named in one line of log."""
    told = Told()

    def fail(message: Message) -> None:
        told.sync("failing")(message)
        raise error

    async def fail_later(message: Message) -> None:
        await asyncio.sleep(0)
        fail(message)

    failing: WatcherFunction = fail_later if suspends else fail
    async with watching(("", failing), ("", told.sync("next")), ("", told.slow("slow"))) as it:
        with caplog.at_level(logging.INFO, "yateway"):
            for number in range(3):
                it.tell(message(number))
            await asyncio.sleep(5)
        for label in ("failing", "next", "slow"):
            assert [n for who, n in told.events if who == label] == ["0", "1", "2"]
        ((level, text),) = text_of(caplog.records)
        assert level == "ERROR"
        assert f"{failing.__qualname__} (test_watching.py:" in text
        assert type(error).__name__ in text
        assert "\n" not in text
        assert "\x1b" not in text


async def test_repeated_failures_are_counted_and_not_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line in ten seconds says how many there were; another watcher has its own."""

    def fail(message: Message) -> None:
        raise ValueError(message["n"])

    async def fail_later(message: Message) -> None:
        raise ValueError(message["n"])

    async with watching(("", fail), ("", fail_later)) as it:
        for number in range(200):
            it.tell(message(number))
            await asyncio.sleep(0.125)
    lines = [text for _, text in text_of(caplog.records)]
    assert len(lines) == 6
    for function in (fail, fail_later):
        mine = [line for line in lines if f"{function.__qualname__} (" in line]
        assert len(mine) == 3
        assert "more like this" not in mine[0]
        assert mine[1].endswith("(79 more like this before)")
        assert mine[2].endswith("(79 more like this before)")


async def test_debugging_shows_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for more gets the whole traceback of each failure."""

    def fail(message: Message) -> None:
        raise ValueError(message["n"])

    async with watching(("", fail)) as it:
        with caplog.at_level(logging.DEBUG, "yateway"):
            it.tell(message(1))
            it.tell(message(2))
    assert [record.exc_info is not None for record in caplog.records] == [False, True, True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_process_is_not_held_up(error: type[BaseException]) -> None:
    """Who calls `sys.exit` means it, in a watcher too."""

    def leave(message: Message) -> None:
        raise error

    async with watching(("", leave)) as it:
        with pytest.raises(error):
            it.tell(message(1))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.real_clock
def test_what_ends_the_process_is_not_held_up_by_a_coroutine(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio carries it out of the event loop, without a word."""

    async def leave(message: Message) -> None:
        raise error

    async def tell() -> None:
        async with watching(("", leave)) as it:
            it.tell(message(1))
            await asyncio.sleep(10)

    with pytest.raises(error), asyncio.Runner() as runner:
        runner.run(tell())
    gc.collect()
    assert caplog.records == []


# --- Too slow (D6) -----------------------------------------------------------------------------


async def test_a_slow_watcher_misses_the_oldest_messages(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand may wait; one more drops the oldest, and one line of log says so."""
    told = Told()
    async with watching(("", told.slow("slow", 0.001)), ("", told.sync("sync"))) as it:
        it.tell(message(0))
        await asyncio.sleep(0)  # the watcher has this one in hand
        for number in range(1, WATCH_QUEUE + 1):
            it.tell(message(number))
        assert it.dropped == 0
        assert caplog.records == []
        for number in range(WATCH_QUEUE + 1, WATCH_QUEUE + 501):
            it.tell(message(number))
        assert it.dropped == 500
        ((level, text),) = text_of(caplog.records)
        assert level == "WARNING"
        assert text.startswith("watcher Told.slow.<locals>.watch (test_watching.py:")
        assert text.endswith("is too slow: the oldest of 1000 messages was dropped")
        await asyncio.sleep(10)
    seen = {label: [int(n) for who, n in told.events if who == label] for label in ("slow", "sync")}
    assert seen["slow"] == [0, *range(501, 1501)]
    assert seen["sync"] == list(range(1501))


async def test_one_kind_of_trouble_does_not_hide_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each watcher has a line of its own for its failures, and one for being slow."""

    def fail(message: Message) -> None:
        raise ValueError

    async def fail_then_hang(message: Message) -> None:
        if message["n"] == "0":
            raise ValueError
        await asyncio.sleep(60)

    async with watching(("", fail), ("", fail_then_hang)) as it:
        for number in range(WATCH_QUEUE + 10):
            it.tell(message(number))
            await asyncio.sleep(0)
    assert sorted(level for level, _ in text_of(caplog.records)) == ["ERROR", "ERROR", "WARNING"]


async def test_a_future_that_is_dropped_goes_on() -> None:
    """What runs by itself is not waited for any more, and not stopped either."""
    told = Told()

    def start(message: Message) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(2000, future.set_result, None)
        told.events.append(("started", message["n"]))
        futures.append(future)
        return future

    futures: list[asyncio.Future[None]] = []
    async with watching(("", start)) as it:
        for number in range(WATCH_QUEUE + 2):
            it.tell(message(number))
        assert it.dropped == 2
        await asyncio.sleep(3000)
    assert all(future.done() and not future.cancelled() for future in futures)


# --- The end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
async def test_closing_stops_who_is_at_work(
    started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the message in hand nor those that wait are finished, and nothing complains."""
    told = Told()
    async with watching(("", told.slow("slow")), ("call.answered", told.slow("too"))) as it:
        for number in range(10):
            it.tell(message(number))
        if started:
            await asyncio.sleep(1.5)
    await asyncio.sleep(20)
    assert told.events == ([("slow", "0"), ("too", "0")] if started else [])
    assert caplog.records == []


async def test_closing_lets_a_watcher_clean_up() -> None:
    """What a watcher does when it is cancelled is awaited."""
    cleaned_up = []

    async def watch(message: Message) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            cleaned_up.append(message["n"])

    async with watching(("", watch)) as it:
        it.tell(message(1))
        it.tell(message(2))
        await asyncio.sleep(1)
    assert cleaned_up == ["1"]


async def test_a_watcher_that_refuses_to_be_cancelled_does_not_hold_the_end() -> None:
    """Closing gives up after a moment."""
    over = asyncio.Event()

    async def watch(message: Message) -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    loop = asyncio.get_running_loop()
    async with watching(("", watch)) as it:
        it.tell(message(1))
        await asyncio.sleep(1)
        before = loop.time()
        await it.close()
        assert loop.time() - before == STUBBORN == 0.25
        over.set()
        await asyncio.sleep(1)


async def test_closing_without_anybody_at_work_is_immediate() -> None:
    """No watcher, no coroutine, no message: nothing to wait for."""
    async with watching(("", Told().sync("sync"))) as it:
        it.tell(message(1))
    await it.close()
    assert asyncio.get_running_loop().time() == 0


async def test_a_slow_watcher_holds_a_bounded_number_of_characters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A thousand messages of a mebibyte each would fill the memory (guarantee F13)."""

    async def slow(message: Message) -> None:
        await asyncio.sleep(1000)

    watchers = Watchers([Watcher("t.big", slow)])
    params = ":a=" + "x" * 60_000
    for number in range(1000):
        big = Message.received("", True, "t.big", "", f"{params}:n={number}")
        watchers.tell(big)
    (queue,) = watchers._queues.values()
    held = sum(message.size for message, _ in queue._entries)
    assert WATCH_CHARACTERS - 60_100 < held <= WATCH_CHARACTERS
    assert watchers.dropped == 1000 - len(queue._entries)
    assert caplog.text.count("is too slow") == 1
    # One message that is too large by itself is still told.
    huge = Message.received("", True, "t.big", "", ":a=" + "x" * (WATCH_CHARACTERS + 1))
    watchers.tell(huge)
    assert [message.size for message, _ in queue._entries] == [huge.size]
    await watchers.close()
    assert queue._characters == 0
