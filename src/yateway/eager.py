"""Starts coroutines at once; only one that suspends is given a task of its own.

It must not know what the coroutines do. A task for each costs three microseconds, half of all that
a message may take, and most handlers never suspend. Here one task stands ready for all that start
in one turn of the event loop. While such a coroutine takes its first step, the task is the current
one, so that `asyncio.timeout`, task groups, `current_task` and context variables mean what they
mean in a task. The first coroutine that suspends keeps the task, which drives it to its end. One
that leaves a mark on it (keeps a reference, cancels it, sets a context variable) shares it with no
other, so that nobody can tell the difference.

Python 3.12 has eager tasks of its own, but makes one for each coroutine all the same.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

__all__ = ["Starter"]


class Starter:
    """Starts coroutines in one event loop, the running one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: _Driver | None = None

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Take the first step of a coroutine; return the task that takes the others, if any.

        Args:
            name: of the task.

        Raises:
            BaseException: what the coroutine raises in its first step, except CancelledError,
                which ends it as it ends a task.
        """
        driver = self._ready
        if driver is None or driver.begun:
            driver = self._ready = _Driver(self._loop)
        loop, task = self._loop, driver.task
        outer = asyncio.current_task(loop)
        # What asyncio documents for whoever has tasks of his own ("Extending").
        if outer is not None:
            _leave_task(loop, outer)
        _enter_task(loop, task)
        try:
            awaited = driver.context.run(coroutine.send, None)
        except (StopIteration, asyncio.CancelledError):
            return None
        else:
            self._ready = None
            driver.take(coroutine, awaited)
            task.set_name(name)
            return task
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
            del task
            if driver.marked():
                self._ready = None


class _Driver(Coroutine[Any, None, None]):
    """What a task runs: nothing, or the rest of the coroutine that it was given.

    Attributes:
        task: which runs it; none any more at the end, so that no garbage is left in a circle.
        context: in which the task and all first steps run.
        begun: the task has taken its first step, and with it the turn of the loop is over.
    """

    __slots__ = ("_awaited", "_clean", "_coroutine", "_unmarked", "begun", "context", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.begun = False
        self.context = copy_context()
        self._clean = self.context.copy()
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._awaited: object = None
        # Not by the loop's factory, which may start it eagerly or call for another kind of task.
        self.task: asyncio.Task[None] = asyncio.Task(
            self, loop=loop, name="yateway", context=self.context
        )
        self._unmarked = self._marks()

    def take(self, coroutine: Coroutine[Any, Any, None], awaited: object) -> None:
        """Take over a coroutine that has suspended, and what it waits for."""
        self._coroutine = coroutine
        self._awaited = awaited
        if asyncio.isfuture(awaited):
            # The sign by which a task knows that a future is meant for it; another task may begin
            # to wait for this one before ours takes its first step.
            awaited._asyncio_future_blocking = False

    def marked(self) -> bool:
        """Tell whether a coroutine has left something on the task that another could see."""
        return self._marks() != self._unmarked or self.context != self._clean

    def _marks(self) -> tuple[int, int, int]:
        task = self.task
        return getrefcount(task), getweakrefcount(task), task.cancelling()

    # What a task asks of its coroutine

    def send(self, value: None) -> object:
        self.begun = True
        if self._coroutine is None:
            self._end()
            raise StopIteration
        awaited, self._awaited = self._awaited, None
        if awaited is None:
            return self._step(self._coroutine.send, None)
        if asyncio.isfuture(awaited):
            awaited._asyncio_future_blocking = True
        return awaited

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> object:
        self.begun = True
        if self._coroutine is None:
            self._end()
            raise error
        awaited, self._awaited = self._awaited, None
        # As a task that is cancelled does with what it waits for.
        if asyncio.isfuture(awaited) and awaited.cancel(*error.args):
            awaited._asyncio_future_blocking = True
            return awaited
        return self._step(self._coroutine.throw, error)

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, None, None]:
        raise NotImplementedError("only a task runs this")

    def __getattr__(self, name: str) -> Any:
        # Where the coroutine stands (`cr_frame`), for whoever prints tasks.
        return getattr(self._coroutine, name)

    def _step(self, step: Callable[..., object], value: object) -> object:
        try:
            return step(value)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self._coroutine = self._awaited = None
        del self.task
