"""A caller and code of ours on the real engine: signals, sounds, keys, recordings."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.real_calls.ivr import attached, ivr
from tests.sipp import Exchange, needs_sipp
from yateway import Call, CallEnded
from yateway.errors import LocalProtocolError
from yateway.keys import Why
from yateway.routing import CAUSES
from yateway.sound import Playback, RecordingEnd

pytestmark = [pytest.mark.yate, pytest.mark.real_clock, needs_sipp]


@pytest.mark.parametrize("called", ["100", "101"])
async def test_by_route_and_by_rule(exchange: Exchange, folder: Path, called: str) -> None:
    """A handler of call.route brings the call to us, and so does a rule of regexroute."""
    got: list[object] = []

    async def code(call: Call) -> None:
        got.append((call.caller, call.called, call.status, call.billid != ""))
        got.append((call.params.get("color"), call.params.get("rule")))
        await call.answer()
        got.append((call.status, list(module.calls) == [call], module.calls.get(call.leg) is call))

    async with attached(exchange, ivr(folder, code)) as module:
        phone = await exchange.call(called)
        await phone.done()
    own = ("red", None) if called == "100" else (None, "yes")
    assert got == [("1001", called, "incoming", True), own, ("answered", True, True)]


async def test_signals_before_the_answer(exchange: Exchange, folder: Path) -> None:
    """It rings, early media is heard, then it is answered."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.ring()
        got.append(call.status)
        await call.progress()
        got.append((call.status, await call.play("menu.slin")))
        await call.answer()
        await call.answer()
        with pytest.raises(LocalProtocolError):
            await call.reject("busy")

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.call()
        text = await phone.done()
    assert got == ["ringing", ("progressing", Playback.EOF)]
    told = [text.find(f"SIP/2.0 {status}") for status in ("180 ", "183 ", "200 ")]
    assert -1 not in told
    assert told == sorted(told)
    assert text.count("SIP/2.0 200") == 2  # of the INVITE and ours of the BYE


@pytest.mark.parametrize("cause", CAUSES)
async def test_rejections(exchange: Exchange, folder: Path, cause: str) -> None:
    """Each cause reaches a SIP caller as the status that we promise."""

    async def code(call: Call) -> None:
        await call.reject(cause)
        assert (call.ended, call.reason) == (True, cause)

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.phone("refused", CAUSES[cause])
        await phone.done()


@pytest.mark.parametrize("status", [480, 500])
async def test_code_that_ends_without_an_answer(
    exchange: Exchange, folder: Path, status: int
) -> None:
    """It is not left ringing: 480, and 500 where the code failed."""

    async def code(call: Call) -> None:
        await call.ring()
        assert status == 480

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.phone("refused", status)
        await phone.done()


async def test_sounds(exchange: Exchange, folder: Path) -> None:
    """They end, are missing, take each other's place, are stopped by a key or a time."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.play(["short.slin", "short.slin"]))
        got.append(await call.play("nothing.slin"))
        got.append(await call.play(["nothing.slin", "short.slin"]))
        first = await call.start("menu.slin")
        second = await call.start("menu.slin", repeat=True)
        got.append(await first.done())
        await second.stop()
        got.append(await second.done())
        got.append(await call.play("menu.slin", limit=0.2))
        got.append(await call.tone("dial", 0.2))
        got.append(await call.tone("none", 0.2))
        got.append(await call.silence(0.1))
        got.append(await call.say_number(424))

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.call()
        await phone.done()
    assert got == [
        Playback.EOF,
        Playback.MISSING,
        Playback.MISSING,
        Playback.REPLACED,
        Playback.REPLACED,
        Playback.LIMIT,
        Playback.LIMIT,
        Playback.MISSING,
        Playback.LIMIT,
        Playback.EOF,
    ]


async def test_keys(exchange: Exchange, folder: Path) -> None:
    """They stop a sound, are kept for who asks next, and choose from a menu."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.play("menu.slin", barge=True))
        digits = await call.collect(3, prompt="menu.slin")
        got.append((digits.text, digits.why))
        digits = await call.collect(end="#", secret=True)
        got.append((digits.text, digits.why, "45" in repr(digits)))
        got.append(
            await call.menu({"1": "one", "2": "two"}, prompt="menu.slin", invalid="wrong.slin")
        )
        digits = await call.collect(2, first=0.3)
        got.append((digits.text, digits.why))

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.call(press="12345#72", rate=200)
        await phone.done()
    assert got == [
        Playback.KEY,
        ("123", Why.COUNT),
        ("45", Why.END, False),
        "two",
        ("", Why.FIRST),
    ]


