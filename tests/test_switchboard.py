"""Whose call it is, whose code runs, and that nothing of it outlives the call or the module."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.calls import forever, ivr
from yateway import (
    Call,
    CallEnded,
    CallFailed,
    ConfigError,
    ConnectionLost,
    Message,
    Module,
    Reject,
    Route,
)
from yateway.engine import Engine
from yateway.engine.caller import Caller
from yateway.running import CLEAN_UP
from yateway.testing import EngineForTests

expect_errors = pytest.mark.yateway(expect_errors=True)


def legs(engine: Engine) -> int:
    """Return how many channels live in the engine."""
    assert engine._run is not None
    return sum(len(driver.channels) for driver in engine._run.exchange.drivers)


# Whose calls


async def test_registering(tmp_path: Path) -> None:
    module = ivr(tmp_path, forever)
    with pytest.raises(ConfigError, match="two functions for calls named 'it'"):
        module.call("it")(forever)
    with pytest.raises(ConfigError, match="register it with"):
        module.take("other")
    assert repr(module._board).startswith("<Switchboard ivr.")


async def test_a_rule_of_regexroute_leads_to_it(engine: EngineForTests, tmp_path: Path) -> None:
    """Such a route names no instance."""
    got: list[str] = []

    async def code(call: Call) -> None:
        got.append(call.params["colour"])

    def rule(message: Message) -> bool:
        message.retvalue = "dumb/"
        message["yateway"], message["call"], message["colour"] = "ivr", "it", "red"
        return True

    engine.install("call.route", rule, priority=90)
    await engine.attach(ivr(tmp_path, code))
    caller = engine.caller()
    await caller.dial("100")
    await caller.hung_up()
    assert got == ["red"]


@expect_errors
async def test_calls_that_nobody_serves_are_dropped(
    engine: EngineForTests, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def rule(message: Message) -> bool:
        message.retvalue = "dumb/"
        message["yateway"], message["call"] = "ivr", "unheard of"
        return True

    engine.install("call.route", rule, priority=90)
    await engine.attach(ivr(tmp_path, forever))
    caller = engine.caller()
    await caller.dial("100")
    await caller.hung_up("failure")
    assert "routed to 'unheard of', which nobody serves" in caplog.text
    # Not processed: whatever was to make the leg is not there.
    engine.enqueue("call.execute", id="sip/7", callto="dumb/", yateway="ivr", call="it")
    await asyncio.sleep(1)
    assert "call 'sip/7' did not reach us: is Yate's module dumbchan loaded?" in caplog.text


async def test_two_modules_and_two_instances_at_one_engine(
    engine: EngineForTests, tmp_path: Path
) -> None:
    """Each has its own calls, also where the modules are of one name."""
    instances: list[list[Call]] = []

    def instance(name: str, number: str) -> Module:
        mine: list[Call] = []
        instances.append(mine)
        module = Module(name)

        @module.handler("call.route", filter=("called", number))
        def route(message: Message) -> Route | Reject:
            return module.take("it")

        @module.call("it")
        async def it(call: Call) -> None:
            mine.append(call)
            await forever(call)

        return module

    modules = [instance("one", "1"), instance("one", "2"), instance("two", "3")]
    for module in modules:
        await engine.attach(module)
    callers = [engine.caller(str(n)) for n in range(3)]
    for number, caller in zip("123", callers, strict=True):
        await caller.dial(number)
        await caller.answered()
    await asyncio.sleep(1)
    assert [[call.called for call in mine] for mine in instances] == [["1"], ["2"], ["3"]]
    await modules[0].detach()
    await callers[0].hung_up()
    assert not callers[1].leg.hung_up
    assert not callers[2].leg.hung_up


async def test_there_may_be_too_many(engine: EngineForTests, tmp_path: Path) -> None:
    module = ivr(tmp_path, forever, max_calls=1)
    await engine.attach(module)
    first, second = engine.caller("1"), engine.caller("2")
    await first.dial("100")
    await first.answered()
    await second.dial("100")
    await second.rejected("congestion")
    assert module.take("it") == Reject("congestion")
    first.hang_up()
    await asyncio.sleep(1)
    await second.dial("100")
    await second.answered()


async def test_two_that_come_at_once_to_the_last_place(
    engine: EngineForTests, tmp_path: Path
) -> None:
    """Both are routed before either has arrived; the one that is too many is dropped."""
    module = ivr(tmp_path, forever, max_calls=1)
    await engine.attach(module)
    callers = [engine.caller(str(n)) for n in range(2)]
    await asyncio.gather(*(caller.dial("100") for caller in callers))
    await asyncio.sleep(1)
    assert sorted(caller.leg.hung_up for caller in callers) == [False, True]
    assert len(module.calls) == 1


# The end of the code, and of the call


@expect_errors
async def test_code_that_fails_tells_no_secret(
    engine: EngineForTests, caller: Caller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even in the traceback at DEBUG (guarantee F7)."""

    async def fail(call: Call) -> None:
        call.params["password"] = "tweet-canary"
        raise ValueError(f"no user of {call.params['password']}")

    caplog.set_level(logging.DEBUG)
    await engine.attach(ivr(tmp_path, fail))
    await caller.dial("100")
    await caller.hung_up()
    assert "ValueError(withheld: it holds a secret)" in caplog.text
    assert "canary" not in caplog.text


