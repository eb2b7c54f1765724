"""Coroutines that start at once, and what they see of the task that they may get."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from yateway.eager import Starter, Suspended

Work = Callable[[], Coroutine[Any, Any, None]]

sheet: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("sheet")
word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


class Rest(Suspended):
    """Only goes on."""

    async def run(self) -> None:
        await self.rest()


def start(
    starter: Starter[Rest], work: Coroutine[Any, Any, Any], name: str = "work"
) -> asyncio.Task[None] | None:
    """Start a coroutine and let its task go on with it, if it suspends."""
    result = starter.start(work)
    if not isinstance(result, Rest):
        return None
    result.task.set_name(name)
    return result.task


async def test_what_does_not_suspend_is_done_at_once() -> None:
    """No task is left, and who started it is the current task again."""
    starter, mine, seen = Starter(Rest), current(), []

    async def work() -> None:
        seen.append(current())

    assert start(starter, work(), "work") is None
    assert seen[0] is not mine
    assert current() is mine
    await asyncio.sleep(0)
    assert seen[0].done()
    assert asyncio.all_tasks() == {mine}


async def test_all_that_start_in_one_turn_share_a_task_until_one_suspends() -> None:
    """The task is of no use to those that do not suspend, and is not made for each."""
    starter, seen = Starter(Rest), set()

    async def quick() -> None:
        seen.add(id(asyncio.current_task()))

    async def slow() -> None:
        seen.add(id(asyncio.current_task()))
        await asyncio.sleep(1)

    start(starter, quick(), "quick")
    start(starter, quick(), "quick")
    assert len(seen) == 1
    task = start(starter, slow(), "slow")
    assert task is not None
    assert seen == {id(task)}
    assert task.get_name() == "slow"
    start(starter, quick(), "quick")
    assert len(seen) == 2
    await task


async def test_each_turn_of_the_loop_has_a_task_of_its_own() -> None:
    """Where one message comes at a time, each handler has its own task, as in any program."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        seen.append(current())

    for _ in range(3):
        start(starter, work(), "work")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(set(seen)) == 3


async def outside_of_any_task(function: Callable[[], object]) -> None:
    """Call a function where no task is the current one."""
    done = asyncio.Event()

    def call() -> None:
        function()
        done.set()

    asyncio.get_running_loop().call_soon(call)
    await done.wait()


async def test_it_may_be_started_outside_of_any_task() -> None:
    """A callback of the loop has no current task, before and after."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        seen.append(asyncio.current_task())

    def call() -> None:
        start(starter, work(), "work")
        start(starter, asyncio.sleep(0), "suspends")
        seen.append(asyncio.current_task())

    await outside_of_any_task(call)
    assert seen[0] is not None
    assert seen[1] is None


@pytest.mark.parametrize("suspend", [False, True])
async def test_a_timeout_inside(suspend: bool) -> None:
    """`asyncio.timeout` cancels what it encloses and nothing else."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        try:
            async with asyncio.timeout(1):
                if suspend:
                    await asyncio.sleep(2)
        except TimeoutError:
            seen.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.5)
        seen.append(current().cancelling())

    started = asyncio.get_running_loop().time()
    task = start(starter, work(), "work")
    assert task is not None
    await task
    assert seen == ([started + 1, 0] if suspend else [0])


async def test_a_task_group_inside() -> None:
    """A child that fails cancels its siblings and its parent, which goes on."""
    starter, seen = Starter(Rest), []

    async def fail() -> None:
        raise ValueError

    async def work() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                sibling = group.create_task(asyncio.sleep(10))
                group.create_task(fail())
                await asyncio.sleep(10)
        except* ValueError:
            seen.append(sibling.cancelled())
        await asyncio.sleep(0)
        seen.append(current().cancelling() == 0)

    task = start(starter, work(), "work")
    assert task is not None
    await task
    assert seen == [True, True]


async def test_context_variables_stay_with_their_coroutine() -> None:
    """Neither the next one nor who started them sees what one has set; its own later steps do."""
    starter, seen = Starter(Rest), []

    async def work(mine: str, suspend: bool) -> None:
        seen.append(word.get())
        word.set(mine)
        if suspend:
            await asyncio.sleep(0)
        seen.append(word.get())

    word.set("outer")
    for number, suspend in enumerate((False, True, False, True)):
        task = start(starter, work(str(number), suspend), "work")
        if task is not None:
            await task
        assert seen == ["outer", str(number)]
        seen.clear()
        assert word.get() == "outer"