async def test_recordings(exchange: Exchange, folder: Path) -> None:
    """What comes from the caller is in the file; a key, a time or the caller ends it."""
    got: list[tuple[RecordingEnd, bool, int | None, float]] = []

    async def code(call: Call) -> None:
        await call.answer()
        # The telephone returns what it hears.
        await call.start("menu.slin", repeat=True)
        for name, limit in (("key.slin", 5.0), ("limit.slin", 0.5), ("none/x.slin", 0.3)):
            recorded = await call.record(name, limit=limit, beep=False)
            got.append((recorded.end, bool(recorded), recorded.size, recorded.seconds))
        recorded = await call.record("beep.slin", limit=0.3, beep="short.slin")
        assert recorded.end is RecordingEnd.LIMIT
        await call.start("menu.slin", repeat=True)
        recorded = await call.record("hangup.slin", beep=False)
        got.append((recorded.end, bool(recorded), recorded.size, recorded.seconds))
        with pytest.raises(CallEnded):
            await call.play("menu.slin")

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.call(press="#", rate=800, stay=2500)
        await phone.done()
    assert [(end, kept) for end, kept, _, _ in got] == [
        (RecordingEnd.KEY, True),
        (RecordingEnd.LIMIT, True),
        (RecordingEnd.FAILED, False),
        (RecordingEnd.HANGUP, True),
    ]
    for end, _, size, seconds in got:
        if end is RecordingEnd.FAILED:
            assert size is None
        else:
            assert size is not None
            assert size > 0.5 * seconds * 16_000  # the first packets are late


async def test_the_caller_hangs_up(exchange: Exchange, folder: Path) -> None:
    """Whatever the code waits for ends; it may still send messages."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        call.spawn(asyncio.sleep(60))
        try:
            await (asyncio.sleep(60) if len(got) else call.play("menu.slin"))
        except CallEnded as end:
            got.append((end.reason, end.cause, call.ended))
        finally:
            assert (await module.dispatch("engine.status")).retvalue

    module = ivr(folder, code)
    async with attached(exchange, module):
        for _ in range(2):
            phone = await exchange.call(stay=300)
            await phone.done()
    assert got == [("hangup", None, True)] * 2


async def test_the_caller_gives_up(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.ring()
        try:
            await asyncio.sleep(60)
        except CallEnded as end:
            got.append((end.reason, end.cause, call.ended))

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.phone("gives-up", stay=300)
        await phone.done()
    # Which end tells first is chance.
    assert got in ([("Cancelled", None, True)], [("Request Terminated", None, True)])


async def test_we_hang_up(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        await call.hangup("busy")
        got.append((call.ended, call.reason))
        with pytest.raises(CallEnded):
            await call.answer()

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.call()
        text = await phone.done()
    assert "BYE sip:1001" in text
    assert got == [(True, "busy")]


async def test_we_press_keys(exchange: Exchange, folder: Path) -> None:
    async def code(call: Call) -> None:
        await call.answer()
        while not await call.send_dtmf("5#"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)

    async with attached(exchange, ivr(folder, code)):
        phone = await exchange.call()
        text = await phone.done()
    assert re.findall("Signal=(.*)", text) == ["5", "11"]
