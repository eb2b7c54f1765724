"""What a module has missed: after each reconnect, whether its engine is still the one it knew.

It must not decide what becomes of calls: it tells. An engine that was started anew (its `runid`,
the second of its start, differs) knows none of the channels there were; one that was only cut off
may have ended some.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from .errors import ConnectionLost, YatewayError, shown
from .link import Link
from .log import logger
from .message import Message

__all__ = ["CHANNELS_LIMIT", "Channel", "Resync", "Resyncs", "live_channels"]

#: Seconds that the engine may take to tell the channels of one driver.
STATUS_TIMEOUT = 5.0
#: A driver with more channels than this is not asked for them: the reply is one line, and a line
#: of more than 1 MiB ends the link.
CHANNELS_LIMIT = 5000

# "name=sip,type=varchans,format=Status|Address|Peer;routed=1,routing=0,total=3,chans=2;..." is how
# a driver speaks of itself; only drivers have this format, and only they count channels.
_DRIVER = re.compile(r"name=([^,;]+),[^;]*format=Status\|Address\|Peer;[^;]*\bchans=(\d+)")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that lives in the engine.

    Attributes:
        id: for example "sip/46".
        status: for example "answered".
        address: what it leads to, as its driver tells it.
        peer: the id of the channel or source that it is connected to, empty if there is none.
    """

    id: str
    status: str
    address: str
    peer: str


@dataclass(frozen=True, slots=True)
class Resync:
    """What happened while a module was not attached.

    Attributes:
        new_engine: the engine was started anew: all channels and settings of the old one are gone.
            Otherwise only the link broke.
        away: seconds during which nothing was heard.
        channels: what lives in the engine now, None when it could not tell.
    """

    new_engine: bool
    away: float
    channels: tuple[Channel, ...] | None


class Resyncs:
    """Notices reconnects and finds out what they mean.

    Args:
        tell: called once after each reconnect, also when the link broke again before this was
            found out: then the next reconnect tells of the whole time.

    Attributes:
        runid: of the engine that is attached; the set-up of a link sets it.
    """

    def __init__(self, tell: Callable[[Resync], None]) -> None:
        self._tell = tell
        self._time = asyncio.get_running_loop().time
        self._known: str | None = None
        self._lost_at: float | None = None
        self.runid = ""

    def lost(self) -> None:
        """Note that the module is not attached any more."""
        if self._lost_at is None:
            self._lost_at = self._time()

    def due(self) -> bool:
        """Note that the module is attached; tell whether this is a reconnect."""
        if self._known is None:
            self._known = self.runid
        return self._lost_at is not None

    async def find_out(self, link: Link) -> None:
        """Ask the engine what lives in it and tell."""
        runid, lost_at, now = self.runid, self._lost_at, self._time()
        try:
            channels = await live_channels(functools.partial(_status, link))
        except ConnectionLost:
            return
        if lost_at is None or lost_at != self._lost_at:
            # Told meanwhile: another link broke and came back while this one's engine was asked.
            return
        resync = Resync(runid != self._known, now - lost_at, channels)
        self._known, self._lost_at = runid, None
        self._tell(resync)


async def live_channels(
    status: Callable[..., Awaitable[str]], driver: str = ""
) -> tuple[Channel, ...] | None:
    """Return all channels of the engine's drivers, None when it does not tell.

    External channels belong to no driver and are not among them (engine.md 5.3).

    Args:
        status: dispatches engine.status with the parameters that it is given.
        driver: only the channels of this one.

    Raises:
        ConnectionLost: the link ended first.
    """
    channels: list[Channel] = []
    try:
        overview = await status(details=False)
        for name, count in _DRIVER.findall(overview):
            if driver not in ("", name):
                continue
            if int(count) > CHANNELS_LIMIT:
                logger.warning("%s has %s channels, too many to list", shown(name), count)
                return None
            if int(count):
                channels += _listed(await status(module=name))
    except ConnectionLost:
        raise
    except YatewayError as error:
        logger.warning("the engine does not tell its channels: %s", error)
        return None
    return tuple(channels)


async def _status(link: Link, **params: str | bool) -> str:
    return (await link.dispatch(Message("engine.status", params), STATUS_TIMEOUT)).retvalue


def _listed(report: str) -> list[Channel]:
    """Read "name=sip,...;routed=1,...;sip/1=answered|127.0.0.1:5060|dumb/1,sip/2=..."."""
    channels = []
    # Of the three parts only the last may hold a semicolon, in the id of a peer.
    for entry in "".join(report.rstrip("\r\n").split(";", 2)[2:]).split(","):
        id_, equals, rest = entry.partition("=")
        status, _, rest = rest.partition("|")
        address, _, peer = rest.partition("|")
        if equals:
            # The engine writes what would end an address as %2C, %3B and %7C.
            address = unquote(address, errors="surrogateescape")
            channels.append(Channel(id_, status, address, peer))
    return channels
