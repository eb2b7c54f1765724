"""Notices that a link is dead although nobody said so: a pulled cable, a stopped engine.

It must not know what a link carries. The protocol has no ping; a question for `runid` is one that
every engine replies to at once and that changes nothing (guarantee C4).
"""

from __future__ import annotations

import asyncio

from .errors import ConnectionLost
from .link import Link
from .log import logger
from .message import Message
from .wire.frames import EngineReply, SetLocal

__all__ = ["INTERVAL", "MISSES", "Pulse"]

#: Seconds of silence after which the engine is asked, and that it may take to reply.
INTERVAL = 5.0
#: How often it may miss that; then the link is dropped: 15 s after the last sign of life.
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
        self._question: asyncio.Future[EngineReply | Message] | None = None
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
        if self._question is None or self._question.done():
            # What was said is not lost while the link lives, so that once is enough.
            try:
                self._question = link.command(SetLocal("runid"))
            except ConnectionLost:
                return
            # The reply itself tells nothing, that one comes does: nobody waits for it.
            self._question.add_done_callback(_forget)
        # Counted in beats and not by the clock: while this process was stopped or its loop was
        # blocked, what came could not be read, and is read before the next beat.
        self._missed += 1
        self._timer = self._loop.call_later(INTERVAL, self._beat)


def _forget(question: asyncio.Future[EngineReply | Message]) -> None:
    if not question.cancelled():
        question.exception()
