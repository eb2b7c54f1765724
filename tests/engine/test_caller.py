"""The scripted caller: what it does reaches the engine, and what it misses it tells people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from yateway.engine import Engine, Recording
from yateway.engine.caller import Caller, NotHappened, diagram
from yateway.engine.recording import RecordingFile
from yateway.message import Message

ROUTES = {
    "1": "tone/dial",
    "2": "sim/200",
    "3": "dumb/",
    "4": "wave/play/{folder}/menu.slin",
    "5": "-",
}


def route(folder: Path, message: Message) -> bool:
    if message.get("called") not in ROUTES:
        return False
    message.retvalue = ROUTES[message["called"]].format(folder=folder)
    if message["called"] == "5":
        message["error"] = "forbidden"
    return True


@asynccontextmanager
async def running(folder: Path = Path()) -> AsyncIterator[tuple[Engine, Caller, Caller]]:
    """Run an engine with routes, and with two people."""
    recording = Recording()
    engine = Engine(record=recording)
    engine.install("call.route", lambda message: route(folder, message))
    async with engine:
        yield engine, Caller(engine, "041", record=recording), Caller(engine, record=recording)


def now() -> float:
    return asyncio.get_running_loop().time()


# What it does


async def test_a_caller_is_answered_and_hears_a_tone() -> None:
    """A tone answers by itself; asked again, an answered call is answered."""
    async with running() as (_, caller, _):
        await caller.dial("1")
        await caller.hears("dial")
        await caller.answered()
        await caller.answered()
        assert caller.hearing == "tone/dial"
        assert [name for _, name in caller.heard] == ["tone/dial"]
        assert repr(caller) == "<Caller '041' answered>"
        caller.hang_up()
        await caller.hung_up()
        assert repr(caller) == "<Caller '041' hung up>"
    assert now() == 0


async def test_parameters_of_a_call_are_those_of_its_route() -> None:
    """Also those whose names are no identifiers, and the caller's number."""
    seen: list[Message] = []

    def see(message: Message) -> bool:
        seen.append(message)
        return False

    async with running() as (engine, caller, _):
        engine.install("call.route", see, 10)
        await caller.dial("9", {"sip_x-y": "z"}, callername="Ann")
        await caller.rejected()
    assert [seen[0][name] for name in ("caller", "called", "sip_x-y", "callername")] == [
        *("041", "9", "z", "Ann")
    ]


async def test_two_people_talk() -> None:
    """One rings, picks up, gets keys and a text, and hangs up with a reason."""
    async with running() as (engine, caller, other):
        await caller.dial("2")
        await other.is_called("200")
        other.ring()
        await caller.ringing()
        other.pick_up()
        await caller.answered()
        await caller.ringing()
        caller.press("12#")
        await other.gets_digits("12#")
        await engine.dispatch("chan.text", targetid=other.leg.id, text="hello")
        await other.gets_text("hello")
        other.hang_up("enough")
        await caller.hung_up("enough")


async def test_what_is_said_is_heard_until_its_end(tmp_path: Path) -> None:
    """Then it is silent, and silence that is there already is not waited for."""
    speech = tmp_path / "speech.slin"
    speech.write_bytes(bytes(320 * 51))
    async with running() as (_, caller, other):
        await caller.dial("2")
        await other.is_called()
        other.pick_up()
        await other.hears_nothing()
        caller.say(speech)
        await other.hears("speech")
        await other.hears_nothing()
        assert now() == pytest.approx(1.0)
        await other.hears_nothing()
        assert now() == pytest.approx(1.0)


async def test_a_file_that_is_not_there_cannot_be_said(tmp_path: Path) -> None:
    """The engine would play silence."""
    async with running() as (_, caller, _):
        await caller.dial("1")
        await caller.answered()
        with pytest.raises(FileNotFoundError):
            caller.say(tmp_path / "none.slin")


async def test_a_caller_dials_again() -> None:
    """What it heard, saw and got is that of the call."""
    async with running() as (_, caller, other):
        await caller.dial("2")
        await other.is_called()
        other.ring()
        await caller.ringing()
        other.hang_up("busy")
        await caller.rejected("busy")
        await caller.dial("5")
        await caller.rejected("forbidden")
        assert caller.heard == []
        with pytest.raises(NotHappened, match="get a ringing tone: the call was over"):
            await caller.ringing()


