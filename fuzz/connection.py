"""The module's end of a connection. Invariant, for anything an engine says and a module does:

- bytes give events of the four kinds, and nothing else is raised (guarantee B3);
- every request that came is answered once: by us as often as its event was handed out, by the
  connection itself where it was a fault; what we answered is not open any more (A1);
- each ticket comes back once: by its reply, or at the end (C2);
- what goes out are whole lines that an engine reads, none longer than its buffer takes (B7), and
  apart from what was asked for only answers that decline: unknown lines are not answered (B10).

Tolerated: `LocalProtocolError` from what the module does: an answer that is not open or cannot be
sent, anything after quit or the end.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from yateway.errors import LocalProtocolError
from yateway.wire.connection import Connection, Fault, Reply
from yateway.wire.frames import (
    Answer,
    Connect,
    Install,
    ModuleFrame,
    Output,
    Quit,
    Request,
    SetLocal,
    Watch,
)
from yateway.wire.reading import from_module

from .material import ENGINE_WORDS, as_script, lines, script, scripts

VERBS = 12
#: Small, so that lines too long are not rare.
LIMIT = 200

COMMANDS: tuple[ModuleFrame, ...] = (
    Install("call.route"), Watch("t.x"), SetLocal("timeout"), SetLocal("bufsize", "2048"), Quit(),
)  # fmt: skip
SEEDS = [
    as_script((0, b""), (1, b""), (5, b""), (11, b"%%<install:100:call.route:true\n" + line))
    for line in (*lines("E"), *ENGINE_WORDS[-6:])
]
inputs = scripts(VERBS, ENGINE_WORDS, "E")


class Ledger:
    """What a module has to see: its own account of what is open."""

    def __init__(self) -> None:
        self.connection: Connection[int, Request | Answer] = Connection(Request, Answer, LIMIT)
        self.handed_out: list[str] = []
        self.tickets: Counter[int] = Counter()
        self.answers: Counter[str] = Counter()
        self.owed: Counter[str] = Counter()
        self.given = 0

    def do(self, verb: int, data: bytes) -> None:
        """Do what a module may do, or take what an engine says."""
        connection = self.connection
        with suppress(LocalProtocolError):
            if verb == 0:
                connection.send(Connect())
            elif verb <= len(COMMANDS):
                connection.send(COMMANDS[verb - 1], self.given)
                self.given += 1
            elif verb == 6:
                text = data.decode("utf-8", "surrogateescape")
                connection.dispatch("t.x", retvalue=text, ticket=self.given)
                self.given += 1
            elif verb in (7, 8):
                self._answer(data.decode("utf-8", "surrogateescape"), processed=verb == 8)
            elif verb == 9:
                connection.send(Output(data.decode("utf-8", "surrogateescape")))
            else:
                self._receive(data)
        self._sent()

    def _answer(self, retvalue: str, *, processed: bool) -> None:
        if self.handed_out:
            id_ = self.handed_out[0]
            try:
                self.connection.answer(id_, processed, "", retvalue)
            except LocalProtocolError:
                # Where it cannot be sent it stays open, unless the connection is over.
                assert id_ in self.connection.requests
                self.connection.answer(id_, processed=False)
            assert id_ not in self.connection.requests
            self.handed_out.remove(id_)

    def _receive(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            match event:
                case Request(id=id_):
                    assert id_
                    assert id_ in self.connection.requests
                    self.handed_out.append(id_)
                    self.owed[id_] += 1
                case Reply(ticket=ticket):
                    self.tickets[ticket] += 1
                case Fault(answered=answered, fatal=fatal):
                    assert not (answered and fatal)
                    self.owed["declined"] += answered
                case _:
                    assert isinstance(event, Answer)
                    assert not event.id
        assert len(self.connection.requests) == len(set(self.handed_out))

    def _sent(self) -> None:
        data = self.connection.data_to_send()
        assert data == b"" or data.endswith(b"\n")
        for line in data.split(b"\n")[:-1]:
            # The bufsize that counts is that of the moment; it is never above the largest.
            assert len(line) <= 65534
            frame = from_module(line)
            if isinstance(frame, Answer):
                self.answers[frame.id] += 1

    def end(self) -> None:
        """Answer what is open, end the connection and compare the accounts."""
        if self.connection.usable:
            while self.handed_out:
                self._answer("", processed=False)
            self._sent()
            assert self.answers.total() == self.owed.total()
        for ticket in self.connection.receive_eof():
            self.tickets[ticket] += 1
        assert all(count == 1 for count in self.tickets.values())
        assert self.tickets.total() == self.given
        assert self.connection.data_to_send() == b""
        assert len(self.connection.requests) == 0


def check(data: bytes) -> None:
    """Read the bytes as a script of both sides."""
    ledger = Ledger()
    for verb, argument in script(data):
        ledger.do(verb % VERBS, argument)
    ledger.end()
