"""The compiled part of reading: whatever it answers is what Python would have answered."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import sysconfig
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import PITFALLS, any_texts, engine_params
from yateway.errors import RemoteProtocolError
from yateway.wire import native
from yateway.wire.frames import Answer, Request
from yateway.wire.params import encode_engine_params
from yateway.wire.reading import from_engine

RECORDINGS = sorted((Path(__file__).parent.parent / "data" / "transcripts").glob("*.jsonl"))

#: Each of a line's parts as it may be, and as it should not.
STARTS = ["%%>message", "%%<message", "%%>messag", "%%<messages", "%%<install", "", "Error in"]
IDS = ["", "0x7f.1", "a b", "%z", "%", "é", "\U0001f600", "\udcff"]
SECONDS = [
    "0",
    "1700000000",
    "true",
    "false",
    "",
    "-1",
    " 1",
    "1_0",
    "٣",
    "9" * 15,
    "9" * 16,
    "tru",
]
NAMES = ["call.route", "", "n" * 256, "n" * 257, "%A", "\0"]
RETVALUES = ["", "sip/1", "a=b", "%z", "é"]


def built() -> ModuleType:
    """Return the module with its compiled part; skip the test where it was not built."""
    again = load(pure="")
    if again.read_message is None:
        pytest.skip("the compiled part was not built: there is no C compiler or no Python.h")
    return again


def load(pure: str) -> ModuleType:
    """Return a new copy of the module, made with this text in the environment."""
    spec = importlib.util.spec_from_file_location("yateway.wire.native_again", native.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YATEWAY_PURE", pure)
        spec.loader.exec_module(module)
    return module


def check(module: ModuleType, line: str) -> bool:
    """Compare what both say about a line; return whether the compiled part said anything."""
    frame = module.read_message(line, Request, Answer)
    try:
        wanted = from_engine(line)
    except RemoteProtocolError:
        wanted = None
    if frame is not None:
        assert frame == wanted
        assert type(getattr(frame, "processed", False)) is bool
    return frame is not None


def test_it_is_built_where_it_can_be() -> None:
    """Where there is all that it takes, its absence would mean that the build is broken."""
    compiler = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    if compiler is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("there is no C compiler or no Python.h")
    assert load(pure="").read_message is not None


def test_it_can_be_left_out() -> None:
    """Then Python alone reads."""
    pure = load(pure="1")
    assert pure.read_message is None
    assert pure.cut(":a=1:b=2", ":b=") == "2"


@pytest.mark.parametrize("line", [
    "%%>message:0x7f.1:1700000000:call.route::called=123:caller=100",
    "%%<message:7:true:call.route:sip/1:called=123",
    "%%<message::false:chan.hangup:",
    "%%<message::false:chan.hangup:x",
    "%%>message:1:0:t.x::a=%%%z%A%_%}:b:=c",
    "%%>message:1:0:t.x::caller=é:callername=\u20ac \U0001f600 \udcff",
    "%%>message:1:0:t.x:" + ":n=v" * 1024,
    "%%>message:1:0:t.x::" + "n" * 256 + "=" + "v" * 65536 + ":a=1:" + "m" * 256,
    "%%>message:1:0:t.x::sdp=" + "v" * 700 + ":" + "x" * 200 + ":y=" + "z" * 300,
])  # fmt: skip
def test_ordinary_messages_it_reads_itself(line: str) -> None:
    """Else it would be of no use."""
    assert check(built(), line)


@pytest.mark.parametrize("fault", [
    ":n=v" * 1025,
    ":a=1:" + "n" * 257 + "=v",
    ":a=1:" + "n" * 257 + ":b=1",
    ":a=1:" + "n" * 300,
    ":a=" + "v" * 65537,
    ":a=" + "v" * 65537 + ":b=1",
    ":a=%",
    ":a=%:b",
    ":a=%%%",
    ":a=%!",
    ":a=\0",
])  # fmt: skip
def test_what_is_to_be_refused_is_left_to_python(fault: str) -> None:
    """It has the words for it."""
    line = "%%>message:1:0:t.x:" + fault
    with pytest.raises(RemoteProtocolError):
        from_engine(line)
    assert not check(built(), line)


def test_each_combination_of_parts() -> None:
    """Fields that are missing, empty, escaped, no numbers, too long."""
    module = built()
    count = 0
    for parts in product(STARTS, IDS, SECONDS, NAMES, RETVALUES):
        for line in (":".join(parts), ":".join(parts) + ":a=%z:b=é", ":".join(parts[:4])):
            count += check(module, line)
    assert count > 500


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_lines_of_a_real_engine(recording: Path) -> None:
    """All messages without an escape in their head are ordinary."""
    module = built()
    for text in recording.read_text().splitlines():
        entry = json.loads(text)
        line = entry.get("line", "")
        if entry["dir"] == "E" and line:
            head = "".join(line.split(":", 5)[1:5])
            message = line.startswith(("%%>message:", "%%<message:"))
            assert check(module, line) == (message and "%" not in head)


@given(engine_params, st.sampled_from(PITFALLS + "\0"), st.integers(0, 200))
def test_any_message_and_what_becomes_of_it(
    params: list[tuple[str, str]], character: str, place: int
) -> None:
    """As an engine writes it, and with one character too much."""
    module = built()
    line = f"%%>message:1:0:t.x:{encode_engine_params(params)}"
    assert check(module, line)
    check(module, line[:place] + character + line[place:])


@given(any_texts, any_texts)
def test_cutting_as_python_does(text: str, needle: str) -> None:
    """Anything out of anything, but for no needle at all, with which Python cuts nothing."""
    module, pure = built(), load(pure="1")
    if needle:
        for params in (text, text + needle + text, f"{needle}:{needle}"):
            assert module.cut(params, needle) == pure.cut(params, needle)


def test_an_error_of_who_is_called_comes_through() -> None:
    """It is no doubt about the line."""
    module = built()
    with pytest.raises(ZeroDivisionError):
        module.read_message("%%>message:1:0:t.x:", lambda *_: 1 / 0, Answer)


def test_wrong_use_is_an_error() -> None:
    """Not a crash."""
    module = built()
    wrong: list[tuple[object, ...]] = [(), ("x",), (b"x", b"y"), ("x", b"y"), (1, 2, 3), ("x",) * 4]
    for arguments, function in product(wrong, (module.read_message, module.cut)):
        with pytest.raises(TypeError):
            function(*arguments)


def test_nothing_is_left_behind() -> None:
    """Whatever it says, what it made on the way is gone."""
    module = built()
    lines = [
        "%%>message:" + "1" * 50 + ":1700000000:" + "t" * 50 + ":r" + "v" * 50 + ":a=" + "v" * 90,
        "%%>message:1:x:t.x::a=1",
        "%%<message:1:maybe:t.x::a=1",
        "%%<message:1:true:t.x::a=1",
    ]

    def work() -> int:
        for line in lines * 1000:
            module.read_message(line, lambda *_: None, Request)
            module.cut(line, ":a=")
        return sys.getallocatedblocks()

    work()
    before = work()
    assert abs(work() - before) < 100
