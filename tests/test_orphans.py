"""Legs of a module that was killed are hung up; those of one that lives never are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.calls import forever, ivr
from yateway import Call
from yateway.engine.caller import Caller
from yateway.orphans import PATIENCE
from yateway.testing import EngineForTests
from yateway.transport import Transport


async def test_a_killed_module_leaves_nobody_in_silence(
    engine: EngineForTests, caller: Caller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is started again at once; the callers of its last life are hung up, and new ones not."""
    alive = True

    async def opener() -> Transport:
        if not alive:
            raise ConnectionRefusedError
        return await engine.open()

    first = ivr(tmp_path, forever)
    await first.attach(opener)
    await caller.dial("100")
    await caller.answered()
    alive = False
    engine.drop()
    await asyncio.sleep(5)
    await first.detach()
    assert not caller.leg.hung_up

    await engine.attach(ivr(tmp_path, forever))
    newcomer = engine.caller("2")
    await newcomer.dial("100")
    await newcomer.answered()
    await asyncio.sleep(PATIENCE - 5)
    assert not caller.leg.hung_up
    await caller.hung_up(within=11)
    await asyncio.sleep(PATIENCE * 2)
    assert not newcomer.leg.hung_up
    told = [r.getMessage() for r in caplog.records if "left behind" in r.getMessage()]
    assert told == ["1 calls were hung up that a module 'ivr' had left behind: 'dumb/1'"]


@pytest.mark.parametrize("away", [0.0, 10.0, 40.0])
async def test_another_that_lives_keeps_its_calls(
    engine: EngineForTests, caller: Caller, tmp_path: Path, away: float
) -> None:
    """Also one that is without a link for as long as it keeps its calls itself."""
    cut = False

    async def opener() -> Transport:
        if cut:
            await asyncio.Event().wait()
        return await engine.open()

    first = ivr(tmp_path, forever, max_calls=1)
    await first.attach(opener)
    await caller.dial("100")
    await caller.answered()
    cut = True
    engine.drop()
    second = ivr(tmp_path, forever)
    await engine.attach(second)
    await asyncio.sleep(away)
    cut = False
    await asyncio.sleep(PATIENCE * 3)
    assert not caller.leg.hung_up
    assert len(first.calls) == 1
    await first.detach()


async def test_own_legs_that_nobody_knows(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """The link broke while the call was being hung up."""

    async def code(call: Call) -> None:
        await call.answer()
        await asyncio.sleep(5)
        engine.drop()
        call.end("lost")

    await engine.attach(ivr(tmp_path, code))
    await caller.dial("100")
    await caller.answered()
    await asyncio.sleep(PATIENCE)
    assert not caller.leg.hung_up
    await caller.hung_up(within=20)


async def test_an_engine_that_does_not_tell(
    engine: EngineForTests, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine.install("engine.status", lambda _: True, priority=1)
    await engine.attach(ivr(tmp_path, forever))
    await asyncio.sleep(PATIENCE)
    assert caplog.text == ""


async def test_the_link_breaks_while_it_searches(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """What was suspect then may be another channel now."""
    module = ivr(tmp_path, forever)
    await engine.attach(module)
    engine.enqueue("call.execute", callto="dumb/ivr.deadbeef", target="1", direct="sim/1")
    friend = engine.caller()
    await friend.is_called("1")
    friend.pick_up()
    for _ in range(4):
        engine.drop()
        await asyncio.sleep(30)
        assert not friend.leg.hung_up
    await friend.hung_up(within=50)
