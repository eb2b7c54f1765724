"""Plays recordings against an engine, and compares what it says with what was recorded.

It must not know the embedded engine, so that a recording can be played against the real one too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..errors import shown
from ..transport import Transport
from ..wire.codec import escape
from .recording import Entry, Recording

__all__ = ["Connector", "Difference", "compare", "replay"]

#: Lines of one connection that the real engine wrote within so many seconds of each other may have
#: come from several of its threads: their order means nothing. A thread looks each 5 ms, and then
#: has to get going.
SIMULTANEOUS: Final = 0.006
#: Pauses of a module longer than this, in seconds, are kept when a recording is played.
PAUSE: Final = 0.020
#: Seconds to wait for lines that a recording does not know, at its end.
SETTLE: Final = 0.1


# Comparing


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an engine did something else than a recording shows.

    Attributes:
        kind: "missing", "unexpected", or "out of order".
        entry: the line: of the recording, where it is missing, and else of the engine compared.
    """

    kind: str
    entry: Entry

    def __str__(self) -> str:
        what = self.entry.event or shown(self.entry.line)
        return f"{self.kind} at {self.entry.time:g} s on {self.entry.connection}: {what}"


# What the engine says of itself and its machine, asked for by setlocal.
_OWN_FACTS: Final = frozenset(
    f"engine.{name}"
    for name in (
        *("version", "release", "revision", "nodename", "runid", "childpid", "superpid"),
        *("sharedpath", "configpath", "usercfgpath", "modulepath", "workpath", "logfile"),
    )
) | {"runid"}
# A field that ends in a single percent makes the real engine read behind it in memory.
_OVERREAD = re.compile(r"(?<!%)(?:%%)*%(?::|$)")
_SET_TRACK: Final = "%%>setlocal:trackparam:"
_TICK = re.compile(r"%%<message::(?:true|false):engine\.timer:")
# Seconds since the epoch from 2017 to 2033: "now", whenever that was.
_NOW: Final = range(1_500_000_000, 2_000_000_000)
# A run's id at the beginning of a bill id; the number of the call behind it counts.
_BILL = re.compile(r"\b1[5-9]\d{8}-(?=\d)")
# Parameters with the present time, or with how long something took on the recorder's clock.
_MOMENTS: Final = {
    "engine.timer": ("time",),
    "chan.disconnected": ("time",),  # of a call that a tick of engine.timer ended
    "call.cdr": ("time", "duration", "billtime", "ringtime"),
}


class _Noise:
    """Knows which of an engine's entries depend on the moment, on the recorder or on chance.

    Args:
        recording: what is played.
    """

    def __init__(self, recording: Recording) -> None:
        sent = [entry.line for entry in recording.entries if entry.direction == "A"]
        # What the real engine makes of a field that ends in a single percent is undefined: it
        # reads on behind the field, after a byte 0xC0 (engine.md part 1), or finds an error there.
        messages = [line for line in sent if line.startswith("%%>message:")]
        self._undefined = {line for line in messages if _OVERREAD.search(line)}
        self._ids = {line.split(":")[1] for line in self._undefined} - {
            line.split(":")[1] for line in messages if line not in self._undefined and ":" in line
        }
        self._marked = bool(self._undefined) and not any("\xc0" in line for line in sent)

    def has(self, entry: Entry) -> bool:
        """Tell whether the entry means nothing."""
        line = entry.line
        if entry.event:
            return not entry.event.startswith(("closed", "reset"))
        if line.startswith("Error in: "):
            return line.removeprefix("Error in: ") in self._undefined
        if self._marked and "\xc0" in line:
            return True
        if line.startswith("%%<message:") and line.split(":", 2)[1] in self._ids:
            return True
        return _TICK.match(line) is not None


