"""Text to wire and back: escapes, booleans and numbers as the engine reads and writes them.

It must not know lines or keywords. The rules are measured in engine.md part 1 ("Messages from the
module"); the asymmetry worth knowing is that the engine writes `=` in a parameter name as `%}` and
refuses to read `%}` itself, so that escape is read here and never written.

Text is `str`. Bytes that are not UTF-8 travel as lone surrogates (surrogateescape) and come out
unchanged. One text has no line: NUL ends a line in the engine, escaped or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from ..errors import LocalProtocolError, RemoteProtocolError, shown

__all__ = [
    "Memo",
    "c_integer",
    "c_unsigned",
    "check_from_engine",
    "escape",
    "escape_name",
    "from_bytes",
    "leading_boolean",
    "to_boolean",
    "to_bytes",
    "unescape",
    "unescape_from_engine",
    "unescape_until_fault",
]

_V = TypeVar("_V")

FALSE_WORDS = ("false", "no", "off", "disable", "f")
TRUE_WORDS = ("true", "yes", "on", "enable", "t")

# Besides the percent and the colon the engine escapes 0x01 to 0x1f (String::msgEscape).
_CONTROL = re.compile(r"[\x00-\x1f]")
# What it accepts on input (String::msgUnescape): %%, %A to %_ and %z, and no raw control byte. The
# group is missing where the text is at fault.
_SPECIAL = re.compile(r"%([A-_z%])?|[\x00-\x1f]")
# What it writes: also %}.
_WRITTEN = re.compile(r"%([A-_z%}])?")
_SUSPECT = re.compile(r"%(?![A-_z%}])")
_MAY_FOLLOW = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_z%}")

#: In texts longer than this so many escapes are looked for one by one.
SHORT = 512
FEW = 4

_C_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
INT_MAX = 2**31 - 1
UINT_MAX = 2**32 - 1
ULONG_MAX = 2**64 - 1


class Memo(dict[str, _V]):
    """Results of a function of a text, kept as long as there is room; long texts are not kept.

    A lookup takes a quarter of the time that `functools.lru_cache` takes, because nothing is put in
    order: when it is full it begins anew.
    """

    ROOM = 1024
    LONGEST = 256

    def __init__(self, function: Callable[[str], _V]) -> None:
        self._function = function

    def __missing__(self, key: str) -> _V:
        value = self._function(key)
        if len(self) >= self.ROOM:
            self.clear()
        if len(key) <= self.LONGEST:
            self[key] = value
        return value


def to_bytes(text: str) -> bytes:
    """Encode text for the wire; lone surrogates become the bytes they stand for.

    Raises:
        LocalProtocolError: the text holds a surrogate that stands for no byte.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(
            f"cannot encode {shown(text[error.start : error.end])}: only the surrogates U+DC80 to"
            " U+DCFF, which stand for bytes that are not UTF-8, can be sent"
        ) from None


def from_bytes(line: bytes) -> str:
    """Decode bytes from the wire; what is not UTF-8 becomes lone surrogates and is not lost."""
    return line.decode("utf-8", "surrogateescape")


def escape(text: str) -> str:
    """Escape one field for the wire.

    Raises:
        LocalProtocolError: it holds NUL, which would end the line in the engine, or is no text.
    """
    if type(text) is not str:
        text = _plain(text)
    # Numbers and words, which most texts are, need no closer look: a quarter of the time.
    if text.isalnum():
        return text
    if "%" in text:
        text = text.replace("%", "%%")
    if ":" in text:
        text = text.replace(":", "%z")
    # False for control characters, but for much else too: then the slow look decides.
    return text if text.isprintable() else _CONTROL.sub(_escaped, text)


def _plain(text: object) -> str:
    if not isinstance(text, str):
        raise LocalProtocolError(f"cannot send {type(text).__name__}: give a text")
    # An f-string would show the name of an enumeration's member and not the text that it is.
    return str.__str__(text)


def _escaped(match: re.Match[str]) -> str:
    if match[0] == "\0":
        raise LocalProtocolError(
            f"cannot send NUL, it ends a line: remove it from {shown(match.string)}"
        )
    return "%" + chr(ord(match[0]) + 0x40)


