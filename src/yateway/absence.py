"""What becomes of the calls while the module is not attached: nothing of them is told then.

It must not end a call that may go on, since the engine may be there all the same. Who has hung up
is found out when the module is attached again; calls are given up before that only where the engine
is known to be gone, or has been out of reach for too long.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .registry import Calls
from .resync import Resync
from .sound import Playback

if TYPE_CHECKING:
    from .call import Call

__all__ = ["ENGINE_LOST", "LOST_LIMIT", "Absence"]

#: Seconds without a link after which calls count as lost.
LOST_LIMIT: Final = 60.0
#: The reason of calls that ended with their engine.
ENGINE_LOST: Final = "engine lost"


class Absence:
    """The calls of one module, and whether it is known what has become of them.

    Args:
        calls: those that are alive.
        address: of the module's legs in the engine.

    Attributes:
        linked: not set while nobody knows, LOST_LIMIT at most.
    """

    def __init__(self, calls: Calls, address: str) -> None:
        self._calls = calls
        self._address = address
        self._doubtful: set[Call] = set()
        self._lost: asyncio.TimerHandle | None = None
        self.linked = asyncio.Event()
        self.linked.set()

    def __repr__(self) -> str:
        return f"<Absence {'none' if self.linked.is_set() else 'lasts'}: {len(self)} in doubt>"

    def __len__(self) -> int:
        """Return of how many calls it is not known whether they go on."""
        return len(self._doubtful)

    def begins(self) -> None:
        """Take note that the module is not attached.

        A sound that ends meanwhile would be waited for in vain, so that its end counts as unknown.
        """
        if self._lost is None and len(self._calls):
            self._lost = asyncio.get_running_loop().call_later(LOST_LIMIT, self.engine_lost)
            self.linked.clear()
        self._doubtful.update(self._calls)
        for call in self._calls:
            for sound in tuple(call.sounds):
                sound.settle(Playback.LOST)

    def ended(self, call: Call) -> None:
        """Take note that a call is over."""
        self._doubtful.discard(call)

    def engine_lost(self) -> None:
        """End all calls: there is no engine any more that could have them."""
        self._found()
        for call in self._calls:
            call.end(ENGINE_LOST)

    def resynced(self, resync: Resync) -> None:
        """End the calls that did not survive while the module was not attached."""
        self._found()
        # Not those that have come since: the engine was asked before it had them.
        doubtful, self._doubtful = self._doubtful, set()
        if resync.new_engine:
            for call in doubtful:
                call.end(ENGINE_LOST)
        elif resync.channels is not None:
            peers = {channel.id: channel.peer for channel in resync.channels}
            for call in doubtful:
                if (call.leg or call.id) not in peers:
                    call.end("gone")
            for channel in resync.channels:
                # Somebody came back to us while we were not told.
                person = self._calls.get(channel.peer)
                if person in doubtful and not person.leg and channel.address == self._address:
                    person.returned(channel.id)

    def _found(self) -> None:
        if self._lost is not None:
            self._lost.cancel()
            self._lost = None
        self.linked.set()
