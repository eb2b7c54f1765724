"""Tools for testing a module without a telephone and without waiting.

So far the virtual clock: `asyncio.Runner(loop_factory=VirtualClockLoop)` runs a coroutine on an
event loop whose time is not the world's. It stands still while there is something to do and jumps
to the next timer when there is not, so an hour's sleep takes no time and no test depends on how
fast the machine is.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["DeadlockError", "VirtualClockLoop"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# Real seconds of silence after which a loop without timers counts as dead.
_PATIENCE = 2.0


class DeadlockError(RuntimeError):
    """Nothing can happen any more: no timer is set, and no socket and no thread has spoken.

    The text names each pending task, with the line where it waits.
    """


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves its own clock on instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jobs = 0  # calls in executors which the loop waits for

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; when nothing is, let `timeout` virtual seconds pass."""
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.jobs:
            events = super().select(timeout)
        elif timeout is None:
            events = super().select(_PATIENCE)
            if not events:
                tasks = sorted(map(repr, asyncio.all_tasks()))
                raise DeadlockError("\n".join(["nothing can wake the loop; pending are:", *tasks]))
        if timeout is not None and not events:
            self.now += timeout
        return events


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever nothing is ready.

    `time()` starts at 0.0 and counts virtual seconds, for half a year at most: after that it can
    no longer count the nanoseconds that asyncio needs. Timers run in their order and at exactly
    their time; only the waiting is left out.

    Sockets between parts of the same process work: what is sent is ready at once, before the
    clock may jump. Work in an executor (`run_in_executor`, `asyncio.to_thread`, looking up a
    host name) takes no virtual time, unless it outlasts the next timer by the real clock. Of what
    goes on elsewhere, in another process or in a thread of one's own, the loop cannot know: the
    clock jumps past it. Run such tests on an ordinary loop.

    Raises `DeadlockError` from inside the run when there is no timer left to jump to and two
    real seconds bring nothing either.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._clock.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Call `func` in a thread, as on any loop; meanwhile the clock does not jump."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _future: asyncio.Future[Any]) -> None:
        self._clock.jobs -= 1

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the threads of the default executor, as on any loop; the clock does not jump."""
        self._clock.jobs += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._clock.jobs -= 1
