"""The module's end of a connection: its states, its ledger, and whatever may come in."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.wire.strategies import ENGINE_FRAMES, PITFALLS
from yateway.errors import LocalProtocolError, RemoteProtocolError
from yateway.wire.buffer import BUFSIZE_DEFAULT, BUFSIZE_MAX, BUFSIZE_MIN, LINE_LIMIT
from yateway.wire.codec import escape, unescape_from_engine
from yateway.wire.connection import Connection, Event, Fault, Reply, State
from yateway.wire.frames import (
    Answer,
    Connect,
    Debug,
    EngineFrame,
    ErrorIn,
    Install,
    Installed,
    ModuleFrame,
    Output,
    Quit,
    QuitDone,
    Request,
    SetLocal,
    SetLocalDone,
    Uninstall,
    Uninstalled,
    Unwatch,
    Unwatched,
    Watch,
    Watched,
    encode,
)

Frame: TypeAlias = Request | Answer
Events: TypeAlias = list[Event[str, Frame]]


def connection_of(limit: int = LINE_LIMIT) -> Connection[str, Frame]:
    """Return a connection whose events carry frames."""
    return Connection(Request, Answer, limit)


def receive(connection: Connection[str, Frame], *lines: str) -> Events:
    """Let an engine send lines."""
    text = "".join(f"{line}\n" for line in lines)
    return list(connection.receive_data(text.encode("utf-8", "surrogateescape")))


def sent(connection: Connection[str, Frame]) -> list[str]:
    """Return the lines that wait to be sent."""
    return connection.data_to_send().decode("utf-8", "surrogateescape").splitlines()


def only_fault(events: Events) -> Fault:
    """Return the fault that is the only event."""
    (event,) = events
    assert isinstance(event, Fault)
    return event


def in_state(state: State) -> Connection[str, Frame]:
    """Return a connection in a state, with nothing to send."""
    connection = connection_of()
    if state is State.ATTACHED:
        connection.send(Watch("a"))
    elif state is State.QUITTING:
        connection.send(Quit())
    elif state is State.CLOSED:
        connection.receive_eof()
    connection.data_to_send()
    assert connection.state is state
    return connection


# --- States ------------------------------------------------------------------------------------

FRAMES: list[ModuleFrame] = [
    Install("a"),
    Uninstall("a"),
    Watch("a"),
    Unwatch("a"),
    SetLocal("a", "b"),
    Output("a"),
    Debug(5, "a"),
    Request("", 0, "a"),
]


@pytest.mark.parametrize("state", [State.OPEN, State.ATTACHED])
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_usable_connection_sends(state: State, frame: ModuleFrame) -> None:
    """Everything but quit may be sent at any time before it, and makes the connection attached."""
    connection = in_state(state)
    assert connection.usable
    connection.send(frame)
    assert connection.data_to_send() == encode(frame)
    assert connection.data_to_send() == b""
    assert connection.state is State.ATTACHED


def test_connect_comes_first_and_once() -> None:
    """Connect is the first line of a connection or none of its lines."""
    connection = in_state(State.OPEN)
    connection.send(Connect("channel"))
    assert connection.state is State.ATTACHED
    for state in (State.ATTACHED, State.QUITTING, State.CLOSED):
        with pytest.raises(LocalProtocolError, match="connect must be the first line"):
            in_state(state).send(Connect())


def test_an_answer_attaches_nothing() -> None:
    """A connection that has only answered may still say connect."""
    connection = in_state(State.OPEN)
    receive(connection, "%%>message:1:1:a:")
    connection.answer("1", False)
    assert connection.state is State.OPEN


@pytest.mark.parametrize("state", [State.OPEN, State.ATTACHED])
def test_quit_is_the_last_line(state: State) -> None:
    """Quit may be sent in any usable state, and nothing after it."""
    connection = in_state(state)
    connection.send(Quit(), "ticket")
    assert sent(connection) == ["%%>quit"]
    assert connection.state is State.QUITTING
    assert receive(connection, "%%<quit") == [Reply("ticket", QuitDone())]


@pytest.mark.parametrize("state", [State.QUITTING, State.CLOSED])
def test_nothing_is_sent_after_the_end(state: State) -> None:
    """A connection that has said quit, or has ended, sends nothing, and says why."""
    connection = in_state(state)
    assert not connection.usable
    receive(connection, "%%>message:1:1:a:")
    for frame in (*FRAMES, Quit()):
        with pytest.raises(LocalProtocolError, match=f"the connection is {state.name.lower()}"):
            connection.send(frame)
    with pytest.raises(LocalProtocolError, match="cannot send"):
        connection.dispatch("a", ticket="t")
    with pytest.raises(LocalProtocolError, match="cannot send"):
        connection.answer("1", True)
    assert connection.data_to_send() == b""
    assert connection.state is state
    assert connection.receive_eof() == []


def test_a_frame_that_cannot_be_sent_changes_nothing() -> None:
    """What is refused is neither queued nor waited for, and leaves the state alone."""
    connection = in_state(State.OPEN)
    for frame in (Watch("a\n"), Install("a" * 9000), SetLocal("bufsize", "\0")):
        with pytest.raises(LocalProtocolError):
            connection.send(frame, "ticket")
    with pytest.raises(LocalProtocolError):
        connection.dispatch("a", params="\n", ticket="ticket")
    assert connection.state is State.OPEN
    assert connection.data_to_send() == b""
    assert connection.bufsize == BUFSIZE_DEFAULT
    assert connection.receive_eof() == []


def test_what_is_sent_keeps_its_order() -> None:
    """Commands, messages and answers leave in the order in which they were given."""
    connection = connection_of()
    receive(connection, "%%>message:7:1:a:")
    connection.send(Connect())
    connection.dispatch("b", ticket="b")
    connection.answer("7", False)
    connection.send(Watch("c"))
    assert sent(connection) == [
        "%%>connect:global",
        "%%>message:1:0:b:",
        "%%<message:7:false:",
        "%%>watch:c",
    ]


# --- Replies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reply", "frame"),
    [
        (Install("a", 50), "%%<install:50:a:true", Installed(50, "a", True)),
        (Install("a", -1), "%%<install:-1:a:false", Installed(-1, "a", False)),
        (Uninstall("a:b"), "%%<uninstall:0:a:b:false", Uninstalled(0, "a:b", False)),
        (Watch(""), "%%<watch::true", Watched("", True)),
        (Unwatch("a:b"), "%%<unwatch:a:b:true", Unwatched("a:b", True)),
        (SetLocal("runid"), "%%<setlocal:runid:12:true", SetLocalDone("runid", "12", True)),
        (SetLocal("x", " "), "%%<setlocal:x::false", SetLocalDone("x", "", False)),
        (Quit(), "%%<quit", QuitDone()),
    ],
)
def test_a_reply_brings_its_ticket(command: ModuleFrame, reply: str, frame: Installed) -> None:
    """Each command has one reply, which brings its ticket back; a second reply is a fault."""
    connection = connection_of()
    connection.send(command, "ticket")
    assert receive(connection, reply) == [Reply("ticket", frame)]
    assert "nothing of ours waits" in str(only_fault(receive(connection, reply)).error)
    assert connection.receive_eof() == []


def test_replies_are_matched_by_kind_and_name() -> None:
    """Replies to different commands may come in any order."""
    connection = connection_of()
    names = ["install", "uninstall", "watch", "unwatch", "setlocal"]
    connection.send(Install("a"), "install")
    connection.send(Uninstall("a"), "uninstall")
    connection.send(Watch("a"), "watch")
    connection.send(Unwatch("a"), "unwatch")
    connection.send(SetLocal("a", "1"), "setlocal")
    connection.send(Install("b"), "install b")
    replies = {
        "install b": "%%<install:100:b:true",
        "setlocal": "%%<setlocal:a:1:true",
        "unwatch": "%%<unwatch:a:true",
        "watch": "%%<watch:a:true",
        "uninstall": "%%<uninstall:100:a:true",
        "install": "%%<install:100:a:true",
    }
    assert set(names) < set(replies)
    tickets = [event.ticket for event in receive(connection, *replies.values())]  # type: ignore[union-attr]
    assert tickets == list(replies)


def test_replies_of_one_name_come_in_order() -> None:
    """Several commands of one kind and name are replied to in the order of sending."""
    connection = connection_of()
    for value in "123":
        connection.send(SetLocal("timeout", value), value)
    replies = receive(connection, *(f"%%<setlocal:timeout:{value}:true" for value in "123"))
    assert replies == [Reply(value, SetLocalDone("timeout", value, True)) for value in "123"]


def test_a_command_without_ticket_has_a_stray_reply() -> None:
    """A reply for which nobody waits is a fault that shows it, and answers nothing."""
    connection = connection_of()
    connection.send(Watch("a"))
    connection.data_to_send()
    fault = only_fault(receive(connection, "%%<watch:a\t:true"))
    assert not fault.fatal
    assert not fault.answered
    assert fault.error.line == "%%<watch:a\t:true"
    assert r"'%%<watch:a\t:true'" in str(fault.error)
    assert connection.data_to_send() == b""


@pytest.mark.parametrize(
    "frame", [Connect(), Output("a"), Debug(1, "a"), Request("1", 0, "a"), Answer("1", True)]
)
def test_no_ticket_for_what_has_no_reply(frame: ModuleFrame) -> None:
    """What has no reply cannot be waited for; it would be waited for until the end."""
    connection = connection_of()
    with pytest.raises(LocalProtocolError, match=f"{type(frame).__name__} has no reply"):
        connection.send(frame, "ticket")
    assert connection.data_to_send() == b""
    assert connection.state is State.OPEN


def test_answers_to_our_messages() -> None:
    """Each message of ours has an id of its own, and its answer may come in any order."""
    connection = connection_of()
    ids = [connection.dispatch(name, ticket=name) for name in "abc"]
    assert len(set(ids)) == 3
    assert sent(connection) == [
        f"%%>message:{id_}:0:{name}:" for id_, name in zip(ids, "abc", strict=True)
    ]
    for number in (2, 0, 1):
        (reply,) = receive(connection, f"%%<message:{ids[number]}:true:n:r:k=v")
        assert reply == Reply("abc"[number], Answer(ids[number], True, "n", "r", ":k=v"))
    fault = only_fault(receive(connection, f"%%<message:{ids[0]}:true:n:r"))
    assert "no message of ours waits for this answer" in str(fault.error)
    assert connection.data_to_send() == b""


def test_all_of_a_message_is_sent() -> None:
    """A message carries its time, retvalue and parameters."""
    connection = connection_of()
    connection.dispatch("a:b", time=12, retvalue="r%", params=":k=v", ticket="t")
    assert sent(connection) == ["%%>message:1:12:a%zb:r%%:k=v"]


def test_a_notification_is_an_answer_without_id() -> None:
    """The notification of a watched message is handed on as it is."""
    connection = connection_of()
    connection.dispatch("a", ticket="a")
    notification = Answer("", True, "n", "r", ":k=v")
    assert receive(connection, "%%<message::true:n:r:k=v") == [notification]
    assert connection.receive_eof() == ["a"]


# --- "Error in:" -------------------------------------------------------------------------------


def test_an_error_in_a_command() -> None:
    """The command that the engine could not read gets the error as its reply."""
    connection = connection_of()
    for frame, ticket in ((Watch("a"), "a"), (SetLocal("x", "\udcffé"), "x"), (Watch("b"), "b")):
        connection.send(frame, ticket)
    error = ErrorIn("%%>setlocal:x:\udcffé")
    assert receive(connection, f"Error in: {error.line}") == [Reply("x", error)]
    assert connection.receive_eof() == ["a", "b"]


def test_an_error_in_a_message() -> None:
    """The message that the engine could not read gets the error as its answer."""
    connection = connection_of()
    for name in "ab":
        connection.dispatch(name, time=-1, ticket=name)
    error = ErrorIn("%%>message:2:-1:b:")
    assert receive(connection, f"Error in: {error.line}") == [Reply("b", error)]
    assert connection.receive_eof() == ["a"]


def test_an_error_in_connect_is_none() -> None:
    """A listener with a role of its own refuses connect; all else works, so it is no event."""
    connection = connection_of()
    connection.send(Connect())
    connection.send(Watch("a"), "a")
    assert receive(connection, "Error in: %%>connect:global") == []
    assert receive(connection, "%%<watch:a:true") == [Reply("a", Watched("a", True))]


@pytest.mark.parametrize(
    "line", ["", "x", "%%>watch:b", "%%>message:9:1:a:", "%%>message:", "%%>connect"]
)
def test_an_error_in_nothing_of_ours(line: str) -> None:
    """An error in a line that nobody waits for is a fault and takes nobody's ticket."""
    connection = connection_of()
    connection.send(Watch("a"), "a")
    connection.dispatch("m", ticket="m")
    fault = only_fault(receive(connection, f"Error in: {line}"))
    assert "could not read a line of ours" in str(fault.error)
    assert not fault.fatal
    assert connection.receive_eof() == ["a", "m"]


