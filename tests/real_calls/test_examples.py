"""The examples of calls, on the real engine with SIP calls."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures import Load
from tests.real_calls.ivr import attached
from tests.sipp import Exchange, needs_sipp
from yateway import Module
from yateway.engine import Recording
from yateway.engine.tapping import tapped
from yateway.transport import Opener, opener_of

pytest_plugins = ["tests.fixtures"]
pytestmark = [pytest.mark.yate, pytest.mark.real_clock, needs_sipp]


class Tap:
    """What a module on the real engine plays."""

    def __init__(self, exchange: Exchange) -> None:
        self._recording = Recording()
        self.opener: Opener = tapped(opener_of(exchange.engine.tcp), self._recording)

    def played(self) -> list[str]:
        """Return the names of all files that were played."""
        lines = [entry.line for entry in self._recording.entries if entry.direction == "A"]
        return [
            found[1]
            for line in lines
            if (found := re.search(r"source=wave[^:]*/([^:/]+)\.slin", line))
        ]


@pytest.fixture
def tap(exchange: Exchange) -> Tap:
    return Tap(exchange)


def files(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return sorted(folder.iterdir())


async def until(happened: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def test_pin(exchange: Exchange, example: Load, tap: Tap) -> None:
    async with attached(exchange, example("pin"), tap.opener):
        phone = await exchange.call(press="11111234")
        await phone.done()
    assert tap.played()[-4:] == ["your-balance-is", "40", "2", "euros"]


async def test_menu(exchange: Exchange, example: Load, tap: Tap) -> None:
    """The sales department talks for a while, then hangs up."""
    sales = await exchange.phone("callee", stay=500)
    async with attached(exchange, example("menu", SALES=sales.target), tap.opener):
        phone = await exchange.call(press="12", rate=600)
        await asyncio.gather(phone.done(), sales.done())
    assert "opening-hours" in tap.played()


async def test_voicemail(exchange: Exchange, example: Load, tap: Tap, recordings: Path) -> None:
    async with attached(exchange, example("voicemail"), tap.opener):
        phone = await exchange.call("71001", stay=2000)
        await phone.done()
        (message,) = files(recordings)
        assert message.stat().st_size > 8000
        phone = await exchange.call("*97", press="12343", rate=400)
        await phone.done()
    assert "you-have" in tap.played()
    assert not files(recordings)  # a key that was typed ahead has deleted it unheard


async def test_call_queue(exchange: Exchange, example: Load, tap: Tap) -> None:
    """The agent is busy at first; the caller hears music, then the agent."""
    busy = await exchange.phone("refuses", 486)
    agent = await exchange.phone("callee", stay=500)
    module = example("call_queue", AGENTS=f"{busy.target} {agent.target}")
    async with attached(exchange, module, tap.opener):
        phone = await exchange.call()
        await asyncio.gather(phone.done(), busy.done(), agent.done())
    assert tap.played() == ["music"]


async def test_click_to_call(exchange: Exchange, example: Load, tap: Tap) -> None:
    """Somebody else's module types the command, as rmanager would."""
    ours = await exchange.phone("callee")
    theirs = await exchange.phone("callee", stay=500)
    terminal = Module("terminal")
    module = example("click_to_call", TARGET="sip/sip:phone@127.0.0.1:{}")
    async with attached(exchange, module, tap.opener):
        await terminal.attach(opener_of(exchange.engine.tcp))
        line = f"connect {ours.port} {theirs.port}"
        answer = await terminal.dispatch("engine.command", line=line)
        assert answer.retvalue == f"calling {ours.port}\r\n"
        await asyncio.gather(ours.done(), theirs.done())
        await terminal.detach()
    assert "music" in tap.played()


async def test_conference(exchange: Exchange, example: Load, tap: Tap) -> None:
    """The moderator's key sends everybody home."""
    module = example("conference")
    async with attached(exchange, module, tap.opener):
        phone = await exchange.call(press="1111")
        await until(lambda: len(module.conferences.get("blue", ())) == 1)
        moderator = await exchange.call(press="9111#")
        await asyncio.gather(phone.done(), moderator.done())
        await until(lambda: not module.conferences)


async def test_campaign(exchange: Exchange, example: Load, tap: Tap) -> None:
    """Somebody answers and chooses nothing; the campaign ends by itself."""
    phone = await exchange.phone("callee", stay=400)
    terminal = Module("terminal")
    module = example("campaign", TARGET="sip/sip:phone@127.0.0.1:{}")
    async with attached(exchange, module, tap.opener):
        await terminal.attach(opener_of(exchange.engine.tcp))
        await terminal.dispatch("engine.command", line=f"remind {phone.port}")
        await phone.done()
        await terminal.detach()
    assert tap.played()[0] == "appointment"


@pytest.mark.parametrize("answers", [True, False])
async def test_ring_group(
    exchange: Exchange,
    example: Load,
    tap: Tap,
    recordings: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,
) -> None:
    """One of them picks up; or all are busy, and the caller leaves a message."""
    busy = [await exchange.phone("refuses", 486) for _ in range(2)]
    last = await (exchange.phone("callee", stay=500) if answers else exchange.phone("refuses", 486))
    module = example("ring_group")
    monkeypatch.setattr(sys.modules["ring_group"], "DESKS", [phone.target for phone in busy])
    monkeypatch.setattr(sys.modules["ring_group"], "MOBILE", last.target)
    async with attached(exchange, module, tap.opener):
        phone = await exchange.call(stay=0 if answers else 2500)
        await asyncio.gather(*(one.done() for one in (phone, *busy, last)))
    assert bool(files(recordings)) is not answers
    assert ("leave-a-message" in tap.played()) is not answers
