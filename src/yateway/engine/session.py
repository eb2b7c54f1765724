"""The engine's end of one connection: what a module's lines do, and what it is told.

It must not know listeners or other connections; what it needs of the engine is in `Host`. The
rules are measured in engine.md part 1; where it says nothing, the real engine's extmodule decides.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..errors import RemoteProtocolError, shown
from ..transport import Transport
from ..wire.buffer import EngineLineBuffer
from ..wire.codec import from_bytes, to_boolean
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
    encode,
)
from ..wire.params import decode_params
from ..wire.reading import from_module
from .dispatcher import Dispatcher, EngineMessage, Handler
from .endpoints import Exchange
from .external import ModuleChannel
from .journal import debug, logger, output
from .listeners import ROLES
from .outlet import Outlet
from .recording import Tap
from .settings import Facts, Settings

__all__ = ["Host", "Session"]

#: Seconds after which the real engine looks for lines again, when there was none (`idlemsec`).
POLL = 0.005


class Host(Protocol):
    """What a session needs of the engine."""

    dispatcher: Dispatcher
    exchange: Exchange
    facts: Facts

    def now(self) -> int:
        """Return the time in seconds since the epoch."""

    def new_id(self) -> str:
        """Return an id for a request; never one that was used before."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that waits for the module's answer."""

    id: str
    message: EngineMessage
    released: asyncio.Future[None]
    processed: bool = False
    expired: bool = False


