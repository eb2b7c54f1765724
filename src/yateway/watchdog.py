"""Names the code that blocks the event loop, while it blocks.

It must not touch the loop but through `call_soon_threadsafe`: it is a thread. While the loop is
blocked no request is answered, so that the place has to be found from outside (guarantee A4).
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable

from .log import logger, places

__all__ = ["BLOCKED", "Watchdog"]

#: The loop is blocked when it takes no step for this long, in seconds.
BLOCKED = 0.25


class Watchdog:
    """A thread that asks the running loop for a sign of life and reports who withholds it.

    Args:
        running: names the handler whose code runs at the moment, None if there is none.
        blocked: seconds after which the loop counts as blocked.
    """

    def __init__(self, running: Callable[[], str | None], blocked: float = BLOCKED) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._running = running
        self._blocked = blocked
        self._alive = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="yateway-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it is gone when this returns."""
        self._stopped.set()
        self._alive.set()
        self._thread.join()

    def _watch(self) -> None:
        # A block that begins right after a sign of life is noticed at the next: asking twice as
        # often as it may last keeps the warning close to the moment that it is due.
        while not self._stopped.wait(self._blocked / 2):
            self._alive.clear()
            self._loop.call_soon_threadsafe(self._alive.set)
            # What `stop` set may just have been cleared, and nobody would set it again.
            if not self._stopped.is_set() and not self._alive.wait(self._blocked):
                self._report()
                self._alive.wait()

    def _report(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = traceback.extract_stack(frame)[-3:] if frame else []
        logger.warning(
            "the event loop is blocked for more than %.2f s%s, no request is answered: %s",
            self._blocked,
            self._who(),
            places(stack),
        )

    def _who(self) -> str:
        if name := self._running():
            return f" by handler {name}"
        # A handler that waited before it blocks is a task that bears its name.
        task = asyncio.current_task(self._loop)
        return f" by task {task.get_name()}" if task else ""
