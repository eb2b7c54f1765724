"""The engine's worker threads: how many queued messages are under way at a time.

It must not know what becomes of a message: that is the dispatcher's. A message that a part of the
engine dispatches by itself, for example a call.route, takes no worker: it holds that part.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dispatcher import EngineMessage

__all__ = ["Limits", "Workers"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many workers there are; the defaults are the real engine's.

    Attributes:
        least: with so many it begins (`minworkers`).
        most: it never has more (`maxworkers`).
        step: so many it adds at a time (`addworkers`).
    """

    least: int = 1
    most: int = 10
    step: int = 1


class Workers:
    """The queue, and the workers that empty it. Messages are taken in the order they came in.

    A worker that waits for a module's answer is held and takes no other message. At each full
    second the engine asks whether a worker was idle since it asked last; if none was, it adds one
    and gives it another second. So while all are held one more comes every two seconds
    (Engine.cpp, `run` and `EnginePrivate::run`; measured).

    Args:
        work: takes one message through; must not raise.
        limits: how many there are.
        exhausted: called when the last idle worker takes a message: from now on `tick` has to be
            called at each full second, as long as `growing` says so.

    Attributes:
        size: workers there are.
        enqueued, dequeued: messages so far.
        longest: messages that waited at a time at most.
        age: seconds that messages waited lately, on average.
    """

    def __init__(
        self,
        work: Callable[[EngineMessage], Awaitable[None]],
        limits: Limits,
        exhausted: Callable[[], None],
    ) -> None:
        self.size = limits.least
        self.enqueued = 0
        self.dequeued = 0
        self.longest = 0
        self.age = 0.0
        self._work = work
        self._limits = limits
        self._exhausted = exhausted
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, EngineMessage]] = deque()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # Nobody was idle since the last full second.
        self._silent = False

    def __len__(self) -> int:
        """Return how many messages wait for a worker."""
        return len(self._queue)

    @property
    def growing(self) -> bool:
        """Tell whether all workers are held and more may come."""
        return self._busy == self.size < self._limits.most

    def enqueue(self, message: EngineMessage) -> None:
        """Add a message to the queue; a worker takes it as soon as one is idle."""
        self._queue.append((self._loop.time(), message))
        self.enqueued += 1
        self.longest = max(self.longest, len(self._queue))
        if self._busy < self.size:
            self._set_to_work()

    def tick(self) -> None:
        """Add workers if none was idle for a second; called at each full second."""
        if not self.growing:
            self._silent = False
        elif not self._silent:
            self._silent = True
        else:
            self._silent = False
            self.size = min(self.size + self._limits.step, self._limits.most)
            for _ in range(min(self.size - self._busy, len(self._queue))):
                self._set_to_work()

    def _set_to_work(self) -> None:
        self._busy += 1
        task = self._loop.create_task(self._take_all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.growing:
            self._exhausted()

    async def _take_all(self) -> None:
        while self._queue:
            since, message = self._queue.popleft()
            self.dequeued += 1
            self.age = (3 * self.age + self._loop.time() - since) / 4
            await self._work(message)
        # Between the look at the queue and this nothing is awaited: whoever adds a message now
        # finds this worker idle.
        self._busy -= 1
        self._silent = False

    def stop(self) -> None:
        """Give up: what is under way ends where it is."""
        self._queue.clear()
        for task in self._tasks:
            task.cancel()

    async def join(self) -> None:
        """Wait until all have ended, after `stop`."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
