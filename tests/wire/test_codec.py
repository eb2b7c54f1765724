"""Escapes, booleans and numbers, compared with what the engine was seen to do."""

from __future__ import annotations

import enum
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import any_texts, short_texts, texts
from yateway.errors import LocalProtocolError, RemoteProtocolError
from yateway.wire import codec
from yateway.wire.codec import (
    SHORT,
    Memo,
    c_integer,
    c_unsigned,
    check_from_engine,
    escape,
    escape_name,
    from_bytes,
    leading_boolean,
    to_boolean,
    to_bytes,
    unescape,
    unescape_from_engine,
    unescape_until_fault,
)

#: What the engine accepts behind a percent, and what it stands for. Of the 95 printable characters
#: these are 33.
ACCEPTED = {chr(code): chr(code - 0x40) for code in range(0x41, 0x60)} | {"z": ":", "%": "%"}
#: What it also writes, in names, and does not accept.
WRITTEN = ACCEPTED | {"}": "="}
#: All of the basic plane, and the first and last beyond it.
EVERY_CHARACTER = [chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000]
EVERY_CHARACTER += [chr(0x10000), chr(0x10FFFF)]
LONE_SURROGATES = [chr(code) for code in range(0xDC80, 0xDD00)]
#: Each short row of what matters to a reader of escapes.
ROWS = short_texts("%zA}a:=\x01", 4)

Reader = Callable[[str], str]


def outcome(read: Callable[[str], object], text: str) -> object:
    """Return what a reader makes of a text, or the type of the error."""
    try:
        return read(text)
    except RemoteProtocolError as error:
        return type(error)


# --- Bytes and text ----------------------------------------------------------------------------


@given(st.binary())
def test_bytes_survive(data: bytes) -> None:
    """Bytes that are no UTF-8 come out of a text unchanged."""
    assert to_bytes(from_bytes(data)) == data


def test_each_byte_survives() -> None:
    """Each byte alone, and beside one half of a UTF-8 character, comes out unchanged."""
    for byte in range(256):
        for data in (bytes([byte]), bytes([0xC3, byte]), bytes([byte, 0xA9])):
            assert to_bytes(from_bytes(data)) == data


@pytest.mark.parametrize("code", [0xD800, 0xDC7F, 0xDD00, 0xDFFF])
def test_other_surrogates_have_no_bytes(code: int) -> None:
    """A surrogate that stands for no byte is refused by name and never sent as something else."""
    for text in (chr(code), f"a{chr(code)}b", f"\udcff{chr(code)}"):
        with pytest.raises(LocalProtocolError, match=rf"cannot encode '\\u{code:x}'"):
            to_bytes(text)


# --- Escapes -----------------------------------------------------------------------------------


@given(texts)
def test_escape_and_back(text: str) -> None:
    """Every text without NUL survives the escape (guarantee B1)."""
    assert unescape(escape(text)) == text
    assert unescape_from_engine(escape(text)) == text


@pytest.mark.parametrize("text", ["".join(EVERY_CHARACTER), "".join(LONE_SURROGATES)])
def test_every_character_is_escaped_and_back(text: str) -> None:
    """Every character survives the escape, and none of them can end a field or a line."""
    escaped = escape(text)
    assert unescape(escaped) == text
    assert not set(map(chr, range(0x20))) & set(escaped)
    assert ":" not in escaped


def test_short_texts_are_escaped_and_back() -> None:
    """Every short row of characters that have a meaning survives the escape."""
    for text in ROWS:
        assert unescape(escape(text)) == unescape_from_engine(escape(text)) == text


def test_the_engines_table_of_escapes() -> None:
    """Control characters, colon and percent are escaped as the engine does, all else is raw."""
    special = {plain: f"%{written}" for written, plain in ACCEPTED.items()}
    for character in EVERY_CHARACTER[:0x3000] + LONE_SURROGATES:
        assert escape(character) == special.get(character, character)


