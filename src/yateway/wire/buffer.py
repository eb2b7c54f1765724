"""Bytes to lines, whatever the pieces they come in.

It must not know what a line means. Time is linear in the bytes, and memory about twice the limit,
however small the pieces: each byte is looked at once, and copied once more while its line is
unfinished (guarantees B5, B6). As text a line with characters beyond Latin-1 takes two or four
times as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import RemoteProtocolError
from .codec import from_bytes

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

#: From this length on lines are cut one by one, in characters.
LONG = 512

_LINE_END = re.compile(rb"[\n\0]")


class LineBuffer:
    """Cuts a stream into lines as a module reads them: LF ends a line, one CR before it is dropped.

    Empty lines are skipped, as in the engine; blanks are data and stay. Lines are text: bytes that
    are not UTF-8 become lone surrogates and are not lost.

    Args:
        limit: longest line in bytes, without its LF; may be changed between reads.
    """

    __slots__ = ("_held", "limit")

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.limit = limit
        # One piece of memory: a list of pieces of two bytes would take thirty times as much.
        self._held = bytearray()

    def __len__(self) -> int:
        """Return how many bytes of an unfinished line are held."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes; the rest is kept for the next call.

        Raises:
            RemoteProtocolError: (behind the lines before it) a line is longer than the limit. The
                stream cannot be used on.
        """
        end = data.rfind(b"\n") + 1
        whole = data[:end]
        if self._held and end:
            whole = b"".join((self._held, whole))
            self._held.clear()
        self._held += data[end:]
        # What can be said of all lines at once is not asked of each, and all are decoded at once:
        # a tenth of the time of a message.
        if b"\r" in whole or max(len(whole) - 1, len(self._held)) > self.limit:
            return self._examined(whole)
        text = from_bytes(whole)
        # So that a long line is there twice and not three times.
        del whole
        if text.find("\n") < LONG:
            return filter(None, text.split("\n"))
        return _one_by_one(text)

    def _examined(self, whole: bytes) -> Iterator[str]:
        for line in whole.split(b"\n"):
            if len(line) > self.limit:
                raise self._too_long(len(line))
            if text := line.removesuffix(b"\r"):
                yield from_bytes(text)
        if len(self._held) > self.limit:
            raise self._too_long(len(self._held))

    def _too_long(self, length: int) -> RemoteProtocolError:
        self._held.clear()
        return RemoteProtocolError(
            f"a line of {length} bytes or more exceeds the limit of {self.limit}"
        )


def _one_by_one(text: str) -> Iterator[str]:
    """Yield lines as they are asked for: all at once, long ones are more than a cache holds.

    `find` looks for a line feed twenty times as fast as `split`, but costs a call for each line.
    """
    start = 0
    while (end := text.find("\n", start)) >= 0:
        if end > start:
            yield text[start:end]
        start = end + 1


class EngineLineBuffer:
    """Cuts a stream into lines as the engine reads them: LF or NUL ends a line.

    The engine reads into `bufsize` bytes of which one is kept for its own NUL. A line that leaves
    no room ends the connection; so does shrinking the buffer below what it holds.

    Args:
        bufsize: size of the buffer; may be changed between lines and holds for the next one.

    Attributes:
        unread: bytes came that the engine left in its socket when it stopped reading.
    """

    __slots__ = ("_held", "bufsize", "unread")

    def __init__(self, bufsize: int = BUFSIZE_DEFAULT) -> None:
        self.bufsize = bufsize
        self.unread = False
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes.

        Raises:
            RemoteProtocolError: overflow; the engine closes the connection without a word.
        """
        held = self._held
        taken = 0
        while taken < len(data):
            searched = len(held)
            room = self.bufsize - 1 - searched
            held += data[taken : taken + room]
            taken += room
            self.unread = taken < len(data)
            while end := _LINE_END.search(held, searched):
                line = bytes(held[: end.start()]).removesuffix(b"\r")
                if line:
                    yield line
                    if len(held) >= self.bufsize:
                        raise RemoteProtocolError(
                            f"bufsize was shrunk to {self.bufsize} below {len(held)} bytes held"
                        )
                del held[: end.end()]
                searched = 0
            if len(held) >= self.bufsize - 1:
                raise RemoteProtocolError(
                    f"a line of {len(held)} bytes or more does not fit bufsize {self.bufsize}"
                )
