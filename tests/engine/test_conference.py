"""Conferences: who hears whom, who is told what, and when a room ends."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from yateway import Message
from yateway.engine import Engine
from yateway.engine.sim import Leg


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def samples(name: str) -> tuple[int, ...]:
    data = Path(name).read_bytes()
    return struct.unpack(f"<{len(data) // 2}h", data)


def loud(name: str, value: int, blocks: int = 50) -> None:
    Path(name).write_bytes(struct.pack("<h", value) * 160 * blocks)


class Room:
    """Lets telephones into a room, and notes its notifications."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.told: list[tuple[str, str]] = []
        self.speakers: list[int] = []
        self.params: dict[str, str] = {}
        engine.install("call.route", self._route)
        engine.install("chan.notify", self._note)

    def _route(self, message: Message) -> bool:
        message.retvalue = "conf/room"
        message.update(self.params)
        return True

    def _note(self, message: Message) -> bool:
        self.told.append((message.get("event", ""), message.get("users", "")))
        if message.get("event") == "speaking":
            self.speakers.append(int(message["speakers"]))
        return False

    async def join(self, **params: str) -> Leg:
        self.params = params
        leg = await self.engine.call("1")
        await leg.until(lambda: leg.answered or leg.hung_up)
        return leg

    async def record(self, leg: Leg, name: str) -> None:
        own: dict[str, str | int | float] = {"id": leg.id, "message": "chan.attach"}
        consumer = f"wave/record/{name}"
        await self.engine.dispatch("chan.masquerade", {**own, "consumer": consumer})


async def test_each_hears_the_others() -> None:
    """And not himself; what is too loud is cut."""
    loud("a.slin", 1000)
    loud("b.slin", 200)
    loud("c.slin", 32700)
    async with Engine() as engine:
        room = Room(engine)
        legs = [await room.join(lonely="true") for _ in range(3)]
        assert legs[0].hears == "conf/room"
        for leg, name in zip(legs, "abc", strict=True):
            await room.record(leg, f"heard-{name}.slin")
        for leg, name in zip(legs, "abc", strict=True):
            leg.say(f"{name}.slin")
        await asyncio.sleep(2)
        for leg in legs:
            leg.hang_up()
        await asyncio.sleep(0)
    assert samples("heard-a.slin")[:8000] == (32767,) * 8000
    assert samples("heard-b.slin")[:8000] == (32767,) * 8000
    assert samples("heard-c.slin")[:8000] == (1200,) * 8000
    assert not any(samples("heard-c.slin")[8000:])


async def test_the_muted_are_not_heard() -> None:
    """Until they are unmuted; what they said meanwhile is lost."""
    loud("a.slin", 1000, 100)
    async with Engine() as engine:
        room = Room(engine)
        speaker, listener = await room.join(), await room.join()
        assert speaker.peer is not None
        await room.record(listener, "heard.slin")
        speaker.say("a.slin")
        await asyncio.sleep(0.5)
        muted = await engine.dispatch("chan.control", targetid=speaker.peer.id, mute=True)
        assert muted.processed
        status = await engine.dispatch("engine.status", module=speaker.peer.id)
        assert status.retvalue.endswith(",mute=true,signal=false\r\n")
        await asyncio.sleep(0.5)
        await engine.dispatch("chan.control", targetid=speaker.peer.id, mute=False)
        await asyncio.sleep(2)
        speaker.hang_up()
        await asyncio.sleep(0)
    heard = samples("heard.slin")
    assert 60 * 160 < heard.count(1000) < 90 * 160
    assert heard[30 * 160 : 45 * 160] == (0,) * 15 * 160


async def test_nothing_is_mixed_for_telephones() -> None:
    """They hear what it is, and no more; a minute costs nothing."""
    async with Engine() as engine:
        room = Room(engine)
        legs = [await room.join(lonely="true") for _ in range(2)]
        await asyncio.sleep(3600)
        assert legs[0].hears == "conf/room"
        for leg in legs:
            leg.hang_up()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"notify": "n", "speakers": "yes"}, 3),
        ({"notify": "n", "speakers": "1"}, 1),
        ({"notify": "n", "speakers": "99"}, 4),
        ({"notify": "n", "speakers": "-1"}, 0),
        ({"notify": "n", "speakers": "no"}, 0),
        ({"notify": "n"}, 0),
        ({"speakers": "yes"}, 0),
    ],
)
async def test_the_owner_is_told_who_speaks(params: dict[str, str], told: int) -> None:
    """As many as are wanted, eight at the most."""
    loud("a.slin", 5000, 500)
    async with Engine() as engine:
        room = Room(engine)
        legs = [await room.join(lonely="true", **params) for _ in range(4)]
        for leg in legs:
            leg.say("a.slin")
        await asyncio.sleep(4)
        for leg in legs:
            leg.hang_up()
        await asyncio.sleep(0.1)
    assert room.speakers == ([told] if told else [])


