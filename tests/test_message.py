"""Message: a mapping over a raw line, which remembers what was changed."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import PITFALLS, engine_params, names, texts
from yateway.errors import LocalProtocolError, RemoteProtocolError
from yateway.message import Message
from yateway.wire.frames import encode
from yateway.wire.params import decode_params, encode_engine_params


class Key(str, enum.Enum):  # noqa: UP042 - not an enum.StrEnum, which would be harmless
    CALLED = "called"
    BUSY = "busy"


class Number(enum.IntEnum):
    TWO = 2


def request(params: str = ":called=123:caller=7", *, retvalue: str = "r") -> Message:
    """Return a request as it comes from an engine."""
    return Message.received("0x7f.1", 12, "call.route", retvalue, params)


def answer(message: Message, processed: bool = False) -> str:
    """Return the line that answers a message."""
    return message.to_answer(processed).text().removeprefix("%%<message:0x7f.1:")


# --- Made by us --------------------------------------------------------------------------------


def test_a_message_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message has a name and parameters in order, is not processed and was made now."""
    monkeypatch.setattr("yateway.message.clock.time", lambda: 1234.9)
    message = Message("call.execute", {"callto.1": "a", "x": "b"}, x="c", y="d")
    assert (message.name, message.retvalue, message.time) == ("call.execute", "", 1234)
    assert message.processed is False
    assert message.id == ""
    assert list(message.items()) == [("callto.1", "a"), ("x", "c"), ("y", "d")]


def test_parameters_may_be_called_as_arguments_are() -> None:
    """Parameters called name, params or self are given like all others."""
    message = Message("a", {"retvalue": "1", "time": "2"}, name="b", params="c", self="d")
    assert dict(message) == {
        "retvalue": "1", "time": "2", "name": "b", "params": "c", "self": "d",
    }  # fmt: skip
    assert (message.name, message.retvalue) == ("a", "")


def test_every_value_of_our_own() -> None:
    """In a message of our own a parameter has one value or none."""
    message = Message("a", x=1)
    assert (message.getall("x"), message.getall("y")) == (["1"], [])


def test_it_is_sent_whole() -> None:
    """A message of our own is sent with all that it holds, and no id."""
    message = Message("a:b", {"k:": "v%"}, retvalue="r:", time=0, n=1)
    assert message.to_params() == ":k%z=v%%:n=1"
    assert message.to_request().text() == "%%>message::0:a%zb:r%z:k%z=v%%:n=1"


def test_deleted_parameters_are_not_sent() -> None:
    """What was deleted from a message of our own is just not there."""
    message = Message("a", x=1, y=2)
    del message["x"]
    assert message.to_params() == ":y=2"


# --- Values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("text", "text"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (1.5, "1.5"),
        (10.0, "10.0"),
        (Key.BUSY, "busy"),
        (Number.TWO, "2"),
    ],
)
def test_values_become_text(value: str | bool | int | float, text: str) -> None:
    """Booleans, numbers and members of enumerations become the text that Yate knows."""
    messages = [Message("a", k=value), Message("a", {"k": value}), Message.sent("a", {"k": value})]
    messages += [Message("a"), request()]
    for message in messages[3:]:
        message["k"] = value
    for message in messages:
        assert f"{message['k']}" == text
        assert type(message["k"]) is str
        assert message.to_params().endswith(f":k={text}")


def test_a_message_to_be_sent() -> None:
    """Its parameters keep their order, and None leaves one out; else it is as any other."""
    before = int(time.time())
    params = {"callto.1": "x", "gone": None, "yes": True, "n": 5}
    message = Message.sent("test.it", params)
    assert params == {"callto.1": "x", "gone": None, "yes": True, "n": 5}
    assert list(message.items()) == [("callto.1", "x"), ("yes", "true"), ("n", "5")]
    assert before <= message.time <= time.time()
    other = Message("test.it", {"callto.1": "x", "yes": True, "n": 5}, time=message.time)
    for name in Message.__slots__:
        assert getattr(message, name) == getattr(other, name)
    with pytest.raises(TypeError, match="'k' cannot be bytes"):
        Message.sent("test.it", {"gone": None, "k": b"x"})


@pytest.mark.parametrize("name", [None, 5, b"x", ("x",)])
def test_names_that_are_no_texts_are_refused(name: Any) -> None:
    """Where they are given: nobody could say later whose they were."""
    message = Message("test.it")
    for value in ("x", 5):
        with pytest.raises(TypeError, match=f"cannot be {type(name).__name__}: give a text"):
            message[name] = value
    assert not message


