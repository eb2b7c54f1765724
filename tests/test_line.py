"""Who is on a line, what is said for it, and what waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ivr import make_sounds, module_of
from yateway import Call, CallEnded
from yateway.engine.caller import Caller
from yateway.errors import LocalProtocolError
from yateway.testing import EngineForTests


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return make_sounds(tmp_path / "sounds")


async def test_a_call_tells_who_it_is(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    """Its channels, numbers, bill and state, before the answer and after."""
    seen: list[object] = []

    async def look(call: Call) -> None:
        seen.append((call.id, call.leg, call.peer, call.caller, call.called, call.status))
        assert call.billid
        await call.answer()
        await call.answer()
        seen.append((call.status, call.answered, repr(call)))
        await call.hangup("busy")
        seen.append((call.status, call.ended, call.reason, call.answered))

    await engine.attach(module_of(sounds, look))
    await caller.dial("100")
    await caller.hung_up()
    await asyncio.sleep(1)
    assert seen == [
        ("sim/1", "dumb/1", "dumb/1", "1001", "100", "incoming"),
        ("answered", True, "<Call sim/1 from '1001' to '100': answered>"),
        ("ended", True, "busy", False),
    ]


async def test_all_that_is_asked_of_an_ended_call_says_so(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """With the reason and the channel; work for it is closed and not run."""
    ended: list[str] = []

    async def work() -> None:
        raise AssertionError("not run")

    async def go_on(call: Call) -> None:
        await call.answer()
        await call.hangup("busy")
        for ask in (call.answer, call.ring, call.progress, call.hangup, call.key, call.reject):
            with pytest.raises(CallEnded) as error:
                await ask()
            ended.append(error.value.reason)
            assert error.value.id == call.id
        with pytest.raises(CallEnded):
            call.spawn(work())
        ended.append(await call.wait_ended())

    await engine.attach(module_of(sounds, go_on))
    await caller.dial("100")
    await caller.hung_up()
    await asyncio.sleep(1)
    assert ended == ["busy"] * 7


async def test_who_hangs_up_goes_on_and_the_others_are_ended(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """A task of the call may hang up: it finishes what it does; the call's code is interrupted."""
    events: list[str] = []

    async def owner(call: Call) -> None:
        await call.answer()
        call.spawn(other(call))
        call.spawn(forgotten(call))
        try:
            await call.play("menu.slin")
        except CallEnded as error:
            events.append(f"owner {error.reason}")
            raise

    async def other(call: Call) -> None:
        await asyncio.sleep(0.5)
        await call.hangup("rejected")
        events.append("other goes on")

    async def forgotten(call: Call) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            events.append("forgotten is cancelled")
            raise

    await engine.attach(module_of(sounds, owner))
    await caller.dial("100")
    await caller.hung_up("rejected")
    await asyncio.sleep(1)
    assert sorted(events) == ["forgotten is cancelled", "other goes on", "owner rejected"]


async def test_events_are_awaited_with_a_choice_and_a_limit(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """The first that is accepted; none in time; and names that nobody watches are refused."""
    keys: list[str] = []

    async def wait(call: Call) -> None:
        await call.answer()
        message = await call.wait_for("chan.dtmf", lambda message: message["text"] == "2")
        keys.append(message["text"])
        with pytest.raises(TimeoutError):
            await call.wait_for("chan.dtmf", timeout=1)
        with pytest.raises(ValueError, match="not watched"):
            await call.wait_for("user.auth")

    await engine.attach(module_of(sounds, wait))
    await caller.dial("100")
    await caller.answered()
    caller.press("1")
    await asyncio.sleep(0.5)
    caller.press("2")
    await caller.hung_up()
    assert keys == ["2"]


async def test_a_person_who_is_elsewhere_cannot_be_played_to(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Not before they are taken back; the error says so."""
    friend = engine.caller()

    async def move(call: Call) -> None:
        await call.answer()
        await call.transfer("sim/300")
        with pytest.raises(LocalProtocolError, match="take_back"):
            await call.play("menu.slin")

    await engine.attach(module_of(sounds, move))
    await caller.dial("100")
    await friend.is_called("300")
    friend.pick_up()
    await asyncio.sleep(1)
    friend.hang_up()
    await caller.hung_up()