@expect_errors
async def test_code_that_fails_hangs_up(
    engine: EngineForTests, caller: Caller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(call: Call) -> None:
        await call.answer()
        async with asyncio.TaskGroup():
            raise ValueError("no good")

    caplog.set_level(logging.DEBUG)
    module = ivr(tmp_path, fail)
    await engine.attach(module)
    await caller.dial("100")
    await caller.hung_up()
    assert "failed in ivr.<locals>.it (calls.py:" in caplog.text
    assert "ExceptionGroup: " in caplog.text
    await asyncio.sleep(1)
    assert len(module.calls) == 0


@expect_errors
@pytest.mark.parametrize("kind", ["another call's end", "a cancelled task"])
async def test_what_is_not_its_own_end_is_a_failure(
    engine: EngineForTests,
    caller: Caller,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    async def code(call: Call) -> None:
        if kind == "a cancelled task":
            task = call.spawn(asyncio.sleep(60))
            task.cancel()
            await task
        raise CallEnded("call sip/99 is over", id="sip/99")

    await engine.attach(ivr(tmp_path, code))
    await caller.dial("100")
    await caller.hung_up()
    assert "failed in ivr.<locals>.it" in caplog.text


async def test_who_hangs_up_before_the_code_begins(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """The engine's threads may tell of the end before they tell of the beginning."""
    ran: list[Call] = []

    async def code(call: Call) -> None:
        ran.append(call)

    module = ivr(tmp_path, code)
    await engine.attach(module)
    told = module._board.told
    end = Message("chan.hangup", {"id": "sip/5"})
    begin = Message(
        "call.execute",
        {
            **{"id": "sip/5", "targetid": "dumb/5", "callto": module._board.target},
            **{"yateway": "ivr", "call": "it"},
        },
    )
    begin.processed = True
    told(Message("chan.disconnected", {"id": "dumb/5", "reason": "gone"}))
    told(end)
    told(Message("chan.hangup", {"id": "dumb/6"}))
    told(begin)
    await asyncio.sleep(1)
    assert ran == []
    assert len(module.calls) == 0
    # A key that came early waits for who asks for it.
    told(Message("chan.hangup", {"id": "dumb/7"}))
    told(Message("chan.notify", {"id": "dumb/7", "targetid": "unknown"}))


@expect_errors
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kept", [CallEnded, BaseException])
async def test_code_that_does_not_want_to_know(
    engine: EngineForTests,
    caller: Caller,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kept: type[BaseException],
) -> None:
    """It stops nobody else, and not even who keeps everything to itself runs for ever."""

    async def code(call: Call) -> None:
        await call.answer()
        while True:
            with contextlib.suppress(kept):
                await asyncio.sleep(0.1)
                await call.play("menu.slin")
                await call.collect(1, prompt="menu.slin")

    module = ivr(tmp_path, code)
    await engine.attach(module)
    await caller.dial("100")
    await caller.hears("menu")
    caller.hang_up()
    await asyncio.sleep(CLEAN_UP + 1)
    assert "still runs 10 s after the end of its call: it is cancelled" in caplog.text
    abandoned = "still runs 10 s after it was cancelled: it is given up"
    await asyncio.sleep(CLEAN_UP)
    assert (abandoned in caplog.text) is (kept is BaseException)
    assert not module._board._running


async def test_asking_an_ended_call_again_and_again_lets_others_run(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    ticks: list[int] = []

    async def code(call: Call) -> None:
        await call.answer()
        asks: list[Callable[[], object]] = [
            *(call.answer, call.ring, call.progress, call.hangup, call.take_back),
            *(lambda: call.play("menu.slin"), lambda: call.collect(1), lambda: call.record("x.au")),
            *(lambda: call.wait_for("chan.dtmf"), lambda: call.dial("sim/1")),
            *(lambda: call.join(call), lambda: call.conference("x"), lambda: call.tone("dial")),
            *(lambda: call.send_dtmf("1"), lambda: call.send("chan.attach"), call.silence),
        ]
        with pytest.raises(CallEnded):
            await asyncio.sleep(60)
        asyncio.get_running_loop().call_soon(ticks.append, 0)
        for number, ask in enumerate(asks):
            before = len(ticks)
            asyncio.get_running_loop().call_soon(ticks.append, number)
            with pytest.raises(CallEnded):
                await ask()  # type: ignore[misc]
            assert len(ticks) > before, f"ask {number} did not let others run"

    module = ivr(tmp_path, code)
    await engine.attach(module)
    await caller.dial("100")
    await caller.answered()
    caller.hang_up()
    await asyncio.sleep(1)
    assert ticks[-1] == 15


# The end of the module


async def test_a_module_that_ends_waits_for_its_calls(
    engine: EngineForTests, tmp_path: Path
) -> None:
    """As long as it has patience; meanwhile it takes no more, and dial still brings people back."""

    async def code(call: Call) -> None:
        await call.answer()
        await call.dial("sim/200")
        await call.play("thanks.slin")

    module = ivr(tmp_path, code, patience=60)
    await module.attach(engine.open)
    caller, friend, late = engine.caller("1"), engine.caller("2"), engine.caller("3")
    await caller.dial("100")
    await friend.is_called("200")
    friend.pick_up()
    ending = asyncio.create_task(module.detach())
    await asyncio.sleep(5)
    await late.dial("100")
    await late.rejected("noroute")
    friend.hang_up()
    await caller.hears("thanks")
    await caller.hung_up()
    await asyncio.sleep(1)
    assert ending.done()
    await ending


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_module_that_ends_loses_patience(
    engine: EngineForTests, caller: Caller, tmp_path: Path, stubborn: bool
) -> None:
    said: list[str] = []

    async def code(call: Call) -> None:
        await call.answer()
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                said.append(str(await call.play("thanks.slin")))
                if not stubborn:
                    raise

    module = ivr(tmp_path, code, patience=3)
    await module.attach(engine.open)
    await caller.dial("100")
    await caller.answered()
    ending = asyncio.create_task(module.detach())
    await caller.hears("thanks")
    await caller.hung_up(within=CLEAN_UP + 5) if not stubborn else await asyncio.sleep(CLEAN_UP)
    await ending
    assert said == ["Playback.EOF"]
    assert not module._board._running
    if stubborn:
        # What it left in the engine is the next one's to find.
        caller.hang_up()


async def test_nothing_is_left_after_many_calls(engine: EngineForTests, tmp_path: Path) -> None:
    """Hang-ups at every moment: the registry, the tasks, the notify ids, the engine's channels."""

    async def code(call: Call) -> None:
        await call.ring()
        await call.answer()
        await call.collect(2, prompt="menu.slin", first=1)
        await call.record("x.slin", limit=1)
        async with call.hold("music.slin"):
            await call.dial("sim/200", timeout=1)
        await call.play(["menu.slin", "thanks.slin"])

    module = ivr(tmp_path, code)
    await engine.attach(module)
    for moment in range(0, 130, 3):
        caller = engine.caller(str(moment))
        await caller.dial("100")
        await asyncio.sleep(moment / 10)
        if not caller.leg.hung_up:
            caller.hang_up()
    await asyncio.sleep(10)
    board = module._board
    assert len(module.calls) == 0
    assert not module.calls._channels
    assert not board._running
    assert not board._notified
    assert not board._absence
    assert legs(engine) == 0


async def test_originating_needs_watching() -> None:
    with pytest.raises(ConfigError, match=r"make it with Module\('m', calls=True\)"):
        Module("m").originate("sim/1")
    module = Module("m", calls=True)
    with pytest.raises(ConnectionLost):
        async with module.originate("sim/1"):
            pass
    async with Engine(module):
        with pytest.raises(CallFailed):
            async with module.originate("nowhere/1"):
                pass
