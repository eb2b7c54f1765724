"""The interruption reaches code wherever it waits, once, and nothing else is mistaken for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from yateway import CallEnded
from yateway.scope import Interruption, Scope, is_only

ENDED = Interruption("the call is over", id="sip/1", reason="bye")


async def run(
    coroutine: Coroutine[Any, Any, object], *after: Callable[[Scope[Any], asyncio.Task[Any]], None]
) -> object:
    """Run a coroutine in a scope; a second passes before each of what is to happen to it."""
    scope: Scope[object] = Scope(coroutine)
    uncancelled: list[int] = []

    async def within() -> object:
        try:
            return await scope
        finally:
            task = asyncio.current_task()
            assert task is not None
            uncancelled.append(task.cancelling())

    task = asyncio.create_task(within())
    for what in after:
        await asyncio.sleep(1)
        what(scope, task)
    try:
        return await task
    finally:
        expected = sum(what is cancel for what in after)
        assert uncancelled == [expected]
        assert not scope.encloses(task)


def interrupt(scope: Scope[Any], _: asyncio.Task[Any]) -> None:
    scope.interrupt(ENDED)


def cancel(_: Scope[Any], task: asyncio.Task[Any]) -> None:
    task.cancel()


async def in_a_timeout() -> None:
    async with asyncio.timeout(60):
        await asyncio.sleep(90)


async def in_wait_for() -> None:
    await asyncio.wait_for(asyncio.sleep(90), 60)


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(90))


async def in_the_block_of_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(90))
        await asyncio.sleep(90)


async def in_gather() -> None:
    await asyncio.gather(asyncio.sleep(90), asyncio.sleep(91))


async def in_wait() -> None:
    child = asyncio.create_task(asyncio.sleep(90))
    try:
        await asyncio.wait([child])
    finally:
        child.cancel()


async def in_a_task() -> None:
    await asyncio.create_task(asyncio.sleep(90))


async def in_a_shield() -> None:
    child = asyncio.create_task(asyncio.sleep(90))
    try:
        await asyncio.shield(child)
    finally:
        assert not child.done()
        child.cancel()


async def in_a_thread() -> None:
    done = threading.Event()
    try:
        await asyncio.to_thread(done.wait)
    finally:
        done.set()


async def in_an_event() -> None:
    await asyncio.Event().wait()


async def in_a_lock() -> None:
    lock = asyncio.Lock()
    async with lock, asyncio.timeout(60):
        await lock.acquire()


async def in_a_queue() -> None:
    await asyncio.Queue[int]().get()


PLACES = [
    *(in_a_timeout, in_wait_for, in_a_group, in_the_block_of_a_group, in_gather, in_wait),
    *(in_a_task, in_a_shield, in_an_event, in_a_lock, in_a_queue),
]


@pytest.mark.parametrize("place", PLACES)
async def test_code_is_interrupted_where_it_waits_and_may_clean_up(
    place: Callable[[], Awaitable[None]],
) -> None:
    steps: list[str] = []

    async def code() -> str:
        try:
            await place()
        except BaseException as end:
            # Task groups of Python 3.11 and 3.12 wrap it.
            steps.append("ended" if is_only(end, CallEnded) else repr(end))
        finally:
            await asyncio.sleep(5)
            async with asyncio.timeout(5), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.sleep(5)
            steps.append("cleaned up")
        return "value"

    assert await run(code(), interrupt, interrupt) == "value"
    assert steps == ["ended", "cleaned up"]


@pytest.mark.real_clock
async def test_a_thread_goes_on_but_its_waiter_does_not() -> None:
    scope = Scope(in_a_thread())

    async def within() -> None:
        await scope

    task = asyncio.create_task(within())
    await asyncio.sleep(0.01)
    scope.interrupt(ENDED)
    with pytest.raises(CallEnded):
        await task


@pytest.mark.parametrize("place", PLACES)
async def test_a_cancellation_from_outside_passes(place: Callable[[], Awaitable[None]]) -> None:
    seen: list[type[BaseException]] = []

    async def code() -> None:
        try:
            await place()
        except BaseException as error:
            seen.append(type(error))
            raise

    with pytest.raises(asyncio.CancelledError):
        await run(code(), cancel)
    assert seen == [asyncio.CancelledError]


async def test_every_await_is_a_place() -> None:
    """Code with five awaits of different lengths is interrupted in each."""

    async def code(reached: list[int]) -> None:
        for step in range(5):
            reached.append(step)
            await asyncio.sleep(1)

    for place in range(5):
        reached: list[int] = []
        with pytest.raises(CallEnded):
            await run(code(reached), *[lambda *_: None] * place, interrupt)
        assert reached == list(range(place + 1))


async def test_what_is_not_interrupted_returns_or_fails() -> None:
    async def good() -> int:
        await asyncio.sleep(1)
        return 7

    async def bad() -> None:
        await asyncio.sleep(1)
        raise ValueError("no good")

    assert await run(good()) == 7
    with pytest.raises(ValueError, match="no good"):
        await run(bad())
    scope = Scope(good())
    scope.interrupt(ENDED)  # not begun: nothing waits
    assert await scope == 7
    scope.interrupt(ENDED)  # over


@pytest.mark.parametrize("offset", [-0.001, 0.0, 0.001])
async def test_a_timeout_that_is_due_at_the_same_moment_does_not_hide_it(offset: float) -> None:
    """The code is not told of the timeout and left to wait for the next one."""
    seen: list[str] = []

    async def code() -> None:
        while True:
            try:
                async with asyncio.timeout(1 + offset):
                    await asyncio.Event().wait()
            except TimeoutError:
                seen.append("timeout")
            except CallEnded:
                seen.append("ended")
                return

    await run(code(), interrupt)
    assert seen in (["ended"], ["timeout", "ended"])


async def test_a_group_whose_child_fails_at_the_same_moment() -> None:
    async def child() -> None:
        await asyncio.sleep(1)
        raise CallEnded("over", id="sip/1")

    async def code() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(60)

    with pytest.raises((CallEnded, ExceptionGroup)) as caught:
        await run(code(), interrupt)
    assert is_only(caught.value, CallEnded)


async def test_what_keeps_a_cancellation_to_itself_does_not_hide_it() -> None:
    """The task that the code waits for ends with a value; the code is interrupted all the same."""

    async def deaf() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "nothing happened"
        return ""

    async def broken() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError

    for child in (deaf, broken):

        async def code(child: Callable[[], Coroutine[Any, Any, object]] = child) -> None:
            await asyncio.create_task(child())
            await asyncio.sleep(60)

        with pytest.raises(CallEnded):
            await run(code(), interrupt)


async def test_interruption_and_cancellation_at_once() -> None:
    """The code sees the end of its call; the task still counts as cancelled by somebody."""

    def both(scope: Scope[Any], task: asyncio.Task[Any]) -> None:
        scope.interrupt(ENDED)
        task.cancel()

    scope = Scope(in_an_event())
    counted: list[int] = []

    async def within() -> None:
        try:
            await scope
        finally:
            counted.append(task.cancelling())

    task = asyncio.create_task(within())
    await asyncio.sleep(1)
    both(scope, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted == [1]


async def test_one_who_cleans_up_can_be_cancelled() -> None:
    async def code() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError) as caught:
        await run(code(), interrupt, cancel)
    assert not isinstance(caught.value, CallEnded)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_code_that_keeps_everything_to_itself_is_abandoned() -> None:
    rounds = 0

    async def code() -> None:
        nonlocal rounds
        while True:
            with contextlib.suppress(BaseException):
                rounds += 1
                await asyncio.sleep(60)

    def abandon(scope: Scope[Any], _: asyncio.Task[Any]) -> None:
        scope.abandon()

    scope = Scope(code())

    async def within() -> None:
        await scope

    task = asyncio.create_task(within())
    await asyncio.sleep(1)
    scope.interrupt(ENDED)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1)
    assert rounds == 3
    assert not task.done()
    scope.abandon()
    with pytest.raises(asyncio.CancelledError):
        await task
    scope.abandon()  # harmless
    assert rounds == 5


def test_is_only() -> None:
    other = ValueError()
    assert is_only(ENDED, CallEnded)
    assert is_only(BaseExceptionGroup("", [ENDED, BaseExceptionGroup("", [ENDED])]), CallEnded)
    assert not is_only(BaseExceptionGroup("", [ENDED, other]), CallEnded)
    assert not is_only(other, CallEnded)