class _Matcher:
    """Finds for each line that a recording expects on a connection the one that stands for it.

    Args:
        recording: what is expected.
        noise: what of it means nothing.

    Attributes:
        ids: the engine's ids for requests by those of the recording.
        came: entries of the engine which no line matched yet, with their positions.
    """

    def __init__(self, recording: Recording, noise: _Noise) -> None:
        self._noise = noise
        self.ids: dict[str, str] = {}
        self.came: list[tuple[int, Entry]] = []
        self._added = 0
        sent = [entry for entry in recording.entries if entry.direction == "A"]
        self._tracks = {"extmodule"} | {
            escape(entry.line.removeprefix(_SET_TRACK).strip(" \t"))
            for entry in sent
            if entry.line.startswith(_SET_TRACK)
        }

    def add(self, entry: Entry) -> None:
        """Take note of what the engine did."""
        if not self._noise.has(entry):
            self.came.append((self._added, entry))
            self._added += 1

    def take(self, expected: Entry) -> int | None:
        """Return the position of the entry that matches, None if it did not come yet."""
        wanted = self._canonical(expected, self.ids)
        for index, (position, entry) in enumerate(self.came):
            if self._canonical(entry, {}) == wanted:
                self._learn(expected, entry)
                del self.came[index]
                return position
        return None

    def guess(self, expected: Entry) -> None:
        """Let a request that did not come as expected be the first that came at all."""
        if not expected.line.startswith("%%>message:"):
            return
        for _, entry in self.came:
            if entry.line.startswith("%%>message:"):
                self._learn(expected, entry)
                return

    def _learn(self, expected: Entry, entry: Entry) -> None:
        if expected.line.startswith("%%>message:"):
            self.ids[expected.line.split(":", 2)[1]] = entry.line.split(":", 2)[1]

    def _canonical(self, entry: Entry, ids: Mapping[str, str]) -> str:
        """Return the line without what may differ between two engines that behave the same."""
        line = entry.line
        if entry.event:
            return "closed"
        keyword, _, rest = line.partition(":")
        fields = rest.split(":")
        if keyword == "%%<setlocal":
            return f"{keyword}:{fields[0]}:{fields[-1]}" if fields[0] in _OWN_FACTS else line
        if keyword not in ("%%>message", "%%<message") or len(fields) < 4:
            return line
        if keyword == "%%>message":
            fields[0] = "*"
            if fields[1].isdecimal() and int(fields[1]) in _NOW:
                fields[1] = "now"
        else:
            fields[0] = ids.get(fields[0], fields[0])
        canonical = ":".join((keyword, *fields[:4], *self._params(fields[2], fields[4:])))
        return _BILL.sub("", canonical)

    def _params(self, name: str, params: Iterable[str]) -> Iterator[str]:
        handlers = ""
        for param in params:
            key, _, value = param.partition("=")
            if key == "handlers":
                # Only those of modules: which of its own the engine has is its own affair.
                known = (h for h in value.split(",") if h.rpartition("%z")[0] in self._tracks)
                handlers = ",".join(known)
            elif key in _MOMENTS.get(name, ()) or key in ("nodename", "runid"):
                yield f"{key}=*"
            else:
                yield param
        if handlers:
            yield f"handlers={handlers}"


def compare(expected: Recording, actual: Recording) -> list[Difference]:
    """Return where an engine's lines differ from those of a recording, connection by connection.

    What may differ: the engine's ids for requests, the present time and how long a call took
    (`call.cdr`), what the engine says of itself (`runid`, with which bill ids begin, versions,
    paths, `nodename`, its own entries in `handlers`), ticks of
    engine.timer, how a connection ends, the order of lines within 6 ms on a connection (replies to
    commands keep theirs), and what the real engine makes of a field that ends in a single percent.
    A recording in which handlers of equal priority change a message shows one order of several that
    the real engine may take; the embedded engine takes the recorded one, the last installed first.

    Args:
        expected: the recording, usually of the real engine.
        actual: what `replay` returned for it.
    """
    differences: list[Difference] = []
    noise = _Noise(expected)
    connections = dict.fromkeys(entry.connection for entry in expected.entries)
    for connection in connections:
        matcher = _Matcher(expected, noise)
        for entry in _of_engine(actual, connection, noise):
            matcher.add(entry)
        matched: list[tuple[Entry, int]] = []
        for entry in _of_engine(expected, connection, noise):
            position = matcher.take(entry)
            if position is None:
                matcher.guess(entry)
                differences.append(Difference("missing", entry))
            else:
                matched.append((entry, position))
        differences += (Difference("unexpected", entry) for _, entry in matcher.came)
        differences += (Difference("out of order", entry) for entry in _out_of_order(matched))
    return differences


def _of_engine(recording: Recording, connection: str, noise: _Noise) -> Iterator[Entry]:
    for entry in recording.entries:
        if entry.direction == "E" and entry.connection == connection and not noise.has(entry):
            yield entry


def _out_of_order(matched: Iterable[tuple[Entry, int]]) -> Iterator[Entry]:
    """Yield the entries that came before one which they should have followed."""
    last_time = 0.0
    highest = highest_before = last_reply = -1
    for entry, position in matched:
        if entry.time - last_time > SIMULTANEOUS:
            highest_before = highest
        last_time = entry.time
        is_reply = not entry.line.startswith(("%%<message:", "%%>message:"))
        if position < highest_before or (is_reply and position < last_reply):
            yield entry
        highest = max(highest, position)
        if is_reply:
            last_reply = position


