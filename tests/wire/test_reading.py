"""Lines to frames: over recordings of a real engine, and over what nobody should send."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import PITFALLS
from yateway.errors import RemoteProtocolError
from yateway.wire.buffer import EngineLineBuffer
from yateway.wire.codec import from_bytes, to_bytes
from yateway.wire.frames import (
    Answer,
    Connect,
    Debug,
    EngineFrame,
    ErrorIn,
    Install,
    Installed,
    ModuleFrame,
    Output,
    Quit,
    QuitDone,
    Request,
    SetLocal,
    SetLocalDone,
    Uninstall,
    Uninstalled,
    Unwatch,
    Unwatched,
    Watch,
    Watched,
    encode,
)
from yateway.wire.params import decode_params, encode_engine_params
from yateway.wire.reading import from_engine, from_module, message_id

# --- Recordings of a real engine ---------------------------------------------------------------

RECORDINGS = sorted((Path(__file__).parent.parent / "data" / "transcripts").glob("*.jsonl"))
each_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)

#: Sent in two pieces; the recordings do not tell pieces from lines.
UNFINISHED = {b"%%>wat", b"x" * 9000}
#: A percent at the end of a field lets the engine read behind its memory; this line it took.
OVER_READ = b"%%>message:e3a:1:no.such::p=a%:b"


class Line(NamedTuple):
    seconds: float
    direction: str
    connection: str
    data: bytes


def lines_of(recording: Path) -> Iterator[Line]:
    for row in map(json.loads, recording.read_text().splitlines()):
        event = row.get("event", "")
        if (not event or event.startswith("stdio of the script")) and row["line"] != "<EOF>":
            yield Line(row["t"], row["dir"], row["c"], row["line"].encode("latin-1"))


def outcome(
    read: Callable[[bytes], EngineFrame | ModuleFrame], line: bytes
) -> EngineFrame | ModuleFrame | RemoteProtocolError:
    """Return what a reader makes of a line, or its error."""
    try:
        return read(line)
    except RemoteProtocolError as error:
        return error


@each_recording
def test_every_line_of_a_real_engine_is_read(recording: Path) -> None:
    """A module reads every line that a real engine sent, and would write it byte for byte."""
    lines = [line.data for line in lines_of(recording) if line.direction == "E"]
    assert lines
    for line in lines:
        assert encode(from_engine(from_bytes(line))) == line + b"\n"


@each_recording
def test_a_real_engine_refused_the_same_lines(recording: Path) -> None:
    """An engine refuses those lines of a module that the real one reported, and no others."""
    refused: Counter[tuple[str, bytes]] = Counter()
    reported: Counter[tuple[str, bytes]] = Counter()
    buffers: dict[str, EngineLineBuffer] = {}
    for _, direction, connection, data in lines_of(recording):
        if direction == "E":
            if data.startswith(b"Error in: "):
                reported[connection, data.removeprefix(b"Error in: ")] += 1
            continue
        buffer = buffers.setdefault(connection, EngineLineBuffer())
        try:
            for line in buffer.feed(data if data in UNFINISHED else data + b"\n"):
                frame = outcome(from_module, line)
                if isinstance(frame, RemoteProtocolError):
                    if not line.startswith(b"%%<message:") and line != OVER_READ:
                        refused[connection, line] += 1
                elif isinstance(frame, SetLocal) and frame.name == "bufsize":
                    buffer.bufsize = int(frame.value)
        except RemoteProtocolError:
            # Too long: the connection ended there without a word.
            assert recording.stem == "line_limit"
            assert connection in {"a8191", "a8192", "b8191", "g"}
    assert refused == reported


def test_a_real_engine_applied_the_same_answers() -> None:
    """Good answers change a message as in the real engine, and so does what a bad one began with.

    A bad answer is applied as far as it could be read, and the request goes on waiting.
    """
    messages: dict[str, Request | Answer] = {}
    waiting = False
    checked = 0
    started = 0.0
    for seconds, direction, connection, data in lines_of(
        next(path for path in RECORDINGS if path.stem == "answers")
    ):
        if direction == "E" and connection == "b" and data.startswith(b"%%>message"):
            frame = from_engine(from_bytes(data))
            assert isinstance(frame, Request)
            messages, waiting, started = {frame.id: frame}, True, seconds
        elif direction == "A" and data.startswith(b"%%<message"):
            answer, waiting = read_answer(data, waiting)
            if answer is not None and answer.id in messages:
                messages[answer.id] = applied(answer, messages[answer.id])
        elif direction == "E" and data.startswith(b"%%<message:q"):
            result = from_engine(from_bytes(data))
            assert isinstance(result, Answer)
            (message,) = messages.values()
            processed = isinstance(message, Answer) and message.processed
            assert (processed, message.name, message.retvalue, message.params) == (
                (result.processed, result.name, result.retvalue, result.params)
            )
            # The engine held what got no good answer until its timeout of 1.2 seconds.
            assert (seconds - started > 1.1) == waiting
            checked += 1
    assert checked == 37


def read_answer(line: bytes, waiting: bool) -> tuple[Answer | None, bool]:
    """Return what the engine applies of an answer, and whether the request goes on waiting."""
    if not waiting:
        return None, False
    frame = outcome(from_module, line)
    waiting = isinstance(frame, RemoteProtocolError)
    answer = frame.partial if isinstance(frame, RemoteProtocolError) else frame
    assert isinstance(answer, Answer | None)
    return answer, waiting


def applied(answer: Answer, message: Request | Answer) -> Answer:
    """Return a message as an answer leaves it."""
    params = {name: value or "" for name, value in decode_params(message.params)}
    for name, value in decode_params(answer.params):
        if value is None:
            params.pop(name, None)
        else:
            params[name] = value
    return Answer(
        message.id,
        answer.processed,
        answer.name or message.name,
        message.retvalue if answer.retvalue is None else answer.retvalue,
        encode_engine_params(params.items()),
    )


def test_a_real_engine_read_the_same_installs() -> None:
    """Every odd install is read with the priority and name with which the real engine replied."""
    recording = next(path for path in RECORDINGS if path.stem == "install")
    lines = [line for line in lines_of(recording) if line.connection == "b"]
    pairs = 0
    for sent, reply in pairwise(lines):
        if sent.data.startswith(b"%%>install:"):
            install, installed = from_module(sent.data), from_engine(from_bytes(reply.data))
            assert isinstance(install, Install)
            assert isinstance(installed, Installed)
            assert (install.priority, install.name) == (installed.priority, installed.name)
            pairs += 1
    assert pairs == 26


# --- Lines of an engine ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        ("%%>message:1:2:n:", Request("1", 2, "n", "", "")),
        ("%%>message:a%zb:2:n%J:r%%:k=v%z", Request("a:b", 2, "n\n", "r%", ":k=v%z")),
        ("%%>message:1:0:::", Request("1", 0, "", "", ":")),
        ("%%>message:1:0:n:r:p%}q=1", Request("1", 0, "n", "r", ":p%}q=1")),
        ("%%>message:1%}:0:n%}:r%}:", Request("1=", 0, "n=", "r=", ":")),
        ("%%<message::true:n:", Answer("", True, "n", "", "")),
        ("%%<message:1:false:n:r:a=1:b", Answer("1", False, "n", "r", ":a=1:b")),
        ("%%<message:1:true:n:\x7f\x85:a=\r\t", Answer("1", True, "n", "\x7f\x85", ":a=\r\t")),
        ("%%<install:-5:a b:true", Installed(-5, "a b", True)),
        ("%%<install:100::false", Installed(100, "", False)),
        ("%%<uninstall:0:nope:false", Uninstalled(0, "nope", False)),
        ("%%<uninstall:0:a:b:false", Uninstalled(0, "a:b", False)),
        ("%%<watch:a:b:true", Watched("a:b", True)),
        ("%%<watch::false", Watched("", False)),
        ("%%<watch:in%zm\r:true", Watched("in%zm\r", True)),
        ("%%<unwatch:a:b:false", Unwatched("a:b", False)),
        ("%%<setlocal:a:b:c:true", SetLocalDone("a", "b:c", True)),
        ("%%<setlocal:runid::true", SetLocalDone("runid", "", True)),
        ("%%<quit", QuitDone()),
        ("Error in: ", ErrorIn("")),
        ("Error in: %%>foo:bar", ErrorIn("%%>foo:bar")),
        ("Error in:  x", ErrorIn(" x")),
    ],
)
def test_a_line_of_an_engine(line: str, frame: EngineFrame) -> None:
    """A module reads each kind of line, and the escapes of the fields that have them."""
    assert from_engine(line) == frame


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "%%",
        "%%>message",
        "%%>message:",
        "%%>message:1:2:n",
        "%%>message:1::n:",
        "%%>message:1:x:n:",
        "%%>message:1:1.5:n:",
        "%%>message:1: 1:n:",
        "%%>message:1:+1:n:",
        "%%>message:1:1_0:n:",
        "%%>message:1:\u0661:n:",
        "%%>message:1:" + "9" * 5000 + ":n:",
        "%%>message:1:2:n:%",
        "%%>message:1:2:n:r:k=%",
        "%%>message:1:2:n:r:k=%!:l=1",
        "%%>message:1:2:n:r:k%@=1",
        "%%>message:%a:2:n:",
        "%%>message:1:2:%:",
        "%%>messages:1:2:n:",
        "%%<message",
        "%%<message:1:true:n",
        "%%<message:1:True:n:",
        "%%<message:1::n:",
        "%%<message:1:1:n:",
        "%%<install:1:a",
        "%%<install:x:a:true",
        "%%<install:1:a:yes",
        "%%<uninstall:1:true",
        "%%<uninstall",
        "%%<watch:true",
        "%%<watch:a:",
        "%%<unwatch:a:TRUE",
        "%%<unwatch",
        "%%<setlocal:a:true",
        "%%<setlocal:a:b:t",
        "%%<setlocal",
        "%%<quit:",
        "%%<quit ",
        " %%<quit",
        "%%>quit",
        "%%>install:1:a",
        "Error in:",
        "Error in:x",
        "error in: x",
    ],
)
def test_what_is_no_line_of_an_engine(line: str) -> None:
    """What no engine would say is an error that holds the line."""
    with pytest.raises(RemoteProtocolError, match=r"^(cannot read|malformed escape)") as caught:
        from_engine(line)
    assert caught.value.line == line
    assert caught.value.partial is None
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "line",
    [
        b"%%>message:1:2:n:r:k=a\0b",
        b"%%>message:1\0:2:n:",
        b"%%<message:1:true:n\0:",
        b"%%<watch:a\0:true",
        b"%%<setlocal:a:\0:true",
        b"%%<quit\0",
        b"Error in: \0",
        b"\0",
    ],
)
def test_nul_inside_a_line_is_an_error(line: bytes) -> None:
    """NUL inside a line is an error, whatever the line is (guarantee B13)."""
    with pytest.raises(RemoteProtocolError, match="NUL") as caught:
        from_engine(line.decode())
    assert caught.value.line == line.decode()


@pytest.mark.parametrize(
    ("name", "params", "fault"),
    [
        ("n" * 256, "", ""),
        ("n" * 257, "", "a long name in '%%>"),
        ("n", ":a=" * 1025, "more than 1024 parameters in '%%>"),
        ("n", ":" + "a" * 257, "a name of more than 256 characters in '%%>"),
        ("n", ":a=" + "b" * 65537, "a value of more than 65536 characters in '%%>"),
    ],
    ids=range(5),
)
def test_a_message_is_bounded(name: str, params: str, fault: str) -> None:
    """What is too much is told with the line, so that its id can be read (F10, A6)."""
    line = f"%%>message:7:2:{name}:r{params}"
    if not fault:
        from_engine(line)
        return
    with pytest.raises(RemoteProtocolError) as caught:
        from_engine(line)
    assert str(caught.value).startswith(fault)
    assert len(str(caught.value)) < 500
    assert caught.value.line == line
    assert message_id(caught.value.line) == "7"


def test_a_value_that_is_no_utf_8_is_kept() -> None:
    """Bytes that are no UTF-8 are kept, in an error too."""
    request = from_engine(from_bytes(b"%%>message:1:2:n:\xff:k=\xe9t\xe9"))
    assert request == Request("1", 2, "n", "\udcff", ":k=\udce9t\udce9")
    with pytest.raises(RemoteProtocolError) as caught:
        from_engine(from_bytes(b"\xff\xfe"))
    assert caught.value.line == "\udcff\udcfe"


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        ("%%>message:0x7f.1:oops", "0x7f.1"),
        ("%%>message:a%zb%%:", "a:b%"),
        ("%%<message:1:True:n:", "1"),
        ("%%>message:1", ""),
        ("%%>message::1:n:", ""),
        ("%%>message:", ""),
        ("%%>message", ""),
        ("%%>message:%!:1:n:", ""),
        ("%%>install:1:a", ""),
        ("", ""),
    ],
)
def test_the_id_of_a_line_that_could_not_be_read(line: str, id_: str) -> None:
    """The id of a message is found in front of a fault; a cut or malformed one is none."""
    assert message_id(line) == id_


# --- Lines of a module -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        ("%%>connect:global", Connect("global")),
        ("%%>connect:channel:id:a:type", Connect("channel", "id", "a:type")),
        ("%%>connect:", Connect("")),
        ("%%>connect: GLOBAL:", Connect(" GLOBAL")),
        ("%%>install:50:a", Install("a", 50)),
        ("%%>install::a", Install("a")),
        ("%%>install:a", Install("a")),
        ("%%>install:abc:a", Install("a")),
        ("%%>install:5x7:a", Install("a", 5)),
        ("%%>install:99999999999:a", Install("a")),
        ("%%>install:-5:a", Install("a", -5)),
        ("%%>install:0x20:a", Install("a", 32)),
        ("%%>install:010:a", Install("a", 8)),
        ("%%>install: 77 :a ", Install("a ", 77)),
        ("%%>install:10.5:a", Install("a", 10)),
        ("%%>install:100", Install("")),
        ("%%>install:7", Install("", 7)),
        ("%%>install:1:in%zm", Install("in%zm", 1)),
        ("%%>install:1:a:", Install("a", 1)),
        ("%%>install:1:a:k", Install("a", 1, "k")),
        ("%%>install:1:a:k%zk:v:w%z%", Install("a", 1, "k:k", "v:w:%")),
        ("%%>install:1:a:k%:ab%1cd", Install("a", 1, "k%", "ab%")),
        ("%%>install:1:a::v", Install("a", 1, "", "v")),
        ("%%>uninstall:a:b", Uninstall("a:b")),
        ("%%>uninstall:", Uninstall("")),
        ("%%>watch:sp2 ", Watch("sp2 ")),
        ("%%>watch:", Watch("")),
        ("%%>unwatch:in%zm", Unwatch("in%zm")),
        ("%%>output:\t a:b %z ", Output("a:b %z")),
        ("%%>output:\rX:\v", Output("\rX:\v")),
        ("%%>output:", Output("")),
        ("%%>debug:5:a%zb:c%Jd", Debug(5, "a:b:c\nd")),
        ("%%>debug:0:x", Debug(1, "x")),
        ("%%>debug:-1:x", Debug(1, "x")),
        ("%%>debug:11:x", Debug(10, "x")),
        ("%%>debug:abc:x", Debug(10, "x")),
        ("%%>debug:5 :x", Debug(10, "x")),
        ("%%>debug:0x5:ab%1cd", Debug(5, "ab%")),
        ("%%>debug:5:", Debug(5, "")),
        ("%%>setlocal:timeout: 5000 \t", SetLocal("timeout", "5000")),
        ("%%>setlocal:reason:a:b%z", SetLocal("reason", "a:b%z")),
        ("%%>setlocal: x:", SetLocal(" x")),
        ("%%>setlocal:x:X\v:X", SetLocal("x", "X\v:X")),
        ("%%>quit", Quit()),
        ("%%>message:1:1:a:", Request("1", 1, "a")),
        ("%%>message:1::a:", Request("1", 0, "a")),
        ("%%>message::0x10:::", Request("", 16, "")),
        ("%%>message:a%zb::n%%:r%J:", Request("a:b", 0, "n%", "r\n")),
        ("%%>message:1: 010:a::", Request("1", 8, "a")),
        ("%%>message:1:-18446744073709551615:a:", Request("1", 1, "a")),
        ("%%>message:1:1:a::k=v=w::d:e=::", Request("1", 1, "a", "", ":k=v=w:d:e=")),
        ("%%>message:1:1:a::%z%%=%z", Request("1", 1, "a", "", ":%z%%=%z")),
        ("%%<message:1:true:", Answer("1", True)),
        ("%%<message:1:true::", Answer("1", True, "", "")),
        ("%%<message:1:no:n:r:k=v:d:", Answer("1", False, "n", "r", ":k=v:d")),
        ("%%<message:1::n:r", Answer("1", False, "n", "r")),
        ("%%<message:1: \tenable:n:", Answer("1", True, "n", "")),
        ("%%<message:a%zb:off:", Answer("a%zb", False)),
        ("%%<message::t:", Answer("", True)),
    ],
)
def test_a_line_of_a_module(line: str, frame: ModuleFrame) -> None:
    """An engine reads a module's line as leniently as the real one, and unescapes as little."""
    assert from_module(line.encode()) == frame


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "%%",
        " %%>watch:a",
        "%%>WATCH:a",
        "%%>watch",
        "%%>unwatch",
        "%%>install",
        "%%>uninstall",
        "%%>output",
        "%%>connect",
        "%%>debug",
        "%%>debug:",
        "%%>debug:5",
        "%%>debug::x",
        "%%>setlocal",
        "%%>setlocal:x",
        "%%>setlocal::x",
        "%%>quit:",
        "%%>quit ",
        "%%<quit",
        "%%<watch:a:true",
        "%%>message",
        "%%>message:1",
        "%%>message:1:1",
        "%%>message:1:1:a",
        "%%>message:1:1.5:a:",
        "%%>message:1:-1:a:",
        "%%>message:1:5 :a:",
        "%%>message:1:x:a:",
        "%%>message:1: :a:",
        "%%>message:1:4294967296:a:",
        "%%>message:%a:1:a:",
        "%%>message:1:1:%}:",
        "%%>message:1:1:a:%@",
        "%%>message:1:1:a::p%}q=1",
        "%%>message:1:1:a::=v",
        "%%>message:1:1:a::k=\t",
        "%%>message:1:1:a\r::",
        "%%>message:1:1:a::k=1:l=%",
        "%%>messages:1:1:a:",
        "%%<message",
        "%%<messages:1:true:",
    ],
)
def test_what_an_engine_reports(line: str) -> None:
    """What the real engine reports with `Error in:` is an error that holds the line."""
    with pytest.raises(RemoteProtocolError, match="cannot read") as caught:
        from_module(line.encode())
    assert caught.value.line == line
    assert caught.value.partial is None


