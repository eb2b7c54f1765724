"""The module's end of one connection: a state machine and the ledger of open requests.

It must not do I/O, wait, or know what a handler is. One door in, `receive_data` and `receive_eof`;
one door out, `data_to_send`. The caller's duties:

- after each call that may have queued something, take `data_to_send()` and write it;
- handle every event of `receive_data()`, each before the next is asked for; answer each request
  once;
- on an event `Fault` that is fatal, close the transport: an engine thread waits for an answer that
  cannot be addressed, and closing frees it in 10 ms instead of 10 s (engine.md Y9);
- at the end of the stream call `receive_eof()` and fail the tickets it returns.

States and what may be sent in them (engine.md part 1, "connect and roles" and "Ending"):

    OPEN       nothing sent yet            connect, or anything on a listener with a role
    ATTACHED   something was sent          everything but connect
    QUITTING   quit was sent               nothing: the engine reads nothing more
    CLOSED     the stream ended            nothing
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar

from ..errors import LocalProtocolError, RemoteProtocolError, shown
from .buffer import BUFSIZE_DEFAULT, BUFSIZE_MAX, BUFSIZE_MIN, LINE_LIMIT, LineBuffer
from .codec import c_integer, to_bytes
from .frames import (
    Connect,
    EngineFrame,
    EngineReply,
    ErrorIn,
    Install,
    Installed,
    ModuleFrame,
    Quit,
    QuitDone,
    SetLocal,
    SetLocalDone,
    Uninstall,
    Uninstalled,
    Unwatch,
    Unwatched,
    Watch,
    Watched,
    answer_text,
    check_line,
    request_text,
)
from .native import read_message
from .reading import from_engine, message_id

__all__ = ["Connection", "Event", "Fault", "Reply", "State"]


class Addressed(Protocol):
    """What stands for a message of the engine has the message's id."""

    @property
    def id(self) -> str: ...


Ticket = TypeVar("Ticket")
Carried = TypeVar("Carried", bound=Addressed)


class State(enum.Enum):
    """Where a connection is in its life; the table above says what each allows."""

    OPEN = enum.auto()
    ATTACHED = enum.auto()
    QUITTING = enum.auto()
    CLOSED = enum.auto()


class Reply(NamedTuple, Generic[Ticket, Carried]):
    """The engine replied to what was sent with `ticket`.

    `frame` is `ErrorIn` when the engine could not read our line, and a `RemoteProtocolError` when
    we could not read its reply.
    """

    ticket: Ticket
    frame: EngineReply | Carried | RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that could not be used; it is to be logged.

    Attributes:
        answered: it was a request whose id could be read, and `false` is queued for it.
        fatal: the connection cannot or should not be used on.
        lost: it cannot: lines that came, or are still to come, are lost.
    """

    error: RemoteProtocolError
    answered: bool = False
    fatal: bool = False
    lost: bool = False


Event: TypeAlias = Reply[Ticket, Carried] | Carried | Fault
"""A reply, a message that came, a fault.

