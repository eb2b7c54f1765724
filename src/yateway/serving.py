"""Serves requests: whatever a handler does, each gets exactly one answer, before its deadline.

It must not know how bytes travel or when links come and go. A handler runs right where its request
is read. Only a coroutine that suspends holds its request: then it has a task and a deadline; when
the time is up the engine gets `false`, the task is cancelled, and what it may still return is
dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from types import CoroutineType

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
        self._starter = Starter(_Pending)
        self.deadline = deadline
        self._in_flight = in_flight
        self._on_fatal = on_fatal
        self._deadlines: Deadlines[_Pending] = Deadlines(_Pending.expire)
        # What is held has a deadline, and the other way round.
        self._held = self._deadlines.due
        self._idle: asyncio.Future[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._slow_log: dict[str, RateLimit] = {}
        self._failure_log: dict[str, RateLimit] = {}
        self._shed_log = RateLimit(1.0, self._time)
        self.limit = float("inf")
        self.counters = counters
        self.running: Handler | None = None
        self._first_step: tuple[Link, Message, float] | None = None

    @property
    def in_flight(self) -> int:
        """How many requests are held by suspended handlers."""
        return len(self._held)

    def serve(self, link: Link, message: Message, handlers: Iterable[Handler]) -> None:
        """Ask the handlers in order until one processes the message, and answer."""
        started = self._time()
        self.counters.served += 1
        asked: Handler | None = None
        processed = begun = False
        waiting = iter(handlers)
        for handler in waiting:
            if handler.filter is not None and not handler.matches(message):
                continue
            if asked is not None:
                message.checkpoint()
            self.running = asked = handler
            begun = False
            try:
                verdict = handler.function(message)
                # What most return is seen without a call: a fiftieth of what a message takes.
                if type(verdict) is str:
                    message.retvalue = verdict
                    processed = True
                elif verdict is not None:
                    if isinstance(verdict, CoroutineType) or inspect.isawaitable(verdict):
                        if len(self._held) >= self._in_flight:
                            processed = self._shed(message, verdict)
                            break
                        begun = True
                        self._first_step = link, message, started
                        message.answerer = self
                        if not isinstance(verdict, CoroutineType):
                            verdict = _awaited(verdict)
                        verdict = self._starter.start(verdict)
                        if type(verdict) is _Pending:
                            verdict.serve(self, link, message, handler, waiting, started)
                            return
                    processed = handler.apply(verdict, message)
            except FATAL as error:
                self.give_up(link, message, handler, error)
                return
            except BaseException as error:
                if begun and isinstance(error, asyncio.CancelledError):
                    # As where it comes later: whoever cancelled wants an end of it.
                    message.rollback()
                    break
                self.failed(message, handler, error)
            finally:
                self.running = self._first_step = None
            if processed or (begun and message.id not in link.requests):
                break
        # A coroutine may have answered early.
        if not begun or message.id in link.requests:
            self.answer(link, message, processed, asked, started)

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
        message.rollback()
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

    def release(self, pending: _Pending) -> None:
        """Hold a request no more: it is answered. Its task may go on."""
        self._deadlines.drop(pending)
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

    def give_up(
        self,
        link: Link,
        message: Message,
        handler: Handler,
        error: BaseException,
        settled: bool = False,
    ) -> None:
        """Answer `false`, if not settled, then end the process: the error must not be swallowed."""
        try:
            self.failed(message, handler, error)
            # The id of a request that was answered may be another's by now.
            if not settled and message.id in link.requests:
                # What an earlier handler has written may be impossible to send: `false` went out.
                with contextlib.suppress(LocalProtocolError):
                    link.finish(message, processed=False)
                link.flush()
        finally:
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
        if processed:
            self.counters.processed += 1
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


class _Pending(Suspended):
    """One request whose handler has suspended.

    Attributes:
        handler: who has the request now.
        started: when the request came.
        settled: nothing is to be answered any more.
    """

    __slots__ = ("_link", "_message", "_server", "_waiting", "handler", "settled", "started")

    def serve(
        self,
        server: Server,
        link: Link,
        message: Message,
        handler: Handler,
        waiting: Iterator[Handler],
        started: float,
    ) -> None:
        """Take over the request from here on."""
        self._server = server
        self._link = link
        self._message = message
        self._waiting = waiting
        self.handler = handler
        self.started = started
        message.answerer = self
        self.task.set_name(handler.label)
        server.tasks.add(self.task)
        # It may have been answered in the first step; from then on its id may be another's.
        self.settled = message.id not in link.requests
        if not self.settled:
            # From here on it has a deadline.
            server.limit_time(self)

    @property
    def open(self) -> bool:
        """Whether the engine still waits."""
        return not self.settled and self._message.id in self._link.requests

    async def answer_message(self, message: Message, processed: bool) -> None:
        """Answer early; the handler goes on."""
        if not self.open:
            raise _answered_already(message)
        self._settle(processed)

    async def run(self) -> None:
        """Let the handler work to its end, ask the next ones, and answer."""
        server, message = self._server, self._message
        work: Awaitable[Verdict] = self.rest()
        processed = False
        try:
            while True:
                try:
                    processed = self.handler.apply(await work, message)
                except FATAL as error:
                    server.give_up(self._link, message, self.handler, error, self.settled)
                    break
                except (asyncio.CancelledError, GeneratorExit):
                    # Whoever cancelled, or closes the loop, wants the task gone.
                    raise
                except BaseException as error:
                    server.failed(message, self.handler, error)
                if processed or self.settled:
                    break
                outcome = self._ask_on()
                if isinstance(outcome, bool):
                    processed = outcome
                    break
                work = outcome
                if not self.settled:
                    server.limit_time(self)
            self._settle(processed)
        except GeneratorExit:
            # Whether it is closed or its handler has raised this: it is over.
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            logger.error("a request was served with a fault of yateway itself: %s", told(error))
        finally:
            if not self.settled:
                message.rollback()
                self._settle(False)
            server.tasks.discard(self.task)
            # Without this, message and request would wait for the garbage collector.
            message.answerer = server

    def _ask_on(self) -> bool | Awaitable[Verdict]:
        """Ask the next handlers; return what became of it, or what one of them awaits.

        There is a task already, and a place among the requests that are held.
        """
        server, message = self._server, self._message
        for handler in self._waiting:
            # One of them may have had it answered in the meantime.
            if self.settled:
                break
            if not handler.matches(message):
                continue
            message.checkpoint()
            server.running = self.handler = handler
            try:
                verdict = handler.function(message)
                if inspect.isawaitable(verdict):
                    return verdict
                if handler.apply(verdict, message):
                    return True
            except FATAL as error:
                server.give_up(self._link, message, handler, error, self.settled)
                return False
            except BaseException as error:
                server.failed(message, handler, error)
            finally:
                server.running = None
        return False

    def expire(self) -> None:
        """Answer `false`, if anybody waits for it, and cancel: the time is up."""
        try:
            if self.open:
                self._server.expired(self._message, self.handler)
        finally:
            self._settle(False)
            self.task.cancel()

    def _settle(self, processed: bool) -> None:
        """Answer, unless that was done already, early or at the deadline, or the link has ended."""
        if self.settled:
            return
        server = self._server
        server.release(self)
        if self._message.id in self._link.requests:
            server.answer(self._link, self._message, processed, self.handler, self.started)
        self.settled = True


async def _awaited(work: Awaitable[Verdict]) -> Verdict:
    return await work


def _answered_already(message: Message) -> LocalProtocolError:
    return LocalProtocolError(
        f"{shown(message.name)} was answered already, or its deadline has passed"
    )
