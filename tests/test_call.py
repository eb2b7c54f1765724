"""Calls from end to end, with callers of the embedded engine."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.ivr import SECOND, make_sounds, module_of
from yateway import (
    Call,
    CallEnded,
    CallFailed,
    ConfigError,
    LocalProtocolError,
    Module,
    UnsafePath,
)
from yateway.engine.caller import Caller
from yateway.keys import Digits, Why
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


async def test_what_an_unanswered_caller_sees_and_hears(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    statuses: list[str] = []

    async def signal(call: Call) -> None:
        await call.ring()
        statuses.append(call.status)
        await asyncio.sleep(2)
        assert await call.play("menu.slin") is Playback.EOF
        statuses.append(call.status)
        assert await call.tone("busy", 2) is Playback.LIMIT
        await call.reject("busy")
        statuses.append(call.status)
        with pytest.raises(CallEnded, match="busy"):
            await call.answer()

    await engine.attach(module_of(sounds, signal))
    await caller.dial("100")
    await caller.ringing()
    await caller.hears("menu")
    await caller.hears("tone/busy")
    await caller.rejected("busy")
    await asyncio.sleep(0.1)
    assert statuses == ["ringing", "progressing", "ended"]


async def test_an_answered_call_is_not_rejected_and_causes_are_checked(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    async def reject(call: Call) -> None:
        with pytest.raises(ValueError, match="use busy"):
            await call.reject("bussy")
        await call.answer()
        await call.answer()
        with pytest.raises(LocalProtocolError, match="hangup"):
            await call.reject("busy")
        await call.hangup("bye")

    await engine.attach(module_of(sounds, reject))
    await caller.dial("100")
    await caller.answered()
    await caller.hung_up("bye")


async def test_a_sound_is_stopped_by_the_right_key_at_once(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Other keys let it play on, and the key that stopped it is there for who asks next."""
    got: list[object] = []
    loop = asyncio.get_running_loop()

    async def play(call: Call) -> None:
        await call.answer()
        started = loop.time()
        got.append(await call.play(["menu.slin", "thanks.slin"], barge="12"))
        got.append(round(loop.time() - started, 1))
        got.append((await call.collect(2)).text)
        got.append(await call.silence(60, barge=True))
        # What was typed ahead keeps the next sound from being played at all.
        got.append(await call.play("thanks.slin", barge=True))
        got.append(await call.key())

    await engine.attach(module_of(sounds, play))
    await caller.dial("100")
    await caller.hears("menu")
    await asyncio.sleep(0.5)
    caller.press("7")
    await asyncio.sleep(1)
    caller.press("2")
    await caller.hears_nothing()
    await asyncio.sleep(4)
    caller.press("*")
    await caller.hung_up()
    assert got == [Playback.KEY, 1.5, "72", Playback.KEY, Playback.KEY, "*"]
    assert not any("thanks" in name for _, name in caller.heard)


async def test_a_menu(engine: EngineForTests, caller: Caller, sounds: Path) -> None:
    """Longer choices wait for their further keys, and wrong ones are said to be."""
    got: list[object] = []

    async def ask(call: Call) -> None:
        await call.answer()
        choices = {"1": "one", "12": "twelve", "3": None, "55": "fifty-five"}
        for _ in range(5):
            got.append(await call.menu(choices, prompt="menu.slin", invalid="wrong.slin", tries=2))

    await engine.attach(module_of(sounds, ask))
    await caller.dial("100")
    for keys in ("1", "12", "3", "56", "55"):
        await caller.hears("menu")
        caller.press(keys)
    await asyncio.sleep(0.1)
    assert got[:4] == ["one", "twelve", None, "fifty-five"]
    await caller.hears("wrong")
    await caller.hears("menu")
    await caller.hung_up()
    assert got[4:] == [None]