A message with an id is a request to answer, one without is told of after its dispatch.
"""

_USABLE = (State.OPEN, State.ATTACHED)
# Before Python 3.12 looking up a member of an enumeration takes as long as a short function.
_ATTACHED = State.ATTACHED
# No line is short enough for a connection that takes none any more.
_NO_LINE = -1

# Each of these commands has exactly one reply, in the order of the commands.
_REPLIES: dict[type, type] = {
    Install: Installed,
    Uninstall: Uninstalled,
    Watch: Watched,
    Unwatch: Unwatched,
    SetLocal: SetLocalDone,
    Quit: QuitDone,
}


class Connection(Generic[Ticket, Carried]):
    """The module's end of one connection.

    Args:
        request, answer: what makes of the fields of a message's line what the events carry, for
            example `Request` and `Answer`, so that nothing has to be made twice.
        limit: longest line read from the engine, in bytes.

    Attributes:
        state: where the connection is in its life.
        bufsize: the size in bytes of the engine's line buffer, as last asked for.
        unsent: how many bytes are queued.
        requests: the ids of the requests that wait for our answer, for others to look at.
    """

    def __init__(
        self,
        request: Callable[[str, int, str, str, str], Carried],
        answer: Callable[[str, bool, str, str, str], Carried],
        limit: int = LINE_LIMIT,
    ) -> None:
        self._make = request, answer
        self.state = State.OPEN
        self.bufsize = BUFSIZE_DEFAULT
        self._longest = _longest(BUFSIZE_DEFAULT)
        self.unsent = 0
        self._buffer = LineBuffer(limit)
        self._out: list[str] = []
        self.requests: set[str] = set()
        self._commands: deque[tuple[ModuleFrame, Ticket]] = deque()
        self._dispatched: dict[str, Ticket] = {}
        self._ids = count(1)

    def __repr__(self) -> str:
        return (
            f"<Connection {self.state.name} requests={len(self.requests)}"
            f" dispatched={len(self._dispatched)} commands={len(self._commands)}>"
        )

    @property
    def usable(self) -> bool:
        """Whether lines may still be sent."""
        return self.state in _USABLE

    @property
    def open_commands(self) -> int:
        """How many commands of ours wait for the engine's reply."""
        return len(self._commands)

    # Out

    def data_to_send(self) -> bytes:
        """Return what is to be written now, and forget it."""
        if not self._out:
            return b""
        # All at once: the line feeds, and the bytes, of which none can be missing: a line that
        # cannot be encoded was refused when it was queued.
        self._out.append("")
        data = "\n".join(self._out).encode("utf-8", "surrogateescape")
        self._out.clear()
        self.unsent = 0
        return data

    def send(self, frame: ModuleFrame, ticket: Ticket | None = None) -> None:
        """Queue a line; with a ticket, its reply will come as `Reply` with that ticket.

        Raises:
            LocalProtocolError: the line cannot be sent, is too long for the engine's buffer, has
                no reply that could bring the ticket back, or the state does not allow it. Nothing
                was queued.
        """
        if ticket is not None and type(frame) not in _REPLIES:
            raise LocalProtocolError(f"{type(frame).__name__} has no reply: send it without ticket")
        if isinstance(frame, Connect) and self.state is not State.OPEN:
            raise LocalProtocolError("connect must be the first line, and is sent once")
        self._queue(frame.text())
        self.state = State.ATTACHED
        if isinstance(frame, SetLocal) and frame.name == "bufsize":
            # The new size holds for the very next line; the engine clamps (engine.md part 1).
            size, _ = c_integer(frame.value)
            if size is not None:
                self.bufsize = max(BUFSIZE_MIN, min(size, BUFSIZE_MAX))
                self._longest = _longest(self.bufsize)
        elif isinstance(frame, Quit):
            self.state = State.QUITTING
            self._longest = _NO_LINE
        if ticket is not None:
            self._commands.append((frame, ticket))

    def dispatch(
        self, name: str, *, time: int = 0, retvalue: str = "", params: str = "", ticket: Ticket
    ) -> str:
        """Queue a message of our own under a fresh id, and return the id.

        Its answer will come as `Reply` with the ticket, in the order in which the engine finishes.

        Raises:
            LocalProtocolError: as `send`.
        """
        id_ = str(next(self._ids))
        # Not by `send`: what it asks of a command does not concern a message.
        self._queue(request_text(id_, time, name, retvalue, params))
        self.state = _ATTACHED
        self._dispatched[id_] = ticket
        return id_

    def answer(
        self,
        id: str,
        processed: bool,
        name: str = "",
        retvalue: str | None = None,
        params: str = "",
    ) -> None:
        """Queue the answer to an open request and close it in the ledger; see `Answer`.

        Raises:
            LocalProtocolError: the request is not open (a second answer, or an unknown id), or the
                answer cannot be sent; in the latter case the request stays open.
        """
        if id not in self.requests:
            raise LocalProtocolError(f"request {shown(id)} is not open: answered already?")
        self._queue(answer_text(id, processed, name, retvalue, params))
        self.requests.remove(id)

    def _queue(self, text: str) -> None:
        length = len(text) if text.isascii() else len(to_bytes(text))
        # Without a call, as this is asked of each line: one takes a seventieth of a message.
        if length > self._longest or "\n" in text or "\0" in text:
            self._refuse(text, length)
        self._out.append(text)
        self.unsent += length + 1

    def _refuse(self, text: str, length: int) -> NoReturn:
        if self.state not in _USABLE:
            raise LocalProtocolError(f"cannot send: the connection is {self.state.name.lower()}")
        check_line(text)
        raise LocalProtocolError(
            f"a line of {length} bytes exceeds the engine's limit of {self._longest}"
            f" and would close the connection; setlocal bufsize allows {_longest(BUFSIZE_MAX)}"
        )

    # In

    def receive_data(self, data: bytes) -> Iterator[Event[Ticket, Carried]]:
        """Take bytes from the engine and yield the events they complete, in order.

        Each is to be handled before the next is asked for, and all are to be asked for.
        """
        requests, (request, answer) = self.requests, self._make
        # What it is the line says; a `cast` would be a call for each.
        frame: Any
        message: Carried
        try:
            for line in self._buffer.feed(data):
                try:
                    frame = read_message and read_message(line, request, answer)
                    if frame is None:
                        frame = from_engine(line, request, answer)
                except RemoteProtocolError as error:
                    yield self._unreadable(error)
                    continue
                # What nearly all lines are is seen here and at one glance.
                if line[2] == ">":
                    message = frame
                    if message.id and message.id not in requests:
                        requests.add(message.id)
                        yield message
                    else:
                        yield self._unanswerable(message.id, line)
                elif line[3] == "m":
                    message = frame
                    if not message.id:
                        yield message
                    elif message.id in self._dispatched:
                        yield Reply(self._dispatched.pop(message.id), message)
                    else:
                        yield _stray(line, "no message of ours waits for this answer")
                elif (event := self._replied(frame, line)) is not None:
                    yield event
        except RemoteProtocolError as error:
            yield Fault(error, fatal=True, lost=True)

    def receive_eof(self) -> list[Ticket]:
        """Close the connection and return the tickets that will have no reply."""
        self.state = State.CLOSED
        self._longest = _NO_LINE
        tickets = [ticket for _, ticket in self._commands]
        tickets += self._dispatched.values()
        self._commands.clear()
        self._dispatched.clear()
        self.requests.clear()
        self._out.clear()
        return tickets

    def _unanswerable(self, id_: str, line: str) -> Fault:
        if not id_:
            return _stray(line, "a request without an id cannot be answered")
        # Each of the two is owed one answer; the ledger keeps the first.
        return self._declined(id_, RemoteProtocolError(f"request id {shown(id_)} is already open"))

    def _replied(self, frame: EngineReply, line: str) -> Reply[Ticket, Carried] | Fault | None:
        if isinstance(frame, ErrorIn):
            return self._error_in(frame, line)
        for position, (command, ticket) in enumerate(self._commands):
            if _REPLIES[type(command)] is type(frame) and _name(command) == _name(frame):
                del self._commands[position]
                return Reply(ticket, frame)
        return _stray(line, "nothing of ours waits for this reply")

    def _error_in(self, frame: ErrorIn, line: str) -> Reply[Ticket, Carried] | Fault | None:
        if frame.line.startswith("%%>connect:"):
            # The listener has a role of its own; everything else works (engine.md part 1).
            return None
        for position, (command, ticket) in enumerate(self._commands):
            if command.text() == frame.line:
                del self._commands[position]
                return Reply(ticket, frame)
        id_ = message_id(frame.line)
        if id_ in self._dispatched:
            return Reply(self._dispatched.pop(id_), frame)
        return _stray(line, "the engine could not read a line of ours")

    def _declined(self, id_: str, error: RemoteProtocolError) -> Fault:
        """Queue `false` for a request that nobody will see."""
        if id_:
            try:
                self._queue(answer_text(id_, False, "", None, ""))
                return Fault(error, answered=True)
            except LocalProtocolError:
                pass  # an id longer than our lines may be, or we have said quit
        return Fault(error, fatal=True)

    def _unreadable(self, error: RemoteProtocolError) -> Fault | Reply[Ticket, Carried]:
        id_ = message_id(error.line)
        if error.line.partition(":")[0] == "%%>message":
            return self._declined(id_, error)
        if id_ in self._dispatched:
            return Reply(self._dispatched.pop(id_), error)
        return Fault(error)


def _longest(bufsize: int) -> int:
    # The line feed and the engine's own NUL take one byte each.
    return bufsize - 2


def _stray(line: str, reason: str) -> Fault:
    return Fault(RemoteProtocolError(f"{reason}: {shown(line)}", line=line))


def _name(frame: ModuleFrame | EngineFrame) -> str:
    return getattr(frame, "name", "")
