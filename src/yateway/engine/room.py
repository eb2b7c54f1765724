"""One conference, and the legs of its members: who comes and goes, who is told, when it ends.

It must not know other rooms, nor mix: that is `mixing.py`. Whoever gave `notify` gets chan.notify
with event=created, joined, left, destroyed, dtmf and text, and with `speakers` also speaking. How
loud somebody is is measured only then; engine.status shows the values of silence otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..wire.codec import to_boolean
from .channels import Channel
from .dispatcher import EngineMessage
from .endpoints import flag, number, word
from .mixing import Ear, Mixer, Mouth
from .speaking import INTERVAL, MOST, USUAL, Speakers

if TYPE_CHECKING:
    from .conference import Conference

__all__ = ["Leg", "Room"]

MAXUSERS: Final = 10
#: Milliseconds that somebody may at least be alone where there is a limit at all.
LEAST_LONELY: Final = 1000


class Room:
    """One conference.

    Args:
        driver: the driver.
        name: of the room.
        message: what opened it.
    """

    def __init__(self, driver: Conference, name: str, message: EngineMessage) -> None:
        self.driver = driver
        self.name = name
        self.mixer = Mixer()
        self.legs: dict[str, Leg] = {}
        self.users = 0
        self.notify = message.params.get("notify", "")
        self.owners: list[str] = []
        self._maxusers = number(message, "maxusers", MAXUSERS)
        self._is_new = True
        self._player = ""
        self._recorder: Leg | None = None
        self._lonely = False
        self._lonely_limit = 0
        self._timer: asyncio.TimerHandle | None = None
        self._expires = 0.0
        self.set_lonely(message.params.get("lonely", ""))
        self.speakers = self._follow_speakers(message)
        driver.rooms[name] = self
        self.set_recording(message)
        if self.notify:
            opened = self._notification("created")
            opened.set("room", name)
            opened.set("rate", "8000")
            opened.set("maxusers", str(self._maxusers))
            for param in ("caller", "called", "billid", "username"):
                opened.set(param, message.params.get(param, ""))
            driver.exchange.enqueue(opened)

    @property
    def full(self) -> bool:
        """Whether no more users may come."""
        return self.users >= self._maxusers

    def _notification(self, event: str, leg: Leg | None = None) -> EngineMessage:
        message = self.driver.exchange.message("chan.notify")
        if leg is not None:
            message.set("id", leg.id)
        message.set("targetid", self.notify)
        if leg is not None:
            leg.describe(message)
        message.set("event", event)
        return message

    # Who speaks

    def _follow_speakers(self, message: EngineMessage) -> Speakers | None:
        most = min(number(message, "speakers", 0), MOST)
        if most == 0 and flag(message, "speakers"):
            most = USUAL
        if most <= 0 or not self.notify:
            return None
        return Speakers(most, number(message, "interval", INTERVAL), self._tell_speakers)

    def _tell_speakers(self, speakers: Sequence[tuple[Ear, int]], changed: bool) -> None:
        legs = {leg.ear: leg for leg in self.legs.values()}
        message = self._notification("speaking")
        message.set("room", self.name)
        message.set("maxusers", str(self._maxusers))
        for place, (ear, loudness) in enumerate(speakers, 1):
            leg = legs[ear]
            message.set(f"speaker.{place}", leg.id)
            if leg.peer is not None:
                message.set(f"speaker.{place}.peer", leg.peer.id)
            message.set(f"speaker.{place}.energy", str(loudness))
        message.set("speakers", str(len(speakers)))
        message.set("changed", word(changed))
        self.driver.exchange.enqueue(message)

    # Members

    def add(self, leg: Leg, *, player: bool) -> None:
        """Let a leg in."""
        self.legs[leg.id] = leg
        if player:
            self._player = leg.id
        if leg.counted:
            self.users += 1
            self._set_timer()
        self._tell("joined", leg)

    def remove(self, leg: Leg) -> None:
        """A leg leaves; with nobody else to stay for, the others have to leave too."""
        if leg is self._recorder:
            self._recorder = None
        if leg.id == self._player:
            self._player = ""
        if self.legs.pop(leg.id, None) is not None and leg.counted:
            self.users -= 1
            self._set_timer()
        self._tell("left", leg)
        if not self.owned:
            self.drop("hangup")
        if not self.legs:
            self._close()

    def _tell(self, event: str, leg: Leg) -> None:
        if not self.notify or leg.utility:
            return
        message = self._notification(event, leg)
        message.set("maxusers", str(self._maxusers))
        message.set("users", str(self.users))
        if event == "left" and self._lonely:
            message.set("lonely", word(self.users == 1))
        if self._player:
            message.set("player", self._player)
        if leg.last_peer:
            message.set("lastpeerid", leg.last_peer)
        self.driver.exchange.enqueue(message)

    def _close(self) -> None:
        if self.driver.rooms.get(self.name) is not self:
            return
        del self.driver.rooms[self.name]
        self._cancel()
        if self.notify:
            message = self._notification("destroyed")
            message.set("room", self.name)
            message.set("maxusers", str(self._maxusers))
            self.driver.exchange.enqueue(message)

    @property
    def owned(self) -> bool:
        """Whether there is somebody for whom the room has to go on."""
        if not self.users:
            return False
        if self._lonely or self.users > 1 or len(self.owners) > 1:
            return True
        if not self.owners:
            return False
        # One user and one owner: it must not be the same.
        user = next((leg for leg in self.legs.values() if leg.counted), None)
        return user is not None and user.peer is not None and user.peer.id != self.owners[0]

    def disown(self, id: str) -> None:
        """One owner has gone."""
        if id in self.owners:
            self.owners.remove(id)
            if not self.owned:
                self.drop("hangup")

    def drop(self, reason: str | None) -> None:
        """Let everybody leave."""
        for leg in tuple(self.legs.values()):
            leg.disconnect(reason)

    # What the room is asked

    def answer(self, message: EngineMessage) -> bool:
        """Say what became of the room, and take an owner; return whether there was one."""
        message.set("newroom", word(self._is_new))
        message.set("users", str(self.users))
        self._is_new = False
        owner, id_ = message.params.get("confowner", ""), message.params.get("id", "")
        if not owner:
            return False
        yes, no = to_boolean(owner, False), not to_boolean(owner, True)
        if not (yes or no):
            self.owners += [owner] if owner not in self.owners else []
        elif yes and id_ and id_ not in self.owners:
            self.owners.append(id_)
        elif no:
            self.disown(id_)
        return True

    def status(self, now: float) -> str:
        """Return what engine.status says."""
        left = max(0, round((self._expires - now) * 1000)) if self._timer is not None else 0
        notify = f",notify={self.notify}" if self.notify else ""
        player = f",player={self._player}" if self._player else ""
        return (
            f"name=conf/{self.name},type=conference;module=conf,room={self.name}"
            f",maxusers={self._maxusers},lonely={word(self._lonely)},expire={left},rate=8000"
            f",users={self.users},chans={len(self.legs)},owners={len(self.owners)}"
            f"{notify}{player}\r\n"
        )

    def set_recording(self, message: EngineMessage) -> bool:
        """Begin or stop to record the room; return whether the message is about that."""
        target = message.params.get("record")
        if target is None:
            return False
        before, self._recorder = self._recorder, None
        if before is not None:
            before.disconnect(message.params.get("reason", "hangup"))
        if target not in ("", "-") and to_boolean(target, True):
            self._record(target, message)
        return True

    def _record(self, target: str, message: EngineMessage) -> None:
        exchange, warning = self.driver.exchange, message.params.get("recordwarn", "")
        leg = Leg(self, counted=False, utility=True, voice=bool(warning), outgoing=False)
        leg.start()
        call = leg.message("call.execute", about=True)
        call.set("callto", target)
        call.set("cdrtrack", "false")
        for param in ("caller", "called", "billid", "username", "maxlen", "notify"):
            call.set(param, message.params.get(param, ""))
        call.set("room", self.name)
        if self.notify:
            call.set("targetid", self.notify)
        exchange.enqueue(call)
        if warning:
            attach = leg.message("chan.attach", about=True, minimal=True)
            for name, value in (("override", warning), ("single", "true"), ("room", self.name)):
                attach.set(name, value)
            exchange.enqueue(attach)
        if self.notify:
            told = leg.message("chan.notify", about=True, minimal=True)
            told.set("targetid", self.notify)
            leg.describe(told)
            told.set("event", "recording")
            told.set("maxusers", str(self._maxusers))
            told.set("users", str(self.users))
            told.set("record", target)
            exchange.enqueue(told)
        self._recorder = leg
        leg.release()

    # Being alone

    def set_lonely(self, text: str) -> None:
        """Take `lonely`: may a single user stay, and for how many milliseconds."""
        limit = int(text) if text.isdecimal() else -1
        if not self.users:
            self._lonely = to_boolean(text, limit >= 0)
        if self._lonely and limit >= 0:
            self._lonely_limit = max(limit, LEAST_LONELY) if limit else 0
            self._set_timer()

    def _set_timer(self) -> None:
        self._cancel()
        if self._lonely and self.users == 1 and self._lonely_limit:
            loop = asyncio.get_running_loop()
            self._expires = loop.time() + self._lonely_limit / 1000
            self._timer = loop.call_at(self._expires, self._alone_too_long)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _alone_too_long(self) -> None:
        self._timer = None
        if not self.driver.exchange.exiting:
            self.drop("timeout")


class Leg(Channel):
    """A member's leg in a room.

    Args:
        room: the room.
        counted: it is a user; others do not keep the room open.
        utility: it plays or records; nobody is told about it.
        voice: it is heard by the others.
        smart: it may count as speaking.
        echo: it hears itself too.
        outgoing: the engine made the call to here.
        player: notifications name it as the one that plays.
    """

    driver: Conference

    def __init__(
        self,
        room: Room,
        *,
        counted: bool,
        utility: bool,
        voice: bool,
        smart: bool = False,
        echo: bool = True,
        outgoing: bool = True,
        player: bool = False,
    ) -> None:
        super().__init__(room.driver, room.name, outgoing=outgoing)
        self.room = room
        self.counted = counted
        self.utility = utility
        self.billing = False
        self.keep_target = False
        self.ear = Ear(room.mixer, smart=smart) if voice else None
        own = None if echo else self.ear
        self._mouth = Mouth(f"conf/{room.name}", room.mixer, own)
        room.mixer.add(self.ear, self._mouth)
        if self.ear is not None and room.speakers is not None:
            room.speakers.add(self.ear, person=not utility)
        data = self.open_data()
        data.set_consumer(self.ear)
        data.set_source(self._mouth)
        room.add(self, player=player)

    def describe(self, message: EngineMessage) -> None:
        """Put in what the leg is in the room."""
        message.set("counted", word(self.counted))
        message.set("utility", word(self.utility))
        message.set("room", self.address)

    def destroyed(self) -> None:
        super().destroyed()
        self.room.mixer.remove(self.ear, self._mouth)
        if self.ear is not None and self.room.speakers is not None:
            self.room.speakers.remove(self.ear)
        self.room.remove(self)
        if self.billing:
            self.exchange.enqueue(self.message("chan.hangup"))

    def control(self, message: EngineMessage) -> bool:
        super().control(message)
        if self.ear is None:
            return False
        mute, smart = _yes_or_no(message, "mute"), _yes_or_no(message, "smart")
        if mute is not None:
            self.ear.muted = mute
        if smart is not None:
            self.ear.loudness.smart = smart
        return mute is not None or smart is not None

    def tone(self, message: EngineMessage, text: str) -> bool:
        self._retell(message, "dtmf")
        return False

    def text(self, message: EngineMessage, text: str) -> bool:
        self._retell(message, "text")
        return False

    def _retell(self, message: EngineMessage, event: str) -> None:
        """Make a notification of the room out of a message for the leg."""
        target = message.params.get("targetid", "")
        if self.keep_target and target and target != self.id:
            return
        self.describe(message)
        if not self.room.notify:
            return
        message.name = "chan.notify"
        if "id" in message.params:
            message.set("peerid", message.params["id"])
        message.set("id", self.id)
        message.set("event", event)
        message.set("users", str(self.room.users))
        message.set("full", word(self.room.full))
        message.set("targetid", self.room.notify)
        if self.last_peer:
            message.set("lastpeerid", self.last_peer)


def _yes_or_no(message: EngineMessage, name: str) -> bool | None:
    """Return a boolean parameter, None if it is neither a yes nor a no."""
    value = message.params.get(name, "")
    return to_boolean(value, False) if to_boolean(value, False) == to_boolean(value, True) else None