# Playing

Connector: TypeAlias = Callable[[str], Awaitable[Transport]]
"""Opens a connection to the listener that a recording names, as in "unix u1 (role=global)"."""
Act: TypeAlias = Callable[[str], Awaitable[None]]
"""Does to the engine what a note of a recording says was done to it, or nothing."""


@dataclass(eq=False, slots=True)
class _Peer:
    """The module's end of a connection while a recording is played."""

    name: str
    transport: Transport
    matcher: _Matcher
    news: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None


async def replay(
    recording: Recording, connect: Connector, act: Act | None = None, *, patience: float = 2.0
) -> Recording:
    """Play the module's side of a recording against an engine, and return what happened.

    Each line is sent when everything that precedes it in the recording has come, or did not come
    within the recorded time and `patience`; pauses of more than 20 ms are kept; the ids of the
    engine's requests are replaced by those of this engine.

    Args:
        recording: what to play.
        connect: opens the connections.
        act: is told the notes, in case they ask for something.
        patience: seconds.

    Raises:
        OSError: a connection cannot be opened.
    """
    player = _Player(recording, connect, act, patience)
    try:
        await player.play()
    finally:
        await player.close()
    return player.played


class _Player:
    def __init__(
        self, recording: Recording, connect: Connector, act: Act | None, patience: float
    ) -> None:
        self.played = Recording()
        self._recording = recording
        self._noise = _Noise(recording)
        self._connect = connect
        self._act = act
        self._patience = patience
        self._peers: dict[str, _Peer] = {}

    async def play(self) -> None:
        before = 0.0
        for entry in self._recording.entries:
            pause = entry.time - before
            if entry.direction == "E":
                if self._noise.has(entry):
                    continue
                await self._expect(entry, pause + self._patience)
            else:
                if pause > PAUSE:
                    await asyncio.sleep(pause)
                await self._do(entry)
            before = entry.time
        await asyncio.sleep(SETTLE)

    async def close(self) -> None:
        for peer in self._peers.values():
            await self._hang_up(peer)

    async def _do(self, entry: Entry) -> None:
        event, _, listener = entry.event.partition(" ")
        peer = self._peers.get(entry.connection)
        if event == "note":
            if self._act is not None:
                await self._act(entry.line)
        elif event == "connect":
            await self._open(entry.connection, listener)
        elif peer is None:
            return
        elif event == "close":
            self.played.add(peer.name, "A", event=entry.event)
            await self._hang_up(peer)
        elif event == "shutdown":
            # A transport has no half to close; the engine closes the other one at once anyway.
            self.played.add(peer.name, "A", event=entry.event)
            await peer.transport.close()
        else:
            data = self._with_own_id(entry, peer).encode("latin-1")
            self.played.add(peer.name, "A", data)
            peer.transport.write(data + b"\n")

    async def _open(self, name: str, listener: str) -> None:
        transport = await self._connect(listener)
        self.played.add(name, "A", event=f"connect {listener}")
        self._peers[name] = peer = _Peer(name, transport, _Matcher(self._recording, self._noise))
        peer.reader = asyncio.create_task(self._read(peer))

    def _with_own_id(self, entry: Entry, peer: _Peer) -> str:
        """Return a line of the module with the id that this engine gave the request."""
        keyword, colon, rest = entry.line.partition(":")
        id_, colon2, rest = rest.partition(":")
        if keyword in ("%%<message", "%%>message"):
            id_ = peer.matcher.ids.get(id_, id_)
        return f"{keyword}{colon}{id_}{colon2}{rest}"

    async def _read(self, peer: _Peer) -> None:
        rest = b""
        while data := await peer.transport.receive():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._came(peer, line)
        self._came(peer, event="closed")

    def _came(self, peer: _Peer, line: bytes = b"", event: str = "") -> None:
        self.played.add(peer.name, "E", line, event)
        peer.matcher.add(self.played.entries[-1])
        peer.news.set()

    async def _expect(self, entry: Entry, seconds: float) -> None:
        """Wait until a line came that matches, but no longer than so many seconds."""
        peer = self._peers.get(entry.connection)
        if peer is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while peer.matcher.take(entry) is None:
                    peer.news.clear()
                    await peer.news.wait()
                return
        peer.matcher.guess(entry)

    async def _hang_up(self, peer: _Peer) -> None:
        if peer.reader is not None:
            peer.reader.cancel()
            await asyncio.wait({peer.reader})
            peer.reader = None
        await peer.transport.close()
