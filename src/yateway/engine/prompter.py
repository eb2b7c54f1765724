"""Plays the engine's side of a recording to a module, and compares what the module says.

It must not judge the module by anything but its lines, nor know `Module`: whatever can attach to an
engine will do. It is `staging.check_embedded` with the parts exchanged, on the same machinery: a
recording whose directions are turned round is played and compared as any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from typing import Final

from ..errors import ConfigError, ConnectionLost, YatewayError
from ..memory import memory_pair
from ..transport import Transport
from .engine import Attachable
from .recording import Entry, Recording, hides_keys
from .replaying import Difference, compare
from .replaying import replay as play

__all__ = ["check_module"]

#: Uninstalls within so many seconds before the first `quit` belong to the module's leaving.
_LEAVING: Final = 1.0
#: The note at which the module is asked to leave.
_LEAVE: Final = "the module is asked to leave"
#: Seconds for the module to connect when the recording has it so, and to leave at the end.
_PATIENCE: Final = 60.0
#: Seconds to wait for a connection that installs what the recorded one did, before any will do:
#: reconnecting modules come within 1 s, and give up after 5 s without a reply.
_ANOTHER: Final = 2.0
_SETTING: Final = b"%%>setlocal:"
# What a module that has calls is named by for the time of its life, and what marks its messages.
_CHANCE: Final = re.compile(rb"(:yateway\.alive:instance:|:yateway\.sender=)([^:\n]+)")


async def check_module(recording: Recording, module: Attachable) -> list[Difference]:
    """Play the engine's side of a recording to a module and return where its lines differ.

    The module is attached, gets every line of the engine when all that came before it in the
    recording has happened, and leaves where the module of the recording left. What differs without
    meaning is what `compare` says of engines, and beyond that the connection's settings: setlocal
    is answered as it was in the recording, or else as if all were well, whenever it comes. What the
    module draws by lot, the name of its instance for example, counts as drawn as in the recording.
    Connections are known by what they install or watch first, since a module with handlers of
    several priorities comes back in any order. One more than the recording has is closed at the end
    and not counted: it may be such a return.

    Args:
        recording: with one module in it, on one connection or several.
        module: not attached.

    Raises:
        ConfigError: the recording holds no connection of a module, or not the keys of its callers.
    """
    expected = _turned_round(recording)
    stage = _Stage(recording, module)
    stage.enter()
    try:
        actual = await play(expected, stage.connect, stage.act)
    finally:
        await stage.leave()
    return compare(expected, actual)


def _turned_round(recording: Recording) -> Recording:
    """Return a recording in which the module is what is tested, and the engine what is played."""
    entries = [entry for entry in recording.entries if not _is_setting(entry)]
    if not any(entry.event.startswith("connect") for entry in entries):
        raise ConfigError("the recording shows no module that connects")
    if hidden := next(filter(hides_keys, entries), None):
        raise ConfigError(
            f"the recording does not tell which key was pressed at {hidden.time:g} s, and the"
            " module would take it for another: write one into the line, or record with"
            " --record-secrets"
        )
    leaving = _leaving(entries)
    turned: list[Entry] = []
    for index, entry in enumerate(entries):
        if index == leaving:
            turned.append(Entry(entry.time, "A", "", _LEAVE, "note"))
        if entry.event == "note":
            continue  # what was done to the engine shows in its lines
        if entry.event.startswith("connect"):
            turned.append(replace(entry, event=f"connect {entry.connection}"))
        elif entry.event == "close":
            turned.append(replace(entry, direction="E", event="closed"))
        elif entry.event:
            turned.append(replace(entry, direction="A", event="close"))
        else:
            turned.append(replace(entry, direction="E" if entry.direction == "A" else "A"))
    return Recording(turned)


def _is_setting(entry: Entry) -> bool:
    return not entry.event and entry.line.startswith(("%%>setlocal:", "%%<setlocal:"))


def _leaving(entries: list[Entry]) -> int | None:
    """Return the position of the first line that the module says because it leaves."""
    said = [(i, e) for i, e in enumerate(entries) if e.direction == "A"]
    quits = [(i, e) for i, e in said if e.line == "%%>quit" or e.event == "close"]
    if not quits:
        return None
    first, quit_ = quits[0]
    begins = quit_.time - _LEAVING
    early = [i for i, e in said if e.line.startswith("%%>uninstall:") and begins <= e.time]
    return min([first, *early])


class _Stage:
    """Where a module believes to be at an engine."""

    def __init__(self, recording: Recording, module: Attachable) -> None:
        self._module = module
        self._replies = _replies(recording)
        self._names = _Names(recording)
        self._first = _first_wishes(recording)
        self._opened: list[_Settled] = []
        self._news = asyncio.Event()
        self._attaching: asyncio.Task[object] | None = None
        self._detaching: asyncio.Task[object] | None = None

    def enter(self) -> None:
        self._attaching = asyncio.ensure_future(self._module.attach(self._open))

    async def _open(self) -> Transport:
        ours, theirs = memory_pair()
        self._opened.append(_Settled(ours, self._replies, self._names))
        self._news.set()
        return theirs

    async def connect(self, name: str) -> Transport:
        """Return the connection of the module that stands for one of the recording.

        Raises:
            OSError: it opens none.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANOTHER):
                return await self._next(self._first.get(name))
        async with asyncio.timeout(_PATIENCE):
            return await self._next(None)

    async def _next(self, wish: bytes | None) -> Transport:
        while True:
            for transport in self._opened:
                if wish is None or wish in await transport.peek():
                    self._opened.remove(transport)
                    return transport
            self._news.clear()
            await self._news.wait()

    async def act(self, note: str) -> None:
        if note == _LEAVE and self._detaching is None:
            self._detaching = asyncio.ensure_future(self._module.detach())

    async def leave(self) -> None:
        """See the module off, however far it came."""
        assert self._attaching is not None
        for transport in self._opened:
            transport.abort()
        self._attaching.cancel()
        await asyncio.wait({self._attaching})
        failure = None if self._attaching.cancelled() else self._attaching.exception()
        if failure is not None and not isinstance(failure, YatewayError | OSError):
            raise failure  # a fault of the module; what the engine made it raise shows in its lines
        if self._detaching is None:
            self._detaching = asyncio.ensure_future(self._module.detach())
        with contextlib.suppress(ConnectionLost):
            await asyncio.wait_for(self._detaching, _PATIENCE)