# --- The ledger --------------------------------------------------------------------------------


def test_each_request_is_answered_once() -> None:
    """A request is open until its answer, and there is no second one."""
    connection = connection_of()
    requests = [Request("0x7f.1", 5, "a", "r", ":k=v"), Request("a:b", 5, "a")]
    assert receive(connection, "%%>message:0x7f.1:5:a:r:k=v", "%%>message:a%zb:5:a:") == requests
    assert len(connection.requests) == 2
    assert "a:b" in connection.requests
    connection.answer("a:b", True, "", "", ":x=y")
    assert sent(connection) == ["%%<message:a%zb:true:::x=y"]
    assert ("a:b" in connection.requests, "0x7f.1" in connection.requests) == (False, True)
    assert len(connection.requests) == 1
    for id_ in ("a:b", "a%zb", "", "unknown"):
        with pytest.raises(LocalProtocolError, match="is not open"):
            connection.answer(id_, True)
    assert connection.data_to_send() == b""


def test_an_answer_that_cannot_be_sent_leaves_the_request_open() -> None:
    """After an answer that cannot be sent there is still one, so that `false` can be (A9)."""
    connection = connection_of()
    receive(connection, "%%>message:1:1:a:")
    for answer in (
        Answer("1", True, "", "\0"),
        Answer("1", True, "", "\ud800"),
        Answer("1", True, "", "", ":k=\n"),
        Answer("1", True, "", "x" * 70_000),
        Answer("1", True, "n"),
    ):
        with pytest.raises(LocalProtocolError):
            connection.answer(*answer)
        assert "1" in connection.requests
    connection.answer("1", False)
    assert sent(connection) == ["%%<message:1:false:"]


