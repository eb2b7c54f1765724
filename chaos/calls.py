"""Calls under faults, on virtual time: engines that are killed, links that are cut, people who go.

`storm` keeps so many calls up for so long while one fault after the other befalls them, and returns
what was left behind or never ended. `kills` counts what a killed engine leaves.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

from yateway import Call, CallEnded, Message, Module, Reject, Route, YatewayError
from yateway.engine import Engine
from yateway.engine.sim import Leg
from yateway.orphans import PATIENCE
from yateway.reconnect import STABLE_AFTER
from yateway.running import CLEAN_UP
from yateway.sound import RecordingEnd

from .outcome import Outcome

__all__ = ["kill_engines", "kills", "storm", "weather"]

#: Seconds between two faults.
EVERY = 10.0


class _Traffic:
    """People who call 100 again and again, and the module that talks to them."""

    def __init__(self, engine: Engine, folder: str, seed: int) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.begun = self.over = 0
        self.module = module = Module("storm", sounds=folder, recordings=folder, patience=1)
        (Path(folder) / "menu.slin").write_bytes(bytes(32_000))

        @module.handler("call.route", filter=("called", "100"))
        def route(message: Message) -> Route | Reject:
            return module.take("talk")

        @module.call("talk")
        async def talk(call: Call) -> None:
            self.begun += 1
            try:
                await self._talk(call)
            except CallEnded as end:
                self.ends[end.reason] += 1
                raise
            finally:
                try:
                    await asyncio.sleep(0.5)
                finally:
                    self.over += 1

    async def _talk(self, call: Call) -> None:
        await call.answer()
        call.spawn(asyncio.sleep(600))
        while True:
            match self._random.randrange(6):
                case 0:
                    await call.play(["menu.slin", "menu.slin"])
                case 1:
                    await call.collect(3, prompt="menu.slin", first=1)
                case 2:
                    file = f"{call.id.replace('/', '-')}.slin"
                    recorded = await call.record(file, limit=2, beep=False)
                    if recorded.end is RecordingEnd.HANGUP:
                        return  # a message that ends so is kept, and nothing more is said
                case 3:
                    async with asyncio.timeout(None), asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(3))
                case 4:
                    await call.dial("sim/200", timeout=2)
                case _:
                    async with call.hold("menu.slin"):
                        await call.key(2)

    async def person(self) -> None:
        """Call, press keys, and hang up after a while; and again."""
        while True:
            await asyncio.sleep(self._random.uniform(0, 5))
            try:
                leg = await self._engine.call("100", "1001")
            except YatewayError:
                continue
            for _ in range(self._random.randrange(40)):
                await asyncio.sleep(1)
                if leg.hung_up:
                    break
                leg.press(self._random.choice("0123456789*#"))
            if not leg.hung_up:
                leg.hang_up()

    async def called(self) -> None:
        """Answer, refuse or let ring whoever calls 200."""
        while True:
            try:
                leg = await self._engine.next_call()
            except YatewayError:
                await asyncio.sleep(1)
                continue
            asyncio.get_running_loop().call_later(self._random.uniform(0, 3), self._react, leg)

    def _react(self, leg: Leg) -> None:
        if not leg.hung_up:
            match self._random.randrange(3):
                case 0:
                    leg.hang_up("busy")
                case 1:
                    leg.pick_up()
                    asyncio.get_running_loop().call_later(2, _hang_up, leg)
                case _:
                    pass

    async def fault(self, kind: str = "") -> None:
        """Let something befall everybody."""
        match kind or self._random.choice(["kill", "restart", "drop", "drop", "many hang up"]):
            case "kill":
                self._engine.kill()
                await asyncio.sleep(self._random.uniform(0, 8))
                await self._engine.start()
            case "restart":
                await self._engine.stop()
                await self._engine.start()
            case "drop":
                self._engine.drop()
            case _:
                for call in list(self.module.calls)[::2]:
                    if self.module.attached:
                        call.spawn(call.hangup("storm"))

    def left(self) -> list[str]:
        """Return what is left behind of calls that are all over."""
        board = self.module._board
        run = self._engine._run
        channels = [] if run is None else [c for d in run.exchange.drivers for c in d.channels]
        found = {
            "calls": len(self.module.calls),
            "channels in the registry": len(self.module.calls._channels),
            "tasks": len(board._running),
            "notify ids": len(board._notified),
            "channels in the engine": len(channels),
            "calls whose code never ended": self.begun - self.over,
        }
        return [f"{count} {what} left" for what, count in found.items() if count]


def _hang_up(leg: Leg) -> None:
    if not leg.hung_up:
        leg.hang_up()


async def storm(seed: int, people: int, seconds: float) -> tuple[_Traffic, list[str]]:
    """Let so many people call for so long, with a fault every ten seconds."""
    with tempfile.TemporaryDirectory(prefix="yateway-storm-") as folder:
        engine = Engine()
        traffic = _Traffic(engine, folder, seed)
        await engine.start()
        await traffic.module.attach(engine.open)
        crowd = [asyncio.create_task(traffic.person()) for _ in range(people)]
        crowd.append(asyncio.create_task(traffic.called()))
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(EVERY)
            await traffic.fault()
        for one in crowd:
            one.cancel()
        await asyncio.wait(crowd)
        # Those whose people have gone with their call standing are hung up from the other side.
        await asyncio.sleep(15)
        run = engine._run
        assert run is not None
        for leg in list(run.drivers.phones.channels.values()):
            if isinstance(leg, Leg):
                _hang_up(leg)
        await asyncio.sleep(PATIENCE + CLEAN_UP + 10)
        broken = traffic.left()
        await traffic.module.detach()
        await engine.stop()
        return traffic, broken


async def kills(calls: int, times: int) -> tuple[_Traffic, list[str]]:
    """Kill the engine so often under so many calls; each has to end soon, and nothing is left."""
    with tempfile.TemporaryDirectory(prefix="yateway-kills-") as folder:
        engine = Engine()
        traffic = _Traffic(engine, folder, 0)
        broken: list[str] = []
        await engine.start()
        await traffic.module.attach(engine.open)
        for time in range(times):
            while not traffic.module.attached:
                await asyncio.sleep(0.1)
            for _ in range(calls):
                await engine.call("100", "1001")
            # A link that lasts so long is tried again within a second.
            await asyncio.sleep(STABLE_AFTER)
            count = len(traffic.module.calls)
            if count != calls:
                broken.append(f"kill {time}: {count} of {calls} calls had come about")
            engine.kill()
            # The module notices at its next attempt, within a second; then its code cleans up.
            await asyncio.sleep(1 + 0.5 + 0.1)
            broken += [f"kill {time}: {what}" for what in traffic.left()]
            await engine.start()
        await traffic.module.detach()
        await engine.stop()
        if traffic.ends.keys() - {"engine lost", "hangup", "noanswer"}:
            broken.append(f"calls have ended for {dict(traffic.ends)}")
        return traffic, broken


async def weather(seeds: int, people: int = 200, seconds: float = 300) -> Outcome:
    """Let storms come over calls."""
    broken: list[str] = []
    calls = 0
    for seed in range(seeds):
        traffic, left = await storm(seed, people, seconds)
        calls += traffic.begun
        broken += [f"storm {seed}: {what}" for what in left]
    figure = f"{calls:,} calls in {seeds} storms, {len(broken)} leaks"
    return Outcome("D5 C10 C11", f"{people} calls, a fault every {EVERY:g} s", figure, broken)


async def kill_engines(times: int, calls: int = 200) -> Outcome:
    """Kill engines under calls."""
    traffic, broken = await kills(calls, times)
    figure = f"{traffic.begun:,} calls, {len(broken)} left behind"
    return Outcome("E1 C8", f"{calls} calls x {times} kills of the engine", figure, broken)
