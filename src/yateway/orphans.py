"""Hangs up what a module that was killed has left behind: legs that nobody drives any more.

It must not touch what may still be driven. The engine ends nothing when a module goes, so that a
caller would hear silence for ever. The address of a leg tells the module's name and instance; an
instance that lives answers the message `ALIVE`. One that was cut off from the engine does not, and
comes back; it gives up its calls after a minute, and no earlier than that are they taken from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from .errors import YatewayError, shown
from .log import logger, told
from .message import Message, Value
from .resync import live_channels

__all__ = ["ALIVE", "INSTANCE", "PATIENCE", "Orphans"]

#: The message that asks for an instance, and its parameter.
ALIVE: Final = "yateway.alive"
INSTANCE: Final = "instance"

#: Seconds for which nobody may have known a leg: longer than a module without a link keeps its
#: calls, and than a message on its way may take to tell of a new one.
PATIENCE: Final = 65.0
#: Seconds between two questions.
INTERVAL: Final = 5.0
#: What those are told who are hung up so.
REASON: Final = "failure"


class Orphans:
    """Looks for the legs that nobody drives.

    Args:
        address: of this instance's legs; `<module>.<instance>`.
        known: tells whether a channel belongs to a call of this instance.
        dispatch: sends a message.
        spawn: runs work beside everything else.
    """

    def __init__(
        self,
        address: str,
        known: Callable[[str], bool],
        dispatch: Callable[[str, Mapping[str, Value]], Awaitable[Message]],
        spawn: Callable[..., asyncio.Task[object]],
    ) -> None:
        self._address = address
        self._family = address.rpartition(".")[0] + "."
        self._known = known
        self._dispatch = dispatch
        self._spawn = spawn
        self._searching: asyncio.Task[object] | None = None

    def search(self) -> None:
        """Begin to look for them: the module is attached."""
        self.stop()
        self._searching = self._spawn(self._search())

    def stop(self) -> None:
        """Look no more: what was found may be another channel when the module is attached again."""
        if self._searching is not None:
            self._searching.cancel()
            self._searching = None

    async def _search(self) -> None:
        try:
            legs = await self._legs()
            time = asyncio.get_running_loop().time
            until = time() + PATIENCE
            while legs and time() < until:
                await asyncio.sleep(INTERVAL)
                dead = [a for a in set(legs.values()) if not await self._lives(a)]
                legs = {leg: a for leg, a in legs.items() if a in dead and not self._known(leg)}
            if legs:
                await self._drop(legs)
        except YatewayError as error:
            logger.warning("calls without a module could not be looked for: %s", told(error))

    async def _legs(self) -> dict[str, str]:
        """Return the legs of modules of our name whose calls are not ours, with their addresses."""
        channels = await live_channels(self._status, "dumb") or ()
        return {
            channel.id: channel.address
            for channel in channels
            if channel.address.startswith(self._family) and not self._known(channel.id)
        }

    async def _lives(self, address: str) -> bool:
        if address == self._address:
            return False  # it is us, who do not know the leg
        return (await self._dispatch(ALIVE, {INSTANCE: address})).processed

    async def _drop(self, legs: Mapping[str, str]) -> None:
        present = await self._legs()
        orphans = [leg for leg in legs if leg in present]
        for leg in orphans:
            await self._dispatch("call.drop", {"id": leg, "reason": REASON})
        if orphans:
            logger.warning(
                "%d calls were hung up that a module %s had left behind: %s",
                len(orphans),
                shown(self._family[:-1]),
                ", ".join(map(shown, orphans[:5])),
            )

    async def _status(self, **params: str | bool) -> str:
        return (await self._dispatch("engine.status", params)).retvalue