def test_a_request_with_an_open_id_is_declined() -> None:
    """Of two requests with one id the second is declined at once; the first goes on."""
    connection = connection_of()
    events = receive(connection, "%%>message:1:1:a:", "%%>message:1:1:b:", "%%>message:2:1:c:")
    assert [type(event) for event in events] == [Request, Fault, Request]
    fault = events[1]
    assert isinstance(fault, Fault)
    assert (fault.answered, fault.fatal) == (True, False)
    assert str(fault.error) == "request id '1' is already open"
    assert sent(connection) == ["%%<message:1:false:"]
    assert len(connection.requests) == 2
    connection.answer("1", True)
    receive(connection, "%%>message:1:1:a:")
    assert "1" in connection.requests


def test_a_request_without_id_is_not_answered() -> None:
    """What has no id cannot be answered; it is a fault and not open."""
    connection = connection_of()
    fault = only_fault(receive(connection, "%%>message::1:a:"))
    assert (fault.answered, fault.fatal) == (False, False)
    assert str(fault.error).startswith("a request without an id cannot be answered: '%%>message:")
    assert len(connection.requests) == 0
    assert connection.data_to_send() == b""


# --- Requests that cannot be read (A6) ---------------------------------------------------------

REQUEST = "%%>message:0x7f.1:1095112795:call.route:r%%:called=1%z2:name=J%Ire"