@pytest.mark.parametrize("value", [None, b"x", ["x"], {}, object(), 1j])
def test_other_values_are_refused(value: Any) -> None:
    """What is no text, number or boolean is refused where it is given, with the remedy."""
    remedy = f"'k' cannot be {type(value).__name__}: give str, bool, int or float, or delete it"
    makers: list[Callable[[], object]] = [
        lambda: Message("a", k=value),
        lambda: Message("a", {"k": value}),
        lambda: request().update(k=value),
        lambda: request().setdefault("k", value),
    ]
    for make in makers:
        with pytest.raises(TypeError, match=remedy):
            make()


def test_a_refused_value_changes_nothing() -> None:
    """After a refused value the message is as before."""
    message = request()
    with pytest.raises(TypeError):
        message["called"] = None  # type: ignore[assignment]
    assert message["called"] == "123"
    assert answer(message) == "false:"


def test_a_key_may_be_a_member_of_an_enumeration() -> None:
    """A member of an enumeration finds its text, and does not hide it from others."""
    for key in (Key.CALLED, "called"):
        message = request()
        assert message[key] == "123"
        message[key] = "4"
        assert answer(message) == "false::r:called=4"


# --- The mapping -------------------------------------------------------------------------------


@pytest.fixture(params=["lazy", "read"])
def received(request: pytest.FixtureRequest) -> Message:
    """A request that was not looked at, and one whose parameters were all read."""
    line = ":a=1:b=x%zy%%:empty=::gone:p%}q=r=s:\x7f=\udcff:a=2:last=%A"
    message = Message.received("0x7f.1", 12, "call.route", "r", line)
    if request.param == "read":
        assert len(message) == 6
    return message


EVERYTHING = {"a": "1", "b": "x:y%", "empty": "", "p=q": "r=s", "\x7f": "\udcff", "last": "\x01"}
ABSENT = ["", "gone", "A", "1", "b=", "p", "p%}q", "q", ":a", "a=1", "\x01", "é", "as"]


def test_it_is_a_mapping(received: Message) -> None:
    """A message holds its parameters in the order of the line, their escapes undone."""
    for key, value in EVERYTHING.items():
        assert received[key] == received.get(key) == received.get(key, "x") == value
        assert key in received
    assert list(received.items()) == list(EVERYTHING.items())
    assert len(received) == 6


@pytest.mark.parametrize("key", ABSENT)
def test_what_is_not_there(received: Message, key: str) -> None:
    """A parameter that is not there, or has no value, is a KeyError, or the default."""
    with pytest.raises(KeyError) as caught:
        received[key]
    assert caught.value.args == (key,)
    with pytest.raises(KeyError):
        del received[key]
    assert received.get(key) is None
    assert received.get(key, "default") == "default"
    assert received.pop(key, None) is None
    assert key not in received
    assert received.getall(key) == []
    assert answer(received) == "false:"


def test_only_text_is_a_key(received: Message) -> None:
    """What is no text is not in a message."""
    others: list[Any] = [5, None, b"a", ("a",)]
    assert not any(other in received for other in others)


def test_the_first_of_several_counts(received: Message) -> None:
    """Of parameters with one name the mapping shows the first, `getall` every one."""
    assert received["a"] == "1"
    assert received.getall("a") == ["1", "2"]
    assert received.getall("empty") == [""]
    received["a"] = "3"
    assert received.getall("a") == ["3"]
    del received["a"]
    assert received.getall("a") == []


def test_changes_are_seen(received: Message) -> None:
    """What is set is seen at its old place, what is new comes last, what is deleted is gone."""
    received["b"] = "B"
    received["new"] = "N"
    del received["empty"]
    assert (received["b"], received["new"], received.get("empty")) == ("B", "N", None)
    assert "empty" not in received
    assert list(received) == ["a", "b", "p=q", "\x7f", "last", "new"]
    assert answer(received, True) == "true::r:b=B:new=N:empty"
    with pytest.raises(KeyError):
        del received["empty"]
    received["empty"] = "again"
    assert received["empty"] == "again"
    assert answer(received) == "false::r:b=B:new=N:empty=again"


def test_all_may_be_taken_out(received: Message) -> None:
    """The methods of a mapping work on a message too."""
    assert received.pop("a") == "1"
    assert received.setdefault("b", "other") == "x:y%"
    assert received.setdefault("new", "N") == "N"
    received.clear()
    assert len(received) == 0
    assert list(received) == []


