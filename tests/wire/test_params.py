"""Parameters as they stand on a line, in both directions."""

from __future__ import annotations

import enum
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import any_texts, engine_params, fields, module_params
from yateway.errors import LocalProtocolError, RemoteProtocolError
from yateway.wire.params import (
    MANY,
    decode_params,
    encode_all,
    encode_engine_params,
    encode_params,
    excess,
)


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ([], ""),
        ([("called", "123")], ":called=123"),
        ([("a", "1"), ("b", "2"), ("a", "3")], ":a=1:b=2:a=3"),
        ([("gone", None), ("empty", "")], ":gone:empty="),
        ([("n", "a=b==c")], ":n=a=b==c"),
        ([("k:%\x01", "v:%\n")], ":k%z%%%A=v%z%%%J"),
        ([("caller name", " x ")], ":caller name= x "),
        ([("é", "\udcff\x7f")], ":é=\udcff\x7f"),
    ],
)
def test_a_modules_line(params: list[tuple[str, str | None]], line: str) -> None:
    """Each parameter follows a colon, and one without a value is to be deleted."""
    assert encode_params(params) == line
    assert list(decode_params(line)) == params


@given(module_params)
def test_a_modules_line_and_back(params: list[tuple[str, str | None]]) -> None:
    """Names, values, deletions and their order survive."""
    assert list(decode_params(encode_params(params))) == params


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), ("a=b", "x"), ("a=b", None), ("\0", "x"), ("a", "\0"), ("a", 5), ("a", True)],
)
def test_what_cannot_be_sent_is_named(name: str, value: str | None) -> None:
    """The error names the parameter that cannot be sent, be it the name or the value."""
    with pytest.raises(LocalProtocolError) as caught:
        encode_params([("fine", "1"), (name, value), ("also fine", "2")])
    assert caught.value.field == name


def test_the_value_of_a_secret_is_not_told() -> None:
    """Only its name is, and what may be wrong (guarantee F7)."""
    with pytest.raises(LocalProtocolError, match="'password', a secret, cannot be sent") as caught:
        encode_params([("password", "x\0")])
    assert caught.value.field == "password"


class Kind(enum.StrEnum):
    """An enumeration of texts, which an f-string would show by name."""

    BUSY = "b:y"


def outcome(encode: Callable[[], str]) -> tuple[str, str]:
    """Return the line and nothing, or what the error says and which field it names."""
    try:
        return encode(), ""
    except LocalProtocolError as error:
        return str(error), error.field


@given(st.dictionaries(fields | st.just(Kind.BUSY), any_texts | st.just(Kind.BUSY), max_size=12))
def test_many_at_once_and_one_by_one_say_the_same(params: dict[str, str]) -> None:
    """Also when the names are known already, and when something cannot be sent."""
    expected = outcome(lambda: encode_params(params.items()))
    for _ in range(2):
        assert outcome(lambda: encode_all(params)) == expected


@pytest.mark.parametrize("count", [0, 1, MANY - 1, MANY, 1023, 1025])
def test_all_parameters_of_a_message(count: int) -> None:
    """However many they are, and whether or not their names were seen before."""
    params = {f"{count}/{number}": "v%:=é\x7f\udcff\ud800" for number in range(count)}
    line = "".join(f":{count}/{number}=v%%%z=é\x7f\udcff\ud800" for number in range(count))
    assert encode_all(params) == line
    assert encode_all(params) == line


@pytest.mark.parametrize("text", ["\n", "a\n:b%", "\x01", "\x1f", "\r\n"])
def test_control_characters_among_many(text: str) -> None:
    """A line feed that is somebody's never becomes the colon before a parameter."""
    for params in (
        {"a": "1", "b": "2", "c": text, "d": "4", "e": "5"},
        {"a": "1", "b": "2", f"c{text}": "3", "d": "4", "e": "5"},
    ):
        expected = encode_params(params.items())
        assert encode_all(params) == expected
        assert list(decode_params(expected)) == list(params.items())


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("a=b", "x"), ("\0", "x"), ("a", "\0")])
def test_what_cannot_be_sent_is_named_among_many(name: str, value: str) -> None:
    """The error names the parameter, although all were looked at together."""
    others = dict.fromkeys("bcdef", "1")
    encode_all(others | {"a": "fine"})
    with pytest.raises(LocalProtocolError) as caught:
        encode_all(others | {name: value})
    assert caught.value.field == name