def broken(line: str) -> Iterator[str]:
    """Yield a request cut anywhere behind its keyword, and with each kind of damage anywhere."""
    start = len("%%>message:")
    for place in range(start, len(line)):
        yield line[:place]
        for damage in ("%", "%!", "\0", ":", "=", "\t", "\udcff", "%\udcff"):
            yield line[:place] + damage + line[place:]
            yield line[:place] + damage + line[place + 1 :]
    yield line[:start].removesuffix(":")


def test_a_broken_request_is_answered_or_ends_the_connection() -> None:
    """A broken request is declined if its id can be read, and fatal if not; none is dropped."""
    seen = {"read": 0, "declined": 0, "fatal": 0}
    for line in broken(REQUEST):
        connection = connection_of()
        (event,) = receive(connection, line)
        if isinstance(event, Request):
            seen["read"] += 1
            assert len(connection.requests) == 1
            assert connection.data_to_send() == b""
            continue
        assert isinstance(event, Fault)
        assert len(connection.requests) == 0
        if event.error.line.startswith("%%>message::"):
            # Readable, but for the id that is missing.
            assert not event.answered
            continue
        id_ = line.split(":")[1] if line.count(":") > 1 else ""
        if event.answered:
            seen["declined"] += 1
            assert not event.fatal
            assert sent(connection) == [f"%%<message:{escape(unescape_from_engine(id_))}:false:"]
        else:
            seen["fatal"] += 1
            assert event.fatal
            assert connection.data_to_send() == b""
            assert not id_ or "%" in id_ or "\0" in id_
    assert min(seen.values()) > 40


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("%%>message:1:oops", "%%<message:1:false:"),
        ("%%>message:a%zb:1:n:r:k=%", "%%<message:a%zb:false:"),
        ("%%>message:\udcff:1:n", "%%<message:\udcff:false:"),
        ("%%>message:1:1:n:r:k=\0", "%%<message:1:false:"),
        ("%%>message:1", ""),
        ("%%>message", ""),
        ("%%>message:", ""),
        ("%%>message::oops", ""),
        ("%%>message:%!:1:n:r:", ""),
        ("%%>message:" + "x" * 9000 + ":oops", ""),
    ],
)
def test_what_a_broken_request_gets(line: str, answer: str) -> None:
    """Where the id is readable and fits our lines the answer is `false`, else the end is due."""
    connection = connection_of()
    fault = only_fault(receive(connection, line))
    assert (fault.answered, fault.fatal) == (bool(answer), not answer)
    assert sent(connection) == ([answer] if answer else [])
    assert fault.error.line == line


