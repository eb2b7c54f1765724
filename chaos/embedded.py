"""Scenarios on the embedded engine and virtual time: reconnects, cuts, fleets, dead databases.

Each is a coroutine that returns its `Outcome`; `virtual` runs it. It must not need anything of the
machine but its sockets.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from yateway import Message, Module, Resync
from yateway.engine import Engine
from yateway.engine.faults import FaultProxy, Faults
from yateway.engine.tapping import tapped
from yateway.errors import ConnectionLost
from yateway.testing import VirtualClockLoop
from yateway.transport import Opener, Transport, opener_of

from .history import History, violations
from .outcome import Outcome
from .world import HANDLERS, LINKS, NAMES, RECOVERY, victim

__all__ = ["cuts", "database", "descriptors", "fleet", "reconnects", "virtual"]

DATABASE_DEADLINE = 0.5


def virtual(scenario: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run a scenario on virtual time; what it leaves behind breaks it (C11)."""
    found: list[str] = []
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _, context: found.append(f"loop: {context}"))
        outcome = runner.run(scenario)
        found += [f"left pending: {task!r}" for task in asyncio.all_tasks(loop)]
    return Outcome(outcome.guarantee, outcome.what, outcome.figure, [*outcome.broken, *found])


def now() -> float:
    """Return the event loop's time."""
    return asyncio.get_running_loop().time()


class Happening:
    """Waits for what a module's hook tells of: each time for a time after the last one.

    Args:
        hook: registers what is called then, for example `module.on_connected`.
    """

    def __init__(self, hook: Callable[[Callable[[], None]], object]) -> None:
        self._event = asyncio.Event()
        hook(self._event.set)

    async def next(self, within: float = 60.0) -> None:
        """Wait until it happens; TimeoutError if it does not within so many seconds."""
        async with asyncio.timeout(within):
            await self._event.wait()
        self._event.clear()