def test_nul_cannot_be_escaped() -> None:
    """NUL is refused in any place, since the engine ends its line there."""
    for text in ("\0", "a\0", "\0a", "a\x01\0b", "é\0"):
        with pytest.raises(LocalProtocolError, match="NUL"):
            escape(text)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, b"x", ["x"], object()])
def test_only_text_can_be_escaped(value: str) -> None:
    """What is no text is refused as an error of the protocol, which says what it was."""
    with pytest.raises(LocalProtocolError, match=f"cannot send {type(value).__name__}: "):
        escape(value)
    with pytest.raises(LocalProtocolError):
        escape_name(value)


class Reason(str, enum.Enum):  # noqa: UP042 - not an enum.StrEnum, which would be harmless
    BUSY = "busy"
    ODD = "a:b"


def test_a_member_of_an_enumeration_is_its_text() -> None:
    """A member of an enumeration of texts goes out as its text, not as its name."""
    assert f"{escape(Reason.BUSY)} {escape(Reason.ODD)}" == "busy a%zb"
    assert type(escape(Reason.BUSY)) is str


def test_the_faults_of_the_first_module() -> None:
    """Percent is doubled: neither `%e` is written for it nor `%%` read as something else."""
    assert escape("100%") == "100%%"
    assert unescape("100%%") == "100%"
    assert unescape("%%zz%z%%") == "%zz:%"


@pytest.mark.parametrize(("read", "table"), [(unescape, ACCEPTED), (unescape_from_engine, WRITTEN)])
def test_percent_and_each_byte(read: Reader, table: dict[str, str]) -> None:
    """A percent and any byte reads as in the engine's table, or is an error (guarantee B12)."""
    for character in {*map(chr, range(256)), *LONE_SURROGATES}:
        expected: object = RemoteProtocolError
        if character in table:
            expected = f"a{table[character]}b"
        assert outcome(read, f"a%{character}b") == expected, character


def test_of_the_printable_characters_33_are_accepted() -> None:
    """The table has as many entries as were counted in the engine."""
    printable = map(chr, range(0x20, 0x7F))
    assert sum(outcome(unescape, f"%{c}") is not RemoteProtocolError for c in printable) == 33


@pytest.mark.parametrize("read", [unescape, unescape_from_engine])
@pytest.mark.parametrize("text", ["%", "a%", "%%%", "%z%", "%A%%%"])
def test_percent_at_the_end(read: Reader, text: str) -> None:
    """A percent at the end of a field is an error, where the engine reads behind its memory."""
    assert outcome(read, text) is RemoteProtocolError


def test_each_raw_byte() -> None:
    """A raw byte below 0x20 is an error to the engine, but not to the reader of its lines."""
    for byte in set(range(256)) - {ord("%")}:
        text = f"a{from_bytes(bytes([byte]))}b"
        assert outcome(unescape, text) == (RemoteProtocolError if byte < 0x20 else text)
        assert unescape_from_engine(text) == text


def test_an_error_shows_where_and_what() -> None:
    """The error about an escape says its place and shows the text, escaped."""
    for read in (unescape, unescape_from_engine, check_from_engine):
        with pytest.raises(RemoteProtocolError, match=r"malformed escape.* at 3 of '\\x7f%%%!'"):
            read("\x7f%%%!")


def test_the_check_agrees_with_the_reader() -> None:
    """What is checked beforehand is exactly what can be read afterwards."""
    for text in ROWS:
        readable = outcome(unescape_from_engine, text) is not RemoteProtocolError
        assert (outcome(check_from_engine, text) is None) == readable


@given(any_texts)
def test_the_check_agrees_with_the_reader_on_any_text(text: str) -> None:
    """What is checked beforehand is what can be read, whatever else the text holds."""
    readable = outcome(unescape_from_engine, text) is not RemoteProtocolError
    assert (outcome(check_from_engine, text) is None) == readable


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("k%zz", "k:z"),
        ("ab%1cd", "ab%"),
        ("ab%A%?x", "ab\x01%"),
        ("ab\tcd%z", "ab"),
        ("xy%@", "xy%"),
        ("%}a", "%"),
        ("\x01", ""),
        ("a%%%zb", "a%:b"),
    ],
)
def test_up_to_the_first_fault(text: str, kept: str) -> None:
    """A filter with a fault counts up to it; the percent of a malformed escape still counts."""
    assert unescape_until_fault(text) == kept


