"""One module, one engine, a network between them, and a seed that says what befalls them (E10).

All on virtual time: a run of half a minute takes a fraction of a second, and the same seed does the
same again. It must not judge: it returns the history, and what was seen beside it.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from unittest import mock

from yateway import Message, Module
from yateway.engine import Engine
from yateway.engine.faults import Faults, nemesis
from yateway.engine.tapping import tapped
from yateway.errors import ConfigError, ConnectionLost
from yateway.testing import VirtualClockLoop

from .history import History, violations

__all__ = ["HANDLERS", "LINKS", "Run", "play", "victim"]

HANDLERS = 50
#: Handlers of one name with two priorities take a connection each.
LINKS = 2
#: Seconds after the last fault within which everything has to work again: the longest delay
#: between attempts, connecting and attaching, and a link that has to be noticed as dead first.
RECOVERY = 45.0
#: Seconds that the module waits for the engine.
PATIENCE = 8.0
#: When all of it takes place.
EPOCH = 1_800_000_000.0


@dataclass(slots=True)
class Run:
    """What one seed did and came to.

    Attributes:
        deeds: what the nemesis did, each with its time in seconds.
        broken: what broke a promise; empty is good.
        requests: how many requests the module read.
        cycles: how many connections it opened.
    """

    seed: int
    deeds: list[str]
    broken: list[str] = field(default_factory=list)
    requests: int = 0
    cycles: int = 0


def victim(dice: random.Random) -> Module:
    """Return a module with 50 handlers, among them one for each way to misbehave."""
    module = Module("victim", dispatch_timeout=PATIENCE)

    def see(message: Message) -> bool:
        message["seen"] = message.get("n", "")
        return True

    @module.handler("chaos.later")
    async def later(message: Message) -> bool:
        await asyncio.sleep(dice.uniform(0.0, 0.5))
        return see(message)

    @module.handler("chaos.hangs")
    async def hangs(message: Message) -> None:
        message["seen"] = "never"
        await asyncio.Event().wait()

    @module.handler("chaos.raises")
    def raises(message: Message) -> bool:
        message["seen"] = "never"
        raise LookupError(message.name)

    @module.handler("chaos.cancels")
    async def cancels(message: Message) -> None:
        message["seen"] = "never"
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    @module.handler("chaos.early")
    async def early(message: Message) -> None:
        see(message)
        await message.answer(True)
        await asyncio.sleep(3)

    @module.handler("chaos.impossible")
    def impossible(message: Message) -> bool:
        message["x"] = "\0" if dice.random() < 0.5 else "y" * 70_000
        return True

    module.handler("chaos.twice", priority=50)(lambda message: None)
    module.handler("chaos.twice", priority=150)(see)
    module.watcher("chaos.told")(lambda message: None)
    for number in range(HANDLERS - 8):
        module.handler(f"chaos.{number}", priority=number + 1)(see)
    return module


NAMES = [
    *("chaos.later", "chaos.hangs", "chaos.raises", "chaos.cancels", "chaos.early"),
    *("chaos.impossible", "chaos.twice", "chaos.told"),
    *(f"chaos.{number}" for number in range(HANDLERS - 8)),
]


class World:
    """What runs while a seed has its way."""

    def __init__(self, seed: int, history: History) -> None:
        self.dice = random.Random(seed)
        self.history = history
        self.engine = Engine()
        self.network = Faults(self.engine.open)
        self.module = victim(self.dice)
        self.engine.install("chaos.back", self._back)
        self._number = 0

    @staticmethod
    def _back(message: Message) -> bool:
        message["back"] = message.get("n", "")
        return True

    def next(self) -> str:
        """Return a number that no message had before."""
        self._number += 1
        return str(self._number)

    async def ask(self) -> None:
        """Let the engine ask the module, again and again."""
        while True:
            name = self.dice.choice(NAMES)
            with suppress(ConnectionLost):
                await self.engine.dispatch(name, n=self.next())
            await asyncio.sleep(self.dice.uniform(0.0, 0.3))

    async def tell(self) -> None:
        """Let the module ask the engine, again and again."""
        while True:
            number = self.next()
            with self.history.operation(number):
                answer = await self.module.dispatch("chaos.back", n=number)
                assert answer["back"] == number, f"{number} got the answer of {answer['back']}"
            await asyncio.sleep(self.dice.uniform(0.0, 0.3))

    async def set(self) -> None:
        """Let the module change a setting, again and again."""
        while True:
            value = str(self.dice.randrange(2, 11) * 1000)
            # Only what the engine confirmed is kept and set again.
            with suppress(ConnectionLost, ConfigError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self.module.setlocal("timeout", value)
            await asyncio.sleep(self.dice.uniform(1.0, 5.0))

    async def kill(self, until: float) -> list[str]:
        """Kill the engine now and then, and start it again."""
        loop, deeds = asyncio.get_running_loop(), list[str]()
        while loop.time() + 10 < until:
            await asyncio.sleep(self.dice.uniform(1.0, 20.0))
            if self.dice.random() < 0.5:
                deeds.append(f"{loop.time():.3f} drop")
                self.engine.drop()
                continue
            away = self.dice.uniform(0.0, 5.0)
            deeds.append(f"{loop.time():.3f} kill, start after {away:.3f}")
            self.engine.kill()
            await asyncio.sleep(away)
            await self.engine.start()
        return deeds

    async def works(self) -> list[str]:
        """Wait until all is well again, and return what is not."""
        broken = []
        try:
            async with asyncio.timeout(RECOVERY):
                while not (await self.engine.dispatch("chaos.1", n="0")).processed:
                    await asyncio.sleep(0.1)
                while not (await self.engine.dispatch("chaos.twice", n="0")).processed:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            broken.append(f"does not work again within {RECOVERY} s")
        broken += [f"{n} is not handled" for n in NAMES[:-1] if not self._handled(n)]
        return broken

    def _handled(self, name: str) -> bool:
        return name == "chaos.told" or self.engine.handles(name)


async def _play(seed: int, seconds: float, history: History) -> Run:
    # The module's delays between attempts are drawn from the global dice.
    random.seed(seed)
    world = World(seed, history)
    async with world.engine, world.network:
        await world.module.attach(tapped(world.network.open, history))
        work = [world.ask] * 4 + [world.tell] * 2 + [world.set]
        load = [asyncio.create_task(each()) for each in work]
        until = asyncio.get_running_loop().time() + seconds
        killing = asyncio.create_task(world.kill(until))
        deeds = await nemesis(world.network, seed, seconds)
        deeds += await killing
        broken = await world.works()
        for task in load:
            task.cancel()
        for result in await asyncio.gather(*load, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                broken.append(f"load failed: {result!r}")
        await world.module.detach()
    return Run(seed, sorted(deeds, key=lambda deed: float(deed.split()[0])), broken)


def play(seed: int, seconds: float = 30.0) -> tuple[Run, History]:
    """Let a seed have its way for so many virtual seconds, and say what broke.

    What reached nobody but the event loop, and tasks that are left, break a promise too (C11).
    """
    history = History()
    found: list[str] = []
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _, context: found.append(f"loop: {context}"))

        def time_of_day() -> float:
            # The wall's clock jumps by an hour, back and forth, and makes no difference (C12).
            return EPOCH + loop.time() + (3600.0 if loop.time() % 14 > 7 else 0.0)

        with mock.patch("time.time", time_of_day):
            run = runner.run(_play(seed, seconds, history))
        found += [f"left pending: {task!r}" for task in asyncio.all_tasks(loop)]
    entries = history.entries
    run.broken += found + violations(entries, LINKS)
    run.requests = sum(e.direction == "E" and e.line.startswith("%%>message:") for e in entries)
    run.cycles = sum(e.event.startswith("connect") for e in entries)
    return run, history
