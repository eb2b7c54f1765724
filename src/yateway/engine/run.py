"""One run of the engine, from its start to its end: the sessions, the clock, the engine's messages.

It must not listen anywhere: connections are given to it. A restarted engine is another run, which
knows nothing of the modules that were attached to the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, ConnectionLost
from ..transport import Transport
from ..wire.codec import TRUE_WORDS
from . import scripts
from .cdr import cdr_settings
from .commands import Attached
from .config import ConfigFile, Script, external_modules
from .dispatcher import Dispatcher, EngineMessage, Handler
from .drivers import MODULES, Drivers
from .endpoints import Exchange
from .external import ModuleChannel
from .journal import logger
from .listeners import Address
from .recording import Tap
from .session import Session
from .settings import Facts, Settings, run_params
from .workers import Limits

__all__ = ["Run"]

#: How often a handler of engine.stop may put the end off, by a second each time (MAX_STOP).
STOP_DELAYS = 5
#: Where modules are disconnected among the handlers of engine.halt (`halt_priority`).
HALT_PRIORITY = 1000
#: A tick that would follow sooner than this, in seconds, is left out (Engine.cpp, `run`).
SHORTEST_TICK = 0.25


def _file(folder: Path | None, name: str) -> ConfigFile:
    """Return a file that may be missing."""
    path = folder / name if folder else None
    return ConfigFile(path if path and path.exists() else None)


def _loaded(config: ConfigFile) -> frozenset[str]:
    """Return the names of the engine's modules: as with the real one, all unless told otherwise."""
    names = set(MODULES) if config.boolean("general", "modload", True) else set()
    for setting in config.sections.get("modules", ()):
        name = setting.name.removesuffix(".yate")
        (names.add if setting.value in TRUE_WORDS else names.discard)(name)
    return frozenset(names | {"extmodule"})


@dataclass(frozen=True, slots=True)
class _Attachment:
    """A module as operators see it; see `commands.Attached`."""

    session: Session
    script: str
    argument: str

    def describe(self) -> str:
        words = [self.session.role.title() or "Unknown"]
        if self.session.channel is not None:
            words.append("has channel")
        if self.session.settings.restart:
            words.append("autorestart")
        return ", ".join((*words, "pid=1"))

    def dismiss(self) -> None:
        self.session.settings.restart = False
        self.session.die()