def _first_wishes(recording: Recording) -> dict[str, bytes]:
    """Return the first install or watch of each connection."""
    wishes: dict[str, bytes] = {}
    for entry in recording.entries:
        if entry.direction == "A" and entry.line.startswith(("%%>install:", "%%>watch:")):
            wishes.setdefault(entry.connection, entry.data)
    return wishes


def _replies(recording: Recording) -> dict[bytes, bytes]:
    """Return what the engine replied to each setlocal, by the line that asked."""
    replies: dict[bytes, bytes] = {}
    asked: dict[tuple[str, bytes], list[bytes]] = {}
    for entry in filter(_is_setting, recording.entries):
        key = (entry.connection, entry.data.split(b":")[1])
        if entry.direction == "A":
            asked.setdefault(key, []).append(entry.data)
        elif asked.get(key):
            replies.setdefault(asked[key].pop(0), entry.data)
    return replies


class _Names:
    """What a module has drawn by lot: each time it lives it is something else.

    Args:
        recording: where it is as it was drawn then.
    """

    def __init__(self, recording: Recording) -> None:
        said = b"\n".join(entry.data for entry in recording.entries if entry.direction == "A")
        self._then = dict(_CHANCE.findall(said))
        self._now: dict[bytes, bytes] = {}

    def heard(self, data: bytes) -> bytes:
        """Return what the module says now as it would have said it then."""
        for kind, name in _CHANCE.findall(data):
            self._now.setdefault(kind, name)
        for kind, name in self._now.items():
            data = data.replace(name, self._then.get(kind, name))
        return data

    def told(self, data: bytes) -> bytes:
        """Return what the module was told then as it has to be told now."""
        for kind, name in self._now.items():
            data = data.replace(self._then.get(kind, name), name)
        return data


class _Settled(Transport):
    """The engine's end of a connection, on which settings are replied to by themselves."""

    def __init__(self, transport: Transport, replies: dict[bytes, bytes], names: _Names) -> None:
        self.name = transport.name
        self.single = transport.single
        self._transport = transport
        self._replies = replies
        self._names = names
        self._rest = self._peeked = b""

    async def peek(self) -> list[bytes]:
        """Wait for the first lines that are no settings, and return them; they stay to be read."""
        if not self._peeked:
            self._peeked = await self.receive()
        return self._peeked.split(b"\n")

    async def receive(self) -> bytes:
        if self._peeked:
            data, self._peeked = self._peeked, b""
            return data
        while data := await self._transport.receive():
            *lines, self._rest = (self._rest + data).split(b"\n")
            others = [line + b"\n" for line in lines if not self._reply(line)]
            if others:
                return self._names.heard(b"".join(others))
        return b""

    def _reply(self, line: bytes) -> bool:
        if not line.startswith(_SETTING):
            return False
        well = line.replace(_SETTING, b"%%<setlocal:", 1) + b":true"
        self._transport.write(self._replies.get(line, well) + b"\n")
        return True

    def write(self, data: bytes) -> None:
        self._transport.write(self._names.told(data))

    async def drain(self) -> None:
        await self._transport.drain()

    async def close(self) -> None:
        await self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
