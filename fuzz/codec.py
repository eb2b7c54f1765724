"""Escapes, numbers and booleans. Invariant, for any bytes:

- as text they encode to themselves again, UTF-8 or not (guarantee B1);
- what `escape` gives reads back as the text, from a module and from an engine, holds no colon and
  no control character, and so can neither end its field nor its line (F1);
- the readers give a text, or the error below, and `check_from_engine` says beforehand which;
- what was read and is escaped again reads the same;
- parameters come back as they were; numbers and booleans are read, or are none, without an error.

Tolerated: `LocalProtocolError` where a text holds NUL, or a parameter's name is empty or holds `=`;
`RemoteProtocolError` at a malformed escape.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import strategies as st

from yateway.errors import LocalProtocolError, RemoteProtocolError
from yateway.wire.codec import (
    INT_MAX,
    UINT_MAX,
    c_integer,
    c_unsigned,
    check_from_engine,
    escape,
    from_bytes,
    leading_boolean,
    to_boolean,
    to_bytes,
    unescape,
    unescape_from_engine,
    unescape_until_fault,
)
from yateway.wire.params import decode_params, encode_engine_params, encode_params

from .material import ENGINE_WORDS, lines, streams

_ENDS = re.compile(r"[:\x00-\x1f]")

SEEDS = [*lines("E"), b"0x7fffffff", b"-017", b"%}%z%%%A%_", b"a=b\xff:c", b" true rest", b"a\0"]
inputs = streams(ENGINE_WORDS, "E") | st.binary(max_size=60)


def check(data: bytes) -> None:
    """Try every function of the codec on the bytes."""
    text = from_bytes(data)
    assert to_bytes(text) == data
    _check_text(text)
    _check_params(text)
    for number, highest in ((c_integer, INT_MAX), (c_unsigned, UINT_MAX)):
        value, rest = number(text)
        assert text.endswith(rest)
        assert value is None or abs(value) <= highest
    assert to_boolean(text, True) or not to_boolean(text, False)
    flag, rest = leading_boolean(text)
    assert text.endswith(rest)
    assert flag is not None or rest == text


def _check_text(text: str) -> None:
    if "\0" not in text:
        escaped = escape(text)
        assert unescape(escaped) == unescape_from_engine(escaped) == text
        assert unescape_until_fault(escaped) == text
        assert not _ENDS.search(escaped)
    else:
        try:
            escape(text)
        except LocalProtocolError:
            pass
        else:
            raise AssertionError("NUL was escaped")
    read = _tried(unescape_from_engine, text)
    assert (read is None) == _refuses(check_from_engine, text)
    strict = _tried(unescape, text)
    if strict is None:
        unescape_until_fault(text)
    else:
        assert unescape_until_fault(text) == strict == read
        assert "\0" in strict or unescape(escape(strict)) == strict


def _check_params(text: str) -> None:
    fields = text.split("\n")
    pairs = list(zip(fields[::2], fields[1::2], strict=False))
    try:
        wire = encode_params(pairs)
    except LocalProtocolError:
        assert any(not name or "=" in name or "\0" in name + value for name, value in pairs)
    else:
        assert list(decode_params(wire)) == pairs
    if "\0" not in text and all(name for name, _ in pairs):
        assert list(decode_params(encode_engine_params(pairs))) == pairs
    try:
        list(decode_params(text))
    except RemoteProtocolError:
        assert _refuses(check_from_engine, text)


def _tried(read: Callable[[str], str], text: str) -> str | None:
    try:
        return read(text)
    except RemoteProtocolError:
        return None


def _refuses(look: Callable[[str], None], text: str) -> bool:
    try:
        look(text)
    except RemoteProtocolError:
        return True
    return False
