"""Scenarios on the real engine: processes killed and stopped, sockets that say nothing.

It must not run without `YATEWAY_YATE`, nor outlast its limits: a minute for what waits on purpose.
All traffic stays on loopback.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from tests.real_engine import RealEngine, real_engine
from yateway import Message, Module
from yateway.engine.faults import FaultProxy
from yateway.errors import ConnectionLost
from yateway.reconnect import Backoff
from yateway.transport import opener_of

from .embedded import Happening, now, open_descriptors
from .outcome import Outcome

__all__ = ["available", "outcomes"]

#: Seconds that a process is stopped, or a handler blocks.
STOPPED, BLOCKED = 60.0, 30.0
#: Seconds that nothing here may take that does not wait on purpose.
PATIENCE = 30.0
HANDLERS = 50
#: Seconds after which the engine has closed what it held on to for a request.
ENGINE_TIMEOUT = 12.0


def available() -> bool:
    """Tell whether there is a real engine to try."""
    return Path(os.environ.get("YATEWAY_YATE", ""), "bin", "yate").exists()


def many(prefix: str = "real") -> Module:
    """Return a module with 50 handlers."""
    module = Module(prefix)
    for number in range(HANDLERS):
        module.handler(f"{prefix}.{number}")(lambda message: True)
    return module


@asynccontextmanager
async def attached(module: Module, url: str) -> AsyncIterator[Module]:
    """Attach a module to an engine while the block lasts."""
    await module.attach(opener_of(url))
    try:
        yield module
    finally:
        await module.detach()


async def handled(asker: Module, prefix: str = "real") -> list[str]:
    """Return which of the 50 handlers the engine does not have, or does not get an answer of."""
    names = [f"{prefix}.{number}" for number in range(HANDLERS)]
    answers = await asyncio.gather(*(asker.dispatch(name) for name in names))
    return [answer.name for answer in answers if not answer.processed]


async def all_handled(asker: Module, prefix: str = "real", within: float = PATIENCE) -> list[str]:
    """Wait until none is missing; return which are after so many seconds."""
    until = now() + within
    while (missing := await handled(asker, prefix)) and now() < until:
        await asyncio.sleep(0.05)
    return missing


async def killed() -> Outcome:
    """kill -9 of the engine under 50 dispatches in flight, and its start (C1, C2)."""
    module, holder = many(), Module("holder", max_in_flight=100, deadline=8)

    @holder.handler("test.hold")
    async def hold(message: Message) -> None:
        await asyncio.sleep(60)

    broken = []
    async with (
        real_engine() as engine,
        attached(holder, engine.unix),
        attached(module, engine.tcp),
    ):
        waiting = [asyncio.create_task(module.dispatch("test.hold")) for _ in range(50)]
        await asyncio.sleep(0.5)
        gone = now()
        await engine.kill()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        told = now() - gone
        lost = sum(isinstance(result, ConnectionLost) for result in results)
        await engine.start()
        begun = now()
        async with asyncio.timeout(PATIENCE):
            while not module.attached:
                await asyncio.sleep(0.01)
        back = now() - begun
        async with attached(Module("asker"), engine.unix) as asker:
            broken += await all_handled(asker)
    broken += [f"{50 - lost} of 50 not told"] if lost < 50 else []
    broken += [f"told after {told:.2f} s"] if told > 1 else []
    figure = f"{lost} of 50 told in {told * 1000:.0f} ms, back after {back:.1f} s"
    return Outcome("C1 C2", "real: engine killed under 50 dispatches", figure, broken)


async def engine_stopped(seconds: float) -> Outcome:
    """SIGSTOP of the engine (C13): the link is given up, and comes back when it goes on."""
    module = many()
    downs = Happening(module.on_disconnected)
    async with real_engine() as engine, attached(module, engine.tcp):
        os.kill(engine.pid, signal.SIGSTOP)
        gone = now()
        await downs.next(seconds)
        noticed = now() - gone
        await asyncio.sleep(max(0.0, gone + seconds - now()))
        os.kill(engine.pid, signal.SIGCONT)
        begun = now()
        async with attached(Module("asker"), engine.unix) as asker:
            missing = await all_handled(asker)
            back = now() - begun
    broken = missing + ([f"back after {back:.1f} s"] if back > 15 else [])
    broken += [f"noticed after {noticed:.1f} s"] if noticed > 16 else []
    figure = f"noticed after {noticed:.1f} s, whole {back:.1f} s after it went on"
    return Outcome("C13 C4", f"real: engine stopped for {seconds:g} s", figure, broken)


@asynccontextmanager
async def program(engine: RealEngine, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python with these words and the engine's address while the block lasts."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, *words, engine.tcp), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGCONT)
            child.terminate()
        await child.wait()


def process(
    engine: RealEngine, what: str
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """Run one of `chaos.children` while the block lasts."""
    return program(engine, "-m", "chaos.children", what)


async def module_stopped(seconds: float) -> Outcome:
    """SIGSTOP of a module (C13): others go on meanwhile, and it is whole when it goes on."""
    broken, slow = list[str](), 0
    async with (
        real_engine() as engine,
        process(engine, "many") as child,
        attached(many("other"), engine.unix) as other,
    ):
        await all_handled(other)
        child.send_signal(signal.SIGSTOP)
        until = now() + seconds
        held = asyncio.create_task(other.dispatch("real.1"))
        async with attached(Module("asker"), engine.unix) as asker:
            while now() < until:
                begun = now()
                if not (await asker.dispatch("other.1")).processed:
                    broken.append("another module was not asked")
                slow += now() - begun > 1
                await asyncio.sleep(0.1)
        child.send_signal(signal.SIGCONT)
        begun = now()
        missing = await all_handled(other)
        back = now() - begun
        await held
    broken += missing + ([f"back after {back:.1f} s"] if back > 15 else [])
    broken += [f"{slow} messages of others took over 1 s"] if slow else []
    figure = f"others undisturbed, whole {back:.1f} s after it went on"
    return Outcome("C13", f"real: module stopped for {seconds:g} s", figure, broken)


async def half_open() -> Outcome:
    """A connection that dies without a word is noticed (C4)."""
    module = many()
    async with (
        real_engine() as engine,
        FaultProxy(engine.tcp) as proxy,
        attached(module, proxy.url),
    ):
        proxy.faults.silence()
        gone = now()
        async with asyncio.timeout(PATIENCE):
            while module.attached:
                await asyncio.sleep(0.01)
        noticed = now() - gone
        proxy.faults.heal()
        async with attached(Module("asker"), engine.unix) as asker:
            missing = await all_handled(asker)
    broken = missing + ([f"noticed after {noticed:.1f} s"] if noticed > 15.5 else [])
    return Outcome("C4", "real: half-open TCP", f"noticed after {noticed:.1f} s", broken)


async def blocking(seconds: float) -> Outcome:
    """A handler blocks its loop; messages of another module must flow (Y10)."""
    taken: list[float] = []
    async with (
        real_engine() as engine,
        process(engine, "blocks") as child,
        attached(many("other"), engine.unix),
        attached(Module("a"), engine.unix) as asker,
    ):
        await ready(asker)
        held = asyncio.create_task(asker.dispatch("test.block", seconds=seconds))
        until = now() + seconds
        while now() < until:
            begun = now()
            answer = await asker.dispatch("other.1")
            taken.append(now() - begun if answer.processed else 60.0)
            await asyncio.sleep(0.05)
        await held
        await ready(asker)
        assert child.returncode is None
    worst = max(taken)
    broken = [f"slowest took {worst:.2f} s"] if worst > 1 else []
    figure = f"{len(taken)} messages of another, slowest {worst * 1000:.0f} ms; served again after"
    return Outcome("D1 Y10", f"real: a handler blocks for {seconds:g} s", figure, broken)


async def cycles(count: int) -> Outcome:
    """End the link again and again under load: nothing lost, leaked or unanswered (C1, C10).

    The delays between attempts are shortened, so that it takes no hours; the rest is as ever. The
    connections end and are not reset: what it was asked over one that is reset, this engine keeps
    until its timeout, whatever a module does.
    """
    module, broken, taken = many(), list[str](), list[float]()
    ups, cap, first = Happening(module.on_connected), Backoff.CAP, Backoff.FIRST
    Backoff.CAP = Backoff.FIRST = 0.1
    try:
        async with (
            real_engine() as engine,
            FaultProxy(engine.tcp) as proxy,
            attached(Module("asker"), engine.unix) as asker,
            attached(module, proxy.url),
        ):
            await ups.next()
            load = [asyncio.create_task(_ask(asker, taken)) for _ in range(4)]
            before = 0, 0
            for cycle in range(count):
                if cycle == 1:  # by then either side has opened what it keeps
                    await asyncio.sleep(1)
                before = _descriptors(engine)
                proxy.faults.half_close()
                await ups.next()
                missing = await all_handled(asker, within=2)
                broken += [f"cycle {cycle}: {name} was lost" for name in missing]
            until = now() + ENGINE_TIMEOUT
            while (after := _descriptors(engine)) > before and now() < until:
                await asyncio.sleep(0.2)
            leaked = after[0] - before[0], after[1] - before[1]
            for task in load:
                task.cancel()
            await asyncio.wait(load)
    finally:
        Backoff.CAP, Backoff.FIRST = cap, first
    held = sum(seconds > 5 for seconds in taken)
    broken += [f"{held} requests were left to the engine's timeout"] if held else []
    broken += [f"{leaked} descriptors of ours and the engine's"] if any(leaked) else []
    figure = f"0 handlers lost, {leaked} leaked, {held} of {len(taken):,} requests unanswered"
    return Outcome("C1 C10", f"real: {count} reconnects of {HANDLERS} handlers", figure, broken)


def _descriptors(engine: RealEngine) -> tuple[int, int]:
    return open_descriptors(), open_descriptors(engine.pid)


async def _ask(asker: Module, taken: list[float]) -> None:
    dice = random.Random(len(taken))
    while True:
        begun = now()
        await asker.dispatch(f"real.{dice.randrange(HANDLERS)}")
        taken.append(now() - begun)
        await asyncio.sleep(0.01)


async def module_killed(kills: int) -> Outcome:
    """kill -9 of a module that holds a request (E2): released, started again, others unharmed."""
    released, back = list[float](), list[float]()
    broken: list[str] = []
    async with (
        real_engine() as engine,
        attached(many("other"), engine.unix),
        attached(Module("asker"), engine.unix) as asker,
        program(engine, "-m", "yateway", "run", "chaos.children:held", "--engine"),
    ):
        pid = await ready(asker)
        for _ in range(kills):
            held = asyncio.create_task(asker.dispatch("test.hold"))
            await asyncio.sleep(0.3)
            begun = now()
            os.kill(int(pid), signal.SIGKILL)
            await held
            released.append(now() - begun)
            broken += await handled(asker, "other")
            pid = await ready(asker)
            back.append(now() - begun)
    broken += [f"released after {max(released):.3f} s"] if max(released) > 0.05 else []
    broken += [f"back after {max(back):.1f} s"] if max(back) > 2 else []
    figure = (
        f"released within {max(released) * 1000:.0f} ms, back within {max(back):.1f} s,"
        " 0 errors elsewhere"
    )
    return Outcome("E2", f"real: a module killed {kills} times, holding a request", figure, broken)


async def ready(asker: Module) -> str:
    """Wait until the module that runs beside is attached; return what it says of itself."""
    async with asyncio.timeout(PATIENCE):
        while not (answer := await asker.dispatch("test.ready")).processed:
            await asyncio.sleep(0.02)
    return answer.retvalue


def outcomes(scale: int) -> Iterator[Outcome]:
    """Try everything, for so many seeds of the nemesis a fifth as many reconnects."""
    if not available():
        print("nothing on the real engine: YATEWAY_YATE names none")
        return
    for scenario in (
        killed, half_open, partial(module_killed, 4), partial(blocking, BLOCKED),
        partial(cycles, scale // 5),
        partial(engine_stopped, STOPPED), partial(module_stopped, STOPPED),
    ):  # fmt: skip
        yield asyncio.run(scenario())
