"""Lines to frames, on both sides. Invariant, for any line:

- reading gives a frame or `RemoteProtocolError`, nothing else (guarantee B3);
- an engine's line that was read has a line again, and it reads as the same frame;
- a module's line that the engine read has one that reads the same from then on: what is encoded a
  second time does not change any more;
- what the compiled part says of an engine's line, if it was built, is what Python says;
- the error's text is printable ASCII, in one line, under 1 KiB (F6).

Tolerated: `LocalProtocolError` when a frame that was read leniently is encoded: an engine accepts
roles, names and priorities that we do not send. `RemoteProtocolError` when the name of a message
with raw control characters, which are kept leniently, comes over its bound by being escaped.
"""

from __future__ import annotations

from yateway.errors import LocalProtocolError, RemoteProtocolError
from yateway.wire import native
from yateway.wire.codec import from_bytes
from yateway.wire.frames import Answer, Request, encode
from yateway.wire.params import NAME_LIMIT
from yateway.wire.reading import from_engine, from_module, message_id

from .material import ENGINE_WORDS, MODULE_WORDS, lines, streams

SEEDS = [*lines("E"), *lines("A")]
inputs = streams(ENGINE_WORDS, "E") | streams(MODULE_WORDS, "A")


def check(data: bytes) -> None:
    """Read each line as a module's and as an engine's."""
    for line in filter(None, data.split(b"\n")):
        _check_from_engine(line)
        _check_from_module(line)
        message_id(line.decode("utf-8", "surrogateescape"))


def _check_from_engine(line: bytes) -> None:
    compiled = native.read_message and native.read_message(from_bytes(line), Request, Answer)
    try:
        frame = from_engine(from_bytes(line))
    except RemoteProtocolError as error:
        assert compiled is None
        _check_told(error)
    else:
        assert compiled in (None, frame)
        again = encode(frame)[:-1]
        try:
            assert from_engine(from_bytes(again)) == frame
        except RemoteProtocolError:
            if len(frame.text().split(":")[3]) <= NAME_LIMIT or len(again) <= len(line):
                raise


def _check_from_module(line: bytes) -> None:
    try:
        frame = from_module(line)
    except RemoteProtocolError as error:
        _check_told(error)
        _check_partial(error.partial)
        return
    if isinstance(frame, Answer):
        # The engine compares the id as it came, so that to send it again it must not be escaped.
        frame = Answer("id", frame.processed, frame.name, frame.retvalue, frame.params)
    try:
        again = from_module(encode(frame)[:-1])
    except LocalProtocolError as error:
        _check_told(error)
        return
    assert from_module(encode(again)[:-1]) == again


def _check_partial(partial: object) -> None:
    assert partial is None or isinstance(partial, Answer)


def _check_told(error: Exception) -> None:
    text = str(error)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 1024
