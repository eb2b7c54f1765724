"""The examples of calls do what they say, for callers of the embedded engine."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from examples import make_sounds
from tests.fixtures import EXAMPLES, Load
from yateway.engine.caller import Caller
from yateway.testing import EngineForTests

pytest_plugins = ["tests.fixtures"]

CALLS = sorted(
    {*EXAMPLES.glob("*.py")}
    - {EXAMPLES / f"{name}.py" for name in ("article", "twisted_reactor", "make_sounds")}
)


def files(folder: Path) -> list[Path]:
    """Return what is in a folder, the oldest first."""
    return sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)


@pytest.mark.parametrize("path", CALLS, ids=lambda path: path.stem)
def test_each_is_short_and_plays_only_what_the_tool_makes(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    played = set(re.findall(r"([\w-]+)\.slin", text)) - {"billid"}
    assert played <= {*make_sounds.PROMPTS, "music"}


async def test_pin(engine: EngineForTests, caller: Caller, example: Load) -> None:
    await engine.attach(example("pin"))
    await caller.dial("100")
    await caller.hears("enter-pin")
    caller.press("1111")
    await caller.hears("wrong-pin")
    await caller.hears("enter-pin")
    caller.press("1234")
    for sound in ("your-balance-is", "40", "2", "euros"):
        await caller.hears(sound)
    await caller.hung_up()
    await caller.dial("100")
    for _ in range(3):
        await caller.hears("enter-pin")
        caller.press("9999")
    await caller.hears("goodbye")
    await caller.hung_up()


async def test_menu(engine: EngineForTests, caller: Caller, example: Load) -> None:
    await engine.attach(example("menu"))
    somebody = engine.caller()
    await caller.dial("100")
    await caller.hears("welcome")
    caller.press("1")  # who knows the menu need not wait for it
    await caller.hears("opening-hours")
    await caller.hears("menu")
    caller.press("9")
    await caller.hears("not-available")
    await caller.hears("menu")
    caller.press("31")
    await caller.hears("enter-order")
    caller.press("47#")
    for sound in ("order", "4", "7", "is-on-its-way", "menu"):
        await caller.hears(sound)
    caller.press("2")
    await somebody.is_called("200")
    somebody.hang_up("busy")
    await caller.hears("nobody-there")
    await caller.hears("menu")
    caller.press("2")
    await somebody.is_called("200")
    somebody.pick_up()
    await asyncio.sleep(60)
    somebody.hang_up()
    await caller.hung_up()


async def test_voicemail(
    engine: EngineForTests, caller: Caller, example: Load, example_sounds: Path, recordings: Path
) -> None:
    await engine.attach(example("voicemail"))
    friend = engine.caller("1002")
    await friend.dial("79999")
    await friend.rejected("noroute")
    for ending in ("hang up", "press"):
        await friend.dial("71001")
        await friend.hears("leave-a-message")
        friend.press("5")
        await friend.hears("milliwatt")
        await friend.hears_nothing()
        friend.say(example_sounds / "music.slin")
        await asyncio.sleep(3)
        if ending == "press":
            friend.press("#")
            await friend.hears("thank-you")
            await friend.hung_up()
        else:
            friend.hang_up()
            await asyncio.sleep(1)
    first, second = files(recordings)
    assert [round(file.stat().st_size / 16_000) for file in (first, second)] == [3, 3]

    await caller.dial("*97")
    await caller.hears("enter-pin")
    caller.press("4321")
    await caller.hears("enter-pin")
    caller.press("1234")
    for sound in ("you-have", "2", "messages", first.stem, "message-menu"):
        await caller.hears(sound)
    caller.press("1")
    await caller.hears(first.stem)
    caller.press("3")
    await caller.hears(second.stem)
    await caller.hears("message-menu")
    caller.press("2")
    await caller.hears("goodbye")
    await caller.hung_up()
    assert files(recordings) == [second]


async def test_call_queue(
    engine: EngineForTests, caller: Caller, example: Load, recordings: Path
) -> None:
    await engine.attach(example("call_queue"))
    agents = [engine.caller(), engine.caller()]
    callers = [caller, *(engine.caller(f"100{n}") for n in (2, 3, 4))]
    for number, agent in zip(("201", "202"), agents, strict=True):
        one = callers[agents.index(agent)]
        await one.dial("100")
        await agent.is_called(number)
        await one.hears("music")
        agent.pick_up()
        await one.hears_nothing()
    third, fourth = callers[2:]
    await third.dial("100")
    for sound in ("music", "your-place-is", "1", "music"):
        await third.hears(sound)
    await fourth.dial("100")
    for sound in ("your-place-is", "2", "music", "your-place-is", "2", "music"):
        await fourth.hears(sound)
    # The fourth has enough; the third comes next, though the first agent does not answer in time.
    fourth.press("1")
    await fourth.hears("leave-a-message")
    await fourth.hears("milliwatt")
    fourth.hang_up()
    callers[0].hang_up()
    await agents[0].hung_up()
    await agents[0].is_called("201")
    await agents[0].hung_up("noanswer")
    await third.hears("your-place-is")
    await agents[0].is_called("201")
    agents[0].pick_up()
    await asyncio.sleep(1)
    agents[0].hang_up()
    await third.hung_up()


async def test_click_to_call(engine: EngineForTests, caller: Caller, example: Load) -> None:
    await engine.attach(example("click_to_call"))
    somebody = engine.caller()
    answer = await engine.dispatch("engine.command", line="connect 201 5551234")
    assert (answer.processed, answer.retvalue) == (True, "calling 201\r\n")
    await caller.is_called("201")
    caller.pick_up()
    await caller.hears("music")
    await somebody.is_called("5551234")
    somebody.pick_up()
    await caller.hears_nothing()
    await asyncio.sleep(60)
    caller.hang_up()
    await somebody.hung_up()

    await engine.dispatch("engine.command", line="connect 201 5551234")
    await caller.is_called("201")
    caller.pick_up()
    await somebody.is_called("5551234")
    somebody.hang_up("busy")
    await caller.hears("nobody-there")
    await caller.hung_up()

    await engine.dispatch("engine.command", line="connect 201 5551234")
    await caller.is_called("201")
    caller.hang_up("busy")
    bad = await engine.dispatch("engine.command", line="connect 201 x;y")
    assert "cannot be dialled" in bad.retvalue
    assert not (await engine.dispatch("engine.command", line="status")).processed


async def test_conference(engine: EngineForTests, caller: Caller, example: Load) -> None:
    module = example("conference")
    await engine.attach(module)
    second, moderator, stranger = (engine.caller(n) for n in ("1002", "1003", "1004"))
    await stranger.dial("100")
    for _ in range(3):
        await stranger.hears("enter-pin")
        stranger.press("0000")
    await stranger.hung_up()
    for number, (one, pin) in enumerate([(caller, "1111"), (second, "1111"), (moderator, "9111")]):
        await one.dial("100")
        await one.hears("enter-pin")
        one.press(pin)
        await one.hears("people-in-the-room")
        await one.hears(f"en/{number}")
        await one.hears("conf/blue")
    await asyncio.sleep(1)
    room = module.conferences["blue"]
    assert room.persons == [caller.leg.id, second.leg.id, moderator.leg.id]
    for muted in ("true", "false"):
        caller.press("*")
        await asyncio.sleep(1)
        status = await engine.dispatch("engine.status", module=next(iter(room.members)))
        assert f"mute={muted}" in status.retvalue
    second.press("#")
    await asyncio.sleep(1)
    assert len(room) == 3
    moderator.press("#")
    for one in (caller, second, moderator):
        await one.hung_up("kicked")
    await asyncio.sleep(1)
    assert not module.conferences


async def test_ring_group(
    engine: EngineForTests, caller: Caller, example: Load, recordings: Path
) -> None:
    await engine.attach(example("ring_group"))
    desks, mobile = [engine.caller(), engine.caller()], engine.caller()
    colleague = engine.caller("202")

    async def ring_all() -> None:
        await caller.dial("100")
        for desk in desks:
            await desk.is_called()
            desk.ring()
        await caller.ringing()

    # Somebody answers, and talks.
    await ring_all()
    await mobile.is_called("203")
    mobile.pick_up()
    await caller.answered()
    for desk in desks:
        await desk.hung_up()
    mobile.hang_up()
    await caller.hung_up()
    # Nobody does.
    await ring_all()
    await mobile.is_called("203")
    assert not caller.leg.answered
    await caller.hears("nobody-there")
    await caller.hears("leave-a-message")
    await caller.hears("milliwatt")
    await caller.hears_nothing()
    await asyncio.sleep(2)
    caller.hang_up()
    await asyncio.sleep(1)
    (message,) = files(recordings)
    assert message.name.startswith("group-")
    # A colleague picks up.
    await ring_all()
    await colleague.dial("*8")
    await caller.answered()
    for desk in desks:
        await desk.hung_up()
    caller.hang_up()
    await colleague.hung_up()
    await colleague.dial("*8")
    await colleague.rejected("nocall")


async def test_campaign(engine: EngineForTests, example: Load) -> None:
    """One confirms, one hangs up before choosing, one is busy and then silent for ever."""
    await engine.attach(example("campaign"))
    answer = await engine.dispatch("engine.command", line="remind 301 302 303")
    assert answer.retvalue == "calling 3 numbers\r\n"
    one, two, three = (engine.caller(limit=700) for _ in range(3))
    await one.is_called("301")
    one.pick_up()
    await one.hears("confirm-menu")
    one.press("1")
    await one.hears("thank-you")
    await two.is_called("302")
    two.pick_up()
    await two.hears("appointment")
    two.hang_up()
    await three.is_called("303")
    three.hang_up("busy")
    for _ in range(2):
        await three.is_called("303")
        await three.hung_up("noanswer")
    await asyncio.sleep(1)
    told = [
        entry.line.partition("campaign: ")[2]
        for entry in engine.recording.entries
        if entry.line.startswith("%%>output")
    ]
    assert sorted(told) == ["301: confirmed", "302: no choice", "303: timeout"]
    bad = await engine.dispatch("engine.command", line="remind 301 x/y")
    assert "cannot be dialled" in bad.retvalue