@pytest.mark.parametrize("state", [State.QUITTING, State.CLOSED])
@pytest.mark.parametrize("line", ["%%>message:1:oops", "%%>message:1:1:a:"])
def test_a_connection_at_its_end_declines_nothing(state: State, line: str) -> None:
    """When nothing can be sent any more a request that wants `false` is no exception but fatal."""
    connection = in_state(state)
    receive(connection, "%%>message:1:1:a:")
    fault = only_fault(receive(connection, line))
    assert (fault.answered, fault.fatal) == (False, True)
    assert connection.data_to_send() == b""


def test_an_id_that_is_too_long_to_decline_twice() -> None:
    """A second request with an open id that is longer than our lines is fatal, no exception."""
    connection = connection_of()
    line = f"%%>message:{'x' * 9000}:1:a:"
    fault = [event for event in receive(connection, line, line) if isinstance(event, Fault)]
    assert [(f.answered, f.fatal) for f in fault] == [(False, True)]


def test_an_answer_that_cannot_be_read() -> None:
    """Whoever waits for an answer that cannot be read is told so."""
    connection = connection_of()
    ids = [connection.dispatch(name, ticket=name) for name in "ab"]
    (reply,) = receive(connection, f"%%<message:{ids[1]}:True:b:")
    assert isinstance(reply, Reply)
    assert reply.ticket == "b"
    assert isinstance(reply.frame, RemoteProtocolError)
    assert reply.frame.line == f"%%<message:{ids[1]}:True:b:"
    for line in ("%%<message:9:True:b:", "%%<message::True:b:", "%%<message", "%%<message:1"):
        fault = only_fault(receive(connection, line))
        assert (fault.answered, fault.fatal) == (False, False)
    assert connection.receive_eof() == ["a"]


# --- Lines of no meaning (B10) -----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["hello", "%%>messages:1:1:a:", "%%>watch:a", "%%<foo:1:true", "%%", "\t", "%%>quit", "\0"],
)
def test_unknown_lines_are_faults_and_never_answered(line: str) -> None:
    """A line of no meaning is a fault that holds it; nothing is sent and the link goes on."""
    connection = connection_of()
    fault = only_fault(receive(connection, line))
    assert (fault.answered, fault.fatal, fault.error.line) == (False, False, line)
    assert connection.data_to_send() == b""
    assert connection.usable