async def test_a_caller_has_one_call_at_a_time() -> None:
    """And without one it cannot press keys."""
    async with running() as (_, caller, other):
        assert repr(caller) == "<Caller '041' no call>"
        with pytest.raises(RuntimeError, match="has no call"):
            caller.press("1")
        await caller.dial("1")
        with pytest.raises(RuntimeError, match="is in a call"):
            await caller.dial("1")
        with pytest.raises(RuntimeError, match="is in a call"):
            await caller.is_called()
        await other.dial("1")
        await other.answered()


# Which sound is meant


@pytest.mark.parametrize(
    "what", ["menu", "menu.slin", "{tail}/menu", "{folder}/menu.slin", "wave/play/{folder}/menu"]
)
async def test_a_file_is_known_by_the_end_of_its_path(what: str, tmp_path: Path) -> None:
    """With its suffix or without."""
    (tmp_path / "menu.slin").write_bytes(bytes(32000))
    async with running(tmp_path) as (_, caller, _):
        await caller.dial("4")
        await caller.hears(what.format(folder=tmp_path, tail=tmp_path.name))


@pytest.mark.parametrize("what", ["men", "enu", "u.slin", "other/menu", "play", "", "menu.wav"])
async def test_a_part_of_a_name_is_another_name(what: str, tmp_path: Path) -> None:
    """Nobody is to hear "menu" where "submenu" plays."""
    (tmp_path / "menu.slin").write_bytes(bytes(32000))
    async with running(tmp_path) as (_, caller, _):
        await caller.dial("4")
        with pytest.raises(NotHappened, match="did not hear"):
            await caller.hears(what, within=5)


async def play(engine: Engine, caller: Caller, tone: str) -> None:
    peer = caller.leg.peer
    assert peer is not None
    attach = {"message": "chan.attach", "source": f"tone/{tone}"}
    await engine.dispatch("chan.masquerade", attach, id=peer.id)


async def test_a_sound_counts_once_and_in_its_order() -> None:
    """What came in between may be anything; one that plays anew has begun again."""
    async with running() as (engine, caller, _):
        await caller.dial("1")
        await caller.answered()
        for tone in ("busy", "ring", "busy", "busy"):
            await play(engine, caller, tone)
        await caller.hears("ring")
        await caller.hears("busy")
        await caller.hears("busy")
        with pytest.raises(NotHappened):
            await caller.hears("ring")


async def test_a_sound_from_before_a_key_is_no_answer_to_it() -> None:
    """The message says that it still sounds."""
    async with running() as (engine, caller, _):
        await caller.dial("1")
        await caller.answered()
        caller.press("9")
        with pytest.raises(NotHappened, match=r"'tone/dial' sounds since 0\.000 s; what counts"):
            await caller.hears("dial")
        await play(engine, caller, "dial")
        await caller.hears("dial")


# What did not happen


async def test_a_failure_tells_what_was_heard_instead_and_draws_the_call() -> None:
    """When, and until which moment it was waited."""
    async with running() as (engine, caller, _):
        await asyncio.sleep(2)
        await caller.dial("1")
        await caller.answered()
        await asyncio.sleep(1)
        await play(engine, caller, "busy")
        with pytest.raises(NotHappened) as failure:
            await caller.hears("menu")
    text = str(failure.value)
    assert isinstance(failure.value, AssertionError)
    assert text.startswith("caller 041 did not hear 'menu' within 10 s\n")
    assert "heard: 'tone/dial' from 0.000 s, 'tone/busy' from 1.000 s\n" in text
    assert "call sim/1: answered\n" in text
    for line in ("041 dials 1", "041 sees: answered", "041 hears tone/busy", "041 gives up"):
        assert f"note: {line}\n" in f"{text}\n"
    assert text.splitlines()[-1].startswith("11.000")