@pytest.mark.parametrize(
    ("body", "partial"),
    [
        ("", None),
        ("true", None),
        ("True:", None),
        ("1::r:k=1", None),
        ("truex:n:r", None),
        (" :n:r", None),
        ("true :n:r", Answer("1", True)),
        ("no\r:n:r", Answer("1", False)),
        ("true:n", Answer("1", True)),
        (":n", Answer("1", False)),
        ("true:%!:r", Answer("1", True)),
        ("true:n:%!", Answer("1", True, "n")),
        ("true::r:a=1:=v:b=2", Answer("1", True, "", "r", ":a=1")),
        ("on:n:r:a=1:b:m=%1:c=3", Answer("1", True, "n", "r", ":a=1:b")),
        ("true:n:r:n%}x=1", Answer("1", True, "n", "r")),
        ("true:n:r:a=\t", Answer("1", True, "n", "r")),
    ],
)
def test_a_malformed_answer(body: str, partial: Answer | None) -> None:
    """Of a malformed answer the engine applies what stands before the fault (guarantee A9)."""
    line = f"%%<message:1:{body}"
    with pytest.raises(RemoteProtocolError, match=r"^cannot read '%%<message:1") as caught:
        from_module(line.encode())
    assert caught.value.partial == partial
    assert caught.value.line == line