class Run:
    """One run.

    Args:
        folder: of the configuration files; None for the defaults.
        runid: tells it from other runs.
        tap: makes what listens to a connection, given its name.

    Attributes:
        dispatcher: takes messages to handlers and watchers.
        facts: what modules may ask for.
        modules: what the configuration says about modules.

    Raises:
        ConfigError: the configuration cannot be used.
    """

    def __init__(self, folder: Path | None, runid: int, tap: Callable[[str], Tap] | None) -> None:
        config = _file(folder, "yate.conf")
        params = run_params(config, str(folder or ""), runid)
        loaded = _loaded(config)
        self.facts = Facts(params, config, loaded)
        self.modules = external_modules(
            ConfigFile(folder / "extmodule.conf" if folder else None), params
        )
        self._loop = asyncio.get_running_loop()
        # From here on time follows the loop's clock, whatever happens to the clock on the wall. A
        # virtual one says itself when its zero is: ticks must not fall by the hour of a test.
        epoch: float | None = getattr(self._loop, "epoch", None)
        self._epoch = time.time() - self._loop.time() if epoch is None else epoch
        self._tap = tap
        self._serial = 0
        self._connections = 0
        self._sessions: dict[Session, _Attachment] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        limits = Limits(*(int(params[f"{name}workers"]) for name in ("min", "max", "add")))
        self.dispatcher = Dispatcher(params.get("trackparam", ""), self._arm, limits)
        for handler in (
            Handler("engine.halt", HALT_PRIORITY, self._halted),
            Handler("module.update", 1, self._updated, track="engine", passive=True),
        ):
            self.dispatcher.install(handler, own=True)
        self.exchange = Exchange(self.dispatcher, self.clock, params["runid"], self._spawn)
        self.exchange.timeout = max(0, config.integer("telephony", "timeout", 0))
        self.exchange.nodename = params["nodename"]
        self.exchange.dtmf_twins = config.boolean("telephony", "dtmfdups", False)
        self.drivers = Drivers(
            self.exchange,
            params,
            loaded,
            self._start_external,
            self.modules.priority,
            self,
            cdr_settings(_file(folder, "cdrbuild.conf")),
        )

    # What sessions need

    def clock(self) -> float:
        """Return the time in seconds since the epoch, exactly."""
        return self._epoch + self._loop.time()

    def now(self) -> int:
        """Return the time in seconds since the epoch."""
        return int(self.clock())

    def new_id(self) -> str:
        """Return an id as the real engine makes them: an address, and a number of 31 bits."""
        # An odd factor takes each serial number to another one, so that no id ever comes twice.
        self._serial += 1
        return f"0x7f{self._serial % 64:02x}5e7f0c60.{self._serial * 1103515245 % 2**31}"

    # Connections

    def serve(self, transport: Transport, address: Address) -> None:
        """Serve a new connection."""
        self._spawn(self._attend(self._session(transport, address)))

    async def start_script(self, script: Script) -> None:
        """Start a script and serve it; again when it ends and has asked for that.

        Raises:
            ConfigError: it cannot be started.
        """
        self._spawn(self._attend_script(script, await self._script_session(script)))

    async def _start_external(
        self,
        path: str,
        argument: str,
        make: Callable[[Callable[[], None]], ModuleChannel] | None,
        fds: tuple[int, int],
    ) -> Session | None:
        """Start a script for one call and serve it; see `external.StartScript`."""
        try:
            transport = await scripts.start(self.modules.script(path, argument), fds)
        except ConfigError as error:
            logger.warning("%s", error)
            return None
        address = Address(name=path, kind="stdio", role="channel" if make else "global")
        session = self._session(transport, address, script=True, argument=argument)
        if make is not None:
            session.channel = make(session.hang_up)
            session.channel.exited = transport.exited
        self._spawn(self._attend(session))
        return session

    def _session(
        self, transport: Transport, address: Address, *, script: bool = False, argument: str = ""
    ) -> Session:
        settings = Settings(self.modules.defaults, address.title, script=script)
        self._connections += 1
        tap = self._tap(f"c{self._connections}") if self._tap else None
        if tap is not None:
            tap("A", event=f"connect {address}")
        session = Session(self, transport, settings, role=address.role, tap=tap)
        self._sessions[session] = _Attachment(session, address.title, argument or transport.remote)
        if self._ending:  # it came, or was started, a moment too late
            session.die()
        return session

    async def _attend(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            del self._sessions[session]

    async def _attend_script(self, script: Script, session: Session) -> None:
        while True:
            await self._attend(session)
            if self._ending or not session.settings.restart:
                return
            try:
                session = await self._script_session(script)
            except ConfigError as error:
                logger.warning("cannot restart: %s", error)
                return

    async def _script_session(self, script: Script) -> Session:
        transport = await scripts.start(script)
        address = Address(name=script.name, kind="stdio", role="global")
        return self._session(transport, address, script=True, argument=script.argument)

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            if self._ending and isinstance(error, ConnectionLost):
                return  # a call was being routed: the end of the run is no failure of its
            self._loop.call_exception_handler({"message": "a session failed", "exception": error})

    def attached(self) -> list[Attached]:
        """Return the modules that are attached, in the order in which they came."""
        return [a for a in self._sessions.values() if not a.session.ended.done()]

    async def launch(self, path: str, argument: str) -> None:
        """Start a script as one of the configuration's; what prevents it is logged."""
        try:
            await self.start_script(self.modules.script(path, argument))
        except ConfigError as error:
            logger.warning("%s", error)

    def handles(self, name: str) -> bool:
        """Tell whether a module has installed a handler of this name."""
        return any(session.handles(name) for session in self._sessions)

    def drop(self) -> None:
        """End all connections; what they were asked goes on to the next handlers."""
        for session in tuple(self._sessions):
            session.die()

    # Messages of the engine's own

    def broadcast(self, name: str, **params: str) -> EngineMessage:
        """Return a message that all handlers are to see."""
        params["nodename"] = self.facts.params["nodename"]
        return EngineMessage(name, params.items(), time=self.now(), broadcast=True)

    async def _updated(self, message: EngineMessage) -> bool:
        message.set("nodename", message.params.get("nodename", self.facts.params["nodename"]))
        return False

    def _arm(self, shortest: float = 0.0) -> None:
        """See to the next tick, if anybody cares: a test's clock must be able to run out."""
        dispatcher = self.dispatcher
        wanted = dispatcher.workers.growing or dispatcher.is_wanted("engine.timer")
        if wanted and self._timer is None and not self._ending:
            wait = 1.0 - self.clock() % 1.0
            if wait < shortest:
                wait += 1.0
            self._timer = self._loop.call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.dispatcher.is_wanted("engine.timer"):
            seconds = round(self.clock())
            self.dispatcher.enqueue(self.broadcast("engine.timer", time=str(seconds)))
        self.dispatcher.workers.tick()
        self._arm(SHORTEST_TICK)

    # The end

    async def halt(self) -> None:
        """End as the real engine does on SIGTERM: modules are told, and may answer.

        One that does not read would keep the real engine from ending; here it is left out.
        """
        for session in tuple(self._sessions):
            if session.stuck:
                session.die()
        self.exchange.halting = True
        try:
            for _ in range(STOP_DELAYS):
                if not await self.dispatcher.dispatch(self.broadcast("engine.stop")):
                    break
                await asyncio.sleep(1.0)
            await self.dispatcher.dispatch(self.broadcast("engine.halt"))
        except ConnectionLost:
            pass  # the modules were disconnected by `_halted`
        finally:
            self.kill()
        await self.join()

    async def _halted(self, message: EngineMessage) -> bool:
        # Here the modules go, in the order in which they came: watchers never see engine.halt, nor
        # what becomes of calls that are up; in the real engine that is up to its threads.
        self.kill()
        return False

    def kill(self) -> None:
        """End at once, as on SIGKILL: what is under way is answered to nobody."""
        self._ending = True
        self.exchange.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.dispatcher.stop()
        self.drop()

    async def join(self) -> None:
        """Wait, after `kill`, until nothing of the run is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.dispatcher.join()
