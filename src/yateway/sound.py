"""What a call hears and what is recorded of it: one sound after the other on our leg.

It must not wait for keys by itself: `Call` tells it which keys stop a sound. Whatever becomes of a
sound comes back as a value and nothing waits for ever: a file that is missing, one that another
sound took the place of, a link that was away when the engine told of its end.
"""

from __future__ import annotations

import asyncio
import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import ConnectionLost, shown
from .log import logger

if TYPE_CHECKING:
    from .line import Line
    from .message import Message, Value

__all__ = [
    "PLAY",
    "Playback",
    "Recorded",
    "RecordingEnd",
    "Sound",
    "attach",
    "record",
    "silence",
    "size_of",
    "stop_recording",
]

#: Where sounds come from and go to; this one file name stands for silence (wavefile.cpp).
PLAY: Final = "wave/play/"
RECORD: Final = "wave/record/"
NOTHING: Final = "-"

#: Bytes a second of the largest format at 8 kHz, to bound a file should we not be there to end it.
BYTES_A_SECOND: Final = 16_000


class Playback(enum.Enum):
    """What became of a sound."""

    EOF = "eof"  #: it was played to its end
    REPLACED = "replaced"  #: another sound took its place
    MISSING = "missing"  #: it could not be opened
    KEY = "key"  #: the caller pressed a key that stops it
    LIMIT = "limit"  #: its time was up
    HANGUP = "hangup"  #: the call ended first
    LOST = "lost"  #: the link to the engine was away meanwhile, so that nobody knows


class RecordingEnd(enum.Enum):
    """Why a recording ended."""

    KEY = "key"  #: the caller pressed a key that ends it
    LIMIT = "limit"  #: its time was up
    HANGUP = "hangup"  #: the call ended first
    FAILED = "failed"  #: the file could not be written
    LOST = "lost"  #: the link to the engine was away meanwhile


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that has ended.

    Attributes:
        path: of the file, as the engine was told.
        seconds: how long it was recorded.
        end: why no longer.
        size: bytes in the file, None where it cannot be seen from here.
    """

    path: str
    seconds: float
    end: RecordingEnd
    size: int | None

    def __bool__(self) -> bool:
        """Whether there is something to listen to."""
        return self.end is not RecordingEnd.FAILED and self.size != 0

    def __fspath__(self) -> str:
        return self.path


# What `reason` of chan.notify says; none means that the file could not be opened.
_ENDS = {"eof": Playback.EOF, "replaced": Playback.REPLACED, "maxlen": Playback.LIMIT}


class Sound:
    """A sound that is playing, or a recording that is being made.

    Attributes:
        name: what it is, for people.
    """

    def __init__(self, line: Line, name: str) -> None:
        self.name = name
        self._line = line
        self._outcome: asyncio.Future[Playback] = asyncio.get_running_loop().create_future()
        self.notify = line.board.expect(self.notified)
        line.sounds.add(self)

    def __repr__(self) -> str:
        state = "playing" if self.playing else self._outcome.result().value
        return f"<Sound {shown(self.name)} {state}>"

    @property
    def playing(self) -> bool:
        """Whether it has not ended yet."""
        return not self._outcome.done()

    def outcome(self) -> asyncio.Future[Playback]:
        """Return a future of how it ends; whatever becomes of it, the sound goes on."""
        future: asyncio.Future[Playback] = asyncio.get_running_loop().create_future()

        def tell(outcome: asyncio.Future[Playback]) -> None:
            if not future.done():
                future.set_result(outcome.result())

        self._outcome.add_done_callback(tell)
        return future

    async def done(self) -> Playback:
        """Wait until it ends, and return how: at the end of the call with `HANGUP`."""
        return await self.outcome()

    async def stop(self) -> None:
        """Stop it; harmless when it has ended.

        Raises:
            CallEnded, LocalProtocolError, ConnectionLost: as `Line.send`.
        """
        if self.settle(Playback.REPLACED):
            await silence(self._line)

    def settle(self, outcome: Playback) -> bool:
        """Decide what became of it; tell whether that was open."""
        if not self.playing:
            return False
        self._outcome.set_result(outcome)
        self._line.sounds.discard(self)
        self._line.board.forget(self.notify)
        return True

    def notified(self, message: Message) -> None:
        """Take note of chan.notify: the engine tells how it ended."""
        self.settle(_ENDS.get(message.get("reason", ""), Playback.MISSING))


async def attach(line: Line, source: str, *, repeat: bool = False) -> Sound:
    """Let the person hear a source from now on, in place of what was heard before.

    Raises:
        CallEnded, LocalProtocolError: as `Line.send`.
    """
    return await _attach(line, source, {"source": source, "autorepeat": repeat})


async def silence(line: Line) -> None:
    """Stop what the person hears."""
    await line.send("chan.attach", source=PLAY + NOTHING, single=True)


async def record(line: Line, path: str, limit: float) -> Sound:
    """Write what the person says into a file from now on.

    Raises:
        CallEnded, LocalProtocolError: as `Line.send`.
    """
    length = int((limit + 1) * BYTES_A_SECOND)
    return await _attach(line, path, {"consumer": RECORD + path, "maxlen": length})


async def _open(line: Line) -> None:
    """Open the way for sound to and from a caller who is not answered.

    Nothing would be heard without, and no sound would ever end.
    """
    if line.status in ("incoming", "ringing") and not line.outgoing:
        await line.progress()


async def _attach(line: Line, name: str, params: dict[str, Value]) -> Sound:
    await _open(line)
    sound = Sound(line, name)
    try:
        # `single`: whoever takes it ends the dispatch, and says so (engine.md 5.1).
        answer = await line.send("chan.attach", params, notify=sound.notify, single=True)
    except BaseException as error:
        sound.settle(Playback.LOST)
        if isinstance(error, ConnectionLost):
            # It may sound or not: nobody knows, and it is not begun twice.
            return sound
        raise
    if "source" in answer or "consumer" in answer:
        logger.warning("the engine has nobody for %s: is its module loaded?", shown(name))
        sound.settle(Playback.MISSING)
    return sound


async def stop_recording(line: Line) -> None:
    """Close the file that is being recorded."""
    await line.send("chan.attach", consumer=RECORD + NOTHING, single=True)


def size_of(path: str, folder: str | os.PathLike[str] | None) -> int | None:
    """Return the size of a recorded file in bytes, None where there is none to be seen.

    Args:
        path: of the file.
        folder: below which it was to be.

    Raises:
        FileNotFoundError: the folder can be seen from here, and the engine has made no file in it.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise FileNotFoundError(path)
        return file.stat().st_size
    except FileNotFoundError:
        if folder is not None and Path(folder).is_dir():
            raise
    except OSError:
        pass  # not ours to read: the engine may be another user, or elsewhere
    return None
