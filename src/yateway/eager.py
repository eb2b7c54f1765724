"""Starts coroutines at once; only one that suspends is given a task of its own.

It must not know what the coroutines do. A task for each costs three microseconds, a third of all
that a message may take, and most handlers never suspend. Here one task stands ready for all that
start in one turn of the event loop. While such a coroutine takes its first step, the task is the
current one, so that `asyncio.timeout`, task groups, `current_task` and context variables mean what
they mean in a task. The first coroutine that suspends keeps the task, which drives it to its end.
One that leaves a mark on it (keeps a reference, cancels it, names it, wants to be told of its end,
sets a context variable) shares it with no other.

Python 3.12 has eager tasks of its own, but makes one for each coroutine all the same.
"""

from __future__ import annotations

import asyncio
import types
from abc import abstractmethod
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from operator import is_
from sys import getrefcount
from typing import Any, Generic, TypeVar
from weakref import getweakrefcount

__all__ = ["Starter", "Suspended"]

#: Of a task that no coroutine has yet.
NAME = "yateway"

_T = TypeVar("_T")
_S = TypeVar("_S", bound="Suspended")


class Starter(Generic[_S]):
    """Starts coroutines in one event loop, the running one.

    Args:
        make: makes of the loop what goes on with a coroutine that suspends.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], _S]) -> None:
        self._loop = asyncio.get_running_loop()
        self._make = make
        self._ready: _S | None = None
        # As task and context were before anything has started there.
        self._references = self._weak_references = 0
        self._untouched = copy_context()

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> _T | _S:
        """Take the first step of a coroutine; return its result, or what goes on with it.

        Raises:
            BaseException: what the coroutine raises in its first step.
        """
        loop, ready = self._loop, self._ready
        if ready is None or ready.begun or self._touched(ready):
            ready = self._ready = self._make(loop)
            task = ready.task
            self._references, self._weak_references = getrefcount(task), getweakrefcount(task)
            # A copy shares all variables, until one is set.
            self._untouched = ready.context.copy()
        else:
            task = ready.task
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
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        self._ready = None
        ready.hold(coroutine, awaited)
        return ready

    def _touched(self, ready: _S) -> bool:
        """Tell whether a coroutine has left something on the task that another could see."""
        task: Any = ready.task
        context, untouched = ready.context, self._untouched
        return (
            getrefcount(task) != self._references
            or getweakrefcount(task) != self._weak_references
            # Once cancelled: before Python 3.13 it outlives `uncancel`.
            or task._must_cancel
            or task._callbacks
            or task.get_name() != NAME
            # Compared by identity: what compares equal may still be another.
            or len(context) != len(untouched)
            or not all(map(is_, context.values(), untouched.values()))
        )


class Suspended(Coroutine[Any, None, Any]):
    """A coroutine that has suspended in its first step, and the task that goes on with it.

    The task runs `run()`, which awaits `rest()`: there the coroutine goes on where it was. For the
    task this is the coroutine that is run. Before one has suspended here it stands for nothing.

    Attributes:
        task: which goes on; until it has ended, so that no circle is left.
        context: in which the task and all first steps run.
        begun: the task has taken its first step, and with it the turn of the loop is over.
    """

    __slots__ = (
        "_awaited",
        "_cancelled",
        "_coroutine",
        "_work",
        "begun",
        "context",
        "task",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.begun = False
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._awaited: Any = None
        self._cancelled: BaseException | None = None
        self._work: Coroutine[Any, Any, None] | None = None
        self.context = copy_context()
        # Not by the loop's factory, which may start it eagerly or call for another kind of task.
        self.task: asyncio.Task[None] = asyncio.Task(
            self, loop=loop, name=NAME, context=self.context
        )

    @abstractmethod
    async def run(self) -> None:
        """Await `rest()`, and do what is to be done with its result."""

    def hold(self, coroutine: Coroutine[Any, Any, Any], awaited: object) -> None:
        """Keep a coroutine that has suspended, and what it waits for; the task will go on."""
        self._coroutine = coroutine
        self._awaited = awaited
        self._work = self.run()
        if awaited is not None and asyncio.isfuture(awaited):
            # The sign by which a task knows that a future is meant for it; another task may begin
            # to wait for this one before ours takes its first step.
            awaited._asyncio_future_blocking = False

    @types.coroutine
    def rest(self) -> Generator[Any, Any, Any]:
        """Go on with the coroutine; return or raise what it does."""
        coroutine, awaited, cancelled = self._coroutine, self._awaited, self._cancelled
        assert coroutine is not None
        try:
            if cancelled is None:
                if awaited is None:
                    # It has asked for one turn of the loop, and that is over.
                    return (yield from coroutine)
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
                    return (yield from coroutine)
        except StopIteration as done:
            return done.value
        finally:
            self._coroutine = self._awaited = None

    # What a task asks of its coroutine

    def send(self, value: None) -> object:
        self.begun = True
        try:
            if self._work is None:
                raise StopIteration
            return self._work.send(None)
        except BaseException:
            del self.task
            raise

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> object:
        first, self.begun = not self.begun, True
        try:
            if self._work is None:
                raise error
            if first:
                # There is nothing yet that could be thrown into: `rest` does it.
                self._cancelled = error
                return self._work.send(None)
            return self._work.throw(error)
        except BaseException:
            del self.task
            raise

    def close(self) -> None:
        for coroutine in (self._work, self._coroutine):
            if coroutine is not None:
                coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("only a task runs this: await `rest()`")

    # Where the coroutine stands, for whoever prints tasks: no `__getattr__`, with which looking up
    # whatever there is takes several times as long.

    @property
    def cr_frame(self) -> Any:
        return getattr(self._coroutine or self._work, "cr_frame", None)

    @property
    def cr_code(self) -> Any:
        return getattr(self._coroutine or self._work, "cr_code", None)

    @property
    def cr_await(self) -> Any:
        return getattr(self._coroutine or self._work, "cr_await", None)

    @property
    def cr_running(self) -> Any:
        return getattr(self._coroutine or self._work, "cr_running", False)

    @property
    def __name__(self) -> str:
        return getattr(self._coroutine or self._work, "__qualname__", "nothing")
