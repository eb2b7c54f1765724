"""The ladder diagram, drawn and read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engine.test_recording import recorded
from yateway.engine import Engine, Recording, ladder
from yateway.engine.recording import Entry
from yateway.message import Message

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "transcripts"

ROUTED = recorded(
    "0 A c1 (connect unix u1 (role=global))",
    "0 A c1 %%>setlocal:trackparam:router",
    "0 A c1 %%>install:50:call.route:called:123",
    "0.001 E c1 %%<setlocal:trackparam:router:true",
    "0.001 E c1 %%<install:50:call.route:true",
    "0.1 A c2 (connect tcp t2)",
    "0.1 A c2 %%>connect:global",
    "0.1 A c2 %%>message:1:0:call.route::module=sip:billid=1-2:called=123:caller=100",
    "0.101 E c1 %%>message:0x1.1:1:call.route::module=sip:billid=1-2:called=123:caller=100",
    "0.102 A c1 %%<message:0x1.1:true::sip/sip%ztest@127.0.0.1:param1=value1:billid",
    "0.103 E c2 %%<message:1:true:call.route:sip/sip%ztest@127.0.0.1"
    ":module=sip:called=123:caller=100:param1=value1",
    "0.2 A c2 (close)",
    "0.3 E c1 (closed)",
)


def rows(recording: Recording) -> list[str]:
    """Return the texts of the rows, without their times and arrows."""
    page = ladder(recording, width=200).splitlines()[1:]
    return [re.sub("^[0-9.]+ +[│┼─◀▶┐✕ ]*", "", line) for line in page]


def texts(*lines: str) -> list[str]:
    """Return what the diagram says of some lines of one connection."""
    return rows(recorded("0 A a (connect x)", *lines))[1:]


def test_a_routed_call_can_be_read() -> None:
    """Commands with their replies, requests with their answers, the news of each."""
    assert ladder(ROUTED, names={"c2": "phone"}) == (
        """\
