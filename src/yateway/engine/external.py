"""Modules as ends of calls: connections of role channel, and scripts called as `external/...`.

It must not speak the protocol: sessions do. Such an end is no channel of a driver: nobody finds it
by its id, it has no bill id, and it tells only its own module of the end (engine.md 5.3).

    external/nochan/SCRIPT ARG    is only asked about the call
    external/nodata/SCRIPT ARG    is the other end of the call, without sound
    external/play/SCRIPT ARG      writes sound to fd 4: linear, 16 bits, 8 kHz
    external/record/SCRIPT ARG    reads the call's sound from fd 3
    external/playrec/SCRIPT ARG   both
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from .dispatcher import EngineMessage, Handler
from .driver import Report
from .endpoints import Endpoint, Exchange
from .media import BLOCK, BLOCK_BYTES, Consumer, Source

__all__ = ["External", "ModuleChannel", "ScriptSession"]

#: Bytes of a script's sound that wait here until it is time for them; more wait in the pipe.
AHEAD: Final = 10 * BLOCK_BYTES
#: Seconds that a call goes on after its script's lines ended while its sound did not.
LAST_WORDS: Final = 1.0
_TARGET: Final = re.compile(r"external/([^/]*)/([^ ]*)(.*)", re.DOTALL)


class ModuleChannel(Endpoint):
    """The end of a call that is a module.

    Args:
        exchange: where it is.
        address: the listener's name, or the script.
        gone: called when nobody needs the end any more, to end the connection.

    Attributes:
        wants_disconnected: the module asked to be told of the hang-up by a message.
        execute: the call.execute that waits for the module to accept the call, if one does.
        on_end: called with the end when it is gone, if anybody wants to know.
        mouth: where the module's sound comes from, if it has a pipe for that.
        exited: done when the module, a script, is no more.
    """

    def __init__(self, exchange: Exchange, address: str, gone: Callable[[], None]) -> None:
        super().__init__(exchange, "ExtModule")
        self.address = address
        self.wants_disconnected = False
        self.execute: EngineMessage | None = None
        self.on_end: Callable[[ModuleChannel], None] | None = None
        self.mouth: _ScriptSource | None = None
        self.exited: asyncio.Future[None] | None = None
        self._gone = gone

    async def last_words(self, ended: asyncio.Future[None]) -> None:
        """Let sound be heard that may still come from a script which says no more lines.

        For a second, or until the script exits: its signal interrupts the real engine's sleep
        (extmodule.cpp, `run`, where `running` is said of the source only).

        Args:
            ended: done when the call is over by itself.
        """
        if self.mouth is not None and self.mouth.open:
            ends = [end for end in (ended, self.exited) if end is not None]
            await asyncio.wait(ends, timeout=LAST_WORDS, return_when=asyncio.FIRST_COMPLETED)

    def disconnected(self, final: bool, reason: str | None) -> None:
        if final or not self.wants_disconnected:
            return
        message = self.exchange.message(
            "chan.disconnected",
            (("id", self.id), ("module", "external"), ("address", self.address)),
        )
        if reason is not None:
            message.set("reason", reason)
        if self.peer is not None:
            message.set("peerid", self.peer.id)
        message.user_data = self
        self.exchange.enqueue(message)

    def destroyed(self) -> None:
        super().destroyed()
        if self.on_end is not None:
            self.on_end(self)
        self._gone()


class ScriptSession(Protocol):
    """What is needed of the session of a script."""

    async def receive(self, message: EngineMessage) -> bool:
        """Put a message to the module and return whether it processed it."""

    def go_on(self) -> None:
        """Read on: the call that the module accepted is connected."""


class _ScriptSource(Source):
    """What a script says: read from a pipe, handed over at the pace of speech.

    That pace is counted from the start of the call. What a script says after a pause is therefore
    handed over as fast as it can, until as much is said as there was time for: so the real engine.
    """

    def __init__(self, name: str, pipe: int) -> None:
        super().__init__(name)
        self._listeners: list[Consumer] = []
        self._pipe = pipe
        self._rest = b""
        self._next = self._loop.time()
        self._ticks: asyncio.TimerHandle | None = None
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._readable)

    @property
    def open(self) -> bool:
        """Tell whether the script has not closed the pipe."""
        return self._pipe >= 0

    def attach(self, consumer: Consumer) -> None:
        self._listeners.append(consumer)

    def detach(self, consumer: Consumer) -> None:
        if consumer in self._listeners:
            self._listeners.remove(consumer)

    def release(self) -> None:
        super().release()
        self._stop_reading()

    def replaced(self) -> None:
        if self._ticks is not None:
            self._ticks.cancel()

    def _readable(self) -> None:
        try:
            data = os.read(self._pipe, AHEAD)
        except BlockingIOError:
            return
        if not data:
            self._stop_reading()
            return
        self._rest += data
        if len(self._rest) >= AHEAD:
            self._loop.remove_reader(self._pipe)
        if self._ticks is None:
            self._ticks = self._loop.call_at(self._next, self._speak)

    def _speak(self) -> None:
        self._ticks = None
        data, self._rest = self._rest[:BLOCK_BYTES], self._rest[BLOCK_BYTES:]
        for consumer in tuple(self._listeners):
            if consumer.hears(self):
                consumer.consume(data, 1)
        self._next += BLOCK * len(data) / BLOCK_BYTES
        if self._rest:
            self._ticks = self._loop.call_at(self._next, self._speak)
        if self._pipe >= 0 and len(self._rest) < AHEAD:
            self._loop.add_reader(self._pipe, self._readable)

    def _stop_reading(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1


class _ScriptEar(Consumer):
    """Writes what is heard to a script's pipe; when that is full, a script listens too slowly."""

    needs = 1

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe
        os.set_blocking(pipe, False)

    def consume(self, data: bytes, blocks: int) -> None:
        if self._pipe >= 0:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._pipe, data)

    def dropped(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


Make: TypeAlias = Callable[[Callable[[], None]], ModuleChannel]
"""Makes the end of a call for a session, given what ends the session."""
StartScript: TypeAlias = Callable[
    [str, str, Make | None, tuple[int, int]], Awaitable[ScriptSession | None]
]
"""Starts a script as a module: its path and argument, what makes its end of the call, and what
become its fds 3 and 4, -1 for none. Returns None if it cannot be started."""


class _TargetHandler(Handler):
    """A handler that is asked only about targets of external modules."""

    def wants(self, message: EngineMessage) -> bool:
        return _TARGET.fullmatch(message.params.get("callto", "")) is not None


class External:
    """The part of the module extmodule that takes calls.

    Args:
        exchange: where the calls are.
        start: starts scripts.
        priority: where it is asked among the handlers of call.execute.
        modules: returns how many are attached.
    """

    name = "extmodule"

    def __init__(
        self, exchange: Exchange, start: StartScript, priority: int, modules: Callable[[], int]
    ) -> None:
        self._exchange = exchange
        self._modules = modules
        self._start = start
        self._priority = priority
        self._channels: set[ModuleChannel] = set()

    def install(self) -> None:
        """Begin to handle messages."""
        handler = _TargetHandler("call.execute", self._priority, self._execute, track=self.name)
        self._exchange.dispatcher.install(handler, own=True)

    def report(self) -> Report:
        """Return what engine.status says about it."""
        return Report(self.name, "misc", "", self._counters())

    def _counters(self) -> str:
        return f"scripts={self._modules()},chans={len(self._channels)}"

    async def _execute(self, message: EngineMessage) -> bool:
        found = _TARGET.fullmatch(message.params.get("callto", ""))
        if found is None:
            return False
        kind, script, argument = found[1], found[2], found[3].strip(" \t")
        if kind == "nochan":
            session = await self._start(script, argument, None, (-1, -1))
            return session is not None and await session.receive(message)
        if kind not in ("nodata", "play", "record", "playrec"):
            return False
        return await self._call(message, kind, script, argument)

    async def _call(self, message: EngineMessage, kind: str, script: str, argument: str) -> bool:
        caller = message.user_data if isinstance(message.user_data, Endpoint) else None
        made: list[ModuleChannel] = []

        def make(gone: Callable[[], None]) -> ModuleChannel:
            made.append(ModuleChannel(self._exchange, script, gone))
            return made[0]

        ear = os.pipe() if kind in ("record", "playrec") else (-1, -1)
        mouth = os.pipe() if kind in ("play", "playrec") else (-1, -1)
        # Fd 3 is read by the script, fd 4 written; what is not asked for stays closed.
        session = await self._start(script, argument, make, (ear[0], mouth[1]))
        for theirs in (ear[0], mouth[1]):
            if theirs >= 0:
                os.close(theirs)
        if session is None:
            for ours in (ear[1], mouth[0]):
                if ours >= 0:
                    os.close(ours)
            return False
        channel = made[0]
        self._channels.add(channel)
        channel.on_end = self._channels.discard
        if ear[1] >= 0:
            channel.open_data().set_consumer(_ScriptEar(ear[1]))
        if mouth[0] >= 0:
            source = _ScriptSource(f"external/{kind}/{script}", mouth[0])
            channel.mouth = source
            channel.open_data().set_source(source)
        channel.execute = message if caller is not None else None
        try:
            accepted = await session.receive(message)
            if accepted and caller is not None:
                caller.connect(channel, message.params.get("reason"))
        finally:
            channel.execute = None
            session.go_on()
            channel.release()
        return accepted
