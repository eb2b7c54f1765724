"""Recordings are played to modules, and what a module says otherwise is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.calls import ivr
from yateway import Call, Message, Module
from yateway.engine import Engine, Recording
from yateway.engine.caller import Caller
from yateway.engine.prompter import check_module
from yateway.engine.recording import Entry
from yateway.engine.tapping import tapped
from yateway.errors import ConfigError
from yateway.transport import Opener


def hotline(
    target: str = "tone/dial", *, after: float = 0.0, more: Iterable[str] = (), timeout: int = 5000
) -> Module:
    """Make a module that routes calls, slowly if need be, and tells when they have ended."""
    module = Module("hotline")

    @module.handler("call.route")
    async def route(message: Message) -> str:
        await asyncio.sleep(after)
        message["seen"] = "yes"
        looked_up = await module.dispatch("hotline.lookup", caller=message["caller"])
        return looked_up.retvalue or target

    @module.watcher("chan.hangup")
    async def ended(message: Message) -> None:
        await module.enqueue("hotline.ended", id=message["id"])
        await module.output("a call has ended")

    @module.on_connected
    async def settle() -> None:
        await module.setlocal("timeout", timeout)

    for name in more:
        module.handler(name)(lambda _message: None)
    return module


async def record(
    module: Module, act: Callable[[Engine], object] = lambda _engine: None
) -> Recording:
    """Record two calls to a module on an engine; between them something may happen."""
    recording = Recording()
    async with Engine(module, record=recording) as engine:
        for called in ("100", "101"):
            caller = Caller(engine, "041", record=recording)
            await caller.dial(called)
            await caller.answered()
            await asyncio.sleep(60)
            caller.hang_up()
            await asyncio.sleep(1)
            act(engine)
            await asyncio.sleep(20)
    return recording


async def differences(recording: Recording, module: Module) -> list[str]:
    found = [str(difference) for difference in await check_module(recording, module)]
    assert not module.attached
    return found


async def test_the_same_module_says_the_same(tmp_path: Path) -> None:
    """Also after the recording was stored."""
    path = tmp_path / "calls.jsonl"
    (await record(hotline())).to_file(path)
    assert await differences(Recording.from_file(path), hotline()) == []


async def test_another_answer_differs() -> None:
    """What is missing and what came instead are named, once for each call."""
    found = await differences(await record(hotline()), hotline("tone/busy"))
    assert len(found) == 4
    assert sum("missing" in text and "tone/dial" in text for text in found) == 2
    assert sum("unexpected" in text and "tone/busy" in text for text in found) == 2


async def test_an_answer_that_comes_later_is_the_same() -> None:
    """Within the patience of a player; only the order counts."""
    assert await differences(await record(hotline()), hotline(after=1.0)) == []


async def test_settings_are_no_behaviour() -> None:
    """A module may ask for others, and is told that all is well."""
    module = hotline(timeout=7000)
    assert await differences(await record(hotline()), module) == []


async def test_settings_are_those_of_the_recording() -> None:
    """What the engine once said of itself it says again."""
    versions: list[str] = []

    def asking() -> Module:
        module = hotline()

        @module.on_connected
        async def ask() -> None:
            versions.append(await module.getlocal("engine.version"))

        return module

    recording = await record(asking())
    assert await differences(recording, asking()) == []
    assert versions[0]
    assert versions[0] == versions[1]


async def test_a_module_that_wants_more_differs() -> None:
    """Its install has no reply in the recording, so that it never gets to work."""
    found = await differences(await record(hotline()), hotline(more=["chan.dtmf"]))
    assert any("unexpected" in text and "%%>install:100:chan.dtmf" in text for text in found)


async def test_a_module_that_wants_less_differs() -> None:
    """Its missing line is named."""
    found = await differences(await record(hotline(more=["chan.dtmf"])), hotline())
    assert any("missing" in text and "%%>install:100:chan.dtmf" in text for text in found)


async def test_a_module_comes_back_as_it_did() -> None:
    """The engine's closing is played, and the reconnect waited for."""
    recording = await record(hotline(), Engine.drop)
    assert sum(entry.event.startswith("connect") for entry in recording.entries) == 3
    assert await differences(recording, hotline()) == []


@pytest.mark.parametrize("attempt", range(8))
async def test_several_connections_come_back_in_any_order(attempt: int) -> None:
    """They are known by what they install; the delays are drawn at random each time."""

    def twofold() -> Module:
        module = hotline()
        module.handler("call.route", 150)(lambda _message: None)
        return module

    assert await differences(await record(twofold(), Engine.drop), twofold()) == []


