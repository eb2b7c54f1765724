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
import logging
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from ..errors import HIDDEN, ConfigError, masked, shown

__all__ = ["FILE_LIMIT", "Entry", "Recording", "RecordingFile", "Tap", "hides_keys"]

logger = logging.getLogger("yateway.engine")

#: Bytes after which a recording file ends: the other side may say as much as it likes.
FILE_LIMIT = 1024**3

_MESSAGE = re.compile(r"%%([<>])message:([^:]*):[^:]*:([^:]*)")
_RETVALUE = re.compile(r"^(%%<message:[^:]*:[^:]*:[^:]*:)[^:]+")
# Messages of keys: their own, what a conference makes of it, and one in the name of a channel.
_KEYS = re.compile(
    r"%%[<>]message:[^:]*:[^:]*:(?:chan\.dtmf"
    r"|chan\.notify:.*:event=dtmf|chan\.masquerade:.*:message=chan\.dtmf)(?::|$)"
)
_TEXT = re.compile(r":text=[^:]+")
_NO_TEXT = f":text={HIDDEN}"


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

    Args:
        entries: what it holds already.
        secrets: keep passwords and the like (`errors.is_secret`) as they are; by default they are
            replaced, since recordings are stored and passed on (guarantee F7).
        keys: keep the keys that are pressed in calls, too. A PIN is made of them, and the wire does
            not tell which are one; but what they do can only be played again where they are kept.

    Attributes:
        entries: all of them; new ones are added at the end.
    """

    def __init__(
        self, entries: list[Entry] | None = None, *, secrets: bool = False, keys: bool = True
    ) -> None:
        self.entries = entries or []
        self._start: float | None = None
        self._secrets = secrets
        self._keys = keys
        # An answer need not say what it answers, and to user.auth it is a password.
        self._asked: dict[tuple[str, str], str] = {}

    def __repr__(self) -> str:
        return f"<Recording of {len(self.entries)} entries>"

    def add(self, connection: str, direction: str, line: bytes = b"", event: str = "") -> None:
        """Add what happens now, by the clock of the event loop."""
        now = asyncio.get_running_loop().time()
        if self._start is None:
            self._start = now
        text = line.decode("latin-1")
        if not (self._secrets and self._keys):
            text = self._masked(connection, text, event)
        entry = Entry(round(now - self._start, 6), direction, connection, text, event)
        self.entries.append(entry)

    def _masked(self, connection: str, line: str, event: str) -> str:
        if event:
            self._asked = {one: name for one, name in self._asked.items() if one[0] != connection}
            return line
        if found := _MESSAGE.match(line):
            keyword, id_, name = found.groups()
            asked = self._asked.pop((connection, id_), "") if keyword == "<" else ""
            keys = _KEYS.match(line) is not None
            if keyword == ">" and id_ and (name == "user.auth" or keys):
                self._asked[connection, id_] = name
            if asked == "user.auth" and not self._secrets:
                line = _RETVALUE.sub(rf"\g<1>{HIDDEN}", line)
            elif (asked or keys) and not self._keys:
                line = _TEXT.sub(_NO_TEXT, line)
        return line if self._secrets else masked(line)

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
        secrets: as for `Recording`, and the keys with them: who calls here is no test's caller.
        limit: bytes after which it ends with a note (guarantee F13).
    """

    def __init__(self, file: TextIO, *, secrets: bool = False, limit: int = FILE_LIMIT) -> None:
        super().__init__(secrets=secrets, keys=secrets)
        self._file = file
        self._left = limit

    def add(self, connection: str, direction: str, line: bytes = b"", event: str = "") -> None:
        """Write what happens now, by the clock of the event loop."""
        if self._left <= 0:
            return
        super().add(connection, direction, line, event)
        text = _stored(self.entries.pop())
        self._left -= len(text)  # ASCII: the rest is escaped
        self._file.write(text)
        if self._left <= 0:
            logger.warning("the recording has reached its limit and ends here")
            super().add("", "E", b"the limit is reached", "note")
            self._file.write(_stored(self.entries.pop()))


def hides_keys(entry: Entry) -> bool:
    """Tell whether keys that were pressed in a call stood in this line, and were not kept."""
    return _NO_TEXT in entry.line and _KEYS.match(entry.line) is not None


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