async def test_the_end_of_a_call_ends_every_wait() -> None:
    """At once, and with its reason; what was heard before the end still counts."""
    async with running() as (engine, caller, _):
        await caller.dial("9")
        with pytest.raises(NotHappened, match="did not get an answer: the call was over") as error:
            await caller.answered()
        assert "call sim/1: rejected, ended with 'noroute'" in str(error.value)
        assert "heard: nothing at all" in str(error.value)
        with pytest.raises(NotHappened, match="did not hear silence: the call was over"):
            await caller.hears_nothing()
        await caller.dial("1")
        await caller.answered()
        await engine.dispatch("call.drop", id=caller.leg.id, reason="over")
        await caller.hung_up("over")
        await caller.hears("dial")
    assert now() == 0


async def test_an_answered_call_is_not_rejected() -> None:
    """Nor does it end by itself."""
    async with running() as (_, caller, _):
        await caller.dial("1")
        with pytest.raises(NotHappened, match=r"did not get rejected as 'busy': .* was answered"):
            await caller.rejected("busy")
        with pytest.raises(NotHappened, match=r"did not see the call end within 2\.5 s"):
            await caller.hung_up(within=2.5)
        assert now() == 2.5


async def test_another_cause_and_another_reason_are_failures() -> None:
    """They are named."""
    async with running() as (_, caller, _):
        await caller.dial("9")
        with pytest.raises(NotHappened, match="get rejected as 'busy' but with 'noroute'"):
            await caller.rejected("busy")
        with pytest.raises(NotHappened, match="see the call end with 'x' but with 'noroute'"):
            await caller.hung_up("x")


async def test_other_digits_are_a_failure() -> None:
    """So are missing ones, and a text that never came."""
    async with running() as (_, caller, other):
        await caller.dial("2")
        await other.is_called()
        other.pick_up()
        caller.press("13")
        with pytest.raises(NotHappened, match="get the digits '12' but '13'"):
            await other.gets_digits("12")
        with pytest.raises(NotHappened, match="the caller did not get the text 'x' within 10 s"):
            await other.gets_text("x")


async def test_nobody_calls_or_calls_another() -> None:
    """The number that was called is named."""
    async with running() as (_, caller, other):
        with pytest.raises(NotHappened, match=r"^the caller did not get a call within 3 s"):
            await other.is_called(within=3)
        await caller.dial("2")
        with pytest.raises(NotHappened, match="as '300': '200' was called"):
            await other.is_called("300")


async def test_odd_characters_do_no_harm() -> None:
    """In numbers, reasons and texts; the recording can be stored."""
    async with running() as (engine, caller, other):
        await caller.dial("2", callername="Ž\n")
        await other.is_called()
        other.pick_up()
        await engine.dispatch("chan.text", targetid=other.leg.id, text="☎\x1b[2J\nx")
        with pytest.raises(NotHappened) as error:
            await other.gets_text("Ž")
    assert "\x1b" not in str(error.value)
    assert "gets text \\u260e" in str(error.value)


async def test_a_caller_without_a_recording_shows_what_it_did() -> None:
    """The diagram has no lines then, but the story."""
    async with Engine() as engine:
        caller = Caller(engine, "041", limit=1)
        await caller.dial("1")
        with pytest.raises(NotHappened, match="note: 041 dials 1") as error:
            await caller.answered()
    assert "within" not in str(error.value)


async def test_a_recording_that_keeps_nothing_will_do(tmp_path: Path) -> None:
    """The diagram is empty then; what was heard is still told."""
    with (tmp_path / "calls.jsonl").open("w") as file:
        recording = RecordingFile(file)
        engine = Engine(record=recording)
        engine.install("call.route", lambda message: route(tmp_path, message))
        async with engine:
            caller = Caller(engine, "041", record=recording)
            await caller.dial("1")
            with pytest.raises(NotHappened, match=r"heard: 'tone/dial' from 0\.000 s"):
                await caller.hears("menu")
    notes = Recording.from_file(tmp_path / "calls.jsonl")
    assert notes.entries[0].line == "041 dials 1"


async def test_a_long_diagram_is_cut_at_its_beginning() -> None:
    """And says so."""
    recording = Recording()
    for number in range(10):
        recording.add("", "A", f"{number}".encode(), event="note")
    lines = diagram(recording, 3).splitlines()
    assert lines[0].split() == ["time", "engine"]
    assert lines[1] == "... 7 before"
    assert [line[-1] for line in lines[2:]] == ["7", "8", "9"]