async def test_the_owner_is_told_what_happens() -> None:
    """From the first one's coming to the last one's going."""
    async with Engine() as engine:
        room = Room(engine)
        first = await room.join(notify="n", lonely="true", maxusers="2")
        second = await room.join()
        third = await room.join()
        assert third.reason == "noconn"
        second.hang_up()
        first.hang_up()
        await asyncio.sleep(0.1)
        assert room.told == [
            ("created", ""),
            ("joined", "1"),
            ("joined", "2"),
            ("left", "1"),
            ("left", "0"),
            ("destroyed", ""),
        ]


async def test_keys_become_notifications() -> None:
    """Of the room; with `keeptarget` those for somebody else stay what they are."""
    async with Engine() as engine:
        room = Room(engine)
        leg = await room.join(notify="n", lonely="true")
        leg.press("5")
        await asyncio.sleep(0.1)
        assert room.told[-1] == ("dtmf", "1")
        kept = await room.join(keeptarget="true")
        assert kept.peer is not None
        answer = await engine.dispatch(
            "chan.text", peerid=kept.peer.id, targetid="other/1", text="x"
        )
        assert answer.name == "chan.text"
        leg.hang_up()
        kept.hang_up()


async def test_one_who_is_left_alone_has_to_leave() -> None:
    """At once, or where `lonely` gives a time after that; an owner elsewhere keeps the room."""
    async with Engine() as engine:
        room = Room(engine)
        first, second = await room.join(), await room.join()
        second.hang_up()
        assert first.hung_up
        patient, second = await room.join(lonely="5000"), await room.join()
        second.hang_up()
        began = asyncio.get_running_loop().time()
        await patient.until(lambda: patient.hung_up)
        assert round(asyncio.get_running_loop().time() - began, 3) == 5.0
        assert patient.reason == "timeout"
        owned, second = await room.join(confowner="boss/1"), await room.join()
        second.hang_up()
        assert not owned.hung_up
        await engine.dispatch("chan.hangup", id="boss/1")
        assert owned.hung_up


async def test_both_legs_of_a_call_become_members() -> None:
    """By call.conference; the same room again changes nothing."""
    async with Engine() as engine:

        def route(message: Message) -> bool:
            message.retvalue = "sim/2"
            return True

        engine.install("call.route", route)
        caller = await engine.call("2")
        called = await engine.next_call()
        called.pick_up()
        await caller.until(lambda: caller.answered)
        for _ in range(2):
            answer = await engine.dispatch(
                "chan.masquerade", id=caller.id, message="call.conference", room="conf/both"
            )
            assert answer.processed
        assert [leg.peer.id for leg in (caller, called) if leg.peer] == ["conf/1", "conf/2"]
        for room in ("conf/", "other/x"):
            refused = await engine.dispatch(
                "chan.masquerade", id=caller.id, message="call.conference", room=room
            )
            assert not refused.processed
        inside = await engine.dispatch(
            "chan.masquerade", id="conf/1", message="call.conference", room="conf/x"
        )
        assert not inside.processed
        caller.hang_up()
        assert called.hung_up


async def test_a_room_can_be_recorded() -> None:
    """All that is said, by a leg that does not count; a warning is played to all."""
    loud("a.slin", 700)
    async with Engine() as engine:
        room = Room(engine)
        leg = await room.join(notify="n", lonely="true")
        leg.say("a.slin")
        record = {"room": "conf/room", "record": "wave/record/all.slin", "recordwarn": "tone/dial"}
        assert (await engine.dispatch("call.conference", dict(record))).processed
        await asyncio.sleep(1.5)
        assert ("recording", "1") in room.told
        assert (await engine.dispatch("call.conference", room="conf/room", record="-")).processed
        leg.hang_up()
    assert 700 in samples("all.slin")


async def test_rooms_can_be_emptied() -> None:
    """By their name."""
    async with Engine() as engine:
        room = Room(engine)
        legs = [await room.join() for _ in range(2)]
        dropped = await engine.dispatch("call.drop", id="conf/room", reason="closed")
        assert dropped.processed
        assert [leg.hung_up for leg in legs] == [True, True]
        assert not (await engine.dispatch("call.drop", id="conf/room")).processed
