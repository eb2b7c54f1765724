"""Conferences: rooms `conf/NAME`, whose members hear each other and whose owner is told all.

It must not mix: that is `mixing.py`. A room comes with its first leg and goes with its last one.
Whoever gave `notify` gets chan.notify with event=created, joined, left, destroyed, dtmf and text.
Loudness is not measured: engine.status shows the values of silence, and nobody is told who speaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from ..wire.codec import to_boolean
from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver, Report
from .dumb import STARTUP_PARAMS
from .endpoints import Endpoint, Exchange, copy_params, flag, number, word
from .mixing import Ear, Mixer, Mouth

__all__ = ["Conference", "Room"]

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
        self.legs: dict[str, _Leg] = {}
        self.users = 0
        self.notify = message.params.get("notify", "")
        self.owners: list[str] = []
        self._maxusers = number(message, "maxusers", MAXUSERS)
        self._is_new = True
        self._player = ""
        self._recorder: _Leg | None = None
        self._lonely = False
        self._lonely_limit = 0
        self._timer: asyncio.TimerHandle | None = None
        self._expires = 0.0
        self.set_lonely(message.params.get("lonely", ""))
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

    def _notification(self, event: str, leg: _Leg | None = None) -> EngineMessage:
        message = self.driver.exchange.message("chan.notify")
        if leg is not None:
            message.set("id", leg.id)
        message.set("targetid", self.notify)
        if leg is not None:
            leg.describe(message)
        message.set("event", event)
        return message

    # Members

    def add(self, leg: _Leg, *, player: bool) -> None:
        """Let a leg in."""
        self.legs[leg.id] = leg
        if player:
            self._player = leg.id
        if leg.counted:
            self.users += 1
            self._set_timer()
        self._tell("joined", leg)

    def remove(self, leg: _Leg) -> None:
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

    def _tell(self, event: str, leg: _Leg) -> None:
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
        leg = _Leg(self, counted=False, utility=True, voice=bool(warning), outgoing=False)
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


class _Leg(Channel):
    """A member's leg in a room.

    Args:
        room: the room.
        counted: it is a user; others do not keep the room open.
        utility: it plays or records; nobody is told about it.
        voice: it is heard by the others.
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
        self.ear = Ear(room.mixer) if voice else None
        own = None if echo else self.ear
        self._mouth = Mouth(f"conf/{room.name}", room.mixer, own)
        room.mixer.add(self.ear, self._mouth)
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
        self.room.remove(self)
        if self.billing:
            self.exchange.enqueue(self.message("chan.hangup"))

    def control(self, message: EngineMessage) -> bool:
        super().control(message)
        mute = message.params.get("mute", "")
        if self.ear is None or to_boolean(mute, False) != to_boolean(mute, True):
            return False  # neither a yes nor a no
        self.ear.muted = to_boolean(mute, False)
        return True

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


