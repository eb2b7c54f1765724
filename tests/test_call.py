"""Calls from end to end, with callers of the embedded engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ivr import SECOND, make_sounds, module_of
from yateway import Call, CallEnded, CallFailed, UnsafePath
from yateway.engine.caller import Caller
from yateway.keys import Why
from yateway.moving import Dialled
from yateway.sound import Playback, Recorded, RecordingEnd
from yateway.testing import EngineForTests


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return make_sounds(tmp_path / "sounds")


async def test_a_call_is_answered_played_to_and_hung_up(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    async def greet(call: Call) -> None:
        assert (call.caller, call.called, call.status) == ("1001", "100", "incoming")
        await call.answer()
        assert await call.play("menu.slin") is Playback.EOF
        assert list(module.calls) == [call]
        assert module.calls.get(call.id) is call

    module = module_of(sounds, greet)
    await engine.attach(module)
    await caller.dial("100")
    await caller.answered()
    await caller.hears("menu")
    await caller.hung_up()
    await asyncio.sleep(1)
    assert len(module.calls) == 0


async def test_digits_are_collected(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    got: list[object] = []

    async def ask(call: Call) -> None:
        await call.answer()
        for _ in range(3):
            digits = await call.collect(4, prompt="menu.slin", secret=True)
            got.append((digits.text, digits.why))
        assert repr(digits) == "<Digits '**' between>"

    await engine.attach(module_of(sounds, ask))
    await caller.dial("100")
    await caller.hears("menu")
    caller.press("12#")
    await caller.hears("menu")
    caller.press("1234")
    await caller.hears("menu")
    caller.press("56")
    await caller.hung_up()
    assert got == [("12", Why.END), ("1234", Why.COUNT), ("56", Why.BETWEEN)]


async def test_hanging_up_ends_the_code_wherever_it_waits(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    ends: list[str] = []

    async def wait(call: Call) -> None:
        await call.answer()
        try:
            await (
                call.play("menu.slin") if call.params.get("how") == "play" else asyncio.sleep(60)
            )
        except CallEnded as end:
            ends.append(end.reason)
            with pytest.raises(CallEnded):
                await call.play("menu.slin")
        finally:
            await asyncio.sleep(1)
            ends.append("cleaned up")

    module = module_of(sounds, wait)
    await engine.attach(module)
    for how in ("play", "sleep"):
        await caller.dial("100", how=how)
        await caller.answered()
        await asyncio.sleep(1)
        caller.hang_up()
        await asyncio.sleep(2)
    assert ends == ["hangup", "cleaned up"] * 2
    assert len(module.calls) == 0


async def test_recordings(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    got: list[tuple[RecordingEnd, int, int | None]] = []

    async def tape(call: Call) -> None:
        await call.answer()
        for limit in (10, 3):
            recorded = await call.record("x.slin", limit=limit)
            got.append((recorded.end, round(recorded.seconds), recorded.size))

    await engine.attach(module_of(sounds, tape))
    await caller.dial("100")
    await caller.hears("milliwatt")
    await asyncio.sleep(0.5)
    caller.say(sounds / "menu.slin")
    await asyncio.sleep(3)
    caller.press("#")
    await caller.hung_up()
    assert [end for end, _, _ in got] == [RecordingEnd.KEY, RecordingEnd.LIMIT]
    assert [seconds for _, seconds, _ in got] == [3, 3]
    assert got[0][2] == len(SECOND) * 2


async def test_a_message_that_ends_with_the_call_is_kept_and_played(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Hanging up ends the recording and not the code; the next caller hears it."""
    kept: list[Recorded] = []
    over: list[bool] = []

    async def tape(call: Call) -> None:
        await call.answer()
        for message in kept:
            assert await call.play([message, Path(message.path)]) is Playback.EOF
        message = await call.record("m.slin")
        kept.append(message)
        with pytest.raises(CallEnded):
            await call.play("thanks.slin")
        over.append(call.ended)

    await engine.attach(module_of(sounds, tape))
    await caller.dial("100")
    await caller.hears("milliwatt")
    await caller.hears_nothing()
    caller.say(sounds / "menu.slin")
    await asyncio.sleep(2)
    caller.hang_up()
    await asyncio.sleep(1)
    await caller.dial("100")
    await caller.hears("recordings/m")
    await caller.hears("recordings/m")
    await caller.hears("milliwatt")
    caller.hang_up()
    await asyncio.sleep(1)
    # The second caller hung up before there was anything to keep.
    (message,) = kept
    assert (message.end, round(message.seconds), bool(message)) == (RecordingEnd.HANGUP, 2, True)
    assert over == [True]


