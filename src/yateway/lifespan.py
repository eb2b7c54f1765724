"""One life of a module: from its first attempt to connect to its last line.

It must not be seen by users; `module.py` is its only caller. It holds what exists only while an
event loop runs: links, tasks, the server of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from .errors import CallEnded, ConfigError, InstallRefused, shown
from .handlers import HandlerTable, Installation
from .link import Link
from .log import debug_traceback, logger, told
from .message import Message
from .reconnect import Attachment
from .resync import Resync, Resyncs
from .serving import DEADLINE_SHARE, Counters, Server
from .transport import Opener
from .watching import Watcher, Watchers
from .wire.buffer import BUFSIZE_MAX
from .wire.codec import c_integer
from .wire.frames import (
    Connect,
    EngineReply,
    Installed,
    SetLocal,
    SetLocalDone,
    Uninstall,
    Watch,
    Watched,
)

__all__ = ["SENDER", "Hook", "Life", "Plan", "ResyncHook", "set_local"]

#: The parameter that marks our own dispatches for our own further connections.
SENDER = "yateway.sender"
#: Seconds that the engine may take to confirm uninstalls and quit, and hooks of `on_stop` to run.
END_TIMEOUT = 1.0
STOP_TIMEOUT = 5.0

#: How many requests the engine may have waiting for us, as a multiple of those that handlers may
#: hold: so many that we shed first, which a caller can make sense of, and so few that a loop that
#: stands still does not hold a thousand of its threads (guarantee D1).
QUEUE_SHARE = 4
QUEUE_LEAST = 256
QUEUE_MOST = 10_000

_NOBODY = Installation("", 0)

_T = TypeVar("_T")

Hook = Callable[[], Awaitable[None] | None]
ResyncHook = Callable[[Resync], Awaitable[None] | None]


class Companion(Protocol):
    """Something that has to know when links come and go, and to end before the last one does."""

    def told(self, message: Message) -> None:
        """A message that it watches was dispatched."""

    async def called(self, link: Link) -> bool:
        """Tell whether the engine has started us for one call, over standard input and output."""

    def asked(self, link: Link, message: Message) -> None:
        """The engine asks us to take that call."""

    def attached(self) -> None:
        """The module is attached, for the first time or again."""

    def link_lost(self) -> None:
        """The module is not attached any more; it tries to be."""

    def engine_lost(self) -> None:
        """There is no engine where it was."""

    def resynced(self, resync: Resync) -> None:
        """The module is attached again; told at once, before any hook."""

    async def drain(self) -> None:
        """The module is to end: come to an end, while messages can still be sent."""

    def close(self) -> None:
        """The module has ended."""


@dataclass(slots=True)
class Plan:
    """What a module is: everything that outlives a connection.

    Attributes:
        settings: what `setlocal` was given, to be set again on each new link.
        companion: what else lives as long as the module and its links: its calls.
        companion_handles: the messages that it handles itself.
    """

    name: str
    deadline: float
    max_in_flight: int
    counters: Counters
    table: HandlerTable = field(default_factory=HandlerTable)
    watchers: list[Watcher] = field(default_factory=list)
    hooks: dict[str, list[Hook]] = field(default_factory=dict)
    companion: Companion | None = None
    companion_handles: frozenset[str] = frozenset()
    resync_hooks: list[ResyncHook] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    def watched(self) -> list[str]:
        """Return the names to watch, each once."""
        return list(dict.fromkeys(watcher.name for watcher in self.watchers))

    def reaches_further_connection(self, name: str) -> bool:
        """Tell whether a message we dispatch would come back over a connection of our own."""
        further = self.table.connections[1:]
        # Nearly every module has one connection, and is asked this for each message that it sends.
        if not further or self.settings.get("reenter") == "true":
            return False
        return any(name in installed for installed in further)


class Life:
    """Everything of a module that exists while it runs.

    Args:
        plan: what the module is.
        opener: opens connections to its engine.

    Attributes:
        server: serves the requests of all links.
        sender: a random word that marks our own messages.
    """

    def __init__(self, plan: Plan, opener: Opener) -> None:
        self._plan = plan
        self._stopped = asyncio.Event()
        self._fatal: BaseException | None = None
        self._connected = False
        self._spawned: set[asyncio.Task[object]] = set()
        self._watchers = Watchers(plan.watchers)
        self._resyncs = Resyncs(self._resynced)
        # Over standard input and output a request may come before we know what we are.
        self._may_be_called = plan.companion is not None
        self._called = False
        self.sender = secrets.token_hex(8)
        self.server = Server(plan.deadline, plan.max_in_flight, plan.counters, self._die)
        self._attachments = [
            Attachment(
                opener,
                functools.partial(self._set_up, number),
                self._door(number),
                self._watchers.tell,
                self._link_up,
                self._link_down,
                self._refused,
            )
            for number in range(len(plan.table.connections))
        ]
        self._early: list[tuple[int, Link, Message]] = []
        self._keeping: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Life of {self._plan.name} links={self.links(range(len(self._attachments)))}>"

    # From beginning to end

    async def begin(self) -> None:
        """Run the start hooks and begin to connect."""
        await self._run_hooks("start")
        self._keeping = [asyncio.create_task(a.run()) for a in self._attachments]

    async def ready(self) -> None:
        """Wait until all links are set up.

        Raises:
            InstallRefused, ConfigError, LocalProtocolError: they cannot be.
            ConnectionLost: the only connection there was has ended.
        """
        waiting = [asyncio.create_task(a.ready.wait()) for a in self._attachments]
        try:
            for ready in waiting:
                await asyncio.wait((ready, *self._keeping), return_when="FIRST_COMPLETED")
                self._raise_failure()
        finally:
            for ready in waiting:
                ready.cancel()

    async def over(self) -> None:
        """Wait until `stop`, a failure that trying again cannot help, or the end of our input."""
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((stopped, *self._keeping), return_when="FIRST_COMPLETED")
        finally:
            stopped.cancel()
        self._raise_failure()

    def stop(self) -> None:
        """Let `over` return."""
        self._stopped.set()

    async def end(self) -> None:
        """Uninstall, answer what is open, quit, close, run the hooks of the end.

        Raises:
            BaseException: what a handler raised that must end the process.
        """
        try:
            await self._drain()
        finally:
            was_connected, self._connected = self._connected, False
            tasks = [*self._keeping, *self._spawned]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=END_TIMEOUT)
            if self._plan.companion is not None:
                self._plan.companion.close()
            await self.server.close()
            await self._watchers.close()
            for event in ("disconnected", "stop") if was_connected else ("stop",):
                await _within(STOP_TIMEOUT, self._run_hooks(event))
        if self._fatal is not None:
            raise self._fatal

    async def _drain(self) -> None:
        installed = zip(self._attachments, self._plan.table.connections, strict=True)
        # A link that has just ended stands there until its attachment takes note.
        live = [(a.link, names) for a, names in installed if a.link is not None and a.link.usable]
        if not live:
            if self._plan.companion is not None:
                self._plan.companion.engine_lost()
                await self._plan.companion.drain()
            return
        # What the companion is asked it is asked until it has come to its end.
        uninstalls = [
            link.command(Uninstall(name))
            for link, names in live
            for name in names
            if name not in self._plan.companion_handles and not self._called
        ]
        # The engine confirms an uninstall at once and still takes the answers of what is open,
        # but it reads nothing after quit (engine.md part 5, 9): the order matters.
        await _within(END_TIMEOUT, asyncio.gather(*uninstalls, return_exceptions=True))
        await self.server.finish()
        if self._plan.companion is not None:
            await self._plan.companion.drain()
        for attachment in self._attachments:
            attachment.leaving = True
        await _within(END_TIMEOUT, asyncio.gather(*(link.quit() for link, _ in live)))

    def _raise_failure(self) -> None:
        for task in self._keeping:
            if task.done() and not task.cancelled():
                task.result()

    def _die(self, error: BaseException) -> None:
        self._fatal = self._fatal or error
        self.stop()

    # What the module asks for

    def links(self, numbers: Iterable[int]) -> list[Link]:
        """Return those links of these numbers that are set up."""
        links = (self._attachments[number].link for number in numbers)
        return [link for link in links if link is not None]

    @property
    def primary(self) -> Link | None:
        """The link that carries our own messages and the watchers, None while it is down."""
        return self._attachments[0].link

    async def setting_changed(self, name: str, text: str, taken: str) -> None:
        """Bring a setting of the first link to the others too."""
        for link in self.links(range(1, len(self._attachments))):
            await set_local(link, name, text)
        if name == "timeout":
            self._set_limit(taken)

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run work as a task of this life; a failure is logged."""
        task = asyncio.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned_done)
        return task

    def _spawned_done(self, task: asyncio.Task[object]) -> None:
        self._spawned.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # What was begun for a call usually ends with it.
        if not isinstance(error, CallEnded):
            logger.error("spawned work failed: %s", told(error))
            debug_traceback(error)

    # What the links tell

    def _door(self, number: int) -> Callable[[Link, Message], None]:
        """Return what takes the requests of a connection.

        It is made once and looks up beforehand what stays; of what can be special about a request
        it asks in one step.
        """
        installed = self._plan.table.connections[number]
        serve = self.server.serve

        def request(link: Link, message: Message) -> None:
            if (
                number or self._called or self._attachments[number].link is not link
            ) and self._taken(number, link, message):
                return
            serve(link, message, installed.get(message.name, _NOBODY).handlers)

        return request

    def _taken(self, number: int, link: Link, message: Message) -> bool:
        """Take a request that is not for the handlers, or not yet."""
        if self._may_be_called and link.single and self._plan.companion is not None:
            self._plan.companion.asked(link, message)
            return True
        if self._attachments[number].link is not link and link.settled:
            # It came in one read with the last reply of the set-up. A handler may send messages of
            # its own, for which the module has to be attached: that takes a turn of the loop more.
            # While other replies are still to come it is served at once, for that may take seconds.
            self._early.append((number, link, message))
            return True
        if number and message.get(SENDER) == self.sender:
            link.finish(message, processed=False)
            return True
        return False

    def _link_up(self) -> None:
        early, self._early = self._early, []
        for number, link, message in early:
            if link.usable:
                self._door(number)(link, message)
        if all(attachment.link is not None for attachment in self._attachments):
            self._connected = True
            if self._plan.companion is not None:
                self._plan.companion.attached()
            self._start_hooks("connected")
            if self._resyncs.due() and self.primary is not None:
                self.spawn(self._resyncs.find_out(self.primary))

    def _link_down(self) -> None:
        self.server.abandon()
        if self._connected:
            self._connected = False
            self._resyncs.lost()
            if self._plan.companion is not None:
                self._plan.companion.link_lost()
            self._start_hooks("disconnected")

    def _refused(self) -> None:
        if self._plan.companion is not None:
            self._plan.companion.engine_lost()

    def _resynced(self, resync: Resync) -> None:
        if self._plan.companion is not None:
            self._plan.companion.resynced(resync)
        hooks = [functools.partial(hook, resync) for hook in self._plan.resync_hooks]
        if hooks:
            self.spawn(_run_all(hooks))

    async def _set_up(self, number: int, link: Link) -> None:
        plan = self._plan
        installations = [*plan.table.connections[number].values()]
        watched = plan.watched()
        if not link.single:
            await link.send(Connect())
        elif plan.companion is not None and await plan.companion.called(link):
            # What the module does for all calls it does elsewhere.
            self._watchers.keep(plan.companion.told)
            installations, watched = [], self._watchers.names()
            self._called = True
        else:
            plan.table.check_single()
            self._may_be_called = False
        settings = {
            "bufsize": str(BUFSIZE_MAX),
            "trackparam": plan.name,
            "debugname": plan.name,
            "maxqueue": str(min(max(QUEUE_LEAST, QUEUE_SHARE * plan.max_in_flight), QUEUE_MOST)),
            **plan.settings,
        }
        settled = [link.command(SetLocal(name, value)) for name, value in settings.items()]
        timeout, runid = link.command(SetLocal("timeout")), link.command(SetLocal("runid"))
        installed = [link.command(i.frame()) for i in installations]
        if number == 0:
            installed += [link.command(Watch(name)) for name in watched]
        # All in one write, and all awaited together so that none is forgotten when one fails.
        await asyncio.gather(*settled, timeout, runid, *installed)
        for reply in installed:
            _check_installed(reply.result())
        self._set_limit(_setting(timeout.result()))
        if number == 0:
            told = runid.result()
            # One too old to know it counts as the same engine.
            self._resyncs.runid = told.value if isinstance(told, SetLocalDone) else ""

    def _set_limit(self, timeout: str) -> None:
        milliseconds, _ = c_integer(timeout)
        # Zero and negative numbers let the engine wait for ever (engine.md part 1).
        if milliseconds is not None and milliseconds > 0:
            self.server.limit = milliseconds / 1000 * DEADLINE_SHARE
        else:
            self.server.limit = float("inf")

    # Hooks

    async def _run_hooks(self, event: str) -> None:
        await _run_all(self._plan.hooks.get(event, ()))

    def _start_hooks(self, event: str) -> None:
        if self._plan.hooks.get(event):
            self.spawn(self._run_hooks(event))