def keep(kept: list[object]) -> None:
    kept.append(asyncio.current_task())


def keep_weakly(kept: list[object]) -> None:
    kept.append(weakref.WeakKeyDictionary({current(): 1}))


def cancel(kept: list[object]) -> None:
    current().cancel()


def cancel_and_think_better_of_it(kept: list[object]) -> None:
    current().cancel()
    current().uncancel()


def ask_to_be_told(kept: list[object]) -> None:
    current().add_done_callback(kept.append)


def name_it(kept: list[object]) -> None:
    current().set_name("mine")


def set_what_compares_equal(kept: list[object]) -> None:
    sheet.set({})


MARKS = [keep, keep_weakly, cancel, ask_to_be_told, name_it, set_what_compares_equal]
if sys.version_info < (3, 13):
    # Later ones forget it altogether.
    MARKS.append(cancel_and_think_better_of_it)


@pytest.mark.parametrize("mark", MARKS)
async def test_who_leaves_a_mark_on_the_task_has_it_alone(
    mark: Callable[[list[object]], None],
) -> None:
    """What one has done to its task must not reach another, now or later."""
    sheet.set({})
    starter = Starter(Rest)
    seen: list[int] = []
    kept: list[object] = []

    async def marks() -> None:
        mark(kept)
        seen.append(id(asyncio.current_task()))

    async def waits() -> None:
        seen.append(id(asyncio.current_task()))
        await asyncio.sleep(1)
        seen.append(0)

    start(starter, marks(), "marks")
    task = start(starter, waits(), "waits")
    assert task is not None
    assert seen[0] != seen[1]
    await task
    assert seen[2] == 0


class Incomparable:
    """As an array: it does not say whether it equals another."""

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = None  # type: ignore[assignment]


async def test_values_of_context_variables_are_not_compared() -> None:
    """What they make of it is not our business, and could raise."""
    thing: contextvars.ContextVar[object] = contextvars.ContextVar("thing")
    thing.set(Incomparable())

    async def work() -> str:
        thing.set(Incomparable())
        return "done"

    assert Starter(Rest).start(work()) == "done"


async def test_a_done_callback_comes_when_the_turn_is_over() -> None:
    """Whoever asks to be told of the end is told, although there was nothing to wait for."""
    starter = Starter(Rest)
    told: list[object] = []

    async def work() -> None:
        current().add_done_callback(told.append)

    start(starter, work(), "work")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(told) == 1


async def test_what_the_first_step_raises_comes_out() -> None:
    """Errors are the starter's, and so is being cancelled."""
    starter = Starter(Rest)

    async def fails(error: BaseException) -> None:
        raise error

    with pytest.raises(ZeroDivisionError):
        start(starter, fails(ZeroDivisionError()), "fails")
    with pytest.raises(asyncio.CancelledError):
        start(starter, fails(asyncio.CancelledError()), "fails")
    raised: list[type[BaseException]] = []

    def call() -> None:
        with pytest.raises(ZeroDivisionError):
            start(starter, fails(ZeroDivisionError()), "fails")
        raised.append(ZeroDivisionError)

    await outside_of_any_task(call)
    assert raised


async def test_what_a_later_step_raises_is_the_tasks() -> None:
    """As with any task."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    task = start(Starter(Rest), fails(), "fails")
    assert task is not None
    with pytest.raises(ZeroDivisionError):
        await task


async def test_two_may_wait_for_one_future() -> None:
    """Whoever began to wait between the first step and the task's changes nothing."""
    starter = Starter(Rest)
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen = []

    async def work() -> None:
        seen.append(await future)

    async def other() -> None:
        seen.append(await future)

    beside = asyncio.create_task(other())
    task = start(starter, work(), "work")
    assert task is not None
    await asyncio.sleep(0)
    future.set_result(1)
    await task
    await beside
    assert seen == [1, 1]


