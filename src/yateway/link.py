"""One live attachment to an engine: pumps bytes, matches answers, writes in batches.

It must not know handlers or reconnect: requests and notifications go to the two callables it is
given, and when the connection ends, everything that waits gets `ConnectionLost`. It never stops
reading, whatever the callables do (engine.md Y11, Y12).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TypeAlias

from .deadlines import Deadlines
from .errors import (
    ConnectionLost,
    DispatchTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    shown,
)
from .log import RateLimit, logger
from .message import Message
from .transport import Transport
from .wire.connection import Connection, Fault, Reply
from .wire.frames import (
    EngineReply,
    ErrorIn,
    ModuleFrame,
    Quit,
)

__all__ = ["Link"]

Waiter: TypeAlias = asyncio.Future[EngineReply | Message]

#: Bytes of our own messages that go out in one write at the most.
BATCH = 64 * 1024
#: Bytes of answers that an engine may leave unread: 256 requests, as many as we let it have open,
#: each answered with its longest line. Somebody else could fill our memory (guarantee F13).
ANSWERS_LIMIT = 16 * 1024 * 1024


class Link:
    """One attachment over one transport.

    Args:
        transport: an open connection to an engine.
        on_request: called with each request; `finish` must be called once for it.
        on_notification: called with each watched message after its dispatch.
        close_limit: allows to close the connection on a request whose id cannot be read. Closing
            frees the engine's thread but costs all handlers for one reconnect, so that it is
            bounded (guarantee A6); by default once a second.

    Attributes:
        faults: how many lines could not be used.
        heard: when something came last, by the clock of the event loop; at first, now.
        requests: the ids of the requests that wait for their answer.
    """

    def __init__(
        self,
        transport: Transport,
        on_request: Callable[[Link, Message], None],
        on_notification: Callable[[Message], None],
        *,
        close_limit: RateLimit | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._connection: Connection[Waiter, Message] = Connection(
            Message.received, Message.received
        )
        self.requests: Collection[str] = self._connection.requests
        self._on_request = on_request
        self._on_notification = on_notification
        self._close_limit = close_limit or RateLimit(1.0, self._loop.time)
        self._fault_log = RateLimit(1.0, self._loop.time)
        self._deadlines: Deadlines[Waiter] = Deadlines(_expire)
        self._flushing = False
        self.faults = 0
        self.heard = self._loop.time()

    def __repr__(self) -> str:
        return f"<Link {self._transport.name} {self._connection!r}>"

    @property
    def name(self) -> str:
        """Where the link leads, for people."""
        return self._transport.name

    @property
    def single(self) -> bool:
        """There can be no second link like this one (standard input and output)."""
        return self._transport.single

    @property
    def usable(self) -> bool:
        """Whether lines may still be sent."""
        return self._connection.usable

    @property
    def settled(self) -> bool:
        """Whether the engine has replied to every command."""
        return not self._connection.open_commands

    # In

    async def run(self) -> None:
        """Read until the connection ends, then fail everything that waits.

        Returns when the stream ends, for whatever reason: the reason makes no difference to those
        who wait.
        """
        try:
            await self._transport.deliver(self._process)
        finally:
            self._transport.abort()
            for waiter in self._connection.receive_eof():
                if not waiter.done():
                    waiter.set_exception(ConnectionLost(f"the link {self.name} ended"))

    def _process(self, data: bytes) -> None:
        self.heard = self._loop.time()
        # What is queued from here on goes out at the end.
        self._flushing = True
        try:
            for event in self._connection.receive_data(data):
                # What comes most first; an exact type is seen without a call.
                if type(event) is Message:
                    if event.id:
                        self._on_request(self, event)
                    else:
                        self._on_notification(event)
                elif isinstance(event, Reply):
                    _settle(event)
                else:
                    assert isinstance(event, Fault)
                    self._fault(event)
        finally:
            # One write for all answers of one read.
            self.flush()

    def _fault(self, fault: Fault) -> None:
        self.faults += 1
        self._fault_log.log(logging.WARNING, "%s: %s", self.name, fault.error)
        if fault.lost or (fault.fatal and self._close_limit.allow()):
            self.flush()
            self._transport.abort()

    # Answers

    def finish(self, message: Message, processed: bool) -> None:
        """Answer a request with what was changed in its message; the write follows in a batch.

        Raises:
            LocalProtocolError: the answer cannot be sent; a plain `false` was sent in its place
                (guarantee A9). Or the request is not open; then nothing was sent.
        """
        try:
            name, retvalue, params = message.news()
            self._connection.answer(message.id, processed, name, retvalue, params)
        except LocalProtocolError:
            if message.id in self.requests:
                self._connection.answer(message.id, processed=False)
            raise
        finally:
            if not self._flushing:
                self._flush_soon()

    def flush(self) -> None:
        """Write what is queued."""
        self._flushing = False
        data = self._connection.data_to_send()
        if data:
            self._transport.write(data)
            if self._transport.full and self._transport.waiting > ANSWERS_LIMIT:
                logger.warning(
                    "%s reads nothing of %d MiB, dropped", self.name, ANSWERS_LIMIT >> 20
                )
                self._transport.abort()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    # Our own lines

    def command(self, frame: ModuleFrame) -> Waiter:
        """Send a line that the engine replies to, and return the future of the reply.

        Several commands go in one write when they are sent before the first is awaited.

        Raises:
            LocalProtocolError: the line cannot be sent, or (the future) the engine could not read
                it.
            ConnectionLost: the link has ended, or (the future) ended first.
        """
        waiter: Waiter = self._loop.create_future()
        self._send(frame, waiter)
        return waiter

    async def send(self, frame: ModuleFrame) -> None:
        """Send a line that has no reply; waits while the engine takes nothing more.

        Raises:
            LocalProtocolError: the line cannot be sent.
            ConnectionLost: the link has ended.
        """
        await self._room()
        self._send(frame)

    async def dispatch(self, message: Message, timeout: float | None) -> Message:
        """Send a message and wait for its answer.

        Args:
            timeout: seconds, None to wait as long as the link lasts.

        Raises:
            LocalProtocolError: the message cannot be sent.
            RemoteProtocolError: the answer cannot be read.
            DispatchTimeout: no answer in time; one that comes later is dropped.
            ConnectionLost: the link ended first.
        """
        connection = self._connection
        if connection.unsent > BATCH or self._transport.full:
            await self._room()
        self._check_usable()
        waiter: Waiter = self._loop.create_future()
        connection.dispatch(
            message.name,
            time=message.time,
            retvalue=message.retvalue,
            params=message.to_params(),
            ticket=waiter,
        )
        self._flush_soon()
        if timeout is not None:
            # This ends the future and not the task, as `asyncio.timeout` would.
            self._deadlines.set(waiter, self._loop.time() + timeout)
        try:
            answer = await waiter
        except _Late:
            raise DispatchTimeout(message.name, timeout or 0.0) from None
        finally:
            self._deadlines.drop(waiter)
        # Replies are matched by id: nothing but an answer settles this one.
        assert isinstance(answer, Message)
        answer.time = message.time
        return answer

    async def quit(self) -> None:
        """Say quit and wait for the engine's confirmation, or the end of the link.

        What is open is to be answered before: the engine reads nothing after it (engine.md part 5).
        """
        try:
            await self.command(Quit())
        except ConnectionLost:
            return

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    async def _room(self) -> None:
        """Wait until a message of our own may go.

        Answers never wait for it: no more than a batch of our own messages, and what is in the
        system's hands, can be before them (guarantee D2).
        """
        await self._transport.drain()
        # Of many that waited, each looks again: those before it may have filled it.
        while self._connection.unsent > BATCH or self._transport.full:
            self.flush()
            await self._transport.drain()

    def _send(self, frame: ModuleFrame, waiter: Waiter | None = None) -> None:
        self._check_usable()
        self._connection.send(frame, waiter)
        self._flush_soon()

    def _check_usable(self) -> None:
        if not self._connection.usable:
            raise ConnectionLost(f"the link {self.name} has ended")


class _Late(Exception):
    """No answer in time; not TimeoutError, which may be somebody else's."""


def _expire(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(_Late)


def _settle(reply: Reply[Waiter, Message]) -> None:
    waiter, frame = reply.ticket, reply.frame
    if waiter.done():
        # Whoever waited was cancelled, or its time was up.
        return
    if isinstance(frame, RemoteProtocolError):
        waiter.set_exception(frame)
    elif isinstance(frame, ErrorIn):
        waiter.set_exception(LocalProtocolError(f"the engine could not read {shown(frame.line)}"))
    else:
        waiter.set_result(frame)