async def test_invalid_digits_are_asked_for_again(
    engine: EngineForTests, caller: Caller, sounds: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The check may take its time; a secret is in no log."""
    caplog.set_level(logging.DEBUG)
    got: list[Digits] = []

    async def check(text: str) -> bool:
        await asyncio.sleep(1)
        return text == "4711"

    async def ask(call: Call) -> None:
        await call.answer()
        for tries in (3, 1):
            digits = await call.collect(
                *(4,), prompt="menu.slin", invalid="wrong.slin", tries=tries, validate=check,
                secret=True,
            )  # fmt: skip
            logging.getLogger("ivr").info("%s %r", digits, digits)
            got.append(digits)
        got.append(await call.collect(max=3, between=9))

    await engine.attach(module_of(sounds, ask))
    await caller.dial("100")
    for keys in ("1111", "47#", "4711"):
        await caller.hears("menu")
        caller.press(keys)
        if keys != "4711":
            await caller.hears("wrong")
    await caller.hears("menu")
    caller.press("9876")
    await asyncio.sleep(2)
    caller.press("5")
    await caller.hung_up()
    assert [(digits.text, digits.why, bool(digits)) for digits in got] == [
        ("4711", Why.COUNT, True),
        ("9876", Why.INVALID, False),
        ("5", Why.MAX, False),
    ]
    assert "<Digits '****' invalid>" in caplog.text
    assert "4711" not in caplog.text
    assert "9876" not in caplog.text


async def test_numbers_are_said_in_the_callers_language(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    async def say(call: Call) -> None:
        await call.answer()
        await call.say_digits("30*")
        await call.say_number(21, "de")
        with pytest.raises(ConfigError, match="no language 'xx'"):
            await call.say_number(1, "xx")

    await engine.attach(module_of(sounds, say))
    await caller.dial("100")
    await caller.hung_up()
    names = [name.rpartition("sounds/")[2] for _, name in caller.heard if name]
    assert names == [
        *("en/3.slin", "en/0.slin", "en/star.slin"),
        *("de/ein.slin", "de/und.slin", "de/20.slin"),
    ]


async def test_keys_are_sent_and_events_awaited(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    got: list[str] = []

    async def talk(call: Call) -> None:
        await call.answer()
        with pytest.raises(ValueError, match="no keys"):
            await call.send_dtmf("12x")
        await call.send_dtmf("12#")
        with pytest.raises(ValueError, match="not watched"):
            await call.wait_for("call.route")
        with pytest.raises(TimeoutError):
            await call.wait_for("chan.dtmf", timeout=2)
        told = await call.wait_for("chan.dtmf", lambda message: message["text"] == "6")
        got.append(told["id"])

    await engine.attach(module_of(sounds, talk))
    await caller.dial("100")
    await caller.gets_digits("12#")
    await asyncio.sleep(3)
    caller.press("56")
    await caller.hung_up()
    assert got == [caller.leg.id]


async def test_tasks_of_a_call_end_with_it(
    engine: EngineForTests, caller: Caller, sounds: Path
) -> None:
    """Whatever they wait for; and the code that returned has hung up."""
    tasks: list[asyncio.Task[object]] = []

    async def spawn(call: Call) -> None:
        await call.answer()
        tasks.append(call.spawn(asyncio.sleep(60)))
        tasks.append(call.spawn(call.key()))
        await call.play("menu.slin")

    module = module_of(sounds, spawn)
    await engine.attach(module)
    await caller.dial("100")
    await caller.hung_up()
    await asyncio.sleep(0.1)
    assert [task.cancelled() for task in tasks] == [True, True]


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


async def test_a_folder_that_is_not_there_is_told_at_once(
    engine: EngineForTests, tmp_path: Path
) -> None:
    none = tmp_path / "none"
    for module in (Module("ivr", sounds=none), Module("ivr", recordings=none)):
        with pytest.raises(ConfigError, match=r"^the root .* cannot be used"):
            await engine.attach(module)