def test_up_to_the_fault_is_the_whole_text_where_there_is_none() -> None:
    """A reader that stops at faults reads a faultless text as the other one does."""
    for text in ROWS:
        if (whole := outcome(unescape, text)) is not RemoteProtocolError:
            assert unescape_until_fault(text) == whole


# --- Names -------------------------------------------------------------------------------------


@given(texts.filter(lambda text: text and "=" not in text))
def test_a_name_and_back(name: str) -> None:
    """Every name without `=` survives, and both sides read it alike."""
    assert unescape(escape_name(name)) == unescape_from_engine(escape_name(name)) == name


@pytest.mark.parametrize("name", ["=", "a=b", "=a", "a=", "a\x01="])
def test_equals_in_a_name_is_refused(name: str) -> None:
    """The escape that the engine writes for `=` is never written, for it cannot read it (B9)."""
    with pytest.raises(LocalProtocolError, match="cannot hold '='") as caught:
        escape_name(name)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "^a parameter needs a name: "), ("\0", "^cannot send NUL"), ("a\0", "^cannot send NUL")],
)
def test_no_name_is_refused(name: str, reason: str) -> None:
    """A parameter without a name, or with NUL in it, is refused, and the text says why."""
    with pytest.raises(LocalProtocolError, match=reason):
        escape_name(name)


# --- Work --------------------------------------------------------------------------------------


def test_work_grows_with_the_number_of_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many percents take twice as many steps and no more (guarantee B5)."""
    steps = 0
    of_one_escape = codec._unescaped

    def counted(match: object) -> str:
        nonlocal steps
        steps += 1
        return of_one_escape(match)  # type: ignore[arg-type]

    monkeypatch.setattr(codec, "_unescaped", counted)
    for count in (1_000, 2_000, 4_000):
        for read in (unescape, unescape_from_engine):
            steps = 0
            assert read("%%" * count) == "%" * count
            assert steps == count


# --- Booleans ----------------------------------------------------------------------------------

TRUE = ["true", "yes", "on", "enable", "t"]
FALSE = ["false", "no", "off", "disable", "f"]
NEITHER = ["", "1", "0", "True", "TRUE", "truex", "maybe", "y", "n", "x true", "ona", "\ttr ue"]


@pytest.mark.parametrize("default", [True, False])
def test_boolean_words(default: bool) -> None:
    """Ten lower-case words are booleans; anything else, blanks included, is the default."""
    assert [to_boolean(word, default) for word in TRUE] == [True] * 5
    assert [to_boolean(word, default) for word in FALSE] == [False] * 5
    for word in (*NEITHER, "true ", " true", "false\r"):
        assert to_boolean(word, default) is default


@pytest.mark.parametrize("word", TRUE + FALSE)
def test_a_boolean_in_front(word: str) -> None:
    """A boolean word is read with what follows its end, and blanks before it are skipped."""
    value = word in TRUE
    assert leading_boolean(word) == (value, "")
    assert leading_boolean(f"\t {word}") == (value, "")
    for end in map(chr, range(1, 256)):
        if end in " \t\r\n":
            assert leading_boolean(f"{word}{end}x") == (value, f"{end}x")
        else:
            assert leading_boolean(word + end) == (None, word + end)
        if end not in " \t":
            assert leading_boolean(end + word)[0] is None


@pytest.mark.parametrize("text", [*NEITHER, " maybe", "\t", " 1"])
def test_no_boolean_in_front(text: str) -> None:
    """Where no boolean word stands nothing is taken, not even the blanks."""
    assert leading_boolean(text) == (None, text)


# --- Numbers -----------------------------------------------------------------------------------

BOTH_READ = [
    ("5", 5, ""),
    ("0", 0, ""),
    ("-0", 0, ""),
    ("+7", 7, ""),
    ("0x20", 32, ""),
    ("0XfF", 255, ""),
    ("010", 8, ""),
    ("10.5", 10, ".5"),
    (" 77 ", 77, " "),
    ("\t\n\v\f\r9:name", 9, ":name"),
    ("0x", 0, "x"),
    ("0xg", 0, "xg"),
    ("09", 0, "9"),
    ("018", 1, "8"),
    ("0b11", 0, "b11"),
    ("1_000", 1, "_000"),
    ("12abc", 12, "abc"),
    ("2147483646", 2**31 - 2, ""),
]
NEITHER_READS = ["", "abc", "-", "+", " ", "--5", "- 5", "x10", "٣", "99999999999999999999999"]


@pytest.mark.parametrize("read", [c_integer, c_unsigned])
@pytest.mark.parametrize(("text", "value", "rest"), BOTH_READ)
def test_a_number_in_front(
    read: Callable[[str], tuple[int | None, str]], text: str, value: int, rest: str
) -> None:
    """Numbers are read with C's base 0 as far as they go."""
    assert read(text) == (value, rest)