def open_descriptors(pid: int | str = "self") -> int:
    """Count the descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _missing(engine: Engine) -> list[str]:
    return [name for name in NAMES if name != "chaos.told" and not engine.handles(name)]


async def reconnects(cycles: int) -> Outcome:
    """Drop and kill again and again; compare what the engine has each time (C1, C8)."""
    random.seed(1)
    engine, module = Engine(), victim(random.Random(1))
    ups, broken, requests = Happening(module.on_connected), list[str](), 0
    resyncs: asyncio.Queue[Resync] = asyncio.Queue()
    module.on_resync(resyncs.put_nowait)
    async with engine:
        await module.attach(engine.open)
        await ups.next()
        await module.setlocal("timeout", "7000")
        for cycle in range(cycles):
            if cycle % 2:
                engine.kill()
                await engine.start()
            else:
                engine.drop()
            await ups.next()
            broken += [f"cycle {cycle}: {name} was lost" for name in _missing(engine)]
            for _ in range(2):
                answer = await engine.dispatch(NAMES[8 + cycle % (HANDLERS - 8)], n=str(cycle))
                requests += 1
                if answer.get("seen") != str(cycle):
                    broken.append(f"cycle {cycle}: {answer.name} was not served")
            if await module.getlocal("timeout") != "7000":
                broken.append(f"cycle {cycle}: the setting was lost")
            if (await resyncs.get()).new_engine != bool(cycle % 2):
                broken.append(
                    f"cycle {cycle}: a new engine was taken for the old one, or it for it"
                )
        await module.detach()
    what = f"{cycles:,} reconnects of {HANDLERS} handlers, compared each time"
    return Outcome("C1", what, f"{len(broken)} differences, {requests:,} requests served", broken)


async def descriptors(cycles: int) -> Outcome:
    """The same over sockets: none is left open (C10)."""
    random.seed(2)
    with tempfile.TemporaryDirectory(prefix="yateway-") as folder:
        url = f"unix://{folder}/e"
        engine, module = Engine(listen=[url]), victim(random.Random(2))
        async with engine:
            ups = Happening(module.on_connected)
            await module.attach(opener_of(url))
            await ups.next()
            before = open_descriptors()
            for _ in range(cycles):
                engine.drop()
                await ups.next()
            leaked = open_descriptors() - before
            await module.detach()
    broken = [f"{leaked} descriptors more than before"] if leaked else []
    return Outcome("C10", f"{cycles:,} reconnects over UNIX sockets", f"{leaked} leaked", broken)


async def cuts(seconds: float) -> Outcome:
    """Cut the network for so long under load: nothing wrong, nothing lost afterwards (E9)."""
    random.seed(int(seconds))
    history, module = History(), victim(random.Random(3))
    broken: list[str] = []
    async with Engine() as engine, Faults(engine.open) as network:
        await module.attach(tapped(network.open, history))

        async def ask() -> None:
            for number in range(1_000_000):
                with suppress(ConnectionLost):
                    await engine.dispatch(NAMES[number % len(NAMES)], n=str(number))
                await asyncio.sleep(0.05)

        load = [asyncio.create_task(ask()) for _ in range(4)]
        for fault in (network.stall, network.silence, network.reset):
            await asyncio.sleep(5)
            fault()
            network.refuse()
            await asyncio.sleep(seconds)
            network.heal()
            healed = now()
            async with asyncio.timeout(RECOVERY):
                while _missing(engine) or not module.attached:
                    await asyncio.sleep(0.1)
        took = now() - healed
        for task in load:
            task.cancel()
        await asyncio.wait(load)
        await module.detach()
    broken += violations(history.entries, LINKS)
    figure = f"{len(broken)} violations, whole again {took:.1f} s after the last"
    return Outcome("E9", f"network cut three ways for {seconds:g} s under load", figure, broken)


async def fleet(size: int, away: float = 60.0) -> Outcome:
    """A fleet whose engine is away: how it spreads, and how soon it is back (C3)."""
    random.seed(4)
    attempts: Counter[int] = Counter()
    back: list[float] = []
    engine = Engine()
    await engine.start()
    modules = [Module(f"m{number}") for number in range(size)]

    def counted(opener: Opener) -> Opener:
        async def attempt() -> Transport:
            attempts[int(now() - gone)] += 1
            return await opener()

        return attempt

    gone = now()
    for module in modules:
        module.handler(f"fleet.{module.name}")(lambda message: True)
        await module.attach(counted(engine.open))
    attempts.clear()
    engine.kill()
    gone = now()
    await asyncio.sleep(away)
    await engine.start()
    returned = now()
    while len(back) < size * 0.99:
        await asyncio.sleep(0.05)
        back += [now() - returned for m in modules if m.attached][len(back) :]
    for module in modules:
        await module.detach()
    await engine.stop()
    peak = max(count for second, count in attempts.items() if second >= 5) / size
    figure = f"peak {peak:.0%} a second after 5 s, 99 % back in {back[-1]:.1f} s"
    broken = [figure] if peak > 0.35 or back[-1] > 10.0 else []
    return Outcome("C3", f"{size:,} modules, engine away for {away:g} s", figure, broken)


class Database:
    """A service that answers each line, and is reached through a proxy that may swallow all."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def look_up(self, key: str) -> str:
        """Ask, within the handler's own deadline.

        Raises:
            TimeoutError, OSError: no answer in time.
        """
        try:
            async with asyncio.timeout(DATABASE_DEADLINE):
                if self._connection is None:
                    host, _, port = self._url.removeprefix("tcp://").partition(":")
                    self._connection = await asyncio.open_connection(host, int(port))
                reader, writer = self._connection
                writer.write(f"{key}\n".encode())
                if line := await reader.readline():
                    return line.decode().strip()
                raise ConnectionResetError
        except (TimeoutError, OSError):
            await self.close()
            raise

    async def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None


async def _serve_database(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while line := await reader.readline():
            writer.write(b"sip/" + line)
    writer.close()


async def database(calls: int) -> Outcome:
    """A handler whose database is black-holed half of the time falls back by itself (E7)."""
    server = await asyncio.start_server(_serve_database, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    module, taken, routed = Module("routes"), list[float](), Counter[str]()
    async with FaultProxy(f"tcp://127.0.0.1:{port}") as proxy:
        service = Database(proxy.url)

        @module.handler("call.route")
        async def route(message: Message) -> str:
            try:
                return await service.look_up(message["called"])
            except (TimeoutError, OSError):
                return "sip/fallback"

        async with Engine(module) as engine:
            for number in range(calls):
                if number % 20 == 10:
                    proxy.faults.silence()
                    proxy.faults.black_hole()
                elif number % 20 == 0:
                    proxy.faults.heal()
                begun = now()
                answer = await engine.dispatch("call.route", called=str(number))
                taken.append(now() - begun)
                routed[
                    "fallback" if answer.retvalue == "sip/fallback" else answer.retvalue[:4]
                ] += 1
                await asyncio.sleep(0.1)
            await service.close()
    server.close()
    await server.wait_closed()
    worst = max(taken)
    broken = [f"{routed['']} not routed"] if set(routed) - {"sip/", "fallback"} else []
    broken += [f"{worst:.2f} s"] if worst > DATABASE_DEADLINE + 0.01 else []
    broken += ["never fell back"] if not routed["fallback"] else []
    figure = f"{routed['fallback']} fell back, slowest {worst:.2f} s, 0 engine timeouts"
    return Outcome("E7", f"{calls:,} calls, the database black-holed for half", figure, broken)
