"""Serves requests: whatever a handler does, each gets exactly one answer, before its deadline.

It must not know how bytes travel or when links come and go. A handler runs right where its request
is read. Only a coroutine that suspends holds its request: then it has a task and a deadline; when
the time is up the engine gets `false`, the task is cancelled, and what it may still return is
dropped.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import CoroutineType, NoneType

from .deadlines import Deadlines
from .eager import Starter, Suspended
from .errors import LocalProtocolError, shown
from .handlers import Handler
from .link import Link
from .log import RateLimit, debug_traceback, logger, told
from .message import Message
from .routing import Reject, Verdict

__all__ = ["DEADLINE", "DEADLINE_SHARE", "IN_FLIGHT", "SLOW", "Counters", "Server"]

#: Seconds a handler may take unless it says more or less (guarantee A3). The engine waits 10 s by
#: default, but it has only 10 threads to wait with (engine.md Y10).
DEADLINE = 2.0
#: No deadline is later than this share of the engine's own `timeout`.
DEADLINE_SHARE = 0.8
#: Requests whose handler is suspended; beyond them is answered at once, unasked (guarantee D1).
IN_FLIGHT = 64
#: A request held longer than this, in seconds, is counted and its handler named.
SLOW = 0.25

#: Seconds that cancelled handlers may take to clean up at the end.
STUBBORN = 0.5

#: What ends the process even when a handler raises it; its request is answered first (A7).
FATAL = (KeyboardInterrupt, SystemExit, MemoryError)


# What a call gets that there is no room for: SIP's 480, after which a caller tries elsewhere.
_CONGESTION = Reject("congestion")
# What most handlers return; `inspect.isawaitable` takes as long as a small handler.
_PLAIN = (NoneType, bool, str)


@dataclass(slots=True)
class Counters:
    """What became of the requests of a module."""

    served: int = 0
    processed: int = 0
    failed: int = 0
    expired: int = 0
    shed: int = 0
    slow: int = 0


class Server:
    """Serves the requests of one module.

    Args:
        deadline: seconds for each handler that names none.
        in_flight: how many requests may be suspended at once.
        counters: where to count what becomes of them.
        on_fatal: told of an error that must end the process, after its request was answered.

    Attributes:
        limit: the latest deadline, in seconds; the engine's timeout sets it at attach.
        running: the handler whose code runs now, None between handlers; read by the watchdog.
        tasks: what drives the handlers that have suspended.
    """

    def __init__(
        self,
        deadline: float,
        in_flight: int,
        counters: Counters,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        # asyncio's own loops read this clock; asked directly, it costs a third of asking them.
        self._time = time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time
        self._starter = Starter()
        self.deadline = deadline
        self._in_flight = in_flight
        self._on_fatal = on_fatal
        self._held: set[_Pending] = set()
        self._deadlines: Deadlines[_Pending] = Deadlines(_Pending.expire)
        self._idle: asyncio.Future[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._slow_log: dict[str, RateLimit] = {}
        self._failure_log: dict[str, RateLimit] = {}
        self._shed_log = RateLimit(1.0, self._time)
        self.limit = float("inf")
        self.counters = counters
        self.running: Handler | None = None
        self._asked: Handler | None = None
        self._first_step: tuple[Link, Message, float] | None = None

    @property
    def in_flight(self) -> int:
        """How many requests are held by suspended handlers."""
        return len(self._held)

    def serve(self, link: Link, message: Message, handlers: Sequence[Handler]) -> None:
        """Ask the handlers in order until one processes the message, and answer."""
        started = self._time()
        self.counters.served += 1
        self._asked = None
        outcome = self.ask(link, message, handlers, started)
        if type(outcome) is bool:
            self.answer(link, message, outcome, self._asked, started)
        elif outcome is not None:
            position, suspended = outcome
            assert isinstance(suspended, Suspended)
            pending = _Pending(self, link, message, handlers, position, started)
            pending.task = suspended.drive(pending.run(suspended.rest()), pending.handler.label)
            self.tasks.add(pending.task)
            if not pending.settled:
                # From here on it has a deadline.
                self._held.add(pending)
                self.limit_time(pending)

    def limit_time(self, pending: _Pending) -> None:
        """Give the handler that a held request waits for its time."""
        due = self._time() + (pending.handler.deadline or self.deadline)
        latest = pending.started + self.limit
        self._deadlines.set(pending, due if due < latest else latest)

    def abandon(self) -> None:
        """Cancel what works on requests of links that have ended; nobody waits for it."""
        for pending in [p for p in self._held if not p.open]:
            pending.task.cancel()

    async def finish(self) -> None:
        """Wait until every suspended request is answered; their deadlines bound this."""
        if self._held:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    async def close(self) -> None:
        """Cancel all work, also of handlers that answered early, and wait for its end."""
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            # A handler that refuses to be cancelled must not hold the process.
            await asyncio.wait(self.tasks, timeout=STUBBORN)

    def ask(
        self,
        link: Link,
        message: Message,
        handlers: Sequence[Handler],
        started: float,
        position: int = 0,
    ) -> bool | tuple[int, Awaitable[Verdict]] | None:
        """Ask handlers from a position on; return what became of it, or where and what to await.

        The first to suspend is returned as `Suspended`; behind it there is a task already, and what
        later ones return is returned as it is. None means that the request was answered already.
        """
        for index in range(position, len(handlers)):
            handler = handlers[index]
            if handler.filter is not None and not handler.matches(message):
                continue
            if index:
                message.checkpoint()
            self.running = self._asked = handler
            processed = begun = False
            try:
                verdict = handler.function(message)
                if type(verdict) not in _PLAIN and (
                    isinstance(verdict, CoroutineType) or inspect.isawaitable(verdict)
                ):
                    # A request that is held already may go on to its next handler.
                    if position:
                        return index, verdict
                    if len(self._held) >= self._in_flight:
                        return self._shed(message, verdict)
                    begun = True
                    self._first_step = link, message, started
                    message.answered_by(self)
                    if not isinstance(verdict, CoroutineType):
                        verdict = _awaited(verdict)
                    verdict = self._starter.start(verdict)
                    if type(verdict) is Suspended:
                        return index, verdict
                processed = handler.apply(verdict, message)
            except FATAL as error:
                self.give_up(link, message, handler, error)
                return None
            except BaseException as error:
                if begun and isinstance(error, asyncio.CancelledError):
                    # As where it comes later: whoever cancelled wants an end of it.
                    message.rollback()
                    return False if message.id in link.requests else None
                self.failed(message, handler, error)
            finally:
                self.running = self._first_step = None
            if begun and message.id not in link.requests:
                return None
            if processed:
                return True
        return False

    async def answer_message(self, message: Message, processed: bool) -> None:
        """Answer for a handler that takes its first step."""
        if self._first_step is None or self._first_step[1] is not message:
            raise _answered_already(message)
        link, _, started = self._first_step
        self._first_step = None
        self.answer(link, message, processed, self.running, started)

    def _shed(self, message: Message, begun: Awaitable[Verdict]) -> bool:
        """Answer a request that a handler would hold while too many are held.

        It is declined, but a call is refused for congestion: to route it by what comes after a
        handler that was not asked could mean to let through what the handler would have refused.
        """
        if isinstance(begun, Coroutine):
            begun.close()
        elif isinstance(begun, asyncio.Future):
            begun.cancel()
        self.counters.shed += 1
        self._shed_log.log(
            logging.WARNING,
            "%d requests are held by handlers, %s was answered unasked",
            self._in_flight,
            shown(message.name),
        )
        return message.name == "call.route" and _CONGESTION.apply(message)

    def settled(self, pending: _Pending) -> None:
        """Forget a request that is answered; its task may go on."""
        self._deadlines.drop(pending)
        self._held.discard(pending)
        if self._idle is not None and not self._held and not self._idle.done():
            self._idle.set_result(None)

    def expired(self, message: Message, handler: Handler) -> None:
        """Take back what a handler changed whose time is up, and report it."""
        message.rollback()
        self.counters.expired += 1
        limit = self._failure_log.setdefault(handler.label, RateLimit(1.0, self._time))
        limit.log(
            logging.ERROR,
            "handler %s did not answer %s in time, the engine gets false",
            handler.label,
            shown(message.name),
        )

    def failed(self, message: Message, handler: Handler, error: BaseException) -> None:
        """Take back what a failed handler changed, and report it; the next one is asked."""
        secrets = message.secrets()
        message.rollback()
        self.counters.failed += 1
        limit = self._failure_log.setdefault(handler.label, RateLimit(1.0, self._time))
        limit.log(
            logging.ERROR,
            "handler %s failed on %s and counts as declined: %s",
            handler.label,
            shown(message.name),
            told(error, secrets),
        )
        debug_traceback(error, secrets)

    def give_up(self, link: Link, message: Message, handler: Handler, error: BaseException) -> None:
        """Answer `false`, then end the process with an error that must not be swallowed."""
        self.failed(message, handler, error)
        if message.id in link.requests:
            link.finish(message, processed=False)
            link.flush()
        self._on_fatal(error)

    def answer(
        self,
        link: Link,
        message: Message,
        processed: bool,
        handler: Handler | None,
        started: float,
    ) -> None:
        """Send the answer to an open request; report what was held for long."""
        self.counters.processed += processed
        try:
            link.finish(message, processed)
        except LocalProtocolError as error:
            # Only what a handler wrote can be impossible to send, so there is one to name.
            if handler is not None:
                self.failed(message, handler, error)
        held = self._time() - started
        if held > SLOW and handler is not None:
            self.counters.slow += 1
            limit = self._slow_log.setdefault(handler.label, RateLimit(10.0, self._time))
            limit.log(
                logging.WARNING,
                "handler %s held %s for %.2f s; answer first with message.answer(), or spawn",
                handler.label,
                shown(message.name),
                held,
            )


class _Pending:
    """One request whose handler has suspended.

    Attributes:
        task: what drives the handler.
        started: when the request came.
        settled: nothing is to be answered any more.
    """

    __slots__ = (
        "_handlers",
        "_link",
        "_message",
        "_position",
        "_server",
        "settled",
        "started",
        "task",
    )

    task: asyncio.Task[None]

    def __init__(
        self,
        server: Server,
        link: Link,
        message: Message,
        handlers: Sequence[Handler],
        position: int,
        started: float,
    ) -> None:
        self._server = server
        self._link = link
        self._message = message
        self._handlers = handlers
        self._position = position
        # It may have been answered in the first step; from then on its id may be another's.
        self.settled = message.id not in link.requests
        self.started = started
        message.answered_by(self)

    @property
    def open(self) -> bool:
        """Whether the engine still waits."""
        return not self.settled and self._message.id in self._link.requests

    @property
    def handler(self) -> Handler:
        """Who has the request now."""
        return self._handlers[self._position]

    async def answer_message(self, message: Message, processed: bool) -> None:
        """Answer early; the handler goes on."""
        if not self.open:
            raise _answered_already(message)
        self._settle(processed)

    async def run(self, work: Awaitable[Verdict]) -> None:
        """Let the handler work to its end, ask the next ones, and answer."""
        server, link, message = self._server, self._link, self._message
        processed = False
        try:
            while True:
                try:
                    processed = self.handler.apply(await work, message)
                except FATAL as error:
                    server.give_up(link, message, self.handler, error)
                    break
                except (asyncio.CancelledError, GeneratorExit):
                    # Whoever cancelled, or closes the loop, wants the task gone.
                    raise
                except BaseException as error:
                    server.failed(message, self.handler, error)
                if processed or self.settled:
                    break
                outcome = server.ask(
                    link, message, self._handlers, self.started, self._position + 1
                )
                if not isinstance(outcome, tuple):
                    processed = bool(outcome)
                    break
                self._position, work = outcome
                server.limit_time(self)
            self._settle(processed)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            logger.error("a request was served with a fault of yateway itself: %s", told(error))
        finally:
            if not self.settled:
                message.rollback()
                self._settle(False)
            server.tasks.discard(self.task)
            # Without this, message and request would wait for the garbage collector.
            message.answered_by(server)

    def expire(self) -> None:
        """Answer `false`, if anybody waits for it, and cancel: the time is up."""
        if self.open:
            self._server.expired(self._message, self.handler)
        self._settle(False)
        self.task.cancel()

    def _settle(self, processed: bool) -> None:
        """Answer, unless that was done already, early or at the deadline, or the link has ended."""
        if self.settled:
            return
        server = self._server
        server.settled(self)
        if self._message.id in self._link.requests:
            server.answer(self._link, self._message, processed, self.handler, self.started)
        self.settled = True


async def _awaited(work: Awaitable[Verdict]) -> Verdict:
    return await work


def _answered_already(message: Message) -> LocalProtocolError:
    return LocalProtocolError(
        f"{shown(message.name)} was answered already, or its deadline has passed"
    )
