"""A recording as a ladder diagram: who said what to whom, for people, in plain text.

It must not judge what it shows, and shows nothing that a terminal could take for a command: every
value is escaped and cut.

    time       engine  router   phone
    0.000         │◀──────┐          connects: unix u1 (role=global)
    0.000         │◀─────▶│          install call.route 50 if called=123
    0.100         │◀──────┼───────│  call.route #1 caller=100 called=123 module=sip billid=1-2
    0.101         │──────▶│       │  call.route #2 caller=100 called=123 module=sip billid=1-2
    0.102         │◀──────│       │  #2 true sip/sip:test@127.0.0.1 param1=value1 billid deleted
    0.103         │───────┼──────▶│  #1 true sip/sip:test@127.0.0.1 param1=value1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from ..errors import RemoteProtocolError, shown
from ..wire.codec import from_bytes
from ..wire.frames import (
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
)
from ..wire.params import decode_params
from ..wire.reading import from_engine, from_module
from .recording import Entry, Recording

__all__ = ["ladder"]

#: Parameters worth the room before all others, in this order.
FIRST: Final = (
    *("id", "message", "source", "consumer", "text", "targetid", "peerid", "caller", "called"),
    *("callername", "callto", "direct", "status", "reason", "error", "cause_sip", "operation"),
    *("event", "notify", "newid", "module"),
)
#: Parameters that are cut in front, since the end of a path tells more than its beginning.
PATHS: Final = ("source", "consumer")
#: Parameters that nobody looks for in a diagram; shown last.
LAST: Final = ("billid", "handlers", "nodename", "answered", "direction", "address")
VALUE_CHARACTERS: Final = 32
NAME_CHARACTERS: Final = 12
#: Columns of the time, and the least that is left for the text.
TIME_WIDTH: Final = 10
LEAST_TEXT: Final = 30

_ORDER: Final = {name: place for place, name in enumerate(FIRST)} | dict.fromkeys(
    LAST, len(FIRST) + 1
)
_REPLIES: Final[dict[type, type]] = {
    Install: Installed,
    Uninstall: Uninstalled,
    Watch: Watched,
    Unwatch: Unwatched,
    SetLocal: SetLocalDone,
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the diagram; the arrow's ends are drawn at the engine and at the connection."""

    time: float
    connection: str
    at_engine: str
    at_module: str
    text: str


