"""Tells watchers: they cannot change a message, hold the engine, or delay an answer.

It must not answer anything. A synchronous watcher is called at once; a coroutine gets the messages
one after the other from a queue of its own, whose oldest entry is dropped when it is too slow (D6).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from .handlers import label
from .log import RateLimit, logger, told
from .message import Message

__all__ = ["WATCH_QUEUE", "Watcher", "WatcherFunction", "Watchers"]

WatcherFunction: TypeAlias = Callable[[Message], Awaitable[None] | None]

#: Messages that may wait for one slow watcher.
WATCH_QUEUE = 1000


@dataclass(frozen=True, slots=True)
class Watcher:
    """One watcher function; the empty name watches every message."""

    name: str
    function: WatcherFunction
    label: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", label(self.function))


class Watchers:
    """The watchers of a module while it is attached.

    Args:
        watchers: who is told, in this order.

    Attributes:
        dropped: how many messages slow watchers have missed.
    """

    def __init__(self, watchers: list[Watcher]) -> None:
        self._watchers = watchers
        self._queues: dict[Watcher, deque[Message]] = {}
        self._tasks: dict[Watcher, asyncio.Task[None]] = {}
        self._log = RateLimit(10.0, asyncio.get_running_loop().time)
        self.dropped = 0

    def tell(self, message: Message) -> None:
        """Tell everybody who watches this message or all messages."""
        for watcher in self._watchers:
            if watcher.name in ("", message.name):
                try:
                    if inspect.iscoroutinefunction(watcher.function):
                        self._enqueue(watcher, message)
                    else:
                        watcher.function(message)
                except Exception as error:
                    self._failed(watcher, error)

    async def close(self) -> None:
        """Stop the watchers that are at work."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=1.0)

    def _enqueue(self, watcher: Watcher, message: Message) -> None:
        queue = self._queues.setdefault(watcher, deque(maxlen=WATCH_QUEUE))
        if len(queue) == WATCH_QUEUE:
            self.dropped += 1
            self._log.log(
                logging.WARNING,
                "watcher %s is too slow: the oldest of %d messages was dropped",
                watcher.label,
                WATCH_QUEUE,
            )
        queue.append(message)
        if watcher not in self._tasks:
            self._tasks[watcher] = asyncio.ensure_future(self._work(watcher, queue))

    async def _work(self, watcher: Watcher, queue: deque[Message]) -> None:
        try:
            while queue:
                try:
                    result = watcher.function(queue.popleft())
                    if result is not None:
                        await result
                except Exception as error:
                    self._failed(watcher, error)
        finally:
            del self._tasks[watcher]

    def _failed(self, watcher: Watcher, error: Exception) -> None:
        self._log.log(logging.ERROR, "watcher %s failed: %s", watcher.label, told(error))
        logger.debug("the traceback of this failure", exc_info=error)
