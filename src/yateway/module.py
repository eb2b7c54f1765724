"""Module: what a user writes: handlers, watchers, and a life attached to an engine.

It must not know lines or bytes. A module is a plain value until `attach`, `serve` or `run` bind it
to an event loop; it can be attached again and again, as tests do.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from .call import Call
from .campaign import RETRY, Campaign
from .conference import Conference
from .errors import ConfigError, ConnectionLost, shown
from .handlers import Handler, HandlerFunction, label
from .language import Language
from .lifespan import Hook, Life, Plan, ResyncHook
from .line import EVENTS
from .message import Value
from .moving import RING
from .originating import Origination
from .prompts import Prompts
from .routing import Fork, Reject, Route
from .running import CallFunction
from .sending import DISPATCH_TIMEOUT, Sender
from .serving import DEADLINE, IN_FLIGHT, Counters
from .switchboard import Switchboard
from .transport import DEFAULT_ENGINE, Opener, opener_of, started_by_engine
from .watchdog import Watchdog
from .watching import Watcher, WatcherFunction
from .wire.frames import PRIORITY_DEFAULT, Uninstall, Watch

__all__ = ["Module"]

_T = TypeVar("_T")
_H = TypeVar("_H", bound=HandlerFunction)
_W = TypeVar("_W", bound=WatcherFunction)
_K = TypeVar("_K", bound=Hook)
_R = TypeVar("_R", bound=ResyncHook)
_C = TypeVar("_C", bound=CallFunction)


class Module(Sender):
    """One external module of a Yate engine.

    Args:
        name: names the module in the engine: its `trackparam` and `debugname`.
        deadline: seconds that a handler may take unless it says otherwise; never later than 80 %
            of the engine's own timeout, which is read at attach.
        max_in_flight: how many requests coroutine handlers may hold at once; beyond that calls are
            refused for congestion and other messages declined, at once, because each held request
            holds a thread of the engine.
        dispatch_timeout: seconds that `dispatch` waits, None for as long as the link lasts.
        sounds, recordings: the folders below which calls play and record; absolute paths, the same
            for the engine. There is no default.
        language: in which calls say numbers; one of `language.LANGUAGES` or one of your own.
        calls: the module makes calls, though it takes none and neither plays nor records. With
            folders for that, or `@module.call`, it goes without saying.
        max_calls: how many calls are taken at once; further ones are refused as congestion.
        patience: seconds that calls may go on when the module is to end.

    Raises:
        ConfigError: the name cannot be used.

    Attributes:
        name: as given.
        counters: what became of the requests so far.
        calls: those that are alive.
        conferences: those that one of the calls is in, by room.
    """

    def __init__(
        self,
        name: str,
        *,
        deadline: float = DEADLINE,
        max_in_flight: int = IN_FLIGHT,
        dispatch_timeout: float | None = DISPATCH_TIMEOUT,
        sounds: str | os.PathLike[str] | None = None,
        recordings: str | os.PathLike[str] | None = None,
        language: str | Language = "en",
        calls: bool = False,
        max_calls: int | None = None,
        patience: float = 30.0,
    ) -> None:
        if not name.strip(" \t") or not name.isprintable() or ":" in name:
            raise ConfigError(f"{shown(name)} is no name for a module: use letters and digits")
        if deadline <= 0:
            raise ConfigError(f"a deadline of {deadline} s leaves no time: give more than 0")
        self.counters = Counters()
        plan = Plan(name, deadline, max_in_flight, self.counters)
        super().__init__(name, plan, dispatch_timeout)
        prompts = Prompts(sounds, recordings, language)
        self._board = Switchboard(self, prompts, max_calls, patience)
        self.calls = self._board.calls
        self.conferences: Mapping[str, Conference] = self._board.conferences
        if calls or sounds is not None or recordings is not None:
            self._serve_calls()

    def __repr__(self) -> str:
        return f"<Module {self.name!r} {'attached' if self.attached else 'not attached'}>"

    # Registration

    def handler(
        self,
        name: str,
        priority: int = PRIORITY_DEFAULT,
        *,
        filter: tuple[str, str] | None = None,
        deadline: float | None = None,
    ) -> Callable[[_H], _H]:
        """Register a function that the engine consults about a message.

        Args:
            name: of the message, for example "call.route".
            priority: the lowest is asked first; regexroute sits at 100, the drivers' call.execute
                at 90.
            filter: a parameter and the exact value it must have; absent counts as empty.
            deadline: seconds the function may take.

        Raises:
            ConfigError: the engine could not install this.
            LocalProtocolError: name or filter hold what no line can carry.
        """

        def register(function: _H) -> _H:
            self._not_attached("@module.handler")
            self._plan.table.add(Handler(name, function, priority, filter, deadline))
            return function

        return register

    def watcher(self, name: str) -> Callable[[_W], _W]:
        """Register a function that is told of a message after its dispatch; "" is every message."""
        Watch(name).text()

        def register(function: _W) -> _W:
            self._not_attached("@module.watcher")
            self._plan.watchers.append(Watcher(name, function))
            return function

        return register

    def call(self, name: str) -> Callable[[_C], _C]:
        """Register a coroutine function that drives calls: one coroutine for each call.

        A call comes to it when call.route leads to what `take` returns, or when a rule of
        regexroute says `dumb/;yateway=<module>;call=<name>`.

        Raises:
            ConfigError: there is one of that name already, or the function is no coroutine
                function.
        """

        def register(function: _C) -> _C:
            self._not_attached("@module.call")
            if not iscoroutinefunction(function):
                raise ConfigError(f"{label(function)} is to drive calls: define it by async def")
            self._board.register(name, function)
            self._serve_calls()
            return function

        return register

    def _serve_calls(self) -> None:
        """Watch what happens to calls, and be asked about those who are to come back."""
        plan, board = self._plan, self._board
        if plan.companion is None:
            plan.companion = board
            plan.watchers += [Watcher(name, board.told) for name in EVENTS]
            for handler in board.handlers():
                plan.table.add(handler)
                plan.companion_handles |= {handler.name}

    def take(self, name: str, **params: Value) -> Route | Reject:
        """Return what a handler of call.route returns to bring the call to `@module.call(name)`.

        Args:
            name: of the function.
            params: parameters of the call; the function finds them in `call.params`.

        Raises:
            ConfigError: no function was registered under this name.
        """
        return self._board.take(name, params)

    def originate(
        self, target: str | Route | Fork, *, timeout: float | None = RING, **params: Value
    ) -> Origination:
        """Make a call: `async with module.originate("sip/...", caller="100") as call`.

        The block begins when the call is answered and ends with it: when the other side hangs up,
        whatever the block waits for is interrupted, and the block is left without an error. Leaving
        the block hangs up, unless the person was connected to somebody else.

        Args:
            target: where to, as a handler of call.route may return it.
            timeout: seconds that it may ring. None begins the block as soon as the engine has
                accepted the call; `call.wait_answered()` waits for more.
            params: parameters of the call: `caller`, `callername` and so on.

        Raises:
            ConfigError: the module does not serve calls.
            CallFailed: (when the block is entered) it was not answered.
            ConnectionLost: (when the block is entered) the module is not attached.
        """
        self._must_watch_calls()
        return self._board.originate(target, timeout=timeout, **params)

    def campaign(
        self,
        numbers: Iterable[str],
        target: str | Callable[[str], str | Route | Fork],
        talk: Callable[[Call], Coroutine[Any, Any, _T]],
        *,
        concurrency: int = 10,
        rate: float = 1.0,
        tries: int = 3,
        retry: Mapping[str, float] = RETRY,
        timeout: float = RING,
        **params: Value,
    ) -> Campaign[_T]:
        """Call many numbers: `async with module.campaign(...) as outcomes: async for ...`.

        Leaving the block ends the campaign and hangs up its calls; a module that ends does, too,
        as soon as its patience is over.

        Args:
            numbers: whom to call; may be as long as it likes, it is read when there is room.
            target: where to, with `{}` in place of the number, as for `safe_target`; or a function
                that returns it.
            talk: what is said to who answers. What it returns is in the outcome.
            concurrency: how many calls at once.
            rate: how many new ones a second.
            tries: how often a number is called.
            retry: after how many seconds, by the reason for which it was not answered.
            timeout: seconds that each may ring.
            params: parameters of all calls: `caller`, `callername` and so on.

        Raises:
            ConfigError: the module does not watch calls, or nobody would be called.
            ConnectionLost: (when the block is entered) the module is not attached.
        """
        self._must_watch_calls()
        return Campaign(
            *(self._board, numbers, target, talk),
            concurrency=concurrency,
            rate=rate,
            tries=tries,
            retry=retry,
            timeout=timeout,
            params=params,
        )

    def _must_watch_calls(self) -> None:
        if self._plan.companion is None:
            raise ConfigError(
                f"module {self.name} does not watch calls: make it with"
                f" Module({self.name!r}, calls=True)"
            )

    def on_start(self, function: _K) -> _K:
        """Register a function that runs before the first attempt to connect."""
        return self._hook("start", function)

    def on_connected(self, function: _K) -> _K:
        """Register a function that runs whenever the module is attached and installed."""
        return self._hook("connected", function)

    def on_disconnected(self, function: _K) -> _K:
        """Register a function that runs whenever an attached module has lost its engine."""
        return self._hook("disconnected", function)

    def on_resync(self, function: _R) -> _R:
        """Register a function that is given a `Resync` after each reconnect: what was missed.

        It runs when the module is attached and installed again and the engine has told its
        channels, and beside the functions of `on_connected`.
        """
        self._plan.resync_hooks.append(function)
        return function

    def on_stop(self, function: _K) -> _K:
        """Register a function that runs at the end, after the link is closed."""
        return self._hook("stop", function)

    def _hook(self, event: str, function: _K) -> _K:
        self._plan.hooks.setdefault(event, []).append(function)
        return function

    def _not_attached(self, what: str) -> None:
        if self._life is not None:
            raise ConfigError(f"{what} comes before the module is attached")

    async def uninstall(self, name: str) -> None:
        """Remove all handlers of a message, here and in the engine.

        Requests that are open are still answered by the handlers that have them.

        Raises:
            ConnectionLost: the link ended before the engine confirmed; the handlers are gone all
                the same.
        """
        numbers = self._plan.table.remove(name)
        for link in self._life.links(numbers) if self._life else ():
            await link.command(Uninstall(name))

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run work beside the handlers; a failure is logged, and it is cancelled at the end.

        Raises:
            ConnectionLost: the module is not attached or being attached.
        """
        if self._life is None:
            work.close()
            raise ConnectionLost(f"module {self.name} does not run")
        return self._life.spawn(work)

    # Life

    async def attach(self, opener: Opener) -> None:
        """Attach to the engine that `opener` connects to and return when all is installed.

        Raises:
            InstallRefused: the engine refused a handler or watcher.
            ConfigError: a handler or setting cannot be had over this transport, or the folder of
                sounds or recordings is not there.
        """
        if self._life is not None:
            raise ConfigError(f"module {self.name} is attached already")
        self._board.prompts.check()
        self._life = Life(self._plan, opener)
        try:
            await self._life.begin()
            await self._life.ready()
        except BaseException:
            await self.detach()
            raise

    async def detach(self) -> None:
        """Leave the engine in good order: uninstall, answer what is open, quit, close.

        Raises:
            BaseException: what a handler raised that must end the process (guarantee A7).
        """
        life = self._life
        if life is None:
            return
        try:
            await life.end()
        finally:
            self._life = None

    async def serve(
        self, engine: str | Opener | None = None, *, allow_remote: bool = False
    ) -> None:
        """Attach and serve until cancelled, `stop` is called, or the engine closes our input.

        Args:
            engine: the address, see `run`, or what opens connections to the engine.
            allow_remote: as for `run`.

        Raises:
            InstallRefused, ConfigError: as `attach`.
        """
        if self._life is not None:
            raise ConfigError(f"module {self.name} is attached already")
        engine = engine or default_engine()
        if engine == "stdio:":
            self._plan.table.check_single()
        self._board.prompts.check()
        if isinstance(engine, str):
            engine = opener_of(engine, allow_remote=allow_remote)
        self._life = Life(self._plan, engine)
        try:
            await self._life.begin()
            await self._life.over()
        finally:
            await self.detach()

    def stop(self) -> None:
        """End `serve` or `run` in good order."""
        if self._life is not None:
            self._life.stop()

    def run(self, engine: str | Opener | None = None, *, allow_remote: bool = False) -> None:
        """Run the module until SIGTERM or SIGINT.

        Args:
            engine: `tcp://host:port`, `unix:///path` or `stdio:`, or what opens connections to the
                engine. Without it, the environment variable YATEWAY_ENGINE, else stdio when Yate
                started the script, else tcp://127.0.0.1:5678.
            allow_remote: an address may lead to another machine, although everybody on the way
                then reads every call and owns the module: the protocol protects nothing.

        Raises:
            InstallRefused, ConfigError: as `attach`.
        """
        runner = asyncio.Runner()
        try:
            runner.run(self._run(engine, allow_remote))
        finally:
            # A handler that refuses to be cancelled must not keep the process alive, as waiting
            # for it in the runner's own close would.
            if not any(task.cancelling() for task in asyncio.all_tasks(runner.get_loop())):
                runner.close()

    async def _run(self, engine: str | Opener | None, allow_remote: bool) -> None:
        with _signals(self.stop):
            watchdog = Watchdog(self._running)
            try:
                await self.serve(engine, allow_remote=allow_remote)
            finally:
                watchdog.stop()

    def _running(self) -> str | None:
        handler = self._life.server.running if self._life else None
        return handler.label if handler else None


def default_engine() -> str:
    """Return the address that `Module.run` takes when it is given none."""
    if address := os.environ.get("YATEWAY_ENGINE"):
        return address
    return "stdio:" if started_by_engine() else DEFAULT_ENGINE


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop in good order at the first SIGTERM or SIGINT; a second one has its usual effect."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)

    def stop_once() -> None:
        restore()
        stop()

    def restore() -> None:
        for number in caught:
            loop.remove_signal_handler(number)

    for number in caught:
        loop.add_signal_handler(number, stop_once)
    try:
        yield
    finally:
        restore()
