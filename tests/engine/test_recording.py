"""Recordings: kept, compared, and played against an engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.engine.by_hand import EIGHT_WORKERS, Hand
from yateway.engine import Engine, Recording
from yateway.engine.recording import Entry
from yateway.engine.replaying import Difference, compare, replay
from yateway.errors import ConfigError
from yateway.transport import Transport


def recorded(*lines: str) -> Recording:
    """Return a recording, from lines as "0.5 A a %%>watch:x" or "0.5 E a (closed)"."""
    entries = []
    for line in lines:
        time, direction, connection, text = line.split(" ", 3)
        event = text[1:-1] if text.startswith("(") else ""
        entries.append(Entry(float(time), direction, connection, "" if event else text, event))
    return Recording(entries)


def kinds(expected: Recording, actual: Recording) -> list[str]:
    """Return the kinds of all differences."""
    return [difference.kind for difference in compare(expected, actual)]


async def connect_to(engine: Engine, listener: str) -> Transport:
    """Connect to the listener that a recording names."""
    return await engine.open("global" if "role=global" in listener else "")


async def play(recording: Recording) -> Recording:
    """Play a recording against a fresh engine."""
    async with Engine(conf=EIGHT_WORKERS) as engine:
        return await replay(recording, lambda listener: connect_to(engine, listener))


# Keeping


async def test_an_engine_records_both_sides() -> None:
    """Lines and events of each connection, by the loop's clock."""
    recording = Recording()
    async with Engine(record=recording) as engine:
        hand = await Hand.on(engine)
        await hand.ask("%%>watch:a\r")
        await asyncio.sleep(1.5)
        hand.transport.abort()
        other = await Hand.on(engine, "")
        other.say("%%>connect:global", "%%>quit")
        await other.hear_rest()
    assert [
        (entry.time, entry.direction, entry.connection, entry.event or entry.line)
        for entry in recording.entries
    ] == [
        (0.0, "A", "c1", "connect memory memory (role=global)"),
        (0.0, "A", "c1", "%%>watch:a"),
        (0.0, "E", "c1", "%%<watch:a:true"),
        (1.5, "A", "c2", "connect memory memory"),
        (1.5, "A", "c1", "close"),
        (1.5, "A", "c2", "%%>connect:global"),
        (1.5, "A", "c2", "%%>quit"),
        (1.5, "E", "c2", "%%<quit"),
        (1.5, "E", "c2", "closed"),
    ]


async def test_a_recording_goes_into_a_file_and_comes_back(tmp_path: Path) -> None:
    """Whatever bytes it holds."""
    recording = Recording()
    recording.add("a", "A", bytes(range(256)))
    recording.add("a", "E", event="closed")
    path = tmp_path / "r.jsonl"
    recording.to_file(path)
    again = Recording.from_file(path)
    assert again.entries == recording.entries
    assert again.entries[0].data == bytes(range(256))
    assert repr(again) == "<Recording of 2 entries>"
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "[]",
        '{"t": "x", "dir": "A", "c": "a", "line": ""}',
        '{"t": 0, "dir": "A", "c": "a", "line": "\\u0100"}',
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, line: str) -> None:
    """With the number of the line."""
    path = tmp_path / "r.jsonl"
    path.write_text('{"t": 0, "dir": "A", "c": "a", "line": "x"}\n' + line + "\n")
    with pytest.raises(ConfigError, match="line 2"):
        Recording.from_file(path)


def test_a_note_may_hold_any_text(tmp_path: Path) -> None:
    """It is no line of the protocol."""
    note = Recording([Entry(0.0, "A", "", "→ killed", "note")])
    note.to_file(tmp_path / "r.jsonl")
    assert Recording.from_file(tmp_path / "r.jsonl").entries == note.entries


# Comparing


REQUEST = "0.1 E b %%>message:0x7f.1:1:t.x:r:p=1"
ANSWER = "0.2 E b %%<message:0x7f.1:false:t.y:"


