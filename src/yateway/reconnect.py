"""When to try again: keeps one link to an engine up for as long as it is wanted.

It must not know what is installed: `setup`, which it is given, replays handlers, watchers and
settings on each new link. What was in flight when a link ended has failed with `ConnectionLost`
and is not sent again: the wire has no key by which the engine could tell a repetition.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from .errors import ConnectionLost, shown
from .link import Link
from .liveness import Pulse
from .log import RateLimit, logger
from .message import Message
from .transport import Opener, Transport

__all__ = ["ATTACH_TIMEOUT", "CONNECT_TIMEOUT", "Attachment", "Backoff"]

#: Seconds for the connection to stand, and again for the engine to confirm the set-up (C7).
CONNECT_TIMEOUT = 5.0
ATTACH_TIMEOUT = 5.0
#: A link that lasted this long, in seconds, starts the delays anew.
STABLE_AFTER = 10.0


class Backoff:
    """Delays between attempts with full jitter, so that a thousand modules do not come at once.

    The first delay is uniform in 0 to 1 s, the n-th after it in 0 to min(10, 0.5 * 2^n) s. Of the
    ways simulated (guarantee C3), this one spreads a fleet and still has 99 % back in 9 s.

    Args:
        uniform: draws a number between two others; `random.uniform` by default.
    """

    BASE = 0.5
    CAP = 10.0
    FIRST = 1.0

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self.attempts = 0

    def next(self) -> float:
        """Return the delay before the next attempt, in seconds."""
        n = self.attempts
        self.attempts += 1
        # 2**n is an exact integer of any size, which a minimum takes and a float might not.
        longest = self.FIRST if n == 0 else float(min(self.CAP, self.BASE * 2 ** min(n, 10)))
        return self._uniform(0.0, longest)

    def reset(self) -> None:
        """Start anew: the last attempt was a success."""
        self.attempts = 0


class Attachment:
    """Keeps one link up: connects, sets up, reads, and tries again until cancelled.

    Args:
        opener: opens a connection to the engine.
        setup: replays what the engine has to know on a new link.
        on_request, on_notification: as for `Link`.
        on_up, on_down: called when a link is set up, and when one that was has ended.
        on_refused: called when nobody listens where the engine was.

    Attributes:
        link: the link, None while there is none that is set up.
        ready: set while there is one.
        leaving: the end of the link is wanted, and no other is opened after it.
    """

    def __init__(
        self,
        opener: Opener,
        setup: Callable[[Link], Awaitable[None]],
        on_request: Callable[[Link, Message], None],
        on_notification: Callable[[Message], None],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._opener = opener
        self._setup = setup
        self._on_request = on_request
        self._on_notification = on_notification
        self._on_up = on_up
        self._on_down = on_down
        self._on_refused = on_refused
        self.link: Link | None = None
        self.ready = asyncio.Event()
        self.leaving = False
        self._backoff = Backoff()

    async def run(self) -> None:
        """Keep the link up until cancelled, or left, or the only connection there was has ended.

        Raises:
            YatewayError: trying again cannot help: a refused install, a fault in the settings.
        """
        loop = asyncio.get_running_loop()
        # One for all links: closing is bounded however soon the next one stands (guarantee A6).
        close_limit = RateLimit(1.0, loop.time)
        while True:
            try:
                transport = await self._open()
            except (OSError, TimeoutError) as error:
                logger.warning("cannot connect: %s", _reason(error))
                if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
                    self._on_refused()
            else:
                since = loop.time()
                await self._live(transport, close_limit)
                if transport.single or self.leaving:
                    return
                if loop.time() - since >= STABLE_AFTER:
                    self._backoff.reset()
            delay = self._backoff.next()
            logger.info("next attempt in %.2f s", delay)
            await asyncio.sleep(delay)

    async def _open(self) -> Transport:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await self._opener()

    async def _live(self, transport: Transport, close_limit: RateLimit) -> None:
        link = Link(transport, self._on_request, self._on_notification, close_limit=close_limit)
        reading = asyncio.ensure_future(link.run())
        try:
            async with asyncio.timeout(ATTACH_TIMEOUT):
                await self._setup(link)
        except (ConnectionLost, TimeoutError) as error:
            logger.warning("cannot attach to %s: %s", link.name, _reason(error))
            return
        else:
            self.link = link
            self.ready.set()
            logger.info("attached to %s", link.name)
            self._on_up()
            # Of standard input and output the far end is on this machine: its end is the sign.
            pulse = None if link.single else Pulse(link)
            try:
                await asyncio.shield(reading)
            finally:
                if pulse is not None:
                    pulse.stop()
        finally:
            if self.ready.is_set():
                self.link = None
                self.ready.clear()
                logger.info("lost %s", link.name)
                self._on_down()
            link.abort()
            # Its waiters fail in the one step that this takes.
            await reading


def _reason(error: Exception) -> str:
    # Where in asyncio it failed helps nobody: only what the system said.
    return shown(str(error) or "no answer in time")
