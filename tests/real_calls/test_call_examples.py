"""The examples of calls on the real engine, for callers on SIP telephones."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fixtures import beeps
from tests.real_calls.ivr import attached
from tests.sipp import Exchange, Phone, needs_sipp
from yateway import Message, Module
from yateway.cli.run import load
from yateway.transport import opener_of

pytestmark = [pytest.mark.yate, pytest.mark.real_clock, needs_sipp]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sounds as the examples' own tool makes them, cut short."""
    folder = beeps(tmp_path_factory.mktemp("sounds"))
    for file in folder.rglob("*.slin"):
        file.write_bytes(file.read_bytes()[:3200])
    return folder


class Show:
    """An example on the real engine.

    Attributes:
        heard: the files that were played, in their order.
        recordings: the folder with what was recorded.
    """

    def __init__(self, exchange: Exchange, recordings: Path) -> None:
        self.exchange = exchange
        self.recordings = recordings
        self.heard: list[str] = []

    def recorded(self) -> list[Path]:
        """Return the recordings that are not empty."""
        return [file for file in self.recordings.iterdir() if file.stat().st_size]

    async def hears(self, *names: str) -> None:
        """Wait until files were played one after the other, whatever else there was between."""
        async with asyncio.timeout(10):
            for name in names:
                while name not in self.heard:
                    await asyncio.sleep(0.01)
                del self.heard[: self.heard.index(name) + 1]


@asynccontextmanager
async def shown(
    exchange: Exchange, name: str, sounds: Path, tmp_path: Path, **settings: str
) -> AsyncIterator[Show]:
    """Run an example while the block lasts, and listen to what it plays."""
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    show = Show(exchange, recordings)
    listener = Module("listener")

    @listener.handler("chan.attach", priority=50)
    def listen(message: Message) -> None:
        if source := message.get("source", ""):
            show.heard.append(Path(source).stem)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", sys.path.copy())
        named = {"SOUNDS": str(sounds), "RECORDINGS": str(recordings), **settings}
        for key, value in named.items():
            patch.setenv(key, value)
        patch.setitem(sys.modules, name, sys)  # gone after the test, whatever it was before
        module = load(str(EXAMPLES / f"{name}.py"))
    await listener.attach(opener_of(exchange.engine.unix))
    try:
        async with attached(exchange, module):
            yield show
    finally:
        await listener.detach()


def target_of(phone: Phone) -> str:
    """Return the examples' TARGET for one telephone, whatever its number."""
    return phone.target.replace("phone", "{}")


async def test_pin(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    async with shown(exchange, "pin", sounds, tmp_path) as show:
        right = await exchange.call(press="11111234")
        await show.hears("enter-pin", "wrong-pin", "enter-pin", "your-balance-is", "40", "2")
        await right.done()
        wrong = await exchange.call(press="111122223333")
        await show.hears(*["enter-pin"] * 3, "goodbye")
        await wrong.done()


async def test_menu(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    busy = await exchange.phone("refuses", 486)
    async with shown(exchange, "menu", sounds, tmp_path, SALES=busy.target) as show:
        caller = await exchange.call(press="193147#2", rate=500, stay=2500)
        await show.hears("opening-hours", "not-available", "enter-order", "4", "7", "nobody-there")
        await caller.done()
        await busy.done()
    sales = await exchange.phone("callee", stay=500)
    (tmp_path / "recordings").rmdir()
    async with shown(exchange, "menu", sounds, tmp_path, SALES=sales.target):
        caller = await exchange.call(press="2")
        await caller.done()
        await sales.done()


async def test_voicemail(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    async with shown(exchange, "voicemail", sounds, tmp_path) as show:
        stranger = await exchange.phone("refused", 404, called="79999")
        await stranger.done()
        for press in ("#", ""):
            friend = await exchange.call(
                "71001", caller=1002, press=press, rate=2000, stay=0 if press else 2000
            )
            await friend.done()
        await show.hears("leave-a-message", "thank-you", "leave-a-message")
        assert len(list(show.recordings.iterdir())) == 2
        owner = await exchange.call("*97", press="12343333", rate=700)
        await show.hears("enter-pin", "you-have", "2", "messages", "goodbye")
        await owner.done()
        assert not list(show.recordings.iterdir())


async def test_call_queue(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    agent = await exchange.phone("callee", ring=300, stay=5000)
    async with shown(exchange, "call_queue", sounds, tmp_path, AGENTS=agent.target) as show:
        first = await exchange.call()
        await show.hears("music")
        second = await exchange.call(caller=1002, press="5", rate=1500, stay=2500)
        await show.hears("your-place-is", "1", "music", "leave-a-message")
        await first.done()
        await agent.done()
        await second.done()
        (message,) = show.recordings.iterdir()
        assert message.name.startswith("queue-")


async def test_click_to_call(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    ours = await exchange.phone("callee", calls=2)
    settings = {"TARGET": target_of(ours)}
    async with shown(exchange, "click_to_call", sounds, tmp_path, **settings) as show:
        asker = Module("asker")
        await asker.attach(opener_of(exchange.engine.unix))
        answer = await asker.dispatch("engine.command", line="connect 201 202")
        assert (answer.processed, answer.retvalue) == (True, "calling 201\r\n")
        await show.hears("music")
        async with asyncio.timeout(5):
            while (await asker.dispatch("engine.status", module="dumb")).retvalue.count(
                "chans=0"
            ) < 1:
                await asyncio.sleep(0.05)
        await asker.drop_all_calls()
        await asker.detach()
        text = await ours.done()
        assert "INVITE sip:201@" in text
        assert "INVITE sip:202@" in text


async def test_conference(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    async with shown(exchange, "conference", sounds, tmp_path) as show:
        first = await exchange.call(press="1111**")
        await show.hears("enter-pin", "people-in-the-room", "0")
        second = await exchange.call(press="1111#")
        await show.hears("people-in-the-room", "1")
        moderator = await exchange.call(press="9111#", rate=400)
        await show.hears("people-in-the-room", "2")
        for phone in (first, second, moderator):
            await phone.done()


async def test_ring_group(exchange: Exchange, sounds: Path, tmp_path: Path) -> None:
    desks = await exchange.phone("callee", calls=2, ring=300, stay=500)
    settings = {"TARGET": target_of(desks)}
    async with shown(exchange, "ring_group", sounds, tmp_path, **settings):
        caller = await exchange.call()
        await caller.done()
    (tmp_path / "recordings").rmdir()
    busy = await exchange.phone("refuses", 486, calls=3)
    settings = {"TARGET": target_of(busy)}
    async with shown(exchange, "ring_group", sounds, tmp_path, **settings) as show:
        caller = await exchange.call(stay=1500)
        await show.hears("busy", "leave-a-message")
        await caller.done()
        await busy.done()