def test_equal_recordings_do_not_differ() -> None:
    """Nor do those whose engines made other ids, at another time."""
    expected = recorded(REQUEST, "0.1 E b %%>message:0x7f.2:1795380596:t.x:", ANSWER)
    actual = recorded(
        "7 E b %%>message:0x11.5:1:t.x:r:p=1",
        "7 E b %%>message:0x11.6:1701234567:t.x:",
        "8 E b %%<message:0x11.5:false:t.y:",
    )
    assert kinds(expected, expected) == kinds(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("%%>message:1:1:t.x::p=1", "%%>message:1:1:t.x::p=2"),
        ("%%>message:1:1:t.x::p=1", "%%>message:1:2:t.x::p=1"),
        ("%%>message:1:1:t.x::p=1", "%%>message:1:1795380596:t.x::p=1"),
        ("%%<message:1:true:t.x:", "%%<message:2:true:t.x:"),
        ("%%<message:1:true:t.x:", "%%<message:1:true:t.x::"),
        ("%%<message::true:t.x:", "%%<message::false:t.x:"),
        ("%%<setlocal:timeout:1:true", "%%<setlocal:timeout:2:true"),
        ("%%<setlocal:runid:1:true", "%%<setlocal:runid:1:false"),
        ("%%<watch:x:true", "(closed)"),
        ("%%<message:1", "%%<message:2"),
        ("%%>message:1:x:t.x:", "%%>message:1:y:t.x:"),
    ],
)
def test_one_line_that_differs_is_two_differences(expected: str, actual: str) -> None:
    """One is missing, and one was not expected."""
    found = compare(recorded(f"0 E a {expected}"), recorded(f"5 E a {actual}"))
    assert [difference.kind for difference in found] == ["missing", "unexpected"]
    assert str(found[0]) == f"missing at 0 s on a: {expected!r}"
    assert str(found[1]).startswith("unexpected at 5 s on a: ")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("%%<setlocal:runid:1:true", "%%<setlocal:runid:2:true"),
        ("%%<setlocal:engine.nodename:vm:true", "%%<setlocal:engine.nodename:here:true"),
        ("%%<message::true:engine.halt::nodename=vm", "%%<message::true:engine.halt::nodename=x"),
        (
            "%%>message:1:1:engine.timer::time=17:nodename=vm",
            "%%>message:1:1:engine.timer::time=18:nodename=vm",
        ),
        (
            "%%<message:1:true:t.x::handlers=cdrbuild%z50,me%z60,x%zy%z7:p=1",
            "%%<message:1:true:t.x::p=1:handlers=me%z60,wave%z90,x%zy%z7",
        ),
        ("%%<message:1:true:t.x::handlers=cdrbuild%z50:p=1", "%%<message:1:true:t.x::p=1"),
        ("(closed)", "(reset [Errno 104] Connection reset by peer)"),
    ],
)
def test_what_an_engine_says_of_itself_may_differ(expected: str, actual: str) -> None:
    """Of the handlers only those of modules count."""
    names = ["0 A a %%>setlocal:trackparam:me", "0 A a %%>setlocal:trackparam: x:y "]
    assert kinds(recorded(*names, f"0 E a {expected}"), recorded(f"5 E a {actual}")) == []


def test_ticks_do_not_count() -> None:
    """Nor do events that only the recorder saw."""
    tick = "1 E a %%<message::false:engine.timer::time=1:nodename=vm"
    event = "1 E a (send failed [Errno 32] Broken pipe)"
    assert kinds(recorded(tick, event), recorded()) == []
    assert kinds(recorded(), recorded(tick)) == []


def test_the_order_within_a_moment_means_nothing() -> None:
    """For messages, which come from several threads; replies to commands keep theirs."""
    a, b = "%%<message:1:true:t.x:", "%%<message:2:true:t.x:"
    reply, other = "%%<watch:a:true", "%%<watch:b:true"
    close = recorded(f"0 E a {a}", f"0.004 E a {b}")
    assert kinds(close, recorded(f"0 E a {b}", f"0 E a {a}")) == []
    apart = recorded(f"0 E a {a}", f"0.008 E a {b}")
    assert kinds(apart, recorded(f"0 E a {b}", f"0 E a {a}")) == ["out of order"]
    replies = recorded(f"0 E a {reply}", f"0.001 E a {other}")
    assert kinds(replies, recorded(f"0 E a {other}", f"0 E a {reply}")) == ["out of order"]
    mixed = recorded(f"0 E a {a}", f"0 E a {reply}")
    assert kinds(mixed, recorded(f"0 E a {reply}", f"0 E a {a}")) == []


def test_what_the_real_engine_reads_behind_a_line_may_be_anything() -> None:
    """A field that ends in a single percent: refused here, garbage there."""
    sent = "0 A a %%>message:1:1:t.x::p=a%:b"
    expected = recorded(sent, "0 E a %%<message:1:false:t.x::p=a\xc0\x7f")
    actual = recorded(sent, "0 E a Error in: %%>message:1:1:t.x::p=a%:b")
    assert kinds(expected, actual) == []
    fine = "0 A a %%>message:1:1:t.x::p=a%%:b"
    assert kinds(recorded(fine, *(["0 E a x"])), recorded(fine, "0 E a Error in: other")) == [
        "missing",
        "unexpected",
    ]