async def test_only_what_is_ours_is_played(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    refused: list[object] = []

    async def play(call: Call) -> None:
        await call.answer()
        for path in ("/etc/passwd", sounds / ".." / "x.slin", Path("menu.slin"), sounds):
            with pytest.raises(UnsafePath):
                await call.play(Path(path))
            refused.append(path)
        await call.play(sounds / "menu.slin")

    await engine.attach(module_of(sounds, play))
    await caller.dial("100")
    await caller.hears("menu")
    await caller.hung_up()
    assert len(refused) == 4


async def test_music_makes_room_and_comes_back(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    async def queue(call: Call) -> None:
        await call.answer()
        async with call.hold("music.slin"):
            await asyncio.sleep(5)
            await call.play(["menu.slin", 3, "nothing.slin"])
            await call.key()
            async with call.hold("wrong.slin"):
                await asyncio.sleep(5)
            await call.collect(1, prompt="menu.slin", first=9)
            await asyncio.sleep(1)
        await asyncio.sleep(1)

    await engine.attach(module_of(sounds, queue))
    await caller.dial("100")
    await asyncio.sleep(12)
    caller.press("5")
    await asyncio.sleep(6)
    caller.press("7")
    await caller.hung_up()
    names = [Path(name).stem for _, name in caller.heard if name]
    assert names == [
        *("music", "menu", "3", "nothing", "music"),
        *("wrong", "music", "menu", "music"),
    ]


async def test_keys_are_for_whoever_waits_first(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Two who wait get one key each; a third key, that nobody wanted, is kept."""
    got: list[str] = []

    async def ask(call: Call) -> None:
        await call.answer()
        other = call.spawn(call.key())
        got.append(await call.key())
        got.append(await other)
        await asyncio.sleep(3)
        got.append(await call.key(timeout=0))
        got.append(await call.key(timeout=2))

    await engine.attach(module_of(sounds, ask))
    await caller.dial("100")
    await caller.answered()
    for key in "123":
        caller.press(key)
        await asyncio.sleep(1)
    await caller.hung_up()
    assert (sorted(got[:2]), got[2:]) == (["1", "2"], ["3", ""])


async def test_dial_and_back(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    """A busy target, one that does not answer, one that talks and hangs up: the caller is back."""
    got: list[object] = []

    async def ring(call: Call) -> None:
        await call.answer()
        for target in ("sim/200", "sim/201", "sim/202", "nowhere/1"):
            got.append(await call.dial(target, timeout=5))
            await call.play("thanks.slin")

    module = module_of(sounds, ring)
    await engine.attach(module)
    busy, late, friend = engine.caller(), engine.caller(), engine.caller()
    await caller.dial("100")
    await busy.is_called("200")
    busy.hang_up("busy")
    await caller.hears("thanks")
    await late.is_called("201")
    await caller.hears("thanks")
    await friend.is_called("202")
    friend.pick_up()
    await asyncio.sleep(7)
    friend.hang_up()
    await caller.hears("thanks")
    await caller.hears("thanks")
    await caller.hung_up()
    assert got == [
        Dialled(False, "busy"),
        Dialled(False, "timeout"),
        Dialled(True, "hangup"),
        Dialled(False, "noconn"),
    ]


async def test_originate(engine: EngineForTests, sounds: Path) -> None:
    module = module_of(sounds, Call.answer)
    await engine.attach(module)
    someone = engine.caller()

    async def listen() -> None:
        await someone.is_called("300")
        someone.pick_up()
        await someone.hears("menu")
        someone.hang_up()

    listening = asyncio.create_task(listen())
    async with module.originate("sim/300", caller="5") as call:
        await call.play("menu.slin")
        raise AssertionError("unreachable")
    await listening
    assert call.ended

    async def refuse() -> None:
        await someone.is_called("300")
        someone.hang_up("busy")

    refusing = asyncio.create_task(refuse())
    with pytest.raises(CallFailed) as failed:
        async with module.originate("sim/300", caller="5"):
            pass
    assert failed.value.reason == "busy"
    await refusing
    with pytest.raises(CallFailed) as failed:
        async with module.originate("sim/300", timeout=3):
            pass
    assert failed.value.reason == "timeout"
    with pytest.raises(CallFailed) as failed:
        async with module.originate("none/300", timeout=3):
            pass
    assert failed.value.reason == "noconn"