def test_a_value_is_found_by_its_whole_name() -> None:
    """Neither the end of another name nor a value is taken for a parameter."""
    message = request(":xcalled=1:value=called=2:called=3:called")
    assert message["called"] == "3"
    assert message["value"] == "called=2"
    assert request(":called:x=1").get("called") is None


def test_an_escape_that_cannot_be_read() -> None:
    """A malformed escape is an error where it is met; readers of lines let none through."""
    message = request(":good=1:bad=%!")
    assert message["good"] == "1"
    for look in (lambda: message["bad"], lambda: len(message)):
        with pytest.raises(RemoteProtocolError):
            look()


keys = st.sampled_from(["a", "b", "=", "a=b", "%", ":", "a:b", "\udcff", "\x01", "ab"]) | names
operations = st.lists(
    st.tuples(st.sampled_from(["get", "in", "all", "set", "del", "read", "len"]), keys, texts),
    max_size=12,
)


@given(
    st.lists(st.tuples(keys, texts), max_size=6) | engine_params,
    operations,
    st.text(PITFALLS.replace("\n", ""), max_size=3),
)
def test_reading_lazily_makes_no_difference(
    params: list[tuple[str, str]], steps: list[tuple[str, str, str]], retvalue: str
) -> None:
    """Whatever is done to a message, it is as if all its parameters had been read at first.

    And its answer, applied to what the engine holds, gives the engine the same message.
    """
    line = encode_engine_params(params)
    message = Message.received("1", 0, "a", retvalue, line)
    model: dict[str, str] = {}
    every: dict[str, list[str]] = {}
    for key, value in params:
        model.setdefault(key, value)
        every.setdefault(key, []).append(value)
    changed: dict[str, str | None] = {}
    for step, key, value in steps:
        if step == "get":
            assert message.get(key) == model.get(key)
        elif step == "in":
            assert (key in message) == (key in model)
        elif step == "all":
            expected = every.get(key, []) if key not in changed else [model.get(key)]
            assert message.getall(key) == [value for value in expected if value is not None]
        elif step == "set":
            message[key] = model[key] = changed[key] = value
        elif step == "del" and key in model:
            del message[key], model[key]
            changed[key] = None
        elif step == "read":
            assert dict(message) == model
        elif step == "len":
            assert len(message) == len(model)
    assert dict(message) == model
    sendable = all("=" not in key for key in changed)
    if sendable:
        reply = message.to_answer(True)
        assert dict(decode_params(reply.params)) == changed
        assert reply.retvalue == (retvalue if changed else None)
    else:
        with pytest.raises(LocalProtocolError):
            message.to_answer(True)


# --- Answers -----------------------------------------------------------------------------------


def test_a_decline_is_exactly_that() -> None:
    """A decline with nothing changed is nothing but `false`, whatever was read (A8)."""
    for read in (lambda _: None, dict, len, lambda message: message["called"]):
        message = request()
        read(message)
        assert encode(message.to_answer(False)) == b"%%<message:0x7f.1:false:\n"
        assert encode(message.to_answer(True)) == b"%%<message:0x7f.1:true:\n"


def test_an_answer_carries_only_what_was_changed() -> None:
    """Changed parameters are sent, with the retvalue, which every longer answer replaces (Y7)."""
    message = request()
    message["called"] = "456"
    assert answer(message, True) == "true::r:called=456"
    del message["caller"]
    assert answer(message) == "false::r:called=456:caller"


@pytest.mark.parametrize(("retvalue", "line"), [("x", "true::x"), ("", "true::"), ("r", "true:")])
def test_an_answer_carries_a_changed_retvalue(retvalue: str, line: str) -> None:
    """A changed retvalue is sent, an erased one too, an unchanged one only beside a change."""
    message = request()
    message.retvalue = retvalue
    assert answer(message, True) == line


@pytest.mark.parametrize(
    ("name", "line"), [("b:", "false:b%z:r"), ("", "false:"), ("x", "false:x:r")]
)
def test_an_answer_carries_a_changed_name(name: str, line: str) -> None:
    """A message may be renamed; the empty name leaves it its own."""
    message = request()
    message.name = name
    assert answer(message) == line
    message.name = "call.route"
    assert answer(message) == "false:"


@pytest.mark.parametrize(("key", "value"), [("a=b", "x"), ("", "x"), ("k", "\0"), ("k\0", "x")])
def test_what_cannot_be_answered_is_named(key: str, value: str) -> None:
    """A parameter that cannot be sent makes the answer an error that names it (A9)."""
    message = request()
    message["fine"] = "1"
    message[key] = value
    for send in (lambda: message.to_answer(True), message.to_params, message.to_request):
        with pytest.raises(LocalProtocolError) as caught:
            send()
        assert caught.value.field == key


