"""A link that breaks ends no call; who has gone meanwhile is found out, and nobody waits on."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from tests.calls import forever, ivr
from yateway import Call, CallEnded, Message, Module
from yateway.absence import ENGINE_LOST, LOST_LIMIT
from yateway.engine.caller import Caller
from yateway.sound import Playback
from yateway.testing import EngineForTests


async def noting(ends: list[str], call: Call) -> None:
    """Answer, wait until the end, and note why it came."""
    await call.answer()
    try:
        await asyncio.sleep(600)
    except CallEnded as end:
        ends.append(end.reason)


async def attached_again(module: Module) -> None:
    """Wait until the module has found the engine again."""
    async with asyncio.timeout(15):
        while not module.attached:
            await asyncio.sleep(0.01)


async def test_what_is_asked_while_the_link_is_away_waits_for_it(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """What was under way ends as lost, what comes next is said when the module is back."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.play("menu.slin"))
        got.append(module.attached)
        got.append(await call.play("thanks.slin"))

    module = ivr(tmp_path, code)
    await engine.attach(module)
    await caller.dial("100")
    await caller.hears("menu")
    engine.drop()
    await caller.hears("thanks")
    await caller.hung_up()
    assert got == [Playback.LOST, False, Playback.EOF]


async def test_a_short_cut_is_survived(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """A call that only waits does not notice; a sound that ended meanwhile is not waited for."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.play("menu.slin"))
        await asyncio.sleep(5)
        got.append(await call.play("thanks.slin"))

    await engine.attach(ivr(tmp_path, code))
    await caller.dial("100")
    await caller.hears("menu")
    engine.drop()
    await caller.hears("thanks")
    await caller.hung_up()
    assert got == [Playback.LOST, Playback.EOF]


async def test_who_hung_up_during_a_cut(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    ends: list[str] = []
    module = ivr(tmp_path, partial(noting, ends))
    await engine.attach(module)
    await caller.dial("100")
    await caller.answered()
    engine.drop()
    caller.hang_up()
    await asyncio.sleep(3)
    assert ends == ["gone"]
    assert len(module.calls) == 0


async def test_an_engine_that_was_killed(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """All calls end as soon as it is known, and the new engine's calls are not confused."""
    ends: list[str] = []
    module = ivr(tmp_path, partial(noting, ends))
    await engine.attach(module)
    for back in (0.0, 5.0):
        ends.clear()
        callers = [engine.caller() for _ in range(3)]
        for one in callers:
            await one.dial("100")
            await one.answered()
        engine.kill()
        await asyncio.sleep(back)
        await engine.start()
        newcomer = engine.caller()
        await attached_again(module)
        await newcomer.dial("100")
        await newcomer.answered()
        await asyncio.sleep(3)
        assert ends == [ENGINE_LOST] * 3
        assert len(module.calls) == 1
        newcomer.hang_up()
        await asyncio.sleep(1)
        assert ends == [ENGINE_LOST] * 3 + ["hangup"]


async def test_a_new_engine_s_channels_are_not_taken_for_the_old_one_s(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """It counts them from 1 again, and what was told of the old ones is forgotten."""
    module = ivr(tmp_path, forever)
    await engine.attach(module)
    await caller.dial("100")
    await caller.answered()
    caller.hang_up()
    await asyncio.sleep(1)
    engine.kill()
    await engine.start()
    await attached_again(module)
    newcomer = engine.caller()
    await newcomer.dial("100")
    await newcomer.answered()
    await asyncio.sleep(1)
    assert [call.leg for call in module.calls] == ["dumb/1"]
    assert not newcomer.leg.hung_up


async def test_an_engine_that_does_not_come_back(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """What is not refused but lost in a hole: the calls end after a minute."""
    module = ivr(tmp_path, forever)
    opens = 0

    async def hole() -> object:
        nonlocal opens
        opens += 1
        if opens == 1:
            return await engine.open()
        await asyncio.Event().wait()
        return None

    await module.attach(hole)  # type: ignore[arg-type]
    try:
        await caller.dial("100")
        await caller.answered()
        (call,) = module.calls
        engine.drop()
        await asyncio.sleep(LOST_LIMIT - 1)
        assert not call.ended
        await asyncio.sleep(2)
        assert call.reason == ENGINE_LOST
        assert len(module.calls) == 0
    finally:
        await module.detach()


async def test_who_came_back_while_nobody_told(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """The link is cut between the answer that brings the person back and its effect."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.dial("sim/200"))
        await call.play("thanks.slin")

    module = ivr(tmp_path, code)
    told = module._board.told

    def lossy(message: Message) -> None:
        if message.name == "call.execute" and got == ["cut"]:
            engine.drop()
            return
        told(message)

    for watcher in module._plan.watchers:
        if watcher.name == "call.execute":
            object.__setattr__(watcher, "function", lossy)
    await engine.attach(module)
    friend = engine.caller()
    await caller.dial("100")
    await friend.is_called("200")
    friend.pick_up()
    await asyncio.sleep(1)
    got.append("cut")
    friend.hang_up()
    await caller.hears("thanks")
    await caller.hung_up()
    assert len(got) == 2