class Conference(Driver):
    """The driver of conferences.

    Attributes:
        rooms: by their names.
    """

    #: Before modules, so that they see the room's notification and not the digit.
    tone_priority = 75

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, "conf")
        self.rooms: dict[str, Room] = {}
        self._numbered = 0

    def install(self) -> None:
        super().install()
        self.handle("call.conference", 150, self._conference)
        self.handle("chan.hangup", 150, self._hangup)

    def report(self) -> Report:
        report = super().report()
        counters = f"{report.counters},rooms={len(self.rooms)}"
        return Report(report.name, report.kind, report.columns, counters, report.details)

    def places(self) -> Iterable[str]:
        return (self.prefix + name for name in self.rooms)

    def named_report(self, id: str) -> str | None:
        room = self.rooms.get(id.removeprefix(self.prefix)) if id.startswith(self.prefix) else None
        return None if room is None else room.status(asyncio.get_running_loop().time())

    def channel_report(self, channel: Channel) -> str:
        ear = channel.ear if isinstance(channel, _Leg) else None
        text = super().channel_report(channel)
        if ear is None:
            return text
        sound = "signal=false" if ear.muted else "signal=true,noise=8,energy=8"
        return f"{text.removesuffix(chr(13) + chr(10))},mute={word(ear.muted)},{sound}\r\n"

    # Rooms

    def _room_name(self, name: str, message: EngineMessage) -> str | None:
        """Return the name of a room that lets somebody in, made up if it is empty."""
        counted = flag(message, "counted", not flag(message, "utility"))
        room = self.rooms.get(name)
        if room is not None:
            return None if counted and room.full else name
        if flag(message, "existing"):
            return None
        if not name:
            self._numbered += 1
            name = f"x-{self._numbered}"
        return name

    def _enter(self, name: str, message: EngineMessage) -> _Leg:
        """Return a new leg in a room, which is opened if need be."""
        room = self.rooms.get(name)
        if room is None:
            room = Room(self, name, message)
        elif "lonely" in message.params:
            room.set_lonely(message.params["lonely"])
        utility = flag(message, "utility")
        leg = _Leg(
            room,
            counted=flag(message, "counted", not utility),
            utility=utility,
            voice=flag(message, "voice", True),
            echo=flag(message, "echo", utility),
            player=flag(message, "player"),
        )
        leg.keep_target = flag(message, "keeptarget")
        leg.billing = flag(message, "billing")
        if not utility:
            leg.set_deadline("timeout", number(message, "timeout", self.exchange.timeout))
        if leg.billing:
            startup = leg.message("chan.startup", message)
            copy_params(startup, message.params, STARTUP_PARAMS)
            self.exchange.enqueue(startup)
        leg.start()
        return leg

    # Messages

    async def execute(self, message: EngineMessage, target: str) -> bool:
        name, caller = self._room_name(target, message), message.user_data
        if name is None or not isinstance(caller, Endpoint):
            return False
        leg = self._enter(name, message)
        if connected := caller.connect(leg, message.params.get("reason")):
            await leg.detect_tones(message, "tonedetect_out")
            message.set("peerid", leg.id)
            message.set("room", self.prefix + name)
            leg.room.answer(message)
        leg.release()
        return connected

    async def _drop(self, message: EngineMessage) -> bool:
        id_ = message.params.get("id", "")
        room = self.rooms.get(id_.removeprefix(self.prefix))
        if room is None or not id_.startswith(self.prefix):
            return await super()._drop(message)
        room.drop(message.params.get("reason"))
        return True

    async def _hangup(self, message: EngineMessage) -> bool:
        if id_ := message.params.get("id"):
            for room in tuple(self.rooms.values()):
                room.disown(id_)
        return False

    async def _conference(self, message: EngineMessage) -> bool:
        name = message.params.get("room", "")
        if name and not (name.startswith(self.prefix) and name != self.prefix):
            return False
        name = name.removeprefix(self.prefix)
        end = message.user_data
        if not isinstance(end, Endpoint):
            room = self.rooms.get(name)
            if room is None:
                return False
            recorded = room.set_recording(message)
            return room.answer(message) or recorded
        if isinstance(end, _Leg):
            return False
        entered = self._room_name(name, message)
        return entered is not None and self._join_both(message, end, entered)

    def _join_both(self, message: EngineMessage, end: Endpoint, name: str) -> bool:
        """Let an end into a room, and whoever it was connected to."""
        peer, reason = end.peer, message.params.get("reason", "conference")
        if isinstance(peer, _Leg):
            if peer.address == name:
                return True
            peer = None
        if peer is not None:
            peer.hold()
        leg = self._enter(name, message)
        connected = end.connect(leg, reason, notify=False)
        if connected:
            message.set("peerid", leg.id)
            message.set("room", self.prefix + name)
            if peer is not None:
                other = self._enter(name, message)
                peer.connect(other, reason, notify=False)
                other.release()
            leg.room.answer(message)
        leg.release()
        if peer is not None:
            peer.release()
        return connected