def escape_name(name: str) -> str:
    """Escape a parameter name as a module may send it.

    Raises:
        LocalProtocolError: the name is empty, or holds NUL or `=`, for which the engine reads no
            escape and would hold the message until its timeout (engine.md part 1).
    """
    if not name:
        raise LocalProtocolError("a parameter needs a name: the engine refuses '=value'")
    escaped = escape(name)
    if "=" in escaped:
        raise LocalProtocolError(
            f"a parameter name cannot hold '=': rename {shown(name)}", field=name
        )
    return escaped


def unescape(text: str) -> str:
    """Undo `escape` as the engine does.

    Raises:
        RemoteProtocolError: a raw control character, or an escape the engine would not accept.
    """
    if "%" not in text and text.isprintable():
        return text
    return _SPECIAL.sub(_unescaped, text)


def unescape_from_engine(text: str) -> str:
    """Undo what the engine wrote, in which `%}` stands for `=`; raw control characters stay.

    Raises:
        RemoteProtocolError: an escape that the engine does not write.
    """
    return _WRITTEN.sub(_unescaped, text) if "%" in text else text


def check_from_engine(text: str) -> None:
    """Refuse what `unescape_from_engine` could not read, mostly without building anything.

    Raises:
        RemoteProtocolError: an escape that the engine does not write.
    """
    place = 0
    if len(text) > SHORT:
        # Where escapes are few, looking from one to the next takes a tenth of what looking at every
        # character does; where they are many, it is the other way round.
        for _ in range(FEW):
            place = text.find("%", place)
            if place < 0:
                return
            if text[place + 1 : place + 2] not in _MAY_FOLLOW:
                break
            place += 2
    # A percent before something else may still be the second of two.
    if _SUSPECT.search(text, place):
        unescape_from_engine(text)


def unescape_until_fault(text: str) -> str:
    """Undo `escape` up to the first fault and drop the rest, as the engine does with filters.

    The percent of a malformed escape still counts, a raw control character does not (measured).
    """
    for match in _SPECIAL.finditer(text):
        if match[1] is None:
            kept = "%" if match[0] == "%" else ""
            return unescape(text[: match.start()]) + kept
    return unescape(text)


def _unescaped(match: re.Match[str]) -> str:
    char = match[1]
    if char is None:
        raise RemoteProtocolError(
            f"malformed escape or raw control character at {match.start()} of {shown(match.string)}"
        )
    return "%" if char == "%" else chr(ord(char) - 0x40)


def to_boolean(text: str, default: bool) -> bool:
    """Read a boolean as `String::toBoolean` does: ten lower-case words, all else is `default`."""
    if text in TRUE_WORDS:
        return True
    return False if text in FALSE_WORDS else default


def leading_boolean(text: str) -> tuple[bool | None, str]:
    """Read a boolean word at the start of `text`, as `String::operator>>(bool&)` does.

    Returns:
        The value, None when there is no such word, and what follows the word. Blanks before the
        word are skipped only when there is a word.
    """
    skipped = text.lstrip(" \t")
    for words, value in ((FALSE_WORDS, False), (TRUE_WORDS, True)):
        for word in words:
            rest = skipped[len(word) :]
            if skipped.startswith(word) and (not rest or rest[0] in " \t\r\n"):
                return value, rest
    return None, text


def c_integer(text: str) -> tuple[int | None, str]:
    """Read an integer at the start of `text` as the engine's strtol with base 0 does.

    Returns:
        The number, None when there is none or it does not fit 31 bits, and what follows it.
    """
    match = _C_INTEGER.match(text)
    if match is None:
        return None, text
    value = _c_value(match)
    if not -INT_MAX <= value < INT_MAX:
        return None, text
    return value, text[match.end() :]


def c_unsigned(text: str) -> tuple[int | None, str]:
    """Read an unsigned number at the start of `text` as strtoul with base 0 does.

    Returns:
        The number, None when there is none or it does not fit 32 bits, and what follows it.
    """
    match = _C_INTEGER.match(text)
    if match is None:
        return None, text
    value = _c_value(match)
    if not -ULONG_MAX <= value <= ULONG_MAX:
        return None, text
    # strtoul negates within an unsigned long, so that "-1" is far above 32 bits.
    value %= ULONG_MAX + 1
    if value > UINT_MAX:
        return None, text
    return value, text[match.end() :]


def _c_value(match: re.Match[str]) -> int:
    sign, digits = match.groups()
    if digits[:2] in ("0x", "0X"):
        value = int(digits, 16)
    elif digits[0] == "0":
        value = int(digits, 8)
    else:
        value = int(digits)
    return -value if sign == "-" else value
