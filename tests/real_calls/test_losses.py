"""Calls whose engine dies, whose link is cut, whose keys come twice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.real_calls.ivr import attached, ivr
from tests.sipp import Exchange, needs_sipp, sip_exchange
from yateway import Call, CallEnded
from yateway.engine.faults import Faults
from yateway.sound import Playback
from yateway.transport import opener_of

pytestmark = [pytest.mark.yate, pytest.mark.real_clock, needs_sipp]


async def test_the_engine_is_killed(folder: Path) -> None:
    """All calls end within a second, clean up, and the module serves the next engine (E1)."""
    ends: list[tuple[str, float]] = []
    cleaned: list[str] = []

    async def code(call: Call) -> None:
        await call.answer()
        try:
            await (asyncio.sleep(60) if call.caller == "1001" else call.play("menu.slin"))
            await call.key()
        except CallEnded as end:
            ends.append((end.reason, time.monotonic()))
            raise
        finally:
            await asyncio.sleep(0.1)
            cleaned.append(call.caller)

    module = ivr(folder, code)
    async with sip_exchange() as exchange:
        await module.attach(opener_of(exchange.engine.tcp))
        for number in range(8):
            await exchange.call(caller=1000 + number)
        while len(module.calls) < 8 or not all(call.answered for call in module.calls):
            await asyncio.sleep(0.01)
        killed = time.monotonic()
        await exchange.engine.kill()
        while len(cleaned) < 8:
            await asyncio.sleep(0.01)
        assert {reason for reason, _ in ends} == {"engine lost"}
        assert max(at for _, at in ends) - killed < 1.0
        assert not len(module.calls)
        await exchange.close()
        await exchange.engine.start()
        while not module.attached:
            await asyncio.sleep(0.01)
        phone = await exchange.call(stay=300)
        await phone.done()
        while len(cleaned) < 9:
            await asyncio.sleep(0.01)
        assert ends[-1][0] == "hangup"
        await module.detach()


async def test_the_link_is_cut(exchange: Exchange, folder: Path) -> None:
    """Calls go on; what ended meanwhile is found out when the module is attached again (C8)."""
    got: dict[str, list[object]] = {"1001": [], "1002": []}

    async def code(call: Call) -> None:
        story = got[call.caller]
        await call.answer()
        try:
            story.append(await call.play("menu.slin"))
            story.append(await call.key())
            story.append(await call.play("short.slin"))
        except CallEnded as end:
            story.append(end.reason)

    module = ivr(folder, code)
    async with (
        Faults(opener_of(exchange.engine.tcp)) as network,
        attached(exchange, module, network.open),
    ):
        stays = await exchange.call(caller=1001, press="5", rate=3500)
        leaves = await exchange.call(caller=1002, stay=1000)
        while sum(len(call.sounds) for call in module.calls) < 2:
            await asyncio.sleep(0.01)
        network.black_hole()
        network.reset()
        await leaves.done()
        assert len(module.calls) == 2
        network.heal()
        while len(module.calls) == 2:
            await asyncio.sleep(0.01)
        await stays.done()
    assert got == {
        "1001": [Playback.LOST, "5", Playback.EOF],
        "1002": [Playback.LOST, "gone"],
    }


async def test_keys_that_are_detected_twice(folder: Path) -> None:
    """The engine passes them on where it is told to; they count once."""
    got: list[str] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.key())
        # As if a detector had found it in the sound too.
        again = {"id": call.id, "message": "chan.dtmf", "text": got[0], "detected": "inband"}
        answer = await module.dispatch("chan.masquerade", again)
        got.append(answer["duplicate"])
        digits = await call.collect(1, first=2)
        got.append(digits.text)

    module = ivr(folder, code)
    async with (
        sip_exchange(general="[telephony]\ndtmfdups=yes") as exchange,
        attached(exchange, module),
    ):
        phone = await exchange.call(press="12", rate=500)
        await phone.done()
    assert got == ["1", "true", "2"]
