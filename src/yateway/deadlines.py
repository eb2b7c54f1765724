"""Ends what takes too long, at next to no cost for what does not.

It must not know what ends. Nearly everything that has a deadline is done long before: a timer of
its own, set and cancelled, would take three microseconds, a third of all that a message may take.
Here one sweep every 50 ms looks for what is due before the next one, and gives only that a timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["SWEEP", "Deadlines"]

_T = TypeVar("_T")

#: Seconds between two sweeps.
SWEEP = 0.05


class Deadlines(Generic[_T]):
    """When what is due, by the clock of the running event loop.

    Args:
        expire: called with what was not dropped in time, exactly then.

    Attributes:
        due: when each item is, for others to look at.
    """

    def __init__(self, expire: Callable[[_T], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self.due: dict[_T, float] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def set(self, item: _T, due: float) -> None:
        """Give an item its time, or another one."""
        self.due[item] = due
        if self._sweep is None:
            self._look()
        elif due <= self._sweep.when():
            self._loop.call_at(due, self._end, item, due)

    def drop(self, item: _T) -> None:
        """Forget an item: it is done."""
        self.due.pop(item, None)

    def _look(self) -> None:
        """Give a timer to all that is due before the next sweep."""
        self._sweep = None
        if self.due:
            self._sweep = self._loop.call_later(SWEEP, self._look)
            soon = self._sweep.when()
            for item, due in self.due.items():
                if due <= soon:
                    self._loop.call_at(due, self._end, item, due)

    def _end(self, item: _T, due: float) -> None:
        # It may have been done since, or have got more time.
        if self.due.get(item) == due:
            del self.due[item]
            self._expire(item)
