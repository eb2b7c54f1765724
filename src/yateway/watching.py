"""Tells watchers: they cannot change a message, hold the engine, or delay an answer.

It must not answer anything. A synchronous watcher is called at once; a coroutine gets the messages
one after the other from a queue of its own, whose oldest entry is dropped when it is too slow (D6).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeAlias

from .handlers import label
from .log import RateLimit, debug_traceback, told
from .message import Message

__all__ = ["WATCH_QUEUE", "Watcher", "WatcherFunction", "Watchers"]

WatcherFunction: TypeAlias = Callable[[Message], Awaitable[None] | None]

#: Messages that may wait for one slow watcher, and characters of parameters in all of them: a
#: message may have a mebibyte (guarantee F13).
WATCH_QUEUE = 1000
WATCH_CHARACTERS = 16 * 1024 * 1024
#: Seconds that cancelled watchers may take to clean up at the end.
STUBBORN = 0.25

# These end the process.
_FATAL = (KeyboardInterrupt, SystemExit)


@dataclass(frozen=True, slots=True)
class Watcher:
    """One watcher function; the empty name watches every message."""

    name: str
    function: WatcherFunction
    label: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", label(self.function))


class _Queue:
    """What one watcher has yet to do: messages and the coroutines that it began with them."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Message, Awaitable[None]]] = deque()
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def full(self) -> bool:
        return len(self._entries) > WATCH_QUEUE or (
            self._characters > WATCH_CHARACTERS and len(self._entries) > 1
        )

    def put(self, message: Message, work: Awaitable[None]) -> None:
        self._entries.append((message, work))
        self._characters += message.size

    def get(self) -> tuple[Message, Awaitable[None]]:
        message, work = self._entries.popleft()
        self._characters -= message.size
        return message, work

    def drop(self) -> None:
        _, work = self.get()
        # A coroutine that is never awaited complains when it goes.
        if isinstance(work, Coroutine):
            work.close()


class Watchers:
    """The watchers of a module while it is attached.

    Args:
        watchers: who is told, in this order.

    Attributes:
        dropped: how many messages slow watchers have missed.
    """

    def __init__(self, watchers: list[Watcher]) -> None:
        self._set(watchers)
        self._queues: dict[Watcher, _Queue] = {}
        self._tasks: dict[Watcher, asyncio.Task[None]] = {}
        self._logs: dict[tuple[Watcher, str], RateLimit] = {}
        self.dropped = 0

    def tell(self, message: Message) -> None:
        """Tell everybody who watches this message or all messages."""
        for watcher in self._named.get(message.name, self._of_all):
            try:
                result = watcher.function(message)
            except _FATAL:
                raise
            except BaseException as error:
                self._failed(watcher, message, error)
            else:
                if result is not None and inspect.isawaitable(result):
                    self._enqueue(watcher, message, result)

    def keep(self, function: WatcherFunction) -> None:
        """Tell nobody but this function any more."""
        self._set([watcher for watcher in self._watchers if watcher.function == function])

    def names(self) -> list[str]:
        """Return the names of the messages that somebody watches."""
        return list(dict.fromkeys(watcher.name for watcher in self._watchers))

    def _set(self, watchers: list[Watcher]) -> None:
        """Have these watchers, found by name: a module may have many, each for one message."""
        self._watchers = watchers
        self._of_all = tuple(watcher for watcher in watchers if not watcher.name)
        self._named = {
            name: tuple(watcher for watcher in watchers if watcher.name in ("", name))
            for name in self.names()
        }

    async def close(self) -> None:
        """Stop the watchers that are at work."""
        for task in self._tasks.values():
            task.cancel()
        for queue in self._queues.values():
            while queue:
                queue.drop()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=STUBBORN)

    def _enqueue(self, watcher: Watcher, message: Message, work: Awaitable[None]) -> None:
        queue = self._queues.setdefault(watcher, _Queue())
        queue.put(message, work)
        while queue.full:
            queue.drop()
            self.dropped += 1
            self._log(
                watcher,
                logging.WARNING,
                "watcher %s is too slow: the oldest of %d messages was dropped",
                watcher.label,
                WATCH_QUEUE,
            )
        if watcher not in self._tasks:
            self._tasks[watcher] = task = asyncio.create_task(self._work(watcher, queue))
            task.add_done_callback(_ended)

    async def _work(self, watcher: Watcher, queue: _Queue) -> None:
        task = self._tasks[watcher]
        try:
            while queue:
                message, work = queue.get()
                try:
                    await work
                except _FATAL:
                    raise
                except BaseException as error:
                    # Cancelled is the watcher at the end; what it waited for may be at any time.
                    if task.cancelling():
                        raise
                    self._failed(watcher, message, error)
        finally:
            del self._tasks[watcher]

    def _failed(self, watcher: Watcher, message: Message, error: BaseException) -> None:
        secrets = message.secrets()
        text = told(error, secrets)
        self._log(watcher, logging.ERROR, "watcher %s failed: %s", watcher.label, text)
        debug_traceback(error, secrets)

    def _log(self, watcher: Watcher, level: int, text: str, *values: object) -> None:
        limit = self._logs.setdefault(
            (watcher, text), RateLimit(10.0, asyncio.get_running_loop().time)
        )
        limit.log(level, text, *values)


def _ended(task: asyncio.Task[None]) -> None:
    # What ends the process has left the event loop by itself; asyncio wants it asked for, too.
    if not task.cancelled():
        task.exception()
