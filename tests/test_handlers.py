"""Handlers: what each is for, what it may return, and over which connection it is asked."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yateway.errors import ConfigError, LocalProtocolError
from yateway.handlers import Handler, HandlerTable, label
from yateway.message import Message
from yateway.routing import Continue, Fork, Reject, Route
from yateway.wire.frames import Install


def decline(message: Message) -> None:
    """A handler that does nothing."""


async def suspend(message: Message) -> None:
    """A handler that could wait."""


def handler(name: str = "a", priority: int = 100, **more: Any) -> Handler:
    return Handler(name, decline, priority, **more)


# --- One handler -------------------------------------------------------------------------------


def test_a_handler_by_itself() -> None:
    """A handler has Yate's usual priority, no filter and no deadline of its own."""
    plain = Handler("call.route", decline)
    assert (plain.priority, plain.filter, plain.deadline) == (100, None, None)
    assert plain.install() == Install("call.route", 100)
    assert plain.matches(Message("call.route"))


def test_a_handler_with_all() -> None:
    """A handler is installed with its priority and filter."""
    full = Handler("call.route", decline, 50, ("called", "1:2"), 0.5)
    assert full.install() == Install("call.route", 50, "called", "1:2")
    assert full.deadline == 0.5


@pytest.mark.parametrize(
    ("value", "given_to_it"),
    [
        ("123", {"called": "123"}),
        ("", {"called": ""}),
        ("", {}),
        ("true", {"called": True}),
    ],
)
def test_what_a_filter_lets_through(value: str, given_to_it: dict[str, str | bool]) -> None:
    """A filter lets exactly one value through; an absent parameter counts as empty."""
    assert handler(filter=("called", value)).matches(Message("a", given_to_it))


@pytest.mark.parametrize("value", ["12", "1234", "^1", ".*", " 123", "", "x"])
def test_what_a_filter_holds_back(value: str) -> None:
    """A filter is no pattern and no prefix."""
    assert handler(filter=("called", value)).matches(Message("a", called="123")) is False


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"name": ""}, ConfigError, "needs the name of a message"),
        ({"deadline": 0}, ConfigError, "a deadline of 0 s leaves no time"),
        ({"deadline": -1.5}, ConfigError, "a deadline of -1.5 s leaves no time"),
        ({"filter": ("", "x")}, ConfigError, "a filter needs the name"),
        ({"name": "a:b"}, LocalProtocolError, "message name 'a:b' cannot hold ':'"),
        ({"name": "a\n"}, LocalProtocolError, "cannot hold"),
        ({"name": "\ud800"}, LocalProtocolError, "cannot encode"),
        ({"filter": ("k", "\0")}, LocalProtocolError, "NUL"),
        ({"priority": 2**31}, LocalProtocolError, "would read the priority 2147483648 as 100"),
    ],
)
def test_what_is_no_handler(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    """What could not be installed is refused where the handler is made."""
    with pytest.raises(error, match=re.escape(text)):
        handler(**arguments)


# --- Names for people --------------------------------------------------------------------------


class Methods:
    def method(self, message: Message) -> None: ...

    @classmethod
    def of_class(cls, message: Message) -> None: ...

    @staticmethod
    def static(message: Message) -> None: ...


class Object:
    def __call__(self, message: Message) -> None: ...


@functools.wraps(decline)
def wrapped(message: Message) -> None: ...


HERE = r" \(test_handlers\.py:\d+\)"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (decline, f"decline{HERE}"),
        (suspend, f"suspend{HERE}"),
        (lambda message: None, f"<lambda>{HERE}"),
        (Methods().method, rf"Methods\.method{HERE}"),
        (Methods.of_class, rf"Methods\.of_class{HERE}"),
        (Methods.static, rf"Methods\.static{HERE}"),
        (wrapped, f"decline{HERE}"),
        (functools.partial(decline), f"decline{HERE}"),
        (functools.partial(functools.partial(Methods().method)), rf"Methods\.method{HERE}"),
        (Object(), "Object"),
        (functools.partial(Object()), "Object"),
        (print, "print"),
    ],
)
def test_a_label_names_the_function(function: Callable[..., object], expected: str) -> None:
    """A label says what a function is called and where it is written."""
    assert re.fullmatch(expected, label(function))


def test_a_label_gives_the_line() -> None:
    """The line of a label is that of the function, not of what wraps it."""
    line = decline.__code__.co_firstlineno
    for function in (decline, wrapped, functools.partial(decline)):
        assert label(function) == f"decline (test_handlers.py:{line})"
    assert Handler("a", decline).label == label(decline)


# --- Verdicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        (None, "false:"),
        (False, "false:"),
        (True, "true:"),
        ("sip/a", "true::sip/a"),
        ("", "true::"),
        ("before", "true:"),
        (Route("a", x=1), "true::a:x=1"),
        (Reject("busy"), "true::-:error=busy"),
        (Continue(x=1), "false::before:x=1"),
        (Fork("a"), "true::fork:callto.1=a"),
    ],
)
def test_what_a_handler_may_return(verdict: object, answer: str) -> None:
    """Each verdict declines or processes, and writes only what it says."""
    message = Message.received("1", 0, "a", "before", ":k=v")
    processed = handler().apply(verdict, message)
    assert isinstance(processed, bool)
    assert message.to_answer(processed).text() == f"%%<message:1:{answer}"


