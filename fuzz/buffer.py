"""Bytes to lines. Invariant, for any bytes in any pieces, at any limit:

- a module's buffer gives the lines that splitting the whole at LF gives, one CR before it dropped,
  empty lines left out, until one is longer than the limit; nothing longer than the limit is held;
- an engine's buffer gives the lines that splitting at LF or NUL gives, until one leaves no room;
- the pieces in which the bytes come make no difference to the lines.

Tolerated: `RemoteProtocolError`, exactly where a line does not fit.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st

from yateway.errors import RemoteProtocolError
from yateway.wire.buffer import EngineLineBuffer, LineBuffer
from yateway.wire.codec import to_bytes

from .material import ENGINE_WORDS, lines, pieces, streams

SEEDS = [bytes((size, 3)) + b"\n".join(lines("E")[:8]) + b"\r\n" for size in (0, 40, 255)]
inputs = st.builds(
    lambda size, seed, stream: bytes((size, seed)) + stream,
    st.integers(0, 255),
    st.integers(0, 255),
    streams(ENGINE_WORDS, "E"),
)


def check(data: bytes) -> None:
    """Try both buffers with limits and pieces that the first two bytes say."""
    size, seed, stream = data[0] if data else 0, data[1] if len(data) > 1 else 0, data[2:]
    _check_module(stream, size, seed)
    _check_engine(stream, size + 2, seed)


def _check_module(stream: bytes, limit: int, seed: int) -> None:
    *whole, rest = stream.split(b"\n")
    expected, fits = [], True
    for line in whole:
        fits = fits and len(line) <= limit
        if fits:
            expected += [line.removesuffix(b"\r")]
    fits = fits and len(rest) <= limit
    buffer = LineBuffer(limit)
    got, ended = _feed(buffer, stream, seed)
    assert got == [line for line in expected if line]
    assert ended == (not fits)
    assert len(buffer) <= limit


def _check_engine(stream: bytes, bufsize: int, seed: int) -> None:
    *whole, rest = re.split(rb"[\n\0]", stream)
    expected, fits = [], True
    for line in whole:
        fits = fits and len(line) < bufsize - 1
        if fits:
            expected += [line.removesuffix(b"\r")]
    fits = fits and len(rest) < bufsize - 1
    got, ended = _feed(EngineLineBuffer(bufsize), stream, seed)
    assert got == [line for line in expected if line]
    assert ended == (not fits)


def _feed(
    buffer: LineBuffer | EngineLineBuffer, stream: bytes, seed: int
) -> tuple[list[bytes], bool]:
    got: list[bytes] = []
    try:
        for piece in pieces(stream, seed):
            for line in buffer.feed(piece):
                got.append(to_bytes(line) if isinstance(line, str) else line)
    except RemoteProtocolError:
        return got, True
    return got, False