@pytest.mark.parametrize("read", [c_integer, c_unsigned])
@pytest.mark.parametrize("text", NEITHER_READS)
def test_no_number_in_front(read: Callable[[str], tuple[int | None, str]], text: str) -> None:
    """Where no number stands, or one that is far too large, nothing is taken."""
    assert read(text) == (None, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-5", -5),
        ("-0x10", -16),
        ("-2147483647", 1 - 2**31),
        ("-2147483648", None),
        ("2147483647", None),
        ("99999999999", None),
        ("-99999999999", None),
    ],
)
def test_the_range_of_an_integer(text: str, value: int | None) -> None:
    """The largest and the least of 31 bits already count as an overflow in the engine."""
    assert c_integer(text) == (value, text if value is None else "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4294967295", 2**32 - 1),
        ("4294967296", None),
        ("-1", None),
        ("18446744073709551615", None),
        ("18446744073709551616", None),
        ("-18446744073709551615", 1),
        ("-18446744069414584321", 2**32 - 1),
        ("-18446744069414584320", None),
        ("-18446744073709551616", None),
    ],
)
def test_the_range_of_an_unsigned_number(text: str, value: int | None) -> None:
    """A minus negates within 64 bits, as strtoul does; then 32 bits must hold the number."""
    assert c_unsigned(text) == (value, text if value is None else "")


def test_a_memo_keeps_results_while_there_is_room() -> None:
    """The function is asked once for each text, and again when there were too many."""
    asked: list[str] = []

    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    memo = Memo(length)
    assert [memo["a"], memo["bc"], memo["a"]] == [1, 2, 1]
    assert asked == ["a", "bc"]
    assert [memo[str(number)] for number in range(Memo.ROOM)][-1] == 4
    assert len(memo) <= Memo.ROOM
    assert memo["a"] == 1
    assert asked.count("a") == 2


def test_a_memo_keeps_neither_failures_nor_long_texts() -> None:
    """What raises is tried again; what is long could fill our memory (guarantee F13)."""
    memo: Memo[int] = Memo(int)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            memo["x"]
    assert memo["1".zfill(Memo.LONGEST)] == memo["2".zfill(Memo.LONGEST + 1)] - 1 == 1
    assert list(memo.values()) == [1]


@pytest.mark.parametrize("blank", ["", " " * SHORT])
@pytest.mark.parametrize("count", range(8))
def test_a_fault_is_found_behind_any_number_of_escapes(count: int, blank: str) -> None:
    """Few are looked at one by one, many all at once; the second of two percents is no escape."""
    for escapes in ("a%z" * count, "%%!" * count, "%z" * count + "%}=", "%%" * count + "!"):
        sound = escapes + blank
        check_from_engine(sound)
        for fault in (f"{sound}%!", f"{sound}%", f"%!{sound}", f"{sound}%%%!{sound}"):
            with pytest.raises(RemoteProtocolError):
                check_from_engine(fault)
