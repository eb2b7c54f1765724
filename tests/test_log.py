"""What is logged and how often: one event, one line."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import any_texts
from yateway.errors import RemoteProtocolError
from yateway.log import RateLimit, logger, told


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- How often ---------------------------------------------------------------------------------


def test_one_event_in_each_interval(clock: Clock) -> None:
    """The first event is let through, then one for each interval that has passed since."""
    limit = RateLimit(10.0, clock)
    let_through = []
    for clock.now in (100.0, 100.0, 109.9, 110.0, 119.9, 125.0, 134.9, 135.0):
        if limit.allow():
            let_through.append(clock.now)
    assert let_through == [100.0, 110.0, 125.0, 135.0]
    assert limit.held_back == 4


def test_the_first_event_is_let_through_at_any_time() -> None:
    """A clock that starts below zero holds nothing back."""
    assert RateLimit(10.0, lambda: -1e9).allow()


def test_what_was_held_back_is_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A line says how many like it were held back since the last, if any were."""
    limit = RateLimit(1.0, clock)
    for clock.now in (0.0, 0.1, 0.2, 1.0, 2.0, 2.5, 3.0):
        limit.log(logging.WARNING, "at %s", clock.now)
    assert [record.getMessage() for record in caplog.records] == [
        "at 0.0",
        "at 1.0 (2 more like this before)",
        "at 2.0",
        "at 3.0 (1 more like this before)",
    ]
    assert {(record.levelno, record.name) for record in caplog.records} == {
        (logging.WARNING, "yateway")
    }


def test_limits_do_not_know_each_other(clock: Clock) -> None:
    """Each limit counts for itself."""
    one, other = RateLimit(1.0, clock), RateLimit(1.0, clock)
    assert [one.allow(), other.allow(), one.allow()] == [True, True, False]
    assert (one.held_back, other.held_back) == (1, 0)


def test_the_logger_is_yateways() -> None:
    """There is one logger, by the name that a user would look for."""
    assert logger is logging.getLogger("yateway")


# --- What is told of an exception --------------------------------------------------------------


def raised(error: BaseException, depth: int = 0) -> BaseException:
    """Return an exception that passed through so many frames of this function, and one more."""
    try:
        fall(error, depth)
    except BaseException as caught:
        return caught
    raise AssertionError


def fall(error: BaseException, depth: int) -> None:
    if depth:
        fall(error, depth - 1)
    raise error


def test_an_exception_that_was_never_raised() -> None:
    """An exception is told by its type and its text, escaped."""
    assert told(ValueError("a\nb")) == r"ValueError('a\nb')"
    assert told(KeyError()) == "KeyError('')"
    assert told(RemoteProtocolError("x" * 80)).endswith("xxx'... (80 characters))")


def test_where_an_exception_passed_through() -> None:
    """An exception is told with the last three places it passed through, the last one first."""
    line = fall.__code__.co_firstlineno
    text = told(raised(ValueError("x")))
    head, _, places = text.partition(" at ")
    assert head == "ValueError('x')"
    innermost, outer = places.split(" < ")
    assert innermost == f"test_log.py:{line + 3} in fall"
    assert outer.endswith(" in raised")
    deep = told(raised(ValueError("x"), depth=9)).partition(" at ")[2].split(" < ")
    assert deep == [f"test_log.py:{line + 3} in fall", *[f"test_log.py:{line + 2} in fall"] * 2]


def test_an_exception_that_cannot_tell_its_text() -> None:
    """An exception whose text cannot be had is told all the same."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Wrong(Exception):
        def __str__(self) -> str:
            return None  # type: ignore[return-value]  # noqa: PLE0307 - that is the fault

    assert told(Mute()) == "Mute(its text fails with RuntimeError)"
    assert told(raised(Wrong())).startswith("Wrong(its text fails with TypeError) at test_log.py:")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_exceptions_of_every_kind_are_told(error: BaseException) -> None:
    """What ends a process is told like all else."""
    assert told(error).startswith(type(error).__name__)


@given(any_texts, st.sampled_from([1, 2, 50]))
def test_an_exception_is_one_short_line(text: str, times: int) -> None:
    """Whatever the text of an exception holds, it is told in one line below 1 KiB (F6)."""
    told_so = told(raised(ValueError(text * times), depth=5))
    assert told_so.isprintable()
    assert len(told_so) < 1024