async def set_local(link: Link, name: str, value: str) -> str:
    """Change or, with an empty value, ask for a setting; return it as the engine has it.

    Raises:
        ConfigError: the engine does not know the setting, or it cannot be changed.
        ConnectionLost: the link has ended.
    """
    return _setting(await link.command(SetLocal(name, value)))


def _setting(reply: EngineReply | Message) -> str:
    # Replies are matched to their commands: nothing else settles a setlocal.
    assert isinstance(reply, SetLocalDone)
    if not reply.success:
        raise ConfigError(
            f"the engine has no setting {shown(reply.name)}, or it cannot be set here"
            f" (it replied {shown(reply.value)}); see the setlocal table in its documentation"
        )
    return reply.value


def _check_installed(reply: EngineReply | Message) -> None:
    assert isinstance(reply, (Installed, Watched))
    if not reply.success:
        what = "handler" if isinstance(reply, Installed) else "watcher"
        raise InstallRefused(
            f"the engine refused the {what} of {shown(reply.name)}: is the name right, and not"
            " installed twice over one connection?",
            name=reply.name,
        )


async def _run_all(hooks: Iterable[Hook]) -> None:
    for hook in hooks:
        result = hook()
        if result is not None:
            await result


async def _within(seconds: float, work: Awaitable[object]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)
