"""What goes over the wire, kept: record it, store it, read it.

It must not know the embedded engine, so that the real one can be recorded too.
The format is one JSON object a line, with

- `t`: seconds since the start,
- `dir`: "A" for what the module does, "E" for what the engine does,
- `c`: the name of the connection,
- `line`: the line without its line feed, each byte as the character of that number (latin-1),
- `event`, if it is no line: "connect LISTENER", "close" (by the module), "closed" (by the engine),
  "reset", "shutdown write", or "note", whose text stands in `line`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from ..errors import ConfigError, shown

__all__ = ["Entry", "Recording", "RecordingFile", "Tap"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line or event of a recording; see the module for its fields."""

    time: float
    direction: str
    connection: str
    line: str = ""
    event: str = ""

    @property
    def data(self) -> bytes:
        """The bytes of the line."""
        return self.line.encode("latin-1")


class Tap(Protocol):
    """Listens to a connection."""

    def __call__(self, direction: str, line: bytes = b"", event: str = "") -> None:
        """Take note of a line or of an event."""


class Recording:
    """Lines and events in the order in which they came.

    Attributes:
        entries: all of them; new ones are added at the end.
    """

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self.entries = entries or []
        self._start: float | None = None

    def __repr__(self) -> str:
        return f"<Recording of {len(self.entries)} entries>"

    def add(self, connection: str, direction: str, line: bytes = b"", event: str = "") -> None:
        """Add what happens now, by the clock of the event loop."""
        now = asyncio.get_running_loop().time()
        if self._start is None:
            self._start = now
        text = line.decode("latin-1")
        entry = Entry(round(now - self._start, 6), direction, connection, text, event)
        self.entries.append(entry)

    def tap(self, connection: str) -> Tap:
        """Return what adds the lines of one connection."""
        return partial(self.add, connection)

    def to_file(self, path: str | Path) -> None:
        """Write the recording.

        Raises:
            OSError: the file cannot be written.
        """
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(_stored(entry) for entry in self.entries)

    @classmethod
    def from_file(cls, path: str | Path) -> Recording:
        """Read a recording.

        Raises:
            ConfigError: a line is none of a recording.
            OSError: the file cannot be read.
        """
        entries = []
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    values = json.loads(line)
                    entry = Entry(
                        float(values["t"]),
                        values["dir"],
                        values["c"],
                        values["line"],
                        values.get("event", ""),
                    )
                    if not entry.event:
                        _ = entry.data
                except (ValueError, KeyError, TypeError):
                    raise ConfigError(
                        f"{shown(str(path))} line {number} is none of a recording: it needs the"
                        " fields t, dir, c and line, a byte as a character of at most U+00FF"
                    ) from None
                entries.append(entry)
        return cls(entries)


class RecordingFile(Recording):
    """A recording that is written as it grows and keeps nothing in memory.

    Args:
        file: takes the lines; the caller closes it.
    """

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def add(self, connection: str, direction: str, line: bytes = b"", event: str = "") -> None:
        """Write what happens now, by the clock of the event loop."""
        super().add(connection, direction, line, event)
        self._file.write(_stored(self.entries.pop()))


def _stored(entry: Entry) -> str:
    values = {
        "t": entry.time,
        "dir": entry.direction,
        "line": entry.line,
        "c": entry.connection,
    }
    if entry.event:
        values["event"] = entry.event
    return json.dumps(values) + "\n"