@pytest.mark.parametrize("value", [5, True, ["x"]])
def test_a_retvalue_that_is_no_text(value: Any) -> None:
    """A retvalue or name that is no text is an error of the protocol when it is to be sent."""
    for attribute in ("retvalue", "name"):
        message = request()
        setattr(message, attribute, value)
        with pytest.raises(LocalProtocolError, match=f"cannot send {type(value).__name__}"):
            encode(message.to_answer(True))


def test_an_answer_of_the_engine() -> None:
    """What the engine answers, or notifies of, says whether it was processed."""
    message = Message.received("5", True, "a", "r", ":k=v")
    assert (message.id, message.name, message.retvalue) == ("5", "a", "r")
    assert message.processed is True
    assert message.time == 0
    assert dict(message) == {"k": "v"}
    assert Message.received("5", False, "", "", "").retvalue == ""
    assert Message.received("5", False, "", "", "").processed is False


def test_a_request_of_the_engine() -> None:
    """A request has the id and the time that the engine gave it, and is not processed."""
    message = request()
    assert (message.id, message.name, message.retvalue) == ("0x7f.1", "call.route", "r")
    assert (message.time, message.processed) == (12, False)


# --- Taking back -------------------------------------------------------------------------------


def change(message: Message, mark: str) -> None:
    message.name = f"name {mark}"
    message.retvalue = f"retvalue {mark}"
    message["called"] = mark
    message[f"new {mark}"] = mark
    message.pop("caller", None)


@pytest.mark.parametrize("read", [True, False])
def test_rollback_takes_everything_back(read: bool) -> None:
    """Without a checkpoint, a rollback leaves the message as it came."""
    message = request()
    change(message, "1")
    if read:
        assert len(message) == 2
    message.rollback()
    assert answer(message) == "false:"
    assert (message.name, message.retvalue) == ("call.route", "r")
    assert dict(message) == {"called": "123", "caller": "7"}
    assert message["called"] == "123"


@pytest.mark.parametrize("read", [True, False])
def test_rollback_goes_back_to_the_checkpoint(read: bool) -> None:
    """A rollback keeps what was changed before the last checkpoint, again and again."""
    message = request()
    change(message, "1")
    message.checkpoint()
    kept = answer(message)
    for mark in "23":
        change(message, mark)
        if read:
            assert len(message) == 3
        message.rollback()
        assert answer(message) == kept
        assert dict(message) == {"called": "1", "new 1": "1"}
        assert message.name == "name 1"
    change(message, "4")
    message.checkpoint()
    message.rollback()
    assert message["called"] == "4"


# --- Answering early ---------------------------------------------------------------------------


class Answered:
    """Who serves a request."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def answer_message(self, message: Message, processed: bool) -> None:
        self.lines.append(answer(message, processed))


async def test_an_early_answer() -> None:
    """An early answer goes to whoever serves the request, with what is set in it."""
    message = request()
    served = Answered()
    message.answerer = served
    message["called"] = "4"
    await message.answer()
    await message.answer(False, retvalue="", caller=5)
    assert served.lines == ["true::r:called=4", "false:::called=4:caller=5"]


async def test_what_is_no_request_cannot_be_answered() -> None:
    """A message of our own, or one that nobody serves, cannot be answered; nothing is changed."""
    for message in (Message("a\n", called=1), request(":called=1")):
        with pytest.raises(LocalProtocolError, match="is not a request") as caught:
            await message.answer(retvalue="x", called="2")
        assert str(caught.value).isprintable()
        assert message["called"] == "1"
        assert message.retvalue != "x"


# --- Identity ----------------------------------------------------------------------------------


def test_messages_are_equal_to_themselves_alone() -> None:
    """Two messages with the same content are two messages."""
    one, other = request(), request()
    assert one == one  # noqa: PLR0124 - that is the question
    assert one != other
    assert one not in [other]
    assert len({one, other, one}) == 2


def test_a_message_shows_itself_briefly() -> None:
    """The representation shows the name escaped and cut, and none of the parameters."""
    message = Message("a\n\x1b[31m" + "x" * 1000, time=5, secret="canary")
    message.processed = True
    text = repr(message)
    assert text.isprintable()
    assert len(text) < 200
    assert text.startswith(r"<Message 'a\n\x1b[31mxxx")
    assert text.endswith("processed=True of 5>")
    assert "canary" not in text
