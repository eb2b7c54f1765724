"""Takes messages past the handlers that want them, in the order of their priorities.

It must not know lines or connections: a handler is whoever was installed. The rules are those of
the real engine's message dispatcher, measured in engine.md part 1 ("Requests to the module and
answers", "watch / unwatch").
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable, Iterable
from operator import attrgetter
from typing import Protocol

from ..errors import ConnectionLost
from ..wire.frames import Answer, Request
from ..wire.params import decode_params, encode_engine_params
from .workers import Limits, Workers

__all__ = ["Dispatcher", "EngineMessage", "Handler", "Held", "Watcher"]


class Held(Protocol):
    """What lives as long as somebody holds it."""

    def hold(self) -> None:
        """One more needs it."""

    def release(self) -> None:
        """One less needs it."""


class EngineMessage:
    """A message on its way through the engine.

    Args:
        name: what it is.
        params: its parameters: a repeated name keeps its first place and its last value, and the
            value None deletes.
        time: seconds since the epoch.
        retvalue: its return value.
        broadcast: every handler is to see it, even after one processed it.

    Attributes:
        params: may be changed through `set`, `delete` and `apply` only.
        sender: the session that dispatched it and will get its answer; None for all others, among
            them messages that a module sent without an id.
        user_data: what the message is about inside the engine, for example a channel; a module
            cannot see it, but pass it on (engine.md 5.2). It lives as long as the message has it.
        done: called with the result after handlers and watchers saw the message; what it returns is
            awaited if it came through the queue.
    """

    __slots__ = (
        "_encoded",
        "_user_data",
        "broadcast",
        "done",
        "name",
        "params",
        "retvalue",
        "sender",
        "time",
    )

    def __init__(
        self,
        name: str,
        params: Iterable[tuple[str, str | None]] = (),
        *,
        time: int,
        retvalue: str = "",
        broadcast: bool = False,
    ) -> None:
        self.name = name
        self.retvalue = retvalue
        self.time = time
        self.params: dict[str, str] = {}
        self.broadcast = broadcast
        self.sender: object | None = None
        self._user_data: Held | None = None
        self.done: Callable[[bool], Awaitable[None] | None] | None = None
        self._encoded: str | None = None
        self._set_all(params)

    def __repr__(self) -> str:
        return f"<EngineMessage {self.name!a} of {len(self.params)} parameters>"

    @property
    def user_data(self) -> Held | None:
        return self._user_data

    @user_data.setter
    def user_data(self, value: Held | None) -> None:
        before, self._user_data = self._user_data, value
        if value is not None:
            value.hold()
        if before is not None:
            before.release()

    def set(self, name: str, value: str) -> None:
        """Set a parameter: at its place, or at the end."""
        self.params[name] = value
        self._encoded = None

    def delete(self, name: str) -> None:
        """Remove a parameter if it is there."""
        if self.params.pop(name, None) is not None:
            self._encoded = None

    def apply(self, answer: Answer) -> None:
        """Change what an answer says: see `Answer` for what its empty fields mean."""
        if answer.name:
            self.name = answer.name
        if answer.retvalue is not None:
            self.retvalue = answer.retvalue
        if answer.params:
            self._set_all(decode_params(answer.params))

    def _set_all(self, params: Iterable[tuple[str, str | None]]) -> None:
        for name, value in params:
            if value is None:
                self.params.pop(name, None)
            else:
                self.params[name] = value
        self._encoded = None

    def to_request(self, id: str) -> Request:
        """Return the message as it is put to a module."""
        return Request(id, self.time, self.name, self.retvalue, self._params())

    def to_answer(self, id: str, processed: bool) -> Answer:
        """Return the message as its sender gets it back, or with an empty id a watcher."""
        return Answer(id, processed, self.name, self.retvalue, self._params())

    def _params(self) -> str:
        # A message that nobody changed goes to its handlers, its watchers and back to its sender.
        if self._encoded is None:
            self._encoded = encode_engine_params(self.params.items())
        return self._encoded


class Handler:
    """Somebody who is asked about messages of one name.

    Args:
        name: of the messages; empty for all.
        priority: lower ones are asked earlier. It is compared as an unsigned number of 32 bits, so
            that a negative one runs last.
        receive: asked with the message, which it may change; returns whether it processed it.
        track: what the message's `handlers` parameter gets when the handler is asked, followed by
            the priority; nothing if empty.
        filter_name: the parameter that decides whether the handler is asked, if not empty.
        filter_value: its value, matched exactly; empty also matches a parameter that is missing.
        passive: it is asked if the message is dispatched, but that is no reason to dispatch it.
    """

    __slots__ = (
        *("_filter_name", "_filter_value", "name", "passive", "place", "priority", "receive"),
        "track",
    )

    def __init__(
        self,
        name: str,
        priority: int,
        receive: Callable[[EngineMessage], Awaitable[bool]],
        *,
        track: str = "",
        filter_name: str = "",
        filter_value: str = "",
        passive: bool = False,
    ) -> None:
        self.name = name
        self.passive = passive
        self.priority = priority
        self.receive = receive
        self.track = f"{track}:{priority & 0xFFFFFFFF}" if track else ""
        self.place = (0, False, 0)
        self._filter_name = filter_name
        self._filter_value = filter_value

    def wants(self, message: EngineMessage) -> bool:
        """Tell whether the filter lets the message through."""
        return not self._filter_name or (
            message.params.get(self._filter_name, "") == self._filter_value
        )


class Watcher(Protocol):
    """Somebody who is told about messages after their handlers."""

    def watches(self, name: str) -> bool:
        """Tell whether messages of that name are of interest."""

    async def notify(self, message: EngineMessage, processed: bool) -> None:
        """Take note of a message; it must not be changed."""


class Dispatcher:
    """Handlers, watchers, and the queue of messages that nobody waits for.

    Args:
        track_param: the parameter that collects the handlers' names, none if empty.
        changed: called when a handler or a watcher came, and when all workers are held.
        limits: how many workers take messages from the queue, if not as many as by default.

    Attributes:
        workers: they, and the queue.
        dispatched: messages so far, with those that passed by the queue.
    """

    def __init__(
        self, track_param: str, changed: Callable[[], None], limits: Limits | None = None
    ) -> None:
        self.workers = Workers(self._pass, limits or Limits(), changed)
        self.dispatched = 0
        self._track_param = track_param
        self._changed = changed
        self._handlers: dict[str, list[Handler]] = {}
        self._watchers: list[Watcher] = []
        self._installed = 0
        self._stopped = False

    # Who is there

    def install(self, handler: Handler, *, own: bool = False) -> None:
        """Add a handler; it may be asked about messages already under way.

        Args:
            own: it is one of the engine's own and not a module's.
        """
        # The real engine orders equal priorities by the address of the handler in memory. Whenever
        # we looked its own came first, and then modules', the last one installed first; nobody may
        # rely on it.
        self._installed += 1
        handler.place = (handler.priority & 0xFFFFFFFF, not own, -self._installed)
        handlers = self._handlers.setdefault(handler.name, [])
        insort(handlers, handler, key=attrgetter("place"))
        self._changed()

    def uninstall(self, handler: Handler) -> None:
        """Remove a handler; what it was asked before, it may still answer."""
        handlers = self._handlers[handler.name]
        handlers.remove(handler)
        if not handlers:
            del self._handlers[handler.name]

    def add_watcher(self, watcher: Watcher) -> None:
        """Add a watcher, or note that one watches more than before."""
        if watcher not in self._watchers:
            self._watchers.append(watcher)
        self._changed()

    def remove_watcher(self, watcher: Watcher) -> None:
        """Remove a watcher if it is there."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def count(self) -> tuple[int, int]:
        """Return how many handlers and how many watchers there are."""
        return sum(map(len, self._handlers.values())), len(self._watchers)

    def is_wanted(self, name: str) -> bool:
        """Tell whether anybody handles or watches messages of that name."""
        return (
            any(not handler.passive for handler in self._handlers.get(name, ()))
            or "" in self._handlers
            or any(watcher.watches(name) for watcher in self._watchers)
        )

    # Messages

    async def dispatch(self, message: EngineMessage) -> bool:
        """Ask the handlers in their order, tell the watchers, and return whether it was processed.

        Raises:
            ConnectionLost: the engine was stopped meanwhile.
        """
        self.dispatched += 1
        processed = False
        place = (-1, False, 0)
        while handler := self._next(message, place):
            place = handler.place
            if handler.track and self._track_param:
                before = message.params.get(self._track_param)
                track = f"{before},{handler.track}" if before else handler.track
                message.set(self._track_param, track)
            processed = await handler.receive(message) or processed
            if self._stopped:
                raise ConnectionLost("the engine was stopped while it dispatched a message")
            if processed and not message.broadcast:
                break
        for watcher in tuple(self._watchers):
            await watcher.notify(message, processed)
            if self._stopped:
                raise ConnectionLost("the engine was stopped while it told a message's watchers")
        return processed

    def _next(self, message: EngineMessage, place: tuple[int, bool, int]) -> Handler | None:
        """Return who is asked after the handler at `place`: by the name the message has by now."""
        found: Handler | None = None
        for handlers in self._candidates(message.name):
            for handler in handlers:
                if handler.place > place and handler.wants(message):
                    if found is None or handler.place < found.place:
                        found = handler
                    break
        return found

    def _candidates(self, name: str) -> Iterable[list[Handler]]:
        names = {name, ""} if "" in self._handlers else {name}
        return (self._handlers[name] for name in names if name in self._handlers)

    def enqueue(self, message: EngineMessage) -> None:
        """Dispatch a message without waiting for it; those enqueued earlier start earlier."""
        if not self._stopped:
            self.workers.enqueue(message)

    async def _pass(self, message: EngineMessage) -> None:
        try:
            processed = await self.dispatch(message)
        except Exception as error:
            if self._stopped:
                return
            # A handler of the engine's own has failed; whoever wrote it has to hear of it, but the
            # sender of the message is not to blame and gets his answer.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"a handler of {message!r} failed", "exception": error}
            )
            processed = False
        if message.done is not None and (answering := message.done(processed)) is not None:
            await answering
        message.user_data = None

    # The end

    def stop(self) -> None:
        """Give up: what is under way ends without an answer to anybody."""
        self._stopped = True
        self.workers.stop()

    async def join(self) -> None:
        """Wait until the workers have ended, after `stop`."""
        await self.workers.join()
