"""Conferences, with telephones of the embedded engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ivr import make_sounds, module_of
from yateway import Call, CallFailed
from yateway.conference import Conference
from yateway.engine.caller import Caller
from yateway.testing import EngineForTests


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return make_sounds(tmp_path / "sounds")


async def test_the_roster_and_keys_inside(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Who is there is known by their own channel, and whoever is there can still press keys."""
    rooms: list[Conference] = []
    keys: list[tuple[str, str]] = []

    async def confer(call: Call) -> None:
        await call.answer()
        rooms.append(await call.conference("blue"))
        while key := await call.key():
            keys.append((call.caller, key))

    module = module_of(sounds, confer)
    await engine.attach(module)
    second = engine.caller("1002")
    await caller.dial("100")
    await asyncio.sleep(1)
    room = rooms[0]
    changed = asyncio.create_task(room.changed())
    await second.dial("100")
    await changed
    await asyncio.sleep(1)
    assert rooms == [room, room]
    assert sorted(room.members.values()) == sorted([caller.leg.id, second.leg.id])
    assert len(room) == 2
    second.press("12")
    caller.press("3")
    await asyncio.sleep(1)
    assert sorted(keys) == [("1001", "3"), ("1002", "1"), ("1002", "2")]
    caller.hang_up()
    await asyncio.sleep(1)
    assert list(room.members.values()) == [second.leg.id]
    second.hang_up()
    await asyncio.sleep(1)
    assert len(room) == len(module.calls) == 0
    # A room that is made anew is another one.
    await caller.dial("100")
    await asyncio.sleep(1)
    assert rooms[2] is not room
    assert list(rooms[2].members.values()) == [caller.leg.id]


async def test_mute_and_kick(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    rooms: list[Conference] = []

    async def confer(call: Call) -> None:
        await call.answer()
        rooms.append(await call.conference("blue"))
        await call.wait_ended()

    await engine.attach(module_of(sounds, confer))
    second = engine.caller("1002")
    await caller.dial("100")
    await second.dial("100")
    await asyncio.sleep(1)
    room = rooms[0]
    (channel,) = (name for name, person in room.members.items() if person == second.leg.id)
    for muted in (True, False):
        assert await room.mute(second.leg.id, muted)
        status = await engine.dispatch("engine.status", module=channel)
        assert f"mute={str(muted).lower()}" in status.retvalue
    assert not await room.mute("sim/99")
    assert not await room.kick("sim/99")
    assert await room.kick(second.leg.id)
    await second.hung_up("kicked")
    await asyncio.sleep(1)
    assert list(room.members.values()) == [caller.leg.id]


async def test_a_full_room_lets_nobody_in_and_the_caller_stays(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    async def confer(call: Call) -> None:
        await call.answer()
        try:
            await call.conference("blue", maxusers=1)
        except CallFailed:
            await call.play("wrong.slin")
        else:
            await call.wait_ended()

    await engine.attach(module_of(sounds, confer))
    second = engine.caller("1002")
    await caller.dial("100")
    await asyncio.sleep(1)
    await second.dial("100")
    await second.hears("wrong")
    await second.hung_up()
    assert not caller.leg.hung_up


async def test_somebody_leaves_the_room_and_stays_in_the_call(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    rooms: list[Conference] = []

    async def confer(call: Call) -> None:
        await call.answer()
        rooms.append(await call.conference("blue"))
        await call.key()
        await call.take_back()
        await call.play("thanks.slin")

    await engine.attach(module_of(sounds, confer))
    await caller.dial("100")
    await asyncio.sleep(1)
    caller.press("*")
    await caller.hears("thanks")
    await caller.hung_up()
    assert len(rooms[0]) == 0
