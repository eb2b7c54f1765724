"""A caller and code of ours on the real engine: signals, sounds, keys, recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real_calls.ivr import attached, ivr
from tests.sipp import Exchange, needs_sipp
from yateway import Call
from yateway.errors import LocalProtocolError
from yateway.routing import CAUSES
from yateway.sound import Playback

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