def test_ten_thousand_unknown_lines_send_nothing() -> None:
    """Unknown lines and reported errors, however many, are never answered (guarantee B10)."""
    connection = connection_of()
    lines = ["%%>nonsense:%d", "Error in: Error in: %d", "%%<watch:%d:true", "Error in: %%>x%d"]
    faults = 0
    for number in range(2_500):
        faults += len(receive(connection, *(line.replace("%d", str(number)) for line in lines)))
    assert faults == 10_000
    assert connection.data_to_send() == b""


# --- Lengths (B7) ------------------------------------------------------------------------------


def lines_of_length(length: int) -> Iterator[ModuleFrame]:
    """Yield frames whose lines have so many bytes, in one-byte and in longer characters."""
    yield Watch("x" * (length - len("%%>watch:")))
    room = length - len("%%>output:")
    yield Output("é" * (room // 2) + "x" * (room % 2))
    room = length - len("%%>debug:1:")
    yield Debug(1, ":" * (room // 2) + "x" * (room % 2))


@pytest.mark.parametrize("bufsize", [BUFSIZE_MIN, BUFSIZE_DEFAULT, 30_000, BUFSIZE_MAX])
def test_a_line_fits_the_engines_buffer(bufsize: int) -> None:
    """A line of two bytes less than the buffer is sent, one byte more is refused (B7)."""
    connection = connection_of()
    if bufsize != BUFSIZE_DEFAULT:
        connection.send(SetLocal("bufsize", str(bufsize)))
        connection.data_to_send()
    for frame in lines_of_length(bufsize - 2):
        connection.send(frame)
        assert len(connection.data_to_send()) == bufsize - 1
    for frame in lines_of_length(bufsize - 1):
        with pytest.raises(
            LocalProtocolError, match=f"{bufsize - 1} bytes .* of {bufsize - 2} .* allows 65534$"
        ):
            connection.send(frame)
    assert connection.data_to_send() == b""


def test_messages_and_answers_fit_the_engines_buffer() -> None:
    """The length holds for messages and answers too, and a refused message takes no ticket."""
    connection = connection_of()
    receive(connection, "%%>message:1:1:a:")
    room = BUFSIZE_DEFAULT - 2 - len("%%>message:1:0:a::p=")
    connection.dispatch("a", params=":p=" + "x" * room, ticket="fits")
    with pytest.raises(LocalProtocolError, match="8191 bytes"):
        connection.dispatch("a", params=":p=" + "x" * (room + 1), ticket="too long")
    room = BUFSIZE_DEFAULT - 2 - len("%%<message:1:true::")
    with pytest.raises(LocalProtocolError, match="8191 bytes"):
        connection.answer("1", True, "", "x" * (room + 1))
    connection.answer("1", True, "", "x" * room)
    assert [len(line) for line in sent(connection)] == [8190, 8190]
    assert connection.receive_eof() == ["fits"]


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("65536", 65536),
        ("65537", 65536),
        ("9999999", 65536),
        ("100", 2048),
        ("0x4000", 16384),
        ("-1", 2048),
        (" 3000 ", 3000),
        ("", 4096),
        ("abc", 4096),
        ("99999999999", 4096),
    ],
)
def test_the_buffer_follows_setlocal(value: str, size: int) -> None:
    """The size asked for holds at once, clamped as the engine does; no number changes nothing."""
    connection = connection_of()
    assert connection.bufsize == BUFSIZE_DEFAULT
    connection.send(SetLocal("bufsize", "4096"))
    connection.send(SetLocal("bufsize", value))
    assert connection.bufsize == size
    connection.send(SetLocal("timeout", "12000"))
    assert connection.bufsize == size


# --- Long lines of the engine ------------------------------------------------------------------


def test_a_line_that_is_too_long_is_fatal() -> None:
    """Lines before one that is too long are still events; the long one is a fatal fault."""
    connection = connection_of(limit=30)
    events = receive(connection, "%%>message:1:1:a:", "x" * 31)
    assert [type(event) for event in events] == [Request, Fault]
    fault = only_fault(events[1:])
    assert (fault.answered, fault.fatal, fault.error.line) == (False, True, "")
    fault = only_fault(list(connection_of().receive_data(b"x" * (LINE_LIMIT + 1))))
    assert fault.fatal


# --- The end -----------------------------------------------------------------------------------


def test_the_end_returns_every_ticket_once() -> None:
    """At the end everybody who waits is returned, in order, and nothing is left to do."""
    connection = connection_of()
    receive(connection, "%%>message:1:1:a:")
    connection.dispatch("a", ticket="message 1")
    connection.send(Watch("a"), "command 1")
    connection.dispatch("a", ticket="message 2")
    connection.send(Quit(), "command 2")
    assert connection.receive_eof() == ["command 1", "command 2", "message 1", "message 2"]
    assert connection.state is State.CLOSED
    assert len(connection.requests) == 0
    assert "1" not in connection.requests
    assert connection.data_to_send() == b""
    assert connection.receive_eof() == []


def test_it_shows_what_is_open() -> None:
    """The representation counts what is under way."""
    connection = connection_of()
    receive(connection, "%%>message:1:1:a:", "%%>message:2:1:a:", "%%>message:3:1:a:")
    connection.dispatch("a", ticket="a")
    connection.dispatch("a", ticket="a")
    connection.send(Watch("a"), "a")
    assert repr(connection) == "<Connection ATTACHED requests=3 dispatched=2 commands=1>"


# --- Anything, in any pieces (B3, B4) ----------------------------------------------------------


def used() -> Connection[str, Frame]:
    """Return a connection with everything under way."""
    connection = connection_of(limit=500)
    connection.send(Connect())
    for frame in (Install("a"), Uninstall("a"), Watch("a"), Unwatch("a"), SetLocal("a", "b")):
        connection.send(frame, "command")
    for _ in range(3):
        connection.dispatch("a", ticket="message")
    connection.data_to_send()
    return connection


def check_events(events: Events) -> None:
    for event in events:
        assert isinstance(event, Request | Answer | Reply | Fault)
        if isinstance(event, Fault):
            assert isinstance(event.error, RemoteProtocolError)
            assert not (event.answered and event.fatal)
            assert str(event.error).isprintable()


VECTORS = [
    "%%>message:1:1:a:",
    "%%>message:2:1:a::k=%z%%:p%}=",
    "%%>message:1:1:dup:",
    "%%>message:3:oops",
    "%%>message:%!:",
    "%%<message:1:true:a:",
    "%%<message:2:True:a:",
    "%%<message::false:a:",
    "%%<install:100:a:true",
    "%%<uninstall:0:a:b:false",
    "%%<watch:a:true",
    "%%<setlocal:a:b:c:true",
    "%%<quit",
    "Error in: %%>connect:global",
    "Error in: %%>watch:a",
    "Error in: %%>message:3:0:a:",
    "Error in: ",
    "garbage\0",
    "\r",
    "é\udcff",
    "",
]


def test_the_same_events_however_the_bytes_come() -> None:
    """Whole, byte by byte, or cut at random, a stream gives the same events and answers (B4)."""
    stream = "".join(f"{line}\r\n" for line in VECTORS).encode("utf-8", "surrogateescape")
    whole = used()
    expected = shown(list(whole.receive_data(stream)))
    answers = whole.data_to_send()
    assert len(expected) == len(VECTORS) - 2  # an empty line is none, and connect may fail
    chance = random.Random(1)
    ways: list[Iterable[int]] = [range(len(stream)), range(0, len(stream), 7)]
    ways += [sorted(chance.choices(range(len(stream)), k=chance.randrange(20))) for _ in range(50)]
    for places in ways:
        connection = used()
        events = []
        start = 0
        for place in (*places, len(stream)):
            events += list(connection.receive_data(stream[start:place]))
            start = place
        assert list(connection.receive_data(b"trailing")) == []
        assert shown(events) == expected
        assert connection.data_to_send() == answers


def shown(events: Events) -> list[str]:
    """Return events so that they can be compared: errors are equal only to themselves."""
    return [repr(event) for event in events]


def as_sent(frame: EngineFrame) -> bytes:
    try:
        return encode(frame)
    except LocalProtocolError:
        return b""


lines = st.one_of(
    st.one_of(*ENGINE_FRAMES.values()).map(as_sent),
    st.sampled_from(VECTORS).map(lambda line: line.encode("utf-8", "surrogateescape") + b"\n"),
    st.binary(max_size=20),
    st.text(PITFALLS + "\0\n:::%%>>", max_size=20).map(lambda text: text.encode(errors="replace")),
    st.just(b"x" * 501),
)


@given(st.lists(lines, max_size=8), st.data())
def test_anything_gives_events(stream: list[bytes], data: st.DataObject) -> None:
    """Any bytes in any pieces give events and never an exception, in any state (B3, B4)."""
    whole = b"".join(stream)
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=5).map(sorted))
    state = data.draw(st.sampled_from([State.ATTACHED, State.QUITTING, State.CLOSED]))
    connection, other = used(), used()
    for each in (connection, other):
        if state is State.QUITTING:
            each.send(Quit(), "command")
        elif state is State.CLOSED:
            each.receive_eof()
        each.data_to_send()
    events = []
    start = 0
    for place in (*places, len(whole)):
        events += list(connection.receive_data(whole[start:place]))
        start = place
    check_events(events)
    declined = [event for event in events if isinstance(event, Fault) and event.answered]
    # Nothing but declined requests is ever answered by itself.
    answers = connection.data_to_send().splitlines()
    assert len(answers) == len(declined)
    assert all(answer.endswith(b":false:") for answer in answers)
    if not any(isinstance(event, Fault) and event.fatal for event in events):
        assert shown(list(other.receive_data(whole))) == shown(events)
    brought = [event.ticket for event in events if isinstance(event, Reply)]
    waited_for = {State.ATTACHED: 8, State.QUITTING: 9, State.CLOSED: 0}[state]
    assert len(brought) + len(connection.receive_eof()) == waited_for