def test_what_a_handler_may_not_return() -> None:
    """Anything else is an error that says what it was, and changes nothing."""
    coroutine = suspend(Message("a"))
    for verdict in (
        coroutine,
        1,
        0,
        1.0,
        [],
        ["sip/a"],
        {},
        b"sip/a",
        object(),
        Route,
        Message("a"),
    ):
        message = Message.received("1", 0, "a", "before", ":k=v")
        kind = type(verdict).__name__
        with pytest.raises(TypeError, match=f"cannot return {kind}: return None or False to"):
            handler().apply(verdict, message)
        assert message.to_answer(False).text() == "%%<message:1:false:"
    coroutine.close()


# --- The table ---------------------------------------------------------------------------------


def test_handlers_of_one_priority_share_an_install() -> None:
    """Handlers of one name and priority are asked in order over one connection."""
    table = HandlerTable()
    first, second, other = handler(), handler(), handler("b", 50)
    assert [table.add(each) for each in (first, second, other)] == [0, 0, 0]
    assert len(table.connections) == 1
    assert table.connections[0]["a"].handlers == (first, second)
    assert table.frame(0, "a") == Install("a", 100)
    assert table.frame(0, "b") == Install("b", 50)
    table.check_single()


def test_each_further_priority_has_a_connection() -> None:
    """Each further priority of a name goes over a further connection, where it holds."""
    table = HandlerTable()
    added = [("a", 50), ("a", 150), ("a", 50), ("b", 7), ("a", 100), ("b", 8), ("a", 150), ("c", 0)]
    assert [table.add(handler(*each)) for each in added] == [0, 1, 0, 0, 2, 1, 1, 0]
    installed = [
        {name: (i.priority, len(i.handlers)) for name, i in connection.items()}
        for connection in table.connections
    ]
    assert installed == [
        {"a": (50, 2), "b": (7, 1), "c": (0, 1)},
        {"a": (150, 2), "b": (8, 1)},
        {"a": (100, 1)},
    ]
    assert [table.frame(number, "a") for number in range(3)] == [
        Install("a", 50), Install("a", 150), Install("a", 100),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("k", "v")], ("k", "v")),
        ([("k", "v"), ("k", "v")], ("k", "v")),
        ([("k", "v"), ("k", "w")], ()),
        ([("k", "v"), None], ()),
        ([None, ("k", "v")], ()),
        ([None], ()),
    ],
)
def test_a_shared_filter_is_the_engines(
    filters: list[tuple[str, str] | None], expected: tuple[str, ...]
) -> None:
    """The engine filters only what all handlers of an install would hold back."""
    table = HandlerTable()
    for each in filters:
        table.add(handler(filter=each))
    assert table.frame(0, "a") == Install("a", 100, *expected)
    assert len(table.connections[0]["a"].handlers) == len(filters)


def test_what_is_not_in_the_table() -> None:
    """Of a name that nobody handles there is no install and nobody to ask."""
    table = HandlerTable()
    table.add(handler())
    assert table.frame(0, "b") is None
    assert "b" not in table.connections[0]


def test_removal() -> None:
    """All handlers of a name go, and their connections are told; others stay."""
    table = HandlerTable()
    for priority in (1, 2, 3):
        table.add(handler("a", priority))
    table.add(handler("b", 1))
    table.add(handler("b", 2))
    assert table.remove("a") == [0, 1, 2]
    assert table.remove("a") == []
    assert "a" not in table.connections[0]
    assert table.frame(2, "a") is None
    assert len(table.connections[1]["b"].handlers) == 1
    assert table.add(handler("a", 3)) == 0


def test_one_connection_is_not_enough() -> None:
    """The refusal names the message, both priorities, both handlers and the remedy."""
    table = HandlerTable()
    table.add(Handler("a", decline, 50))
    table.add(Handler("a", suspend, 150))
    with pytest.raises(ConfigError) as caught:
        table.check_single()
    assert re.match(
        rf"handlers of 'a' with the priorities 50 \(decline{HERE}\) and 150 \(suspend{HERE}\)"
        r" need a connection each, .*: give them one priority, or attach over TCP or UNIX$",
        str(caught.value),
    )


def test_one_connection_is_enough_again() -> None:
    """When the handlers that needed a second connection are gone, one is enough."""
    table = HandlerTable()
    table.add(handler("a", 1))
    table.add(handler("a", 2))
    table.remove("a")
    table.check_single()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=20))
def test_no_connection_installs_a_name_twice(added: list[tuple[str, int]]) -> None:
    """Whatever is added, each handler is asked once, at its priority, and installs are few."""
    table = HandlerTable()
    numbers = [table.add(handler(*each)) for each in added]
    for (name, priority), number in zip(added, numbers, strict=True):
        assert table.connections[number][name].priority == priority
    for name in "abc":
        priorities = {priority for other, priority in added if other == name}
        used = [number for number, c in enumerate(table.connections) if name in c]
        assert used == list(range(len(priorities)))
        asked = sum(len(table.connections[number][name].handlers) for number in used)
        assert asked == sum(other == name for other, _ in added)
