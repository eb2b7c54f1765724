"""Ends the code of a call when the call ends.

It must not know calls: it is given the error to raise. Asyncio has one way to reach code that waits
for anything: to cancel its task. `Scope.interrupt` does that, and what the code then sees is the
call's own error, which is a `CancelledError` too, so that timeouts, task groups and `gather` inside
the code clean up as for any cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from .errors import CallEnded

__all__ = ["Interruption", "Scope", "is_only"]

_T = TypeVar("_T")


class Interruption(CallEnded, asyncio.CancelledError):
    """`CallEnded` where it interrupts code that waits: to asyncio it is a cancellation."""


class Scope(Generic[_T]):
    """Awaits a coroutine, which can be interrupted wherever it waits.

    The interruption is delivered once. What the coroutine awaits after that, in its `finally` for
    example, it awaits undisturbed, and the task does not count as cancelled. A cancellation from
    somewhere else passes unchanged.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._error: Interruption | None = None
        self._interrupted = False
        self._abandoned = False

    def interrupt(self, error: Interruption) -> None:
        """Raise `error` in the coroutine, at the place where it waits.

        The task that runs the coroutine must not ask for this itself.
        """
        if self._task is not None and not self._interrupted:
            self._interrupted = True
            self._error = error
            self._task.cancel()

    def abandon(self) -> None:
        """Run the coroutine no further, for it keeps even a cancellation to itself."""
        if self._task is not None:
            self._abandoned = True
            self._task.cancel()

    def encloses(self, task: asyncio.Task[Any] | None) -> bool:
        """Tell whether the coroutine is what this task runs."""
        return task is not None and task is self._task

    def __await__(self) -> Generator[Any, None, _T]:
        self._task = task = asyncio.current_task()
        assert task is not None
        ours: Interruption | None = None
        error: BaseException | None = None
        try:
            while True:
                try:
                    if error is None:
                        waits_for = self._coroutine.send(None)
                    else:
                        waits_for = self._coroutine.throw(error)
                except StopIteration as end:
                    result: _T = end.value
                    return result
                finally:
                    # Not before, lest a timeout inside that is due too takes this for its own.
                    if ours is not None:
                        task.uncancel()
                error = ours = None
                try:
                    yield waits_for
                except BaseException as failure:
                    error = failure
                if self._abandoned:
                    self._give_up()
                # Whatever came instead: what was waited for need not heed a cancellation.
                if self._error is not None:
                    error = ours = self._error
                    self._error = None
        finally:
            self._task = None

    def _give_up(self) -> None:
        # That it ignores its end as well is no news; and not later, when no loop runs in which it
        # could wait: there it would never let go.
        with contextlib.suppress(RuntimeError):
            self._coroutine.close()
        del self._coroutine
        raise asyncio.CancelledError


def is_only(error: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether an error is of that kind, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_only(inner, kind) for inner in error.exceptions)
    return isinstance(error, kind)
