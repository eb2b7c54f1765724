"""The exceptions, and how a foreign value is shown."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import any_texts
from yateway import errors
from yateway.errors import (
    CallEnded,
    CallFailed,
    ConfigError,
    ConnectionLost,
    DispatchTimeout,
    InstallRefused,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    UnsafePath,
    YatewayError,
    shown,
)

# --- The tree ----------------------------------------------------------------------------------

PARENTS: dict[type[Exception], tuple[type[Exception], ...]] = {
    YatewayError: (Exception,),
    ProtocolError: (YatewayError,),
    LocalProtocolError: (ProtocolError,),
    RemoteProtocolError: (ProtocolError,),
    ConnectionLost: (YatewayError,),
    InstallRefused: (YatewayError,),
    DispatchTimeout: (YatewayError, TimeoutError),
    CallEnded: (YatewayError,),
    CallFailed: (YatewayError,),
    UnsafePath: (YatewayError,),
    ConfigError: (YatewayError,),
}


def test_the_tree_is_as_drawn() -> None:
    """Every error has its place in the tree, is public, and stands in the drawing."""
    defined = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert defined == set(PARENTS)
    for kind, parents in PARENTS.items():
        assert kind.__bases__ == parents
        assert kind.__name__ in errors.__all__
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("kind", [YatewayError, ConnectionLost, UnsafePath, ConfigError])
def test_an_error_has_its_text(kind: type[YatewayError]) -> None:
    """An error says what it was made with."""
    assert str(kind("what happened")) == "what happened"


def test_attributes_carry_the_data() -> None:
    """What is to be known about an error is in its attributes, not in its text alone."""
    local = LocalProtocolError("text", field="k")
    assert (str(local), local.field, LocalProtocolError("text").field) == ("text", "k", "")
    remote = RemoteProtocolError("text", line="a\n", partial=local)
    assert (str(remote), remote.line, remote.partial) == ("text", "a\n", local)
    assert (RemoteProtocolError("text").line, RemoteProtocolError("text").partial) == ("", None)
    ended = CallEnded("text", id="sip/1", reason="busy", cause=486)
    assert (str(ended), ended.id, ended.reason, ended.cause) == ("text", "sip/1", "busy", 486)
    assert (CallEnded("text", id="sip/1").reason, CallEnded("text", id="sip/1").cause) == ("", None)
    failed = CallFailed("text", target="sip/7", reason="busy", cause=486)
    assert (str(failed), failed.target, failed.reason) == ("text", "sip/7", "busy")
    assert (failed.cause, CallFailed("text", target="a", reason="b").cause) == (486, None)
    refused = InstallRefused("text", name="a")
    assert (str(refused), refused.name) == ("text", "a")


def test_a_timeout_says_of_what_and_how_long() -> None:
    """A timeout shows the message, escaped, and the seconds."""
    error = DispatchTimeout("a\n", 2.0)
    assert str(error) == r"no answer to 'a\n' within 2 s"
    assert (error.name, error.seconds) == ("a\n", 2.0)
    assert str(DispatchTimeout("a", 0.25)).endswith("within 0.25 s")


# --- Foreign values (F6) -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "''"),
        ("plain text", "'plain text'"),
        ("it's", '"it\'s"'),
        ("a\r\n\t\0\x1b[31m\x7f", r"'a\r\n\t\x00\x1b[31m\x7f'"),
        ("é\u2028\u202e\U0001f600", r"'\xe9\u2028\u202e\U0001f600'"),
        ("\udcff", r"'\udcff'"),
        (b"caf\xc3\xa9\xff", r"'caf\xe9\udcff'"),
        (b"", "''"),
        (7, "'<int>'"),
        (None, "'<NoneType>'"),
        ("x" * 75, "'" + "x" * 75 + "'"),
        ("x" * 76, "'" + "x" * 75 + "'... (76 characters)"),
        (b"x" * 10**6, "'" + "x" * 75 + "'... (1000000 characters)"),
        ("\n" * 75, "'" + r"\n" * 75 + "'"),
        ("\xe9" * 63, "'" + r"\xe9" * 63 + "'"),
        ("\xe9" * 63 + "ab", "'" + r"\xe9" * 63 + "ab'"),
        ("\xe9" * 63 + "abc", "'" + r"\xe9" * 63 + "abc... (66 characters)"),
        ("\xe9" * 64, "'" + r"\xe9" * 63 + r"\xe... (64 characters)"),
    ],
)
def test_how_a_value_is_shown(value: object, text: str) -> None:
    """A foreign value is quoted, escaped, and cut by its characters and by what they become."""
    assert shown(value) == text


@given(
    any_texts.map(lambda text: text * 20)
    | st.binary(max_size=200)
    | st.integers(0, 1000).map(lambda count: "\U0001f600" * count)
)
def test_a_value_is_one_short_printable_line(value: str | bytes) -> None:
    """Whatever a value holds, three of them fit one log line of 1 KiB (guarantee F6)."""
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) * 3 < 1000


def test_a_value_is_never_shown_by_its_own_means() -> None:
    """A text that would show itself otherwise is shown as the text that it is."""

    class Loud(str):
        def __repr__(self) -> str:
            return "\n" * 5000

    assert shown(Loud("quiet")) == "'quiet'"
