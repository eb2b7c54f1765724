"""Histories, and the promises as pure functions over them: each returns what breaks it.

It must not run anything. A history is a recording (`yateway.engine.recording`) of what a module
read and wrote, with notes between: `invoke KEY`, and then `answer KEY`, `lost KEY`,
`timeout KEY` or `cancelled KEY`, for what the module itself asked of the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from yateway.engine.recording import Entry, Recording
from yateway.errors import ConnectionLost, DispatchTimeout

__all__ = [
    "CHECKS",
    "History",
    "answered_once_in_time",
    "answers_belong",
    "operations_end",
    "setup_restored",
    "violations",
]

#: A note of the module's own operations stands on this connection.
NOTES = "notes"
#: Seconds of virtual time that rounding may take from a deadline.
ROUNDING = 0.001


class History(Recording):
    """A recording to which operations of the module are noted."""

    def note(self, what: str, key: str) -> None:
        """Note what became of an operation."""
        self.add(NOTES, "A", f"{what} {key}".encode(), "note")

    @contextmanager
    def operation(self, key: str) -> Iterator[None]:
        """Note an operation and its end; how it ends is kept from nobody but the caller."""
        self.note("invoke", key)
        try:
            yield
        except ConnectionLost:
            self.note("lost", key)
        except DispatchTimeout:
            self.note("timeout", key)
        except asyncio.CancelledError:
            self.note("cancelled", key)
            raise
        else:
            self.note("answer", key)


def _id_of(line: str) -> str:
    return line.split(":", 2)[1]


def answered_once_in_time(entries: Iterable[Entry], deadline: float = 2.0) -> list[str]:
    """Each request is answered once, before its deadline, while its connection stands (A1, A3)."""
    asked: dict[str, dict[str, float]] = {}
    broken: list[str] = []
    now = 0.0
    for entry in entries:
        now = entry.time
        waiting = asked.setdefault(entry.connection, {})
        if entry.event:
            if entry.event.startswith("close"):
                broken += _overdue(entry.connection, waiting, now - deadline, "until the end")
                waiting.clear()
        elif entry.line.startswith("%%>message:") and entry.direction == "E":
            waiting[_id_of(entry.line)] = now
        elif entry.line.startswith("%%<message:") and entry.direction == "A":
            id_ = _id_of(entry.line)
            since = waiting.pop(id_, None)
            if since is None:
                broken.append(f"{now:.3f} {entry.connection}: a second answer to {id_}")
            elif now - since > deadline + ROUNDING:
                broken.append(f"{now:.3f} {entry.connection}: {id_} answered after its deadline")
    for connection, waiting in asked.items():
        broken += _overdue(connection, waiting, now - deadline, "at all")
    return broken


def _overdue(connection: str, waiting: dict[str, float], before: float, how: str) -> list[str]:
    return [
        f"{since:.3f} {connection}: {id_} not answered {how}"
        for id_, since in waiting.items()
        if since < before - ROUNDING
    ]


def answers_belong(entries: Iterable[Entry]) -> list[str]:
    """An answer that processed a request carries the number of that very request as `seen`."""
    numbers: dict[tuple[str, str], str] = {}
    broken: list[str] = []
    for entry in entries:
        params = dict(field.partition("=")[::2] for field in entry.line.split(":"))
        if entry.line.startswith("%%>message:") and entry.direction == "E" and "n" in params:
            numbers[entry.connection, _id_of(entry.line)] = params["n"]
        elif entry.line.startswith("%%<message:") and entry.direction == "A":
            number = numbers.pop((entry.connection, _id_of(entry.line)), None)
            if params.get("seen", number) != number:
                broken.append(f"{entry.time:.3f} {entry.connection}: {entry.line} not for {number}")
    return broken


def operations_end(entries: Iterable[Entry]) -> list[str]:
    """Whatever the module asked of the engine came to exactly one end (C2)."""
    under_way: set[str] = set()
    broken: list[str] = []
    for entry in entries:
        if entry.event == "note" and entry.connection == NOTES:
            what, _, key = entry.line.partition(" ")
            if what == "invoke":
                under_way.add(key)
            elif key in under_way:
                under_way.discard(key)
            else:
                broken.append(f"{entry.time:.3f} {key} ended a second time: {what}")
    return broken + [f"{key} never ended" for key in sorted(under_way)]


def setup_restored(entries: Iterable[Entry], links: int = 1) -> list[str]:
    """What was installed, watched and set over the first links is so over each later one (C1).

    A connection over which nothing was installed had ended before.

    Args:
        links: how many connections a module has at a time.
    """
    set_up: dict[str, frozenset[str]] = {}
    for entry in entries:
        if entry.direction == "A" and entry.line.startswith(("%%>install:", "%%>watch:")):
            before = set_up.get(entry.connection, frozenset())
            set_up[entry.connection] = before | {entry.line}
    wanted = set(list(set_up.values())[:links])
    return [
        f"{connection}: installed {len(lines)}, which is like none of the first {links}"
        for connection, lines in set_up.items()
        if lines not in wanted
    ]


CHECKS: tuple[Callable[[Iterable[Entry]], list[str]], ...] = (
    answered_once_in_time,
    answers_belong,
    operations_end,
)


def violations(entries: list[Entry], links: int) -> list[str]:
    """Return all that breaks a promise, the earliest of each kind first."""
    broken = [violation for check in CHECKS for violation in check(entries)]
    return broken + setup_restored(entries, links)
