"""Persons who are connected elsewhere, with telephones of the embedded engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ivr import make_sounds, module_of
from yateway import Call, CallFailed, Fork, LocalProtocolError
from yateway.engine.caller import Caller
from yateway.moving import Dialled
from yateway.testing import EngineForTests


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return make_sounds(tmp_path / "sounds")


async def test_a_transfer_is_for_good(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    """The code may go on, but has no leg; a target that does not exist leaves the person here."""
    done: list[str] = []

    async def transfer(call: Call) -> None:
        await call.answer()
        with pytest.raises(CallFailed, match="nowhere/1"):
            await call.transfer("nowhere/1")
        await call.play("thanks.slin")
        await call.transfer("sim/200")
        with pytest.raises(LocalProtocolError, match="take_back"):
            await call.play("thanks.slin")
        done.append(call.peer)

    module = module_of(sounds, transfer)
    await engine.attach(module)
    somebody = engine.caller()
    await caller.dial("100")
    await caller.hears("thanks")
    await somebody.is_called("200")
    somebody.pick_up()
    await asyncio.sleep(1)
    assert done == [somebody.leg.id]
    assert [call.id for call in module.calls] == [caller.leg.id]
    somebody.hang_up()
    await caller.hung_up()
    await asyncio.sleep(1)
    assert len(module.calls) == 0


async def test_an_attended_transfer_keeps_the_person_until_somebody_answers(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    failed: list[str] = []

    async def transfer(call: Call) -> None:
        async with call.hold("music.slin"):
            try:
                await call.transfer("sim/200", attended=True)
            except CallFailed as error:
                failed.append(error.reason)
            await call.transfer("sim/201", attended=True)

    await engine.attach(module_of(sounds, transfer))
    busy, somebody = engine.caller(), engine.caller()
    await caller.dial("100")
    await busy.is_called("200")
    await caller.hears("music")
    busy.hang_up("busy")
    await somebody.is_called("201")
    assert not caller.leg.answered
    assert "music" in caller.hearing
    somebody.pick_up()
    await caller.answered()
    await caller.hears_nothing()
    caller.hang_up()
    await somebody.hung_up()
    assert failed == ["busy"]


@pytest.mark.parametrize("how", ["busy", "unanswered", "talked to", "taken back", "nowhere"])
async def test_the_music_comes_back_with_the_person(
    engine: EngineForTests, caller: Caller, sounds: Path, how: str
) -> None:
    """However that came about, and before the code that asked for it goes on."""

    async def code(call: Call) -> None:
        await call.answer()
        async with call.hold("music.slin"):
            await call.wait_for("chan.dtmf")
            if how == "taken back":
                await call.conference("room")
                await call.take_back()
            else:
                await call.dial("sim/200" if how != "nowhere" else "nowhere/1", timeout=10)
            await asyncio.sleep(30)
            await call.play("thanks.slin")
            await asyncio.sleep(30)
        await call.wait_ended()

    await engine.attach(module_of(sounds, code))
    somebody = engine.caller()
    await caller.dial("100")
    await caller.hears("music")
    caller.press("1")
    if how in ("busy", "unanswered", "talked to"):
        await somebody.is_called("200")
        if how == "talked to":
            somebody.pick_up()
            await caller.hears_nothing()
        if how != "unanswered":
            somebody.hang_up("busy")
    if how != "nowhere":  # who never was away hears it all the time
        await caller.hears("music", within=11)
    await asyncio.sleep(20)
    assert "music" in caller.hearing
    await caller.hears("thanks", within=20)
    await caller.hears("music")
    await caller.hears_nothing(within=31)


async def test_a_ringing_call_is_picked_up_by_another(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Who picks up talks for as long as they like; then the first call's code goes on."""
    got: list[object] = []

    async def ring(call: Call) -> None:
        if call.called == "100":
            got.append(await call.dial("sim/200", timeout=20))
            await call.play("thanks.slin")
        else:
            other = next(other for other in module.calls if other.dialling)
            await call.answer()
            await call.join(other)
            assert not other.dialling

    module = module_of(sounds, ring)
    await engine.attach(module)
    away, somebody = engine.caller(), engine.caller("1002")
    await caller.dial("100")
    await away.is_called("200")
    away.ring()
    await caller.ringing()
    await somebody.dial("101")
    await caller.answered()
    await away.hung_up()
    await asyncio.sleep(60)
    assert not got
    somebody.hang_up()
    await caller.hears("thanks")
    assert got == [Dialled(True, "hangup")]


async def test_a_fork_leads_to_whoever_answers(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """The person's call keeps its identity, and knows whom they are talking to."""
    peers: list[str] = []

    async def ring(call: Call) -> None:
        dialling = call.spawn(call.dial(Fork("sim/200", "sim/201")))
        await call.wait_for("call.answered")
        peers.append(call.peer)
        assert (await dialling).answered
        await call.play("thanks.slin")

    await engine.attach(module_of(sounds, ring))
    phones = [engine.caller(), engine.caller()]
    await caller.dial("100")
    for phone in phones:
        await phone.is_called()
    phones[1].pick_up()
    await phones[0].hung_up()
    await caller.answered()
    await asyncio.sleep(1)
    assert peers == [phones[1].leg.id]
    phones[1].hang_up()
    await caller.hears("thanks")
    await caller.hung_up()


async def test_a_person_is_taken_back(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    async def there_and_back(call: Call) -> None:
        await call.answer()
        await call.take_back()  # nothing to do
        await call.transfer("sim/200")
        await call.key()
        await call.take_back()
        await call.play("thanks.slin")

    await engine.attach(module_of(sounds, there_and_back))
    somebody = engine.caller()
    await caller.dial("100")
    await somebody.is_called("200")
    somebody.pick_up()
    caller.press("*")
    await caller.hears("thanks")
    await somebody.hung_up()
    await caller.hung_up()


async def test_who_hangs_up_while_it_rings_leaves_nobody_ringing(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    async def ring(call: Call) -> None:
        await call.dial("sim/200")

    module = module_of(sounds, ring)
    await engine.attach(module)
    somebody = engine.caller()
    await caller.dial("100")
    await somebody.is_called("200")
    caller.hang_up()
    await somebody.hung_up()
    await asyncio.sleep(1)
    assert len(module.calls) == 0