def ladder(
    recording: Recording, *, width: int = 100, names: Mapping[str, str] | None = None
) -> str:
    """Return what went over the wire as a ladder diagram, ticks of engine.timer left out.

    What is repeated, such as a module's question whether the engine still lives, is shown once.

    Args:
        recording: what to show.
        width: columns of the page.
        names: of the connections, by the recording's own names; else a connection is called as it
            called itself by `setlocal` (`debugname`, or else `trackparam`).
    """
    connections = list(dict.fromkeys(e.connection for e in recording.entries if e.connection))
    titles = _titles(recording, connections, names or {})
    step = max((len(title) for title in titles), default=0) + 2
    if connections:
        step = max(4, min(step, (width - TIME_WIDTH - LEAST_TEXT) // (len(connections) + 1)))
    columns = {name: (index + 1) * step for index, name in enumerate(connections)}
    page = _Page(columns, step, width)
    lines = [page.head(titles)]
    lines += (page.draw(row) for row in _folded(_Reader().rows(recording.entries)))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _folded(rows: Iterable[_Row]) -> Iterator[_Row]:
    """Put rows that differ in their time alone into one, which says how many they were."""
    for _, group in groupby(rows, lambda row: replace(row, time=0)):
        first, *others = group
        if others:
            count, last = 1 + len(others), others[-1].time
            first = replace(first, text=f"{first.text} ({count} times until {last:.3f})")
        yield first


def _titles(recording: Recording, connections: list[str], names: Mapping[str, str]) -> list[str]:
    called: dict[tuple[str, str], str] = {}
    for entry in recording.entries:
        keyword, _, rest = entry.line.partition(":")
        if entry.direction == "A" and keyword == "%%>setlocal":
            name, _, value = rest.partition(":")
            if value.strip():
                called.setdefault((entry.connection, name), value.strip())
    titles: list[str] = []
    count: dict[str, int] = {}
    for connection in connections:
        own = called.get((connection, "debugname")) or called.get((connection, "trackparam"))
        title = _plain(names.get(connection) or own or connection, NAME_CHARACTERS)
        # A module has one connection for each of its priorities.
        number = count[title] = count.get(title, 0) + 1
        titles.append(title if number == 1 else f"{title}.{number}")
    return titles


class _Page:
    """Draws rows; knows which lifelines are there."""

    def __init__(self, columns: Mapping[str, int], step: int, width: int) -> None:
        self._columns = columns
        self._start = TIME_WIDTH + step // 2
        self._text = self._start + (len(columns) * step) + 3
        self._width = width
        self._alive: set[str] = set()

    def head(self, titles: Iterable[str]) -> str:
        line = "time".ljust(self._width)
        for place, title in zip((0, *self._columns.values()), ("engine", *titles), strict=True):
            start = max(0, self._start + place - len(title) // 2)
            line = f"{line[:start]}{title}{line[start + len(title) :]}"
        return line

    def draw(self, row: _Row) -> str:
        cells = [" "] * (self._text - self._start)
        cells[0] = "│"
        for name in self._alive:
            cells[self._columns[name]] = "│"
        end = self._columns.get(row.connection)
        if end is not None:
            for place in range(1, end):
                cells[place] = "┼" if cells[place] == "│" else "─"
            cells[1] = row.at_engine
            cells[end - 1] = row.at_module if row.at_module == "▶" else cells[end - 1]
            cells[end] = "│" if row.at_module == "▶" else row.at_module
            if row.at_module == "┐":
                self._alive.add(row.connection)
            elif row.at_module == "✕":
                self._alive.discard(row.connection)
        line = f"{row.time:<{self._start}.3f}{''.join(cells)}{row.text}"
        return line if len(line) <= self._width else f"{line[: self._width - 1]}…"


class _Reader:
    """Turns entries into rows: pairs commands with their replies, requests with their answers."""

    def __init__(self) -> None:
        self._replies: dict[int, EngineFrame] = {}
        self._paired: set[int] = set()
        # By connection, who asked, and id: the number and the parameters of what was asked.
        self._asked: dict[tuple[str, str, str], tuple[int, Request]] = {}
        self._count = 0

    def rows(self, entries: list[Entry]) -> Iterator[_Row]:
        frames = [_frame(entry) for entry in entries]
        self._pair(entries, frames)
        for index, (entry, frame) in enumerate(zip(entries, frames, strict=True)):
            if entry.event:
                yield _event(entry)
            elif index in self._replies:
                text = _setup(frame, self._replies[index])
                yield _Row(entry.time, entry.connection, "◀", "▶", text)
            elif index not in self._paired:
                text = self._line(entry, frame)
                ends = ("◀", "│") if entry.direction == "A" else ("─", "▶")
                if text:
                    yield _Row(entry.time, entry.connection, *ends, text)

    def _pair(self, entries: list[Entry], frames: list[ModuleFrame | EngineFrame | None]) -> None:
        """Find the reply of each command: of its kind and name, the first not taken yet."""
        waiting: list[int] = []
        for index, (entry, frame) in enumerate(zip(entries, frames, strict=True)):
            if entry.direction == "A":
                if type(frame) in _REPLIES:
                    waiting.append(index)
                continue
            for command in waiting:
                asked = frames[command]
                if (
                    entries[command].connection == entry.connection
                    and type(frame) is _REPLIES[type(asked)]
                    and getattr(frame, "name", "") == getattr(asked, "name", "")
                ):
                    self._replies[command] = frame  # type: ignore[assignment]
                    self._paired.add(index)
                    waiting.remove(command)
                    break

    def _line(self, entry: Entry, frame: ModuleFrame | EngineFrame | None) -> str:
        match frame:
            case Request():
                self._count += 1
                key = (entry.connection, entry.direction, frame.id)
                if frame.id:
                    self._asked[key] = (self._count, frame)
                number = f" #{self._count}" if frame.id else ""
                before = f" ({_plain(frame.retvalue, 60)})" if frame.retvalue else ""
                return _joined(
                    f"{_plain(frame.name)}{number}{before}", "", decode_params(frame.params)
                )
            case Answer():
                return self._answer(entry, frame)
            case Connect():
                return f"role {_plain(frame.role)}"
            case Output():
                return f"output {_plain(frame.content, 60)}"
            case Debug():
                return f"debug {frame.level} {_plain(frame.content, 60)}"
            case Quit():
                return "quits"
            case QuitDone():
                return "quit"
            case ErrorIn():
                return f"cannot read {shown(frame.line)}"
            case None:
                return f"unreadable: {shown(entry.line)}"
            case _:
                return shown(entry.line)

    def _answer(self, entry: Entry, answer: Answer) -> str:
        word = "true" if answer.processed else "false"
        name = _plain(answer.name)
        if entry.direction == "E" and not answer.id:
            if name == "engine.timer":
                return ""
            return _joined(f"watched: {name} {word}", answer.retvalue, decode_params(answer.params))
        asker = "E" if entry.direction == "A" else "A"
        number, request = self._asked.get((entry.connection, asker, answer.id), (0, None))
        if request is None:
            return _joined(
                f"answers nothing: {_plain(answer.name or answer.id)} {word}", answer.retvalue, []
            )
        # The engine sends everything back, so that only the news are worth a look.
        known = dict(decode_params(request.params))
        news = [(k, v) for k, v in decode_params(answer.params) if known.get(k, "\0") != v]
        changed = f" now {name}" if name and answer.name != request.name else ""
        if request.retvalue and answer.retvalue == "":
            changed += " retvalue erased"
        return _joined(f"#{number} {word}{changed}", answer.retvalue, news)


def _frame(entry: Entry) -> ModuleFrame | EngineFrame | None:
    if entry.event:
        return None
    try:
        if entry.direction == "A":
            return from_module(entry.data)
        return from_engine(from_bytes(entry.data))
    except RemoteProtocolError:
        return None


def _event(entry: Entry) -> _Row:
    if entry.event.startswith("connect"):
        text = f"connects:{_plain(entry.event.removeprefix('connect'), 60)}"
        return _Row(entry.time, entry.connection, "◀", "┐", text)
    if entry.event == "close":
        return _Row(entry.time, entry.connection, "◀", "✕", "closes")
    if entry.event.startswith(("closed", "reset")):
        return _Row(entry.time, entry.connection, "─", "✕", "closed by the engine")
    return _Row(entry.time, "", "", "", f"{_plain(entry.event, 60)}: {_plain(entry.line, 200)}")


def _setup(command: ModuleFrame | EngineFrame | None, reply: EngineFrame) -> str:
    """Return a command and its reply in one."""
    name = _plain(getattr(reply, "name", ""))
    match command, reply:
        case Install(), Installed(priority, _, success):
            wanted = f" if {_plain(command.filter_name)}={_plain(command.filter_value)}"
            text = f"install {name} {priority}{wanted if command.filter_name else ''}"
        case SetLocal(), SetLocalDone(_, value, success):
            text = f"setlocal {name}={_plain(value)}"
        case _:
            success = bool(getattr(reply, "success", False))
            text = f"{type(command).__name__.lower()} {name or 'everything'}"
    return text if success else f"{text}: refused"


def _joined(head: str, retvalue: str | None, params: Iterable[tuple[str, str | None]]) -> str:
    """Return the text of a message, with those parameters first that tell most."""
    parts = [head]
    if retvalue:
        parts.append(_plain(retvalue, 60))
    for name, value in sorted(params, key=lambda param: _ORDER.get(param[0], len(FIRST))):
        if value is None:
            parts.append(f"{_plain(name)} deleted")
        elif name in PATHS and len(value) > VALUE_CHARACTERS:
            parts.append(f"{name}=…/{_plain(value.rpartition('/')[2])}")
        else:
            parts.append(f"{_plain(name)}={_plain(value)}")
    return " ".join(parts)


def _plain(text: str, limit: int = VALUE_CHARACTERS) -> str:
    """Return a value escaped and cut."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
