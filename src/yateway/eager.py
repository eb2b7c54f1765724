"""Starts coroutines at once; only one that suspends is given a task of its own.

It must not know what the coroutines do. A task for each costs three microseconds, a third of all
that a message may take, and most handlers never suspend. Here one task stands ready for all that
start in one turn of the event loop. While such a coroutine takes its first step, the task is the
current one, so that `asyncio.timeout`, task groups, `current_task` and context variables mean what
they mean in a task. The first coroutine that suspends keeps the task, which drives it to its end.
One that leaves a mark on it (keeps a reference, cancels it, wants to be told of its end, sets a
context variable) shares it with no other.

Python 3.12 has eager tasks of its own, but makes one for each coroutine all the same.
"""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from operator import is_
from sys import getrefcount
from typing import Any, Generic, TypeVar
from weakref import getweakrefcount

__all__ = ["Starter", "Suspended"]

_T = TypeVar("_T")


class Starter:
    """Starts coroutines in one event loop, the running one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: Suspended[Any] | None = None

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> _T | Suspended[_T]:
        """Take the first step of a coroutine; return its result, or what is to be awaited for it.

        Raises:
            BaseException: what the coroutine raises in its first step.
        """
        ready = self._ready
        if ready is None or ready.begun:
            ready = self._ready = Suspended(self._loop)
        loop, task = self._loop, ready.task
        # What asyncio documents for whoever has tasks of his own ("Extending").
        outer = None
        try:
            _enter_task(loop, task)
        except RuntimeError:
            outer = asyncio.current_task(loop)
            assert outer is not None
            _leave_task(loop, outer)
            _enter_task(loop, task)
        try:
            awaited = ready.context.run(coroutine.send, None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        else:
            self._ready = None
            ready.hold(coroutine, awaited)
            return ready
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
            del task
            if self._ready is not None and ready.marked():
                self._ready = None


class Suspended(Coroutine[Any, None, Any], Generic[_T]):
    """A coroutine that has suspended in its first step, and the task that goes on with it.

    What `drive` is given awaits `rest()`: there the coroutine goes on where it was.

    For the task it is the coroutine that is run: of whatever `drive` was given, or of nothing.

    Attributes:
        task: which goes on; from `drive` on it is the caller's, so that there is no circle.
        context: in which the task and all first steps run.
        begun: the task has taken its first step, and with it the turn of the loop is over.
    """

    __slots__ = (
        "_awaited",
        "_cancelled",
        "_coroutine",
        "_unmarked",
        "_values",
        "_work",
        "begun",
        "context",
        "task",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.begun = False
        self.context = copy_context()
        self._values = tuple(self.context.values())
        self._coroutine: Coroutine[Any, Any, _T] | None = None
        self._awaited: Any = None
        self._cancelled: BaseException | None = None
        self._work: Coroutine[Any, Any, None] | None = None
        # Not by the loop's factory, which may start it eagerly or call for another kind of task.
        self.task: asyncio.Task[None] = asyncio.Task(
            self, loop=loop, name="yateway", context=self.context
        )
        self._unmarked = getrefcount(self.task), getweakrefcount(self.task)

    def hold(self, coroutine: Coroutine[Any, Any, _T], awaited: object) -> None:
        """Keep a coroutine that has suspended, and what it waits for."""
        self._coroutine = coroutine
        self._awaited = awaited
        if awaited is not None and asyncio.isfuture(awaited):
            # The sign by which a task knows that a future is meant for it; another task may begin
            # to wait for this one before ours takes its first step.
            awaited._asyncio_future_blocking = False

    def drive(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Let the task run `work`, which awaits `rest()`, and give it a name."""
        self._work = work
        task = self.task
        del self.task
        task.set_name(name)
        return task

    @types.coroutine
    def rest(self) -> Generator[Any, Any, _T]:
        """Go on with the coroutine; return or raise what it does."""
        coroutine, awaited, cancelled = self._coroutine, self._awaited, self._cancelled
        assert coroutine is not None
        try:
            if cancelled is None:
                if awaited is None:
                    # It has asked for one turn of the loop, and that is over.
                    return (yield from coroutine)  # type: ignore[no-any-return]
            # As a task that is cancelled does with what it waits for.
            elif not (asyncio.isfuture(awaited) and awaited.cancel(*cancelled.args)):
                awaited = coroutine.throw(cancelled)
            while True:
                if asyncio.isfuture(awaited):
                    awaited._asyncio_future_blocking = True
                try:
                    yield awaited
                except BaseException as error:
                    awaited = coroutine.throw(error)
                else:
                    return (yield from coroutine)  # type: ignore[no-any-return]
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            self._coroutine = self._awaited = None

    def marked(self) -> bool:
        """Tell whether a coroutine has left something on the task that another could see."""
        task: Any = self.task
        return (
            (getrefcount(task) - 1, getweakrefcount(task)) != self._unmarked
            or task.cancelling() > 0
            # Before Python 3.13 it outlives `uncancel`.
            or task._must_cancel
            or bool(task._callbacks)
            # Compared by identity: what compares equal may still be another.
            or len(self.context) != len(self._values)
            or not all(map(is_, self.context.values(), self._values))
        )

    # What a task asks of its coroutine

    def send(self, value: None) -> object:
        self.begun = True
        if self._work is None:
            del self.task
            raise StopIteration
        return self._work.send(None)

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> object:
        first, self.begun = not self.begun, True
        if self._work is None:
            del self.task
            raise error
        if first:
            # There is nothing yet that could be thrown into: `rest` does it.
            self._cancelled = error
            return self._work.send(None)
        return self._work.throw(error)

    def close(self) -> None:
        for coroutine in (self._work, self._coroutine):
            if coroutine is not None:
                coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("only a task runs this: await `rest()`")

    def __getattr__(self, name: str) -> Any:
        # Where the coroutine stands (`cr_frame`), for whoever prints tasks.
        return getattr(self._coroutine or self._work, name)
