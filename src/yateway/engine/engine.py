"""The embedded engine: behaves towards a module as Yate does, in memory or on this machine.

It must not know `Module`: whatever can attach to an engine through an opener will do.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from ..errors import ConnectionLost
from ..memory import memory_pair
from ..message import Message, Value
from ..transport import Opener, Transport
from .dispatcher import EngineMessage, Handler
from .listeners import Address, Listener
from .recording import Recording
from .run import Run
from .sim import Leg

__all__ = ["Attachable", "Engine", "OwnHandler"]

OwnHandler: TypeAlias = Callable[[Message], bool | Awaitable[bool]]
"""A handler of the engine's own: may change the message, and returns whether it processed it."""


class Attachable(Protocol):
    """What `Engine(module)` takes: a `yateway.Module`, or whatever else attaches to engines."""

    async def attach(self, opener: Opener, /) -> object:
        """Connect through the opener, and return once all handlers are installed."""

    async def detach(self) -> object:
        """Disconnect."""


class Engine:
    """An engine to run modules on.

        async with Engine(module) as engine:
            answer = await engine.dispatch("call.route", called="123")

    Args:
        module: attached when `async with` begins and detached when it ends.
        listen: URLs to listen on, see `Address.from_url`.
        conf: a folder with `extmodule.conf`, and `yate.conf` if need be; read at each start.
        record: takes what goes over the connections.

    Raises:
        ConfigError: an address cannot be used, or leads outside this machine.
    """

    def __init__(
        self,
        module: Attachable | None = None,
        *,
        listen: Iterable[str] = (),
        conf: str | Path | None = None,
        record: Recording | None = None,
    ) -> None:
        self._module = module
        self._addresses = [Address.from_url(url) for url in listen]
        self._conf = None if conf is None else Path(conf)
        self._record = record
        self._listeners: list[Listener] = []
        self._own: list[tuple[str, int, OwnHandler, str]] = []
        self._run: Run | None = None
        self._last: Run | None = None
        self._runid = 0

    def __repr__(self) -> str:
        return f"<Engine {'running' if self._run else 'stopped'} at {self.urls}>"

    @property
    def urls(self) -> list[str]:
        """Where the engine listens; ports that it was free to choose are known once it runs."""
        return [listener.address.url for listener in self._listeners]

    # Start and end

    async def start(self) -> None:
        """Begin a run: listen, and start the configuration's scripts.

        Raises:
            ConfigError: the configuration is wrong, an address is in use, or a script is missing.
        """
        if self._run is not None:
            raise RuntimeError("the engine runs already")
        if self._last is not None:
            await self._last.join()
        # As in the real engine, where two runs begin in different seconds.
        self._runid = max(int(time.time()), self._runid + 1)
        tap = None if self._record is None else self._record.tap
        self._run = run = Run(self._conf, self._runid, tap)
        try:
            for own in self._own:
                run.dispatcher.install(_handler(*own), own=True)
            await self._open_listeners(run)
            for script in run.modules.scripts:
                await run.start_script(script)
        except BaseException:
            await self.stop()
            raise

    async def _open_listeners(self, run: Run) -> None:
        self._listeners = []
        for address in (*self._addresses, *run.modules.listeners):
            listener = Listener(address, run.serve)
            await listener.start()
            self._listeners.append(listener)
        # Where a free port was asked for, the next run takes the same.
        count = len(self._addresses)
        self._addresses = [listener.address for listener in self._listeners[:count]]

    async def stop(self) -> None:
        """End the run as the real engine does on SIGTERM; harmless when there is none.

        Modules are told by engine.stop and engine.halt, whose handlers may take their time; then
        the connections close, and what is under way is answered to nobody.
        """
        run, self._run = self._run, None
        if run is not None:
            self._last = run
            for listener in self._listeners:
                listener.close(remove=True)
            await run.halt()
        elif self._last is not None:
            await self._last.join()

    def kill(self) -> None:
        """End the run as SIGKILL does, even one that is about to stop: without a word.

        All connections are aborted and everything installed over them is forgotten. The engine's
        own handlers stay for the next run: they stand for modules that the real engine loads at
        each start.
        """
        run = self._run or self._last
        if run is not None:
            self._last, self._run = run, None
            for listener in self._listeners:
                listener.close(remove=False)
            run.kill()

    def drop(self) -> None:
        """Abort all connections of modules; the engine itself goes on."""
        self._running().drop()

    async def __aenter__(self) -> Self:
        await self.start()
        if self._module is not None:
            try:
                await self._module.attach(self.open)
            except BaseException:
                await self.stop()
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._module is not None:
                await self._module.detach()
        finally:
            await self.stop()

    async def open(self, role: str = "", name: str = "memory") -> Transport:
        """Open a connection in memory; this method is an `Opener`.

        Args:
            role: of the listener: "global", "channel", or empty for one where the module says it
                itself by `%%>connect:`.
            name: of the listener.

        Raises:
            ConnectionRefusedError: the engine does not run.
        """
        if self._run is None:
            raise ConnectionRefusedError("the engine does not run")
        ours, theirs = memory_pair()
        self._run.serve(ours, Address(name=name, kind="memory", role=role))
        return theirs

    # Messages

    def install(
        self, name: str, handler: OwnHandler, priority: int = 100, *, track: str = ""
    ) -> None:
        """Add a handler of the engine's own, for example in place of regexroute.

        Args:
            name: of the messages; empty for all.
            handler: a plain or a coroutine function. What it raises goes to whoever dispatched the
                message with `dispatch`, and else to the event loop's exception handler.
            priority: lower ones are asked earlier.
            track: its name in the `handlers` parameter, empty to leave none.
        """
        own = (name, priority, handler, track)
        self._own.append(own)
        if self._run is not None:
            self._run.dispatcher.install(_handler(*own), own=True)

    async def dispatch(
        self,
        message: Message | str,
        params: Mapping[str, Value] | None = None,
        /,
        *,
        retvalue: str = "",
        **more: Value,
    ) -> Message:
        """Dispatch a message as a part of the engine does, and return it as it came back.

        Args:
            message: the message, or its name.
            params: its parameters, where they are no Python identifiers.
            retvalue: its return value.
            more: further parameters.

        Raises:
            TypeError: a message was given, and parameters beside it.
            ConnectionLost: the engine does not run, or was stopped meanwhile.
            LocalProtocolError: a module is to get a message that no line can carry.
        """
        run = self._running()
        carried = _carried(message, params, retvalue, more)
        processed = await run.dispatcher.dispatch(carried)
        carried.user_data = None
        answer = _shown(carried)
        answer.processed = processed
        return answer

    def enqueue(
        self,
        message: Message | str,
        params: Mapping[str, Value] | None = None,
        /,
        *,
        retvalue: str = "",
        **more: Value,
    ) -> None:
        """Dispatch a message without waiting for it; see `dispatch`.

        Raises:
            TypeError: a message was given, and parameters beside it.
            ConnectionLost: the engine does not run.
        """
        self._running().dispatcher.enqueue(_carried(message, params, retvalue, more))

    # Calls

    async def call(
        self,
        called: str,
        caller: str = "",
        params: Mapping[str, Value] | None = None,
        /,
        **more: Value,
    ) -> Leg:
        """Let a telephone call a number, and return it; meanwhile the call is routed.

        Args:
            called: the number.
            caller: the telephone's own.
            params: further parameters of call.route, where they are no Python identifiers.
            more: further parameters.

        Raises:
            ConnectionLost: the engine does not run.
        """
        message = Message("call.preroute", {**(params or {}), **more})
        return self._running().drivers.phones.call(called, caller, dict(message.items()))

    async def next_call(self) -> Leg:
        """Return the next telephone that is called as `sim/NUMBER`; wait for one if need be.

        Raises:
            ConnectionLost: the engine does not run.
        """
        return await self._running().drivers.phones.next_call()

    def handles(self, name: str) -> bool:
        """Tell whether a module has installed a handler of this message."""
        return self._run is not None and self._run.handles(name)

    def _running(self) -> Run:
        if self._run is None:
            raise ConnectionLost("the engine does not run")
        return self._run


def _carried(
    message: Message | str,
    params: Mapping[str, Value] | None,
    retvalue: str,
    more: Mapping[str, Value],
) -> EngineMessage:
    """Return the engine's side of a message that was given as `dispatch` takes it."""
    if isinstance(message, str):
        message = Message(message, {**(params or {}), **more}, retvalue=retvalue)
    elif params or retvalue or more:
        raise TypeError("parameters belong into the message, if one is given")
    return EngineMessage(
        message.name, message.items(), time=message.time, retvalue=message.retvalue
    )


def _shown(message: EngineMessage) -> Message:
    """Return a message as people see it."""
    return Message(message.name, message.params, retvalue=message.retvalue, time=message.time)


def _handler(name: str, priority: int, handler: OwnHandler, track: str) -> Handler:
    async def receive(message: EngineMessage) -> bool:
        view = _shown(message)
        verdict = handler(view)
        processed = bool(await verdict if inspect.isawaitable(verdict) else verdict)
        # What it changed goes the way of a module's answer.
        message.apply(view.to_answer(processed))
        return processed

    return Handler(name, priority, receive, track=track)