async def test_a_recording_of_the_modules_side_will_do() -> None:
    """As `yateway run --record` keeps it."""
    recording = Recording()
    module = hotline()
    async with Engine() as engine:
        opener: Opener = tapped(engine.open, recording)
        await module.attach(opener)
        answer = await engine.dispatch("call.route", caller="041", called="100")
        await module.detach()
    assert answer.retvalue == "tone/dial"
    assert await differences(recording, hotline()) == []
    assert await differences(recording, hotline("tone/busy")) != []


async def test_a_module_that_fails_of_itself_fails_the_play() -> None:
    """Its error is not to be taken for a difference."""
    recording = await record(hotline())
    broken = hotline()

    @broken.on_start
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await check_module(recording, broken)


async def test_a_recording_without_a_module_cannot_be_played() -> None:
    """There has to be a connection."""
    with pytest.raises(ConfigError, match="no module that connects"):
        await check_module(Recording(), hotline())


async def test_calls_are_played_too(tmp_path: Path) -> None:
    """Their module is another instance than the one that was recorded, with other marks."""

    def module(right: str = "12") -> Module:
        async def code(call: Call) -> None:
            await call.answer()
            digits = await call.collect(2, prompt="menu.slin")
            await call.play("thanks.slin" if digits.text == right else "wrong.slin")
            await call.conference("room")
            await call.key()

        made = ivr(tmp_path, code)
        # A further connection, whose priority is not that of the calls.
        made.handler("chan.disconnected", 50)(lambda _message: None)
        made.handler("call.drop", 20)(lambda _message: None)
        made.handler("call.drop", 30)(lambda _message: None)
        return made

    recording = Recording()
    async with Engine(module(), record=recording) as engine:
        caller = Caller(engine, "1001")
        await caller.dial("100")
        await caller.hears("menu")
        caller.press("12")
        await caller.hears("room", within=15)
        caller.press("3")
        await asyncio.sleep(1)
        caller.hang_up()
        await asyncio.sleep(1)
    assert await differences(recording, module()) == []
    assert await differences(recording, module("99")) != []


async def test_a_recording_that_hides_keys_is_not_played() -> None:
    """The module would be told of a key that nobody has pressed; with one written in it is."""
    module = hotline()
    pressed: list[str] = []
    module.watcher("chan.dtmf")(lambda message: pressed.append(message["text"]))
    recording = await record(module)
    watched = next(e for e in recording.entries if e.line.startswith("%%<watch:chan.dtmf"))
    place = recording.entries.index(watched) + 1
    for text in ("***", "5"):
        line = f"%%<message::false:chan.dtmf::id=sip/1:text={text}"
        key = Entry(watched.time, "E", watched.connection, line)
        played = Recording([*recording.entries[:place], key, *recording.entries[place:]])
        if text == "***":
            with pytest.raises(ConfigError, match=r"which key .* or record with --record-secrets"):
                await check_module(played, module)
        else:
            assert await differences(played, module) == []
    assert pressed == ["5"]


async def test_a_refused_install_is_part_of_the_play() -> None:
    """What it makes the module raise shows in its lines."""
    recording = await record(hotline())
    refused = Recording()
    for entry in recording.entries:
        line = entry.line.replace(
            "%%<install:100:call.route:true", "%%<install:100:call.route:false"
        )
        refused.add(entry.connection, entry.direction, line.encode("latin-1"), entry.event)
    found = await differences(refused, hotline())
    assert any("missing" in text and "hotline.lookup" in text for text in found)


class Hasty:
    """A module by hand, which asks, hears what it gets, and closes without a word."""

    def __init__(self, *, twice: bool = False) -> None:
        self.twice = twice

    async def attach(self, opener: Opener, /) -> None:
        for _ in range(1 + self.twice):
            transport = await opener()
            transport.write(b"%%>watch:call.cdr\n")
            await transport.receive()
            await transport.close()

    async def detach(self) -> None:
        pass


async def test_a_module_that_closes_without_a_word_does_so_again() -> None:
    """A connection that the recording does not have is closed too, and not waited for."""
    recording = Recording()
    async with Engine(record=recording) as engine:
        transport = await engine.open("global")
        transport.write(b"%%>watch:call.cdr\n")
        await transport.receive()
        await transport.close()
        await asyncio.sleep(0.1)
    assert recording.entries[-1].event == "close"
    assert await check_module(recording, Hasty()) == []
    assert await check_module(recording, Hasty(twice=True)) == []
    assert await check_module(recording, hotline()) != []


async def test_a_recording_that_was_cut_off_is_played_so_far() -> None:
    """What the module says while it leaves is nobody's business then."""
    recording = await record(hotline())
    ends = next(i for i, e in enumerate(recording.entries) if e.line.startswith("%%>uninstall"))
    assert await differences(Recording(recording.entries[:ends]), hotline()) == []
