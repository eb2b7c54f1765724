"""Frames to lines. Invariant, for every frame of both sides with anything at all in its texts:

- it has no line, or exactly one: one LF, at the end, and no NUL (guarantee F1);
- an engine's line reads back as the same frame; a module's reads in the engine as the same frame,
  but for what the engine itself drops (below);
- only `true` and `false` are said of a flag (B11).

Tolerated: `LocalProtocolError`, for what no line can carry. `RemoteProtocolError` when the engine
refuses to read a line of ours whose parameters hold a raw control character: parameters are put in
as they were encoded before, and the frames here are drawn with proper ones.
Dropped by the engine: blanks around the value of a setlocal and the text of an output; what stands
behind a type's colon in connect; in an answer the escapes of the id, which it compares as it came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.strategies import ENGINE_FRAMES, MODULE_FRAMES
from yateway.errors import LocalProtocolError
from yateway.wire.codec import escape, from_bytes
from yateway.wire.frames import (
    Answer,
    Connect,
    EngineFrame,
    Install,
    ModuleFrame,
    Output,
    SetLocal,
    encode,
)
from yateway.wire.reading import from_engine, from_module

SEEDS = [bytes(range(n, n + 64)) for n in (0, 64, 128, 190)] + [b"\x01" * 40]
inputs = st.binary(max_size=400)


@settings(deadline=None, database=None)
@given(st.one_of(*MODULE_FRAMES.values()))
def check_module(frame: ModuleFrame) -> None:
    """Encode a module's frame and let the engine read it."""
    line = _line(frame)
    if line is not None:
        assert from_module(line) == _as_taken(frame), line


@settings(deadline=None, database=None)
@given(st.one_of(*ENGINE_FRAMES.values()))
def check_engine(frame: EngineFrame) -> None:
    """Encode an engine's frame and let a module read it."""
    line = _line(frame)
    if line is not None:
        assert from_engine(from_bytes(line)) == frame, line


def check(data: bytes) -> None:
    """Let hypothesis make frames of the bytes."""
    module: Any = check_module
    engine: Any = check_engine
    module.hypothesis.fuzz_one_input(data)
    engine.hypothesis.fuzz_one_input(data)


def _line(frame: ModuleFrame | EngineFrame) -> bytes | None:
    try:
        line = encode(frame)
    except LocalProtocolError:
        return None
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\0" not in line
    return line[:-1]


def _as_taken(frame: ModuleFrame) -> ModuleFrame:
    match frame:
        case SetLocal(name, value):
            return SetLocal(name, value.strip(" \t"))
        case Output(content):
            return Output(content.strip(" \t"))
        case Connect(role, id_, type_) if ":" in type_:
            return Connect(role, id_, type_.partition(":")[0])
        case Install() if not frame.filter_name:
            return replace(frame, filter_value="")
        case Answer():
            return frame._replace(id=escape(frame.id))
        case _:
            return frame