def test_a_difference_shows_nothing_raw() -> None:
    """It may be printed on a terminal."""
    assert str(Difference("missing", Entry(0.5, "E", "a", "\x1b[2J"))) == (
        "missing at 0.5 s on a: '\\x1b[2J'"
    )
    assert str(Difference("missing", Entry(0.5, "E", "a", "", "closed"))) == (
        "missing at 0.5 s on a: closed"
    )


# Playing


SCENE = (
    "0 A a (connect unix u1 (role=global))",
    "0 A b (connect unix u2)",
    "0 A b %%>connect:global",
    "0 A b %%>install:50:t.x",
    "0.001 E b %%<install:50:t.x:true",
    "0.002 A a %%>message:1:1:t.x::p=1",
    "0.003 E b %%>message:0x1.1:1:t.x::p=1",
    "0.004 A b %%>message:0x1.1:1:t.y:",
    "0.005 E b %%<message:0x1.1:false:t.y:",
    "2.005 A b %%<message:0x1.1:true::ret",
    "2.006 E a %%<message:1:true:t.x:ret:p=1",
    "2.007 A b (close)",
    "2.008 A a %%>quit",
    "2.009 E a %%<quit",
    "2.010 E a (closed)",
)


async def test_a_recording_can_be_played() -> None:
    """Ids are replaced, pauses are kept, and nothing differs."""
    expected = recorded(*SCENE)
    before = asyncio.get_running_loop().time()
    actual = await play(expected)
    assert compare(expected, actual) == []
    assert asyncio.get_running_loop().time() - before == pytest.approx(2.1, abs=0.01)
    assert [entry.event for entry in actual.entries if entry.event] == [
        "connect unix u1 (role=global)",
        "connect unix u2",
        "close",
        "closed",
    ]


async def test_what_is_played_can_be_played_again() -> None:
    """It is a recording like any other."""
    once = await play(recorded(*SCENE))
    assert compare(once, await play(once)) == []


async def test_a_request_that_differs_is_still_answered() -> None:
    """Only the difference itself is reported."""
    wrong = recorded(*(line.replace("0x1.1:1:t.x::p=1", "0x1.1:1:t.x::p=2") for line in SCENE))
    assert kinds(wrong, await play(wrong)) == ["missing", "unexpected"]


async def test_what_does_not_come_is_not_waited_for_long() -> None:
    """The time recorded, and a little patience."""
    expected = recorded(
        "0 A a (connect unix u1 (role=global))",
        "0 A a %%>output:nothing comes of this",
        "1 E a %%<watch:x:true",
        "1 A a %%>watch:y",
        "1 E a %%<watch:y:true",
    )
    before = asyncio.get_running_loop().time()
    assert kinds(expected, await play(expected)) == ["missing"]
    assert asyncio.get_running_loop().time() - before == pytest.approx(3.1)


async def test_notes_are_acted_on_and_other_ends_are_played() -> None:
    """A half close closes, and a connection that was never opened is left out."""
    notes: list[str] = []

    async def act(note: str) -> None:
        notes.append(note)

    scene = Recording(
        [
            Entry(0.0, "A", "", "do this", "note"),
            *recorded(
                "0 A a (connect unix u1 (role=global))",
                "0 A a %%>watch:x",
                "0 E a %%<watch:x:true",
                "0 A a (shutdown write)",
                "0 E a (closed)",
                "0 A script %%>watch:x",
                "0 E script %%<watch:x:true",
                "0 A b (connect unix u1 (role=global))",
            ).entries,
        ]
    )
    async with Engine() as engine:
        actual = await replay(scene, lambda listener: connect_to(engine, listener), act)
        assert [difference.entry.connection for difference in compare(scene, actual)] == ["script"]
        again = await replay(scene, lambda listener: connect_to(engine, listener))
        assert len(again.entries) == len(actual.entries)
    assert notes == ["do this"]


async def test_a_connection_that_is_refused_ends_the_play() -> None:
    """And those opened before are closed."""
    async with Engine() as engine:

        async def connect(listener: str) -> Transport:
            if "u2" in listener:
                raise ConnectionRefusedError
            return await engine.open("global")

        with pytest.raises(ConnectionRefusedError):
            await replay(recorded(*SCENE), connect)