time       engine  router   phone
0.000         │◀──────┐          connects: unix u1 (role=global)
0.000         │◀─────▶│          setlocal trackparam=router
0.000         │◀─────▶│          install call.route 50 if called=123
0.100         │◀──────┼───────┐  connects: tcp t2
0.100         │◀──────┼───────│  role global
0.100         │◀──────┼───────│  call.route #1 caller=100 called=123 module=sip billid=1-2
0.101         │──────▶│       │  call.route #2 caller=100 called=123 module=sip billid=1-2
0.102         │◀──────│       │  #2 true sip/sip:test@127.0.0.1 param1=value1 billid deleted
0.103         │───────┼──────▶│  #1 true sip/sip:test@127.0.0.1 param1=value1
0.200         │◀──────┼───────✕  closes
0.300         │───────✕          closed by the engine
"""
    )


def test_commands_and_their_replies_are_one_row() -> None:
    """Refused ones say so, and one without a reply stands alone."""
    assert texts(
        "0 A a %%>install:50:a",
        "0 A a %%>install:60:a",
        "0 A a %%>uninstall:a",
        "0 A a %%>watch:",
        "0 A a %%>unwatch:b",
        "0 A a %%>setlocal:id:x",
        "0 E a %%<install:50:a:true",
        "0 E a %%<install:60:a:false",
        "0 E a %%<uninstall:50:a:true",
        "0 E a %%<watch::true",
        "0 E a %%<unwatch:b:false",
        "0 E a %%<setlocal:id:x:false",
        "0 A a %%>watch:c",
        "0 E a %%<watch:d:true",
    ) == [
        "install a 50",
        "install a 60: refused",
        "uninstall a",
        "watch everything",
        "unwatch b: refused",
        "setlocal id=x: refused",
        "'%%>watch:c'",
        "'%%<watch:d:true'",
    ]


def test_answers_show_what_is_new() -> None:
    """A new name, an erased retvalue, changed and deleted parameters."""
    assert texts(
        "0 E a %%>message:1:1:t.x:old:p=1:q=2",
        "0 A a %%<message:1:true:t.y::p=3:q",
        "0 A a %%>message:5:1:t.x:old:p=1",
        "0 E a %%<message:5:false:t.x:old:p=1",
        "0 A a %%>message::1:t.x::",
        "0 A a %%<message:99:true::x",
        "0 E a %%<message::true:chan.hangup:r:reason=busy:id=sip/1",
        "0 E a %%<message::false:engine.timer::time=1",
    ) == [
        "t.x #1 (old) p=1 q=2",
        "#1 true now t.y retvalue erased p=3 q deleted",
        "t.x #2 (old) p=1",
        "#2 false old",
        "t.x",
        "answers nothing: 99 true x",
        "watched: chan.hangup true r id=sip/1 reason=busy",
    ]


def test_everything_else_is_shown_too() -> None:
    """Also what cannot be read."""
    assert texts(
        "0 A a %%>output:hello\x1b[2J",
        "0 A a %%>debug:3:a%zb",
        "0 A a hello",
        "0 E a Error in: hello",
        "0 A a %%<message:1:True:t.x:",
        "0 A a (shutdown write)",
        "0 A a %%>quit",
        "0 E a %%<quit",
    ) == [
        "output hello\\x1b[2J",
        "debug 3 a:b",
        "unreadable: 'hello'",
        "cannot read 'hello'",
        "unreadable: '%%<message:1:True:t.x:'",
        "shutdown write:",
        "quits",
        "quit",
    ]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    """Texts are cut, and columns move together."""
    for path in TRANSCRIPTS.glob("*.jsonl"):
        for line in ladder(Recording.from_file(path), width=width).splitlines():
            assert len(line) <= max(width, 60), path
            assert line.isprintable()


def test_connections_are_called_as_they_called_themselves() -> None:
    """Two of one name are told apart, and a name of one's own goes first."""
    recording = recorded(
        "0 A c1 %%>setlocal:debugname:",
        "0 A c1 %%>setlocal:trackparam:router",
        "0 A c2 %%>setlocal:trackparam:track",
        "0 A c2 %%>setlocal:debugname:router",
        "0 A c3 %%>setlocal:debugname:router",
        "0 A c4 %%>watch:x",
        "0 A c5 %%>setlocal:debugname:a very long\x07 name",
    )
    head = ladder(recording, width=200, names={"c4": "mine"}).splitlines()[0].split("  ")
    assert [title.strip() for title in head if title.strip()] == [
        *("time", "engine", "router", "router.2", "router.3", "mine", "a very long…"),
    ]


def test_what_is_repeated_is_shown_once() -> None:
    """With how often it came, and until when; what comes between begins anew."""
    question = "A c %%>setlocal:runid:", "E c %%<setlocal:runid:7:true"
    entries = [f"{n} {line}" for n in (0, 5, 10) for line in question]
    entries += ["11 A c %%>output:hello", *(f"15 {line}" for line in question)]
    asked = "setlocal runid=7"
    assert rows(recorded(*entries)) == [f"{asked} (3 times until 10.000)", "output hello", asked]


def test_nothing_recorded_is_an_empty_page() -> None:
    """With the engine alone."""
    assert ladder(Recording()).split() == ["time", "engine"]
    note = Recording([Entry(0.5, "A", "", "killed", "note")])
    assert rows(note) == ["note: killed"]


async def test_the_engines_own_recording_can_be_drawn() -> None:
    """As it comes."""
    recording = Recording()
    async with Engine(record=recording) as engine:
        engine.install("t.x", lambda message: isinstance(message, Message))
        transport = await engine.open("global")
        transport.write(b"%%>message:1:1:t.x::\n")
        await transport.receive()
    assert rows(recording) == [
        "connects: memory memory (role=global)",
        "t.x #1",
        "#1 true",
        "closed by the engine",
    ]


def test_the_name_of_a_long_path_is_seen() -> None:
    source = f"wave/play//{'folder/' * 9}menu.slin"
    text = ladder(
        recorded(
            f"0 A a %%>message:1:1:chan.attach::source={source}",
            "0 A a %%>message:2:1:chan.attach::source=tone/dial",
        )
    )
    assert "source=…/menu.slin\n" in text
    assert "source=tone/dial\n" in text
