"""The ends of calls and what they share: who is connected to whom, and for how long each lives.

It must not know drivers' channels or what they tell. An end lives as long as somebody holds it: its
peer, a message about it, or who made it. When the last one lets go it is gone; so it is in the real
engine, whose objects count their references, and that decides when a call has ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING

from ..wire.codec import c_integer, to_boolean
from .dispatcher import Dispatcher, EngineMessage
from .media import DataEnd

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Endpoint", "Exchange", "copy_params", "flag", "number", "word"]


def word(value: bool) -> str:
    """Return a boolean as the engine writes it."""
    return "true" if value else "false"


def flag(message: EngineMessage, name: str, default: bool = False) -> bool:
    """Return a boolean parameter; the default where it is missing or none of the ten words."""
    return to_boolean(message.params.get(name, ""), default)


def number(message: EngineMessage, name: str, default: int) -> int:
    """Return a parameter that is a number; the default where it is missing or something else."""
    value, rest = c_integer(message.params.get(name, ""))
    return default if value is None or rest else value


def copy_params(target: EngineMessage, source: Mapping[str, str], names: str) -> None:
    """Copy parameters by their names, given with commas between; those missing are removed."""
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name in source:
            target.set(name, source[name])
        else:
            target.delete(name)


class Exchange:
    """What all channels of one run share: messages, the clock, numbers.

    Args:
        dispatcher: takes the messages.
        clock: returns the seconds since the epoch, exactly; it must follow the loop's clock.
        runid: begins the bill ids.
        spawn: runs a coroutine beside everything else, until the end of the run.

    Attributes:
        halting: the run is about to end: no more calls begin, and whoever is left alone does not
            ask for another peer.
        exiting: it ends now: channels no longer tell what becomes of them.
        drivers: all of them, in the order in which they are asked.
        timeout: milliseconds after which a call is dropped, as [telephony] timeout; 0 for never.
        nodename: the machine's, as engine.timer tells it.
        dtmf_twins: digits that come twice, detected in two ways, are told twice ([telephony]
            dtmfdups).
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: Callable[[], float],
        runid: str,
        spawn: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        self.dispatcher = dispatcher
        self.clock = clock
        self.runid = runid
        self.spawn = spawn
        self.halting = False
        self.exiting = False
        self.drivers: list[Driver] = []
        self.timeout = 0
        self.nodename = ""
        self.dtmf_twins = False
        self._bills = itertools.count(1)

    def new_billid(self) -> str:
        """Return the id of one more call."""
        return f"{self.runid}-{next(self._bills)}"

    def message(self, name: str, params: Iterable[tuple[str, str | None]] = ()) -> EngineMessage:
        """Return a message of now."""
        return EngineMessage(name, params, time=int(self.clock()))

    def wants(self, name: str) -> bool:
        """Tell whether anybody handles or watches messages of that name."""
        return not self.exiting and self.dispatcher.is_wanted(name)

    def enqueue(self, message: EngineMessage) -> None:
        """Dispatch a message without waiting for it; one that nobody wants, not at all."""
        if self.wants(message.name):
            self.dispatcher.enqueue(message)
        else:
            if message.done is not None:
                message.done(False)
            message.user_data = None

    async def dispatch(self, message: EngineMessage) -> bool:
        """Dispatch a message and return whether it was processed.

        Raises:
            ConnectionLost: the engine was stopped meanwhile.
        """
        return await self.dispatcher.dispatch(message)

    def close(self) -> None:
        """End with the run: nobody is told anything any more, and all files are closed."""
        self.halting = self.exiting = True
        for driver in self.drivers:
            driver.close()


class Endpoint:
    """One end of a call.

    Args:
        exchange: where it is.
        id: what messages call it.

    Attributes:
        id: may be changed.
        peer: the end it is connected to.
        last_peer: the id of that, or of the one before; empty until there was one.
        data: its end for sound, once it has one.
    """

    def __init__(self, exchange: Exchange, id: str) -> None:
        self.exchange = exchange
        self.id = id
        self.peer: Endpoint | None = None
        self.last_peer = ""
        self.data: DataEnd | None = None
        self._holders = 1

    def __repr__(self) -> str:
        peer = self.peer.id if self.peer else ""
        return f"<{type(self).__name__} {self.id!a} peer={peer!a} holders={self._holders}>"

    # Life

    @property
    def alive(self) -> bool:
        """Whether anybody holds it."""
        return self._holders > 0

    def hold(self) -> None:
        """One more needs this end."""
        self._holders += 1

    def release(self) -> None:
        """One less needs it; without any it is gone. Whoever made an end holds it at first."""
        self._holders -= 1
        if self._holders == 0:
            self.destroyed()

    def destroyed(self) -> None:
        """End: leave the peer and let go of all sound. Extended by subclasses."""
        self.disconnect(final=True)
        if self.data is not None:
            self.data.close()

    # For subclasses

    def connected(self, reason: str | None) -> None:
        """Take note of a new peer."""

    def disconnected(self, final: bool, reason: str | None) -> None:
        """Take note that there is no peer any more.

        Args:
            final: this end itself is gone.
            reason: why, if known.
        """

    def set_disconnect(self, params: Mapping[str, str] | None) -> None:
        """Take what the message that ends the connection said, before `disconnected`."""

    # The peer

    def connect(self, peer: Endpoint, reason: str | None = None, *, notify: bool = True) -> bool:
        """Connect to another end; both leave the ones they were connected to.

        Args:
            peer: the other end.
            reason: told to those who are left, and to both ends.
            notify: tell those who are left at all.

        Returns:
            Whether they are connected; an end cannot be connected to itself, nor to a dead one.
        """
        if peer is self.peer:
            return True
        if peer is self or not self.alive:
            return False
        self.hold()
        self.disconnect(reason, notify=notify)
        if not peer.alive:
            self.release()
            return False
        peer.hold()
        peer.disconnect(reason, notify=notify)
        if self.data is not None and peer.data is not None:
            self.data.connect(peer.data)
        self.peer = peer
        peer._joined(self, reason)
        self.set_disconnect(None)
        self.connected(reason)
        return True

    def _joined(self, peer: Endpoint, reason: str | None) -> None:
        self.peer = peer
        self.set_disconnect(None)
        self.connected(reason)

    def disconnect(
        self,
        reason: str | None = None,
        *,
        final: bool = False,
        notify: bool = True,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Leave the peer, if there is one; it is told, this end is not.

        Args:
            reason: told to the peer.
            final: this end is gone.
            notify: tell the peer at all.
            params: what else the peer gets to know.
        """
        peer = self.peer
        if peer is None:
            return
        self.peer = None
        if self.data is not None:
            self.data.disconnect()
        peer.peer = None
        if notify:
            peer.set_disconnect(params)
            peer.disconnected(False, reason)
        if final:
            self.disconnected(True, reason)
        peer.release()
        if not final:
            self.release()

    # Sound

    def open_data(self) -> DataEnd:
        """Return its end for sound, made at the first call and joined to the peer's."""
        if self.data is None:
            self.data = DataEnd()
            if self.peer is not None and self.peer.data is not None:
                self.data.connect(self.peer.data)
        return self.data

    def share_data(self, data: DataEnd | None) -> None:
        """Use the end for sound of somebody else, as fork does for early media; None: no longer."""
        if self.data is data:
            return
        if self.data is not None:
            self.data.disconnect()
        self.data = data
        if data is not None and self.peer is not None and self.peer.data is not None:
            data.connect(self.peer.data)
