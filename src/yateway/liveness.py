"""Notices that a link is dead although nobody said so: a pulled cable, a stopped engine.

It must not know what a link carries. The protocol has no ping; a question for `runid` is one that
every engine replies to at once and that changes nothing (guarantee C4).
"""

from __future__ import annotations

import asyncio

from .errors import ConnectionLost
from .link import Link
from .log import logger
from .wire.frames import SetLocal

__all__ = ["INTERVAL", "MISSES", "Pulse"]

#: Seconds of silence after which the engine is asked, and after which it has missed a question.
INTERVAL = 5.0
#: Questions it may miss; then the link is dropped: 15 s after the last sign of life.
MISSES = 2


class Pulse:
    """Drops a link over which nothing comes any more; while something does, it asks nothing.

    Args:
        link: watched from now until `stop`, or until its end.
    """

    def __init__(self, link: Link) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._heard = link.heard
        self._missed = 0
        self._timer = self._loop.call_at(link.heard + INTERVAL, self._beat)

    def stop(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _beat(self) -> None:
        link, now = self._link, self._loop.time()
        if link.heard != self._heard:
            self._heard, self._missed = link.heard, 0
            if now < link.heard + INTERVAL:
                self._timer = self._loop.call_at(link.heard + INTERVAL, self._beat)
                return
        if self._missed == MISSES:
            silent = now - link.heard
            logger.warning("%s is dead: nothing came for %.0f s, dropped", link.name, silent)
            link.abort()
            return
        try:
            # The reply itself tells nothing, that one comes does: nobody waits for it.
            link.command(SetLocal("runid")).cancel()
        except ConnectionLost:
            return
        # Counted in beats and not by the clock: while this process was stopped or its loop was
        # blocked, what came could not be read, and is read before the next beat.
        self._missed += 1
        self._timer = self._loop.call_later(INTERVAL, self._beat)