def test_the_value_of_a_secret_is_not_told_among_many() -> None:
    """Neither in the error nor in what it was raised from (guarantee F7)."""
    others = dict.fromkeys("bcdef", "1")
    encode_all(others | {"password": "fine"})
    with pytest.raises(LocalProtocolError, match="'password', a secret, cannot be sent") as caught:
        encode_all(others | {"password": "geheim\0"})
    assert "geheim" not in str(caught.value)


def test_an_engines_line() -> None:
    """The engine writes `=` in a name as `%}` and leaves it alone in a value (guarantee B9)."""
    line = encode_engine_params([("p=q", "r=s"), ("=", ""), ("%:", "%:")])
    assert line == ":p%}q=r=s:%}=:%%%z=%%%z"
    assert list(decode_params(line)) == [("p=q", "r=s"), ("=", ""), ("%:", "%:")]


@given(engine_params)
def test_an_engines_line_and_back(params: list[tuple[str, str]]) -> None:
    """Whatever the engine writes is read, also the names that it cannot read itself."""
    assert list(decode_params(encode_engine_params(params))) == params


def test_values_are_not_split_at_every_equals_sign() -> None:
    """Only the first `=` ends a name: a value may hold more, and a name may stand alone."""
    line = ":sdp=a=b:c==:alone:=v"
    assert list(decode_params(line)) == [("sdp", "a=b"), ("c", "="), ("alone", None), ("", "v")]


def test_empty_parameters_are_skipped() -> None:
    """Colons with nothing between them mean nothing."""
    assert list(decode_params("::a=1:::b::")) == [("a", "1"), ("b", None)]


@pytest.mark.parametrize("line", [":a=%", ":a=%!", ":%a=1", ":a%", ":a=%@"])
def test_a_malformed_escape_is_an_error(line: str) -> None:
    """An escape that no engine writes is an error, when it is reached."""
    params = decode_params(":good=1" + line)
    assert next(params) == ("good", "1")
    with pytest.raises(RemoteProtocolError, match="malformed escape"):
        next(params)


# --- Bounds (guarantee F10) --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ("", ""),
        (":a=b" * 1024, ""),
        (":a=b" * 1025, "more than 1024 parameters"),
        (":" + "n" * 256, ""),
        (":" + "n" * 257, "a name of more than 256 characters"),
        (":" + "n" * 256 + "=v", ""),
        (":" + "n" * 257 + "=v", "a name of more than 256 characters"),
        (":" + "n" * 257 + ":a=b", "a name of more than 256 characters"),
        (":a=" + "v" * 65536, ""),
        (":a=" + "v" * 65537, "a value of more than 65536 characters"),
        (":a=" + "v" * 65536 + ":b=" + "v" * 65536, ""),
        (":a=" + "v" * 65536 + ":b=" + "v" * 65537 + ":c", "a value of more than 65536 characters"),
        (":" + "n" * 256 + "=" + "v" * 65536, ""),
        (":" + "n" * 256 + "=" + "v" * 65537, "a value of more than 65536 characters"),
        (":a=" + "=" * 65536, ""),
        (":a=" + "v" * 300 + ":" + "n" * 257 + "=v", "a name of more than 256 characters"),
    ],
    ids=range(16),
)
def test_the_bounds_of_a_message(params: str, fault: str) -> None:
    """Each limit is good, and one more is too much; among other parameters as well."""
    assert excess(params) == fault
    if params.count(":") < 1000:
        assert excess(":x=y" * 20 + params) == fault
        assert excess(params + ":x=y" * 20) == fault


def plain_excess(params: str) -> bool:
    """Look at each parameter by itself."""
    chunks = params.split(":")[1:]
    for chunk in chunks:
        name, _, value = chunk.partition("=")
        if len(name) > 256 or (len(chunk) > 257 and len(value) > 65536):
            return True
    return len(chunks) > 1024 and len(params) > 3 * 1024


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 5, 250, 255, 256, 257, 258, 300]),
            st.sampled_from([-1, 0, 1, 10, 250, 256, 257, 300, 1000]),
        )
    )
)
def test_looking_at_few_colons_finds_the_same(sizes: list[tuple[int, int]]) -> None:
    """Whatever lengths follow each other, the quick look agrees with the plain one."""
    params = "".join(
        ":" + "n" * name + ("" if value < 0 else "=" + "v" * value) for name, value in sizes
    )
    assert bool(excess(params)) is plain_excess(params)
