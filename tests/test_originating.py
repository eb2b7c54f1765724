"""Calls that we make: how they are placed, answered, refused, given up, and how a block ends."""

from __future__ import annotations

import asyncio

import pytest

from yateway import CallEnded, CallFailed, Message, Module
from yateway.call import Call
from yateway.engine.caller import Caller
from yateway.testing import EngineForTests

module = Module("dialler", calls=True)
pytestmark = pytest.mark.yateway(module)


async def picked_up(someone: Caller, number: str = "300") -> None:
    await someone.is_called(number)
    someone.pick_up()


async def test_the_other_end_gets_what_was_given(engine: EngineForTests) -> None:
    """Who calls, and further parameters; leaving the block hangs up."""
    told: list[dict[str, str]] = []

    def note(message: Message) -> bool:
        told.append(dict(message))
        return False

    engine.install("call.execute", note, 5)
    someone = engine.caller()
    answering = asyncio.create_task(picked_up(someone))
    async with module.originate("sim/300", caller="5", callername="Five", ticket="77") as call:
        assert (call.answered, call.outgoing) == (True, True)
        assert (call.caller, call.called) == ("5", "sim/300")
        assert [told[-1][name] for name in ("caller", "callername", "ticket")] == [
            "5",
            "Five",
            "77",
        ]
        assert [one.id for one in module.calls] == [call.id]
    await answering
    await someone.hung_up("hangup")
    assert call.ended
    assert len(module.calls) == 0


async def test_the_block_ends_with_the_call_whatever_it_waits_for(engine: EngineForTests) -> None:
    """In a method of the call and elsewhere; the code after the block goes on, uncancelled."""
    reached: list[str] = []
    for way in ("elsewhere", "asked"):
        someone = engine.caller()
        answering = asyncio.create_task(picked_up(someone))
        async with module.originate("sim/300") as call:
            await answering
            asyncio.get_running_loop().call_later(1, someone.hang_up)
            try:
                await (asyncio.sleep(60) if way == "elsewhere" else call.key())
            except BaseException as error:
                reached.append(type(error).__name__)
                raise
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    assert reached == ["CancelledError", "CallEnded"]


async def test_what_else_leaves_the_block_is_not_swallowed(engine: EngineForTests) -> None:
    """An error of the code, and the end of some other call."""
    for error in (
        ValueError("ours"),
        CallEnded("another", id="sim/99"),
    ):
        someone = engine.caller()
        answering = asyncio.create_task(picked_up(someone))
        with pytest.raises(type(error), match=str(error)):
            async with module.originate("sim/300"):
                raise error
        await answering
        await someone.hung_up()


async def test_without_waiting_the_block_begins_while_it_rings(engine: EngineForTests) -> None:
    """`timeout=None`: what the other end does can be awaited one by one."""
    someone = engine.caller()
    async with module.originate("sim/300", timeout=None) as call:
        await someone.is_called("300")
        someone.ring()
        await call.wait_for("call.ringing")
        assert call.status == "ringing"
        someone.pick_up()
        await call.wait_answered()
        await call.wait_answered()  # once is enough
    await someone.hung_up()


@pytest.mark.parametrize(
    ("refusal", "reason"), [("busy", "busy"), ("", "hangup"), (None, "timeout")]
)
async def test_a_call_that_is_not_answered_says_why(
    engine: EngineForTests, refusal: str | None, reason: str
) -> None:
    """Refused, or rung for too long; the code in the block never runs, and nothing is left."""
    someone = engine.caller()

    async def refuse() -> None:
        await someone.is_called("300")
        if refusal is not None:
            someone.hang_up(*filter(None, [refusal]))

    refusing = asyncio.create_task(refuse())
    with pytest.raises(CallFailed) as failed:
        async with module.originate("sim/300", timeout=5):
            raise AssertionError("it was not answered")
    await refusing
    assert (failed.value.reason, failed.value.target) == (reason, "sim/300")
    await someone.hung_up()
    assert len(module.calls) == 0


async def test_giving_up_while_it_rings_leaves_nobody_ringing(engine: EngineForTests) -> None:
    """A time limit around the block, or whatever else cancels it."""
    someone = engine.caller()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2), module.originate("sim/300"):
            raise AssertionError("it was not answered")
    await someone.is_called("300")
    await someone.hung_up()
    assert len(module.calls) == 0


async def test_a_person_who_was_moved_stays_when_the_block_is_left(engine: EngineForTests) -> None:
    """Two that were called are connected with each other, and talk on without us."""
    one, two = engine.caller(), engine.caller()

    async def call(someone: Caller, number: str) -> Call:
        answering = asyncio.create_task(picked_up(someone, number))
        async with module.originate(f"sim/{number}") as call:
            await answering
            if number == "301":
                await call.join(next(iter(module.calls)))
            else:
                await call_other()
        return call

    async def call_other() -> None:
        await call(two, "301")

    await call(one, "300")
    await asyncio.sleep(5)
    assert len(module.calls) == 2
    one.hang_up()
    await two.hung_up()


async def test_what_could_not_be_called_is_shown_cut_and_escaped(engine: EngineForTests) -> None:
    """A target may be made of what a caller dialled (guarantee F6)."""
    target = "nowhere/\x1b" + "9" * 5000
    with pytest.raises(CallFailed, match=r"to 'nowhere/\\x1b9+'\.\.\. .*'noconn'") as failed:
        async with module.originate(target):
            raise AssertionError("it was not answered")
    assert (failed.value.target, failed.value.reason) == (target, "noconn")
    assert len(str(failed.value)) < 300
