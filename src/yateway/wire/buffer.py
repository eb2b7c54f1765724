"""Bytes to lines, whatever the pieces they come in.

It must not know what a line means. Time is linear in the bytes and memory at most twice the limit:
pieces of an unfinished line are kept apart and joined once (guarantees B5, B6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import RemoteProtocolError

__all__ = [
    "BUFSIZE_DEFAULT",
    "BUFSIZE_MAX",
    "BUFSIZE_MIN",
    "LINE_LIMIT",
    "EngineLineBuffer",
    "LineBuffer",
]

#: Longest line read from an engine, in bytes. The engine itself knows no limit in this direction
#: (60 kB were seen, engine.md part 1); without one, anybody on its port could fill our memory.
#: asyncio's own readline stops at 64 KiB, on which python-yate dies.
LINE_LIMIT = 1024 * 1024


#: What `setlocal:bufsize` may ask for, in bytes (engine.md part 1, "Framing").
BUFSIZE_DEFAULT = 8192
BUFSIZE_MIN = 2048
BUFSIZE_MAX = 65536

_LINE_END = re.compile(rb"[\n\0]")


class LineBuffer:
    """Cuts a stream into lines as a module reads them: LF ends a line, one CR before it is dropped.

    Empty lines are skipped, as in the engine; blanks are data and stay.

    Args:
        limit: longest line in bytes, without its LF; may be changed between lines.
    """

    __slots__ = ("_length", "_pieces", "limit")

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    def __len__(self) -> int:
        """Return how many bytes of an unfinished line are held."""
        return self._length

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes; the rest is kept for the next call.

        Raises:
            RemoteProtocolError: a line is longer than the limit. The stream cannot be used on.
        """
        lines = data.split(b"\n")
        rest = lines.pop()
        for line in lines:
            if self._length:
                line = self._joined(line)
            if len(line) > self.limit:
                raise self._too_long(len(line))
            if line.endswith(b"\r"):
                line = line[:-1]
            if line:
                yield line
        if rest:
            self._pieces.append(rest)
            self._length += len(rest)
            if self._length > self.limit:
                raise self._too_long(self._length)

    def _joined(self, end: bytes) -> bytes:
        line = b"".join((*self._pieces, end))
        self._pieces.clear()
        self._length = 0
        return line

    def _too_long(self, length: int) -> RemoteProtocolError:
        self._pieces.clear()
        self._length = 0
        return RemoteProtocolError(
            f"a line of {length} bytes or more exceeds the limit of {self.limit}"
        )


class EngineLineBuffer:
    """Cuts a stream into lines as the engine reads them: LF or NUL ends a line.

    The engine reads into `bufsize` bytes of which one is kept for its own NUL. A line that leaves
    no room ends the connection; so does shrinking the buffer below what it holds.

    Args:
        bufsize: size of the buffer; may be changed between lines and holds for the next one.
    """

    __slots__ = ("_held", "bufsize")

    def __init__(self, bufsize: int = BUFSIZE_DEFAULT) -> None:
        self.bufsize = bufsize
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes.

        Raises:
            RemoteProtocolError: overflow; the engine closes the connection without a word.
        """
        held = self._held
        while data:
            room = self.bufsize - 1 - len(held)
            held += data[:room]
            data = data[room:]
            while end := _LINE_END.search(held):
                line = bytes(held[: end.start()]).removesuffix(b"\r")
                if line:
                    yield line
                    if len(held) >= self.bufsize:
                        raise RemoteProtocolError(
                            f"bufsize was shrunk to {self.bufsize} below {len(held)} bytes held"
                        )
                del held[: end.end()]
            if len(held) >= self.bufsize - 1:
                raise RemoteProtocolError(
                    f"a line of {len(held)} bytes or more does not fit bufsize {self.bufsize}"
                )