@pytest.mark.parametrize("wait", [0, 1])
async def test_being_cancelled_before_the_task_has_begun(wait: int) -> None:
    """The coroutine is cancelled where it waits, and so is what it waits for."""
    starter, seen = Starter(Rest), []
    inner: list[asyncio.Task[None]] = []

    async def work() -> None:
        try:
            if wait:
                inner.append(asyncio.create_task(asyncio.sleep(10)))
                await inner[0]
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = start(starter, work(), "work")
    assert task is not None
    task.cancel("now")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(seen) == 1
    assert all(child.cancelled() for child in inner)


async def test_being_cancelled_when_what_is_waited_for_has_just_come() -> None:
    """A future that is done cannot be cancelled: then the coroutine is."""
    starter, seen = Starter(Rest), []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await future
        except asyncio.CancelledError:
            seen.append("cancelled")

    task = start(starter, work(), "work")
    assert task is not None
    future.set_result(None)
    task.cancel()
    await task
    assert seen == ["cancelled"]


async def test_being_cancelled_later() -> None:
    """As with any task, and it may be survived."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append(current().cancelling())
            current().uncancel()
        await asyncio.sleep(1)

    task = start(starter, work(), "work")
    assert task is not None
    await asyncio.sleep(1)
    task.cancel()
    await task
    assert seen == [1]


async def test_a_task_that_nobody_took_may_be_cancelled() -> None:
    """Whoever cancels all tasks meets it too."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        seen.append(current())

    start(starter, work(), "work")
    seen[0].cancel()
    await asyncio.wait(seen)
    assert seen[0].cancelled()


async def test_what_no_task_can_wait_for_is_told_to_the_coroutine() -> None:
    """As with any task: a coroutine of another library fails with an explanation."""

    class Strange:
        def __await__(self) -> Any:
            yield "something"

    async def work() -> None:
        await Strange()

    task = start(Starter(Rest), work(), "work")
    assert task is not None
    with pytest.raises(RuntimeError, match="bad yield"):
        await task


async def test_a_task_shows_where_its_coroutine_stands() -> None:
    """Whoever prints tasks sees the coroutine and not what drives it."""

    async def waiting() -> None:
        await asyncio.sleep(1)

    task = start(Starter(Rest), waiting(), "waiting")
    assert task is not None
    (frame,) = task.get_stack()
    assert frame.f_code.co_name == "waiting"
    assert "waiting" in repr(task)
    driver: Any = task.get_coro()
    assert driver.cr_code.co_name == "waiting"
    assert driver.cr_await is not None
    assert not driver.cr_running
    await task


async def test_a_task_that_stands_ready_shows_that_it_stands_for_nothing() -> None:
    """Whoever prints all tasks meets it too."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        seen.append(current())

    start(starter, work())
    assert "nothing" in repr(seen[0])
    assert seen[0].get_stack() == []
    await asyncio.wait(seen)


async def test_a_driver_is_closed_with_its_coroutine() -> None:
    """Closing it closes the coroutine, if it has one; awaiting it itself is for nobody."""
    starter, seen = Starter(Rest), []

    async def work(wait: bool) -> None:
        drivers.append(current().get_coro())
        try:
            if wait:
                await asyncio.sleep(1)
        finally:
            seen.append("closed")

    drivers: list[Any] = []
    task = start(starter, work(True), "work")
    assert task is not None
    with pytest.raises(NotImplementedError):
        drivers[0].__await__()
    drivers[0].close()
    assert seen == ["closed"]
    task.cancel()
    with pytest.raises(RuntimeError, match="already awaited"):
        await task
    start(starter, work(False), "work")
    drivers[1].close()


@pytest.mark.parametrize("suspend", [False, True])
async def test_nothing_is_left_for_the_collector(suspend: bool) -> None:
    """Task and coroutine go with their last reference: a collection would take its time later."""
    starter, seen = Starter(Rest), []

    async def work() -> None:
        seen.append(weakref.ref(current()))
        if suspend:
            await asyncio.sleep(1)

    gc.collect()
    gc.disable()
    try:
        task = start(starter, work())
        if task is not None:
            await task
            del task
        # Another turn: the starter holds on to the task that stands ready.
        start(starter, asyncio.sleep(0, None))
        await asyncio.sleep(2)
        assert seen[0]() is None
    finally:
        gc.enable()