class Ledger(RuleBasedStateMachine):
    """Whatever is done in whatever order, each request has one answer and each ticket one end."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = connection_of()
        self.open: set[str] = set()
        self.owed = 0
        self.tickets: set[str] = set()
        self.made = 0

    ids = st.sampled_from(["1", "2", "a:b"])

    @rule(id_=ids)
    def request(self, id_: str) -> None:
        (event,) = self.connection.receive_data(encode(Request(id_, 1, "a")))
        assert isinstance(event, Fault if id_ in self.open else Request)
        self.open.add(id_)
        self.owed += isinstance(event, Fault)

    @rule(id_=ids, sendable=st.booleans())
    def answer(self, id_: str, sendable: bool) -> None:
        answer = Answer(id_, True, "", "" if sendable else "\0")
        if sendable and id_ in self.open:
            self.connection.answer(*answer)
            self.open.remove(id_)
            self.owed += 1
        else:
            with pytest.raises(LocalProtocolError):
                self.connection.answer(*answer)

    @rule(command=st.booleans())
    def send(self, command: bool) -> None:
        self.made += 1
        ticket = f"ticket {self.made}"
        self.tickets.add(ticket)
        if command:
            self.connection.send(Watch("a"), ticket)
        else:
            self.connection.dispatch("a", ticket=ticket)
        assert len(self.connection.data_to_send().splitlines()) == self.owed + 1
        self.owed = 0

    @rule(line=st.sampled_from(["%%<watch:a:true", "Error in: %%>watch:a", "%%<watch:b:true"]))
    def reply_to_command(self, line: str) -> None:
        self.bring(line)

    @rule(number=st.integers(1, 9), word=st.sampled_from(["true", "True"]))
    def reply_to_message(self, number: int, word: str) -> None:
        self.bring(f"%%<message:{number}:{word}:a:")

    def bring(self, line: str) -> None:
        (event,) = receive(self.connection, line)
        if isinstance(event, Reply):
            self.tickets.remove(event.ticket)

    @invariant()
    def agrees(self) -> None:
        assert len(self.connection.requests) == len(self.open)
        assert all(id_ in self.connection.requests for id_ in self.open)

    def teardown(self) -> None:
        assert len(sent(self.connection)) == self.owed
        tickets = self.connection.receive_eof()
        assert len(tickets) == len(self.tickets)
        assert set(tickets) == self.tickets


TestLedger = Ledger.TestCase
TestLedger.settings = settings(deadline=None, stateful_step_count=20)


def test_commands_are_open_until_their_replies() -> None:
    connection: Connection[str, Frame] = connection_of()
    connection.send(Watch("a"), "ticket")
    assert connection.open_commands == 1
    assert len(list(connection.receive_data(b"%%<watch:a:true\n"))) == 1
    assert connection.open_commands == 0
