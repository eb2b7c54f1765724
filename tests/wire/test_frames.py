"""Each kind of line: how it is written, what it refuses to carry, and that it is only one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import ENGINE_FRAMES, MODULE_FRAMES
from yateway.errors import LocalProtocolError
from yateway.wire.codec import escape, from_bytes
from yateway.wire.frames import (
    ROLES,
    Answer,
    Connect,
    Debug,
    EngineFrame,
    ErrorIn,
    Frame,
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
from yateway.wire.reading import from_engine, from_module

LINES: list[tuple[Frame, str]] = [
    (Connect(), "%%>connect:global"),
    (Connect("channel", "id"), "%%>connect:channel:id"),
    (Connect("play", "id", "a:type"), "%%>connect:play:id:a:type"),
    (Connect("global", "", "type"), "%%>connect:global::type"),
    (Connect("record"), "%%>connect:record"),
    (Connect("playrec"), "%%>connect:playrec"),
    (Install("call.route"), "%%>install:100:call.route"),
    (Install("call.route", 50, "called", "1:2"), "%%>install:50:call.route:called:1%z2"),
    (Install("a%b", -5, "k%", ""), "%%>install:-5:a%b:k%%:"),
    (Install("a", 7, "absent"), "%%>install:7:a:absent:"),
    (Install("a", 0, "", "no filter"), "%%>install:0:a"),
    (Install("a", 2**31 - 2), "%%>install:2147483646:a"),
    (Install("a", 1 - 2**31), "%%>install:-2147483647:a"),
    (Uninstall("a:b%"), "%%>uninstall:a:b%"),
    (Watch(""), "%%>watch:"),
    (Watch("a:b %"), "%%>watch:a:b %"),
    (Unwatch("a\tb"), "%%>unwatch:a\tb"),
    (SetLocal("timeout", "5000"), "%%>setlocal:timeout:5000"),
    (SetLocal("runid"), "%%>setlocal:runid:"),
    (SetLocal("reason", "a:b%"), "%%>setlocal:reason:a:b%"),
    (Output("100% %%>quit: é"), "%%>output:100% %%>quit: é"),
    (Debug(5, "a:b\n%%>quit"), "%%>debug:5:a%zb%J%%%%>quit"),
    (Quit(), "%%>quit"),
    (Request("1", 0, "call.route"), "%%>message:1:0:call.route:"),
    (Request("", 1095112795, "a:b", "r:%", ":k=v"), "%%>message::1095112795:a%zb:r%z%%:k=v"),
    (Answer("0x7f.1", True), "%%<message:0x7f.1:true:"),
    (Answer("0x7f.1", False), "%%<message:0x7f.1:false:"),
    (Answer("1", True, "", ""), "%%<message:1:true::"),
    (Answer("a:b", False, "n:%", "r\t", ":k=v:x"), "%%<message:a%zb:false:n%z%%:r%I:k=v:x"),
    (Installed(100, "a", True), "%%<install:100:a:true"),
    (Uninstalled(0, "a:b", False), "%%<uninstall:0:a:b:false"),
    (Watched("pqr\r", True), "%%<watch:pqr\r:true"),
    (Unwatched("", False), "%%<unwatch::false"),
    (SetLocalDone("reason", "a:b%", True), "%%<setlocal:reason:a:b%:true"),
    (QuitDone(), "%%<quit"),
    (ErrorIn("%%>foo:\t%"), "Error in: %%>foo:\t%"),
]


@pytest.mark.parametrize(("frame", "line"), LINES, ids=[line for _, line in LINES])
def test_a_frame_and_its_line(frame: Frame, line: str) -> None:
    """Each frame is written as the engine writes or reads it, and ends with a line feed."""
    assert frame.text() == line
    assert encode(frame) == line.encode() + b"\n"


def test_bytes_that_are_no_utf_8_go_out_as_they_came() -> None:
    """A value that is no UTF-8 goes back to the engine byte for byte."""
    frame = Answer("1", True, "", "\udcff", ":n=\udc80é")
    assert encode(frame) == b"%%<message:1:true::\xff:n=\x80\xc3\xa9\n"


def test_a_frame_does_not_change() -> None:
    """A frame is a value: equal to its like, and not to be changed."""
    frame = Watch("a")
    assert frame == Watch("a")
    assert hash(frame) == hash(Watch("a"))
    others: list[Frame] = [Watch("b"), Unwatch("a")]
    assert frame not in others
    with pytest.raises(FrozenInstanceError):
        frame.name = "b"  # type: ignore[misc]


# --- What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        *[(Connect("global", f"a{char}"), "id of connect") for char in "\0\n\r:"],
        *[(Connect("global", "", f"a{char}"), "type of connect") for char in "\0\n\r"],
        *[(Install(f"a{char}b"), "message name") for char in "\0\n\r:"],
        *[
            (kind(f"{c}b"), "message name")
            for kind in (Uninstall, Watch, Unwatch)
            for c in "\0\n\r"
        ],
        *[(SetLocal(f"a{char}"), "setlocal name") for char in "\0\n\r:"],
        *[(SetLocal("a", f"{char}"), "setlocal value") for char in "\0\n\r"],
        *[(Output(f"a{char}%%>quit"), "output text") for char in "\0\n\r"],
        *[(Install("a", value), "priority") for value in (2**31 - 1, -(2**31), 10**12)],
    ],
)
def test_what_is_not_escaped_is_refused(frame: ModuleFrame, field: str) -> None:
    """A field that the engine does not unescape cannot hold what ends it, and is named."""
    with pytest.raises(LocalProtocolError) as caught:
        encode(frame)
    assert caught.value.field == field
    assert field.rsplit(maxsplit=1)[-1] in str(caught.value)
    assert "the engine" in str(caught.value)


def test_nothing_else_is_refused() -> None:
    """A field that is not escaped holds every other character, as it is."""
    text = "".join(chr(code) for code in range(1, 0x180) if chr(code) not in "\r\n")
    word = text.replace(":", "")
    lines: list[tuple[ModuleFrame, str]] = [
        (Connect("global", word, text), f"%%>connect:global:{word}:{text}"),
        (Install(word, 1), f"%%>install:1:{word}"),
        (Uninstall(text), f"%%>uninstall:{text}"),
        (Watch(text), f"%%>watch:{text}"),
        (Unwatch(text), f"%%>unwatch:{text}"),
        (SetLocal(word, text), f"%%>setlocal:{word}:{text}"),
        (Output(text), f"%%>output:{text}"),
    ]
    for frame, line in lines:
        assert encode(frame) == line.encode() + b"\n"


@pytest.mark.parametrize("role", ["", "GLOBAL", "global ", "any", "global:x"])
def test_an_unknown_role_is_refused(role: str) -> None:
    """A role of which the protocol knows nothing is refused, and the known ones are named."""
    with pytest.raises(
        LocalProtocolError, match="known are global, channel, play, record, playrec"
    ):
        Connect(role).text()
    assert len(ROLES) == 5


def test_a_setting_needs_a_name() -> None:
    """To set or ask for a setting without a name would be an error in the engine."""
    with pytest.raises(LocalProtocolError, match="setlocal needs a name"):
        SetLocal("", "x").text()


@pytest.mark.parametrize("answer", [Answer("1", True, "n"), Answer("1", True, "", None, ":a=1")])
def test_an_answer_with_changes_needs_its_retvalue(answer: Answer) -> None:
    """An answer that changes anything has to carry the retvalue, or the engine would take it so."""
    with pytest.raises(LocalProtocolError, match="needs its retvalue"):
        answer.text()


@pytest.mark.parametrize(
    "frame",
    [
        Request("\0", 0, "a"),
        Request("1", 0, "a\0"),
        Request("1", 0, "a", "\0"),
        Answer("1\0", True),
        Answer("1", True, "\0", ""),
        Answer("1", True, "", "\0"),
        Debug(1, "\0"),
        Install("a", 1, "\0", ""),
        Install("a", 1, "k", "\0"),
    ],
)
def test_nul_is_refused_in_every_field(frame: ModuleFrame) -> None:
    """NUL has no escape, so that no field may hold it."""
    with pytest.raises(LocalProtocolError, match="NUL"):
        encode(frame)


@pytest.mark.parametrize("end", ["\n", "\0", "a\n%%>quit", "a\0b"])
@pytest.mark.parametrize(
    "make",
    [
        lambda end: Request("1", 0, "a", "", end),
        lambda end: Answer("1", True, "", "", end),
        lambda end: Installed(1, end, True),
        lambda end: Uninstalled(1, end, True),
        lambda end: Watched(end, True),
        lambda end: Unwatched(end, True),
        lambda end: SetLocalDone(end, "", True),
        lambda end: SetLocalDone("a", end, True),
        ErrorIn,
    ],
)
def test_what_is_put_in_as_it_is_cannot_end_the_line(
    make: Callable[[str], Frame], end: str
) -> None:
    """Parameters and names that are put in as they are cannot end the line early either."""
    with pytest.raises(LocalProtocolError, match="would end the line early"):
        encode(make(end))


def test_a_surrogate_without_a_byte_is_refused() -> None:
    """What has no bytes cannot be sent."""
    with pytest.raises(LocalProtocolError, match="cannot encode"):
        encode(Watch("\ud800"))


# --- One frame, one line -----------------------------------------------------------------------


def as_read(frame: Any) -> Any:
    """Return a frame as its other side reads it, where that is not what was written."""
    match frame:
        case Install(filter_name=""):
            return replace(frame, filter_value="")
        case SetLocal(value=value):
            return replace(frame, value=value.strip(" \t"))
        case Output(content=content):
            return Output(content.strip(" \t"))
        case Answer(id=id_):
            # The engine compares the id as it stands on the line; those that it makes are plain.
            return frame._replace(id=escape(id_))
    return frame


@pytest.mark.parametrize("kind", MODULE_FRAMES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_modules_frame_is_one_line(kind: type[ModuleFrame], data: st.DataObject) -> None:
    """Whatever is in its texts, a frame is refused or is one line that reads as it (F1)."""
    frame = data.draw(MODULE_FRAMES[kind])
    try:
        line = encode(frame)
    except LocalProtocolError:
        return
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\0" not in line
    assert b"\r" not in line
    assert from_module(line[:-1]) == as_read(frame)


@pytest.mark.parametrize("kind", ENGINE_FRAMES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_an_engines_frame_is_one_line(kind: type[EngineFrame], data: st.DataObject) -> None:
    """Whatever is in its texts, a reply is refused or is one line that reads as it."""
    frame = data.draw(ENGINE_FRAMES[kind])
    try:
        line = encode(frame)
    except LocalProtocolError:
        return
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\0" not in line
    assert from_engine(from_bytes(line[:-1])) == frame


@pytest.mark.parametrize(("flag", "word"), [(True, "true"), (False, "false")])
def test_only_true_and_false_leave_us(flag: bool, word: str) -> None:
    """A boolean is written as `true` or `false` in every frame that has one (guarantee B11)."""
    frames: list[Frame] = [
        Answer("1", flag),
        Answer("1", flag, "", ""),
        Installed(1, "a", flag),
        Uninstalled(1, "a", flag),
        Watched("a", flag),
        Unwatched("a", flag),
        SetLocalDone("a", "", flag),
    ]
    assert [frame.text() for frame in frames] == [
        f"%%<message:1:{word}:",
        f"%%<message:1:{word}::",
        f"%%<install:1:a:{word}",
        f"%%<uninstall:1:a:{word}",
        f"%%<watch:a:{word}",
        f"%%<unwatch:a:{word}",
        f"%%<setlocal:a::{word}",
    ]


def test_the_return_value_of_user_auth_is_not_told() -> None:
    """It is the password (guarantee F7)."""
    with pytest.raises(LocalProtocolError, match=r"NUL in the return value of user\.auth"):
        Request("1", 1, "user.auth", "x\0").text()
