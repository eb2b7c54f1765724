"""Conferences: rooms `conf/NAME`, whose members hear each other and whose owner is told all.

It must not know what goes on in a room: that is `room.py`. A room comes with its first leg and goes
with its last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver, Report
from .dumb import STARTUP_PARAMS
from .endpoints import Endpoint, Exchange, copy_params, flag, number, word
from .room import Leg, Room
from .speaking import level

__all__ = ["Conference"]


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
        ear = channel.ear if isinstance(channel, Leg) else None
        text = super().channel_report(channel)
        if ear is None:
            return text
        sound = f",mute={word(ear.muted)},signal={word(ear.signal)}"
        if ear.loudness.smart and not ear.muted:
            sound += f",noise={level(ear.loudness.noise)}"
            sound += f",energy={level(ear.loudness.energy)}" if ear.signal else ""
        return f"{text.removesuffix(chr(13) + chr(10))}{sound}\r\n"

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

    def _enter(self, name: str, message: EngineMessage) -> Leg:
        """Return a new leg in a room, which is opened if need be."""
        room = self.rooms.get(name)
        if room is None:
            room = Room(self, name, message)
        elif "lonely" in message.params:
            room.set_lonely(message.params["lonely"])
        utility = flag(message, "utility")
        leg = Leg(
            room,
            counted=flag(message, "counted", not utility),
            utility=utility,
            voice=flag(message, "voice", True),
            smart=flag(message, "smart", not utility),
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
        if isinstance(end, Leg):
            return False
        entered = self._room_name(name, message)
        return entered is not None and self._join_both(message, end, entered)

    def _join_both(self, message: EngineMessage, end: Endpoint, name: str) -> bool:
        """Let an end into a room, and whoever it was connected to."""
        peer, reason = end.peer, message.params.get("reason", "conference")
        if isinstance(peer, Leg):
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