# --- Anything ----------------------------------------------------------------------------------

FRONTS = [
    b"%%>message:",
    b"%%<message:",
    b"%%<message:1:true:",
    b"%%>message:1:1:",
    *[b"%%>" + word + b":" for word in (b"install", b"setlocal", b"debug", b"connect", b"watch")],
    *[b"%%<" + word + b":" for word in (b"install", b"uninstall", b"setlocal", b"watch", b"quit")],
    b"Error in: ",
    b"",
]
tails = st.binary(max_size=20) | st.text(PITFALLS + "\0:::%%==12trufals", max_size=20).map(
    lambda text: text.encode("utf-8", "surrogateescape")
)


@pytest.mark.parametrize("read", [lambda line: from_engine(from_bytes(line)), from_module])
@given(front=st.sampled_from(FRONTS), tail=tails)
def test_anything_is_a_frame_or_an_error(
    read: Callable[[bytes], EngineFrame | ModuleFrame], front: bytes, tail: bytes
) -> None:
    """Any bytes are a frame or a `RemoteProtocolError` with the line, and nothing else (B3)."""
    line = front + tail
    frame = outcome(read, line)
    if isinstance(frame, RemoteProtocolError):
        assert to_bytes(frame.line) == line
    else:
        # Its parameters can be read without a further fault.
        assert len(list(decode_params(getattr(frame, "params", "")))) <= len(line)