class Session:
    """One connection of a module.

    Args:
        host: the engine.
        transport: carries the bytes; the session closes it.
        settings: as they are at first.
        role: of the listener; empty when the module has to send `%%>connect:`.
        tap: listens to the lines.

    Attributes:
        settings: the local settings.
        channel: of a connection of role channel, once there is one; a called script has one from
            the start.
    """

    def __init__(
        self,
        host: Host,
        transport: Transport,
        settings: Settings,
        *,
        role: str = "",
        tap: Tap | None = None,
    ) -> None:
        self.settings = settings
        self.role = role
        self.channel: ModuleChannel | None = None
        self._host = host
        self._transport = transport
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._buffer = EngineLineBuffer(settings.bufsize)
        self._outlet = Outlet(transport)
        self._handlers: dict[str, Handler] = {}
        self._watched: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}
        self._dispatching = 0
        self._reading = True
        self._unread = False
        self._quit = False
        self._name = settings.debugname
        self._gate: asyncio.Future[None] | None = None
        self._early: list[EngineMessage] = []
        self.ended = self._loop.create_future()

    def __repr__(self) -> str:
        state = "ended" if self.ended.done() else "quitting" if self._quit else "open"
        return f"<Session {self.settings.debugname!a} {state} requests={len(self._waiting)}>"

    @property
    def stuck(self) -> bool:
        """Tell whether the module does not read, and somebody waits for it."""
        return self._outlet.locked

    # The connection

    async def run(self) -> None:
        """Serve the module until one of the two ends the connection."""
        reader = self._loop.create_task(self._read())
        try:
            await asyncio.wait((reader, self.ended), return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
                self._reading = False
                self._end_when_idle()
                await self.ended
        finally:
            reader.cancel()
            await asyncio.wait((reader,))
            self._end("E")
            if self._unread:
                # A socket that is closed with input that nobody read resets its connection.
                self._transport.reset()
            await self._transport.close()

    def die(self) -> None:
        """End the connection at once, as a timebomb does or the end of the engine."""
        self._end("E")
        self._transport.abort()

    def hang_up(self) -> None:
        """End the connection after what was written: the module's channel is gone."""
        self._end("E")

    def go_on(self) -> None:
        """Read on: the call that the module accepted is connected."""
        self._enqueue_early()
        if self._gate is not None and not self._gate.done():
            self._gate.set_result(None)

    async def _read(self) -> None:
        outlet = self._outlet
        while (data := await self._transport.receive()) and not self.ended.done():
            await outlet.pass_lock()
            try:
                for line in self._buffer.feed(data):
                    if self._tap is not None:
                        self._tap("A", line)
                    before = outlet.lines
                    self._take(line)
                    if not self._reading:
                        return
                    if outlet.lines != before:
                        await outlet.wait_for_room()
                    if self._gate is not None:
                        await self._gate
                        self._gate = None
                    self._buffer.bufsize = self.settings.bufsize
            except RemoteProtocolError as error:
                # Neither an answer nor an error line. What the module was asked before ends only
                # at its timeout: the engine reads on no more, but closes once it is idle.
                logger.warning("%s: closing: %s", shown(self.settings.debugname), error)
                self._unread = self._buffer.unread
                return
        # Whoever stopped writing has gone: nothing that he was asked can be answered any more.
        await outlet.pass_lock()
        self._forget()
        if self.channel is not None:
            await self.channel.last_words(self.ended)
        self._end("A")

    def _forget(self) -> None:
        """Ask and tell the module nothing more, and let the next handlers go on."""
        for handler in self._handlers.values():
            self._host.dispatcher.uninstall(handler)
        self._handlers.clear()
        self._host.dispatcher.remove_watcher(self)
        self._enqueue_early()
        for id_ in tuple(self._waiting):
            self._release(id_)

    def _end(self, side: str) -> None:
        """Forget everything, and release what waits for an answer: the next handlers go on."""
        if self.ended.done():
            return
        self._outlet.close()
        if self._tap is not None:
            self._tap(side, event="closed" if side == "E" else "close")
        self.ended.set_result(None)
        self._forget()
        channel, self.channel = self.channel, None
        if channel is not None and channel.alive:
            channel.disconnect(self.settings.reason or None)

    def _end_when_idle(self) -> None:
        """End if nothing is read any more and nothing is under way: so `quit` ends."""
        if not (self._reading or self._waiting or self._dispatching):
            self._end("E")

    def _send(self, frame: EngineFrame) -> None:
        self._outlet.write(self._line(frame))

    async def _put(self, frame: EngineFrame) -> bool:
        """Send a line as a worker does, which is held while the module does not read."""
        taken = await self._outlet.put(self._line(frame), self._limit)
        if not taken:
            name = shown(self.settings.debugname)
            logger.warning("%s: lost a line: the module does not read", name)
            if self.settings.timebomb:
                self.die()
        return taken

    def _line(self, frame: EngineFrame) -> bytes:
        line = encode(frame)
        if self._tap is not None and not self.ended.done():
            self._tap("E", line[:-1])
        return line

    @property
    def _limit(self) -> float | None:
        """Seconds that the module may take; None without a limit."""
        timeout = self.settings.timeout
        return timeout / 1000 if timeout > 0 else None

    # Lines of the module

    def _take(self, line: bytes) -> None:
        try:
            frame = from_module(line)
        except RemoteProtocolError as error:
            self._take_malformed(line, error)
            return
        if not self.role:
            self._take_first(frame)
        elif isinstance(frame, Answer):
            self._answered(frame, line)
        elif isinstance(frame, Request):
            self._take_message(frame)
        elif isinstance(frame, Connect):
            self._send(ErrorIn(from_bytes(line)))
        else:
            self._command(frame)

    def _take_malformed(self, line: bytes, error: RemoteProtocolError) -> None:
        if not self.role:
            self._reading = False
        elif not line.startswith(b"%%<message:"):
            self._send(ErrorIn(from_bytes(line)))
        elif isinstance(error.partial, Answer) and error.partial.id in self._waiting:
            # The request keeps waiting, but what could be read is applied.
            waiting = self._waiting[error.partial.id]
            waiting.message.apply(error.partial)
            waiting.processed = error.partial.processed
        logger.warning("%s: %s", shown(self.settings.debugname), error)

    def _take_first(self, frame: ModuleFrame) -> None:
        if isinstance(frame, Connect) and frame.role in ROLES:
            self.role = frame.role
        else:
            logger.warning("%s: expected connect", shown(self.settings.debugname))
            self._reading = False

    def _command(self, frame: ModuleFrame) -> None:
        match frame:
            case Install():
                self._send(Installed(frame.priority, frame.name, self._install(frame)))
            case Uninstall(name):
                handler = self._handlers.pop(name, None)
                if handler is not None:
                    self._host.dispatcher.uninstall(handler)
                priority = 0 if handler is None else handler.priority
                self._send(Uninstalled(priority, name, handler is not None))
            case Watch(name):
                self._send(Watched(name, self._watch(name)))
            case Unwatch(name):
                self._send(Unwatched(name, name in self._watched))
                self._watched.discard(name)
            case SetLocal(name, value):
                self._send(SetLocalDone(name, *self._set_local(name, value)))
            case Output(content):
                output(content)
            case Debug(level, content):
                debug(self.settings, level, content)
            case Quit():
                self._send(QuitDone())
                self._quit = True
                self._reading = False

    def _install(self, frame: Install) -> bool:
        if not frame.name or frame.name in self._handlers:
            return False
        self._handlers[frame.name] = handler = Handler(
            frame.name,
            frame.priority,
            self.receive,
            track=self.settings.trackparam,
            filter_name=frame.filter_name,
            filter_value=frame.filter_value,
        )
        self._host.dispatcher.install(handler)
        return True

    def _watch(self, name: str) -> bool:
        if name in self._watched:
            return False
        self._watched.add(name)
        self._host.dispatcher.add_watcher(self)
        return True

    def _set_local(self, name: str, value: str) -> tuple[str, bool]:
        if self.channel is not None:
            if name == "id":
                self.channel.id = value or self.channel.id
                return self.channel.id, True
            if name == "disconnected":
                flag = to_boolean(value, self.channel.wants_disconnected)
                self.channel.wants_disconnected = flag
                return ("true" if flag else "false"), True
        return self._host.facts.ask(name, value) or self.settings.set(name, value)

    # Messages of the module

    def _take_message(self, frame: Request) -> None:
        settings, channel = self.settings, self.channel
        message = EngineMessage(
            frame.name,
            decode_params(frame.params),
            time=self._host.now() if settings.settime or not frame.time else frame.time,
            retvalue=frame.retvalue,
        )
        fresh = (
            self.role == "channel"
            and channel is None
            and settings.setdata
            and frame.name == "call.execute"
        )
        if fresh:
            channel = ModuleChannel(self._host.exchange, self._name, self.hang_up)
            self.channel = channel
            message.set("id", channel.id)
        if settings.setdata:
            message.user_data = channel
        if fresh and channel is not None:
            # From here on its first message holds it, and then its peer: if there is none, the
            # channel ends with the message, and the connection with it.
            channel.release()
        if frame.id in self._waiting and not fresh:
            # The message is about what the request of that id is about (engine.md 5.2).
            message.user_data = self._waiting[frame.id].message.user_data
        if frame.id:
            message.sender = self
            self._dispatching += 1
        message.done = partial(self._dispatched, frame.id, message)
        if channel is not None and channel.execute is not None:
            # The real engine reads on before a worker takes it: if the module accepts the call
            # right after it, the call is connected first.
            if not self._early:
                self._loop.call_later(POLL, self._enqueue_early)
            self._early.append(message)
            return
        self._host.dispatcher.enqueue(message)

    def _enqueue_early(self) -> None:
        early, self._early = self._early, []
        for message in early:
            self._host.dispatcher.enqueue(message)

    async def _dispatched(self, id: str, message: EngineMessage, processed: bool) -> None:
        if id:
            self._dispatching -= 1
            await self._put(message.to_answer(id, processed))
        self._end_when_idle()

    # Messages to the module

    async def receive(self, message: EngineMessage) -> bool:
        """Put a message to the module and return whether it processed it."""
        if not self._reading:
            return False
        if not await self._outlet.lock(self._limit):
            name = shown(self.settings.debugname)
            logger.warning("%s: failed to lock: the module does not read", name)
            return False
        try:
            waiting = await self._ask(message)
        finally:
            self._outlet.unlock()
        if waiting is None:
            return False
        try:
            await waiting.released
        finally:
            self._waiting.pop(waiting.id, None)
            self._end_when_idle()
        if waiting.expired:
            # The real engine looks at the clock under the lock too.
            await self._outlet.pass_lock()
            name = shown(self.settings.debugname)
            logger.warning("%s: no answer in %d ms", name, self.settings.timeout)
            if self.settings.timebomb:
                self.die()
        return waiting.processed

    async def _ask(self, message: EngineMessage) -> _Waiting | None:
        """Send a request, under the lock; return None if the module is not to be asked."""
        settings = self.settings
        if not self._reading or (message.sender is self and not settings.reenter):
            return None
        if 0 < settings.maxqueue <= len(self._waiting):
            name = shown(settings.debugname)
            logger.warning("%s: skipped, %d requests wait", name, len(self._waiting))
            return None
        id_ = self._host.new_id()
        self._waiting[id_] = waiting = _Waiting(id_, message, self._loop.create_future())
        if self._limit is not None:
            timer = self._loop.call_later(self._limit, self._expire, id_)
            waiting.released.add_done_callback(lambda _: timer.cancel())
        if not await self._put(message.to_request(id_)):
            self._release(id_)
        return waiting

    def _answered(self, answer: Answer, line: bytes) -> None:
        waiting = self._waiting.get(answer.id)
        if waiting is None:
            # A second answer, or one that comes too late, or one to nothing.
            logger.warning("%s: unmatched %s", shown(self.settings.debugname), shown(line))
            return
        waiting.message.apply(answer)
        if not line.startswith(f"%%<message:{answer.id}::".encode()):
            # An empty word leaves what a malformed answer may have said before.
            waiting.processed = answer.processed
        if self.channel is not None and self.channel.execute is waiting.message:
            # What follows has to wait until the call is connected: it may be about the call.
            self._gate = self._loop.create_future()
        self._release(answer.id)

    def _expire(self, id: str) -> None:
        self._waiting[id].expired = True
        self._release(id)

    def _release(self, id: str) -> None:
        waiting = self._waiting.pop(id, None)
        if waiting is not None and not waiting.released.done():
            waiting.released.set_result(None)

    # Watching

    def handles(self, name: str) -> bool:
        """Tell whether the module has installed a handler of this name."""
        return name in self._handlers

    def watches(self, name: str) -> bool:
        """Tell whether the module watches messages of that name."""
        return name in self._watched or "" in self._watched

    async def notify(self, message: EngineMessage, processed: bool) -> None:
        """Tell the module about a message if it watches it."""
        # Whatever the message is, the real engine looks at it under the lock only: one module that
        # watches anything and does not read holds up all messages there are.
        if self._outlet.locked:
            await self._outlet.pass_lock()
        own = message.sender is self and not self.settings.selfwatch
        if not self._quit and not own and self.watches(message.name):
            await self._put(message.to_answer("", processed))
