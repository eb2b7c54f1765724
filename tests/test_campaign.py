"""Campaigns: how many at once, how many a second, who is called again, and how they end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

import pytest

from yateway import Call, CallEnded, Campaign, ConfigError, Module, Outcome
from yateway.engine.sim import Leg
from yateway.testing import EngineForTests

_R = TypeVar("_R")


class World:
    """People with telephones: each number does, call after call, what its list says."""

    def __init__(self, engine: EngineForTests, **does: str) -> None:
        self._engine = engine
        self._does = {number.strip("n"): list(acts.split()) for number, acts in does.items()}
        self.calls: list[tuple[float, str]] = []
        self.at_once = self.most = 0

    async def live(self) -> None:
        """Let them answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                leg = await self._engine.next_call()
                self.calls.append((asyncio.get_running_loop().time(), leg.address))
                acts = self._does.get(leg.address, [])
                group.create_task(self._act(leg, acts.pop(0) if acts else "talk"))

    async def _act(self, leg: Leg, act: str) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            match act:
                case "busy" | "rejected":
                    leg.hang_up(act)
                case "silent":
                    await leg.until(lambda: leg.hung_up)
                case "leave":
                    leg.pick_up()
                    await asyncio.sleep(1)
                    leg.hang_up()
                case _:
                    leg.pick_up()
                    await leg.until(lambda: leg.hung_up)
        finally:
            self.at_once -= 1


async def talk(call: Call) -> str:
    """Talk for ten seconds."""
    await asyncio.sleep(10)
    return f"talked to {call.called}"


async def outcomes_of(campaign: Campaign[_R], world: World) -> list[Outcome[_R]]:
    """Return what became of all numbers."""
    living = asyncio.create_task(world.live())
    try:
        async with campaign as outcomes:
            return [outcome async for outcome in outcomes]
    finally:
        living.cancel()
        await asyncio.wait([living])


@pytest.mark.yateway(expect_errors=True)
async def test_each_number_has_its_outcome(engine: EngineForTests) -> None:
    module = Module("dialler", calls=True)
    await engine.attach(module)
    world = World(
        engine, n1="talk", n2="busy busy talk", n3="silent silent silent", n4="rejected", n5="leave"
    )
    campaign = module.campaign(
        [*"12345", "6/evil"],
        "sim/{}",
        talk,
        caller="100",
        rate=10,
        timeout=20,
        retry={"busy": 60, "timeout": 30},
    )
    outcomes = {outcome.number: outcome for outcome in await outcomes_of(campaign, world)}
    assert outcomes["1"] == Outcome("1", 1, "answered", None, "talked to 1")
    assert outcomes["2"] == Outcome("2", 3, "answered", None, "talked to 2")
    assert outcomes["3"] == Outcome("3", 3, "timeout")
    assert outcomes["4"] == Outcome("4", 1, "rejected")
    assert outcomes["5"] == Outcome("5", 1, "answered")
    assert [bool(outcomes[n]) for n in "12345"] == [True, True, False, False, True]
    second = [time for time, number in world.calls if number == "2"]
    assert [round(b - a) for a, b in itertools.pairwise(second)] == [60, 60]
    assert len(module.calls) == 0


async def test_concurrency_and_rate(engine: EngineForTests) -> None:
    """Never more at once, never more in a second, and as many as that allows."""
    module = Module("dialler", calls=True)
    await engine.attach(module)
    world = World(engine)
    numbers = [str(n) for n in range(40)]
    campaign = module.campaign(numbers, lambda n: f"sim/{n}", talk, concurrency=15, rate=2)
    outcomes = await outcomes_of(campaign, world)
    assert all(outcomes)
    assert sorted(outcome.number for outcome in outcomes) == sorted(numbers)
    assert world.most == 15
    times = [time for time, _ in world.calls]
    assert min(b - a for a, b in itertools.pairwise(times)) > 0.49
    assert max(times) < 40


async def test_an_endless_list_is_read_when_there_is_room(engine: EngineForTests) -> None:
    """And leaving the block hangs up."""
    module = Module("dialler", calls=True)
    await engine.attach(module)
    read = 0

    def numbers() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield str(read)

    living = asyncio.create_task(World(engine).live())
    async with module.campaign(numbers(), "sim/{}", talk, concurrency=3, rate=1) as outcomes:
        assert repr(outcomes) == "<Campaign active=0 to be called again=0>"
        async for outcome in outcomes:
            assert outcome.number == "1"
            break
        assert len(module.calls) == 2
        assert read <= 5
    assert len(module.calls) == 0
    assert [outcome async for outcome in outcomes] == []
    living.cancel()
    await asyncio.wait([living])


async def test_one_who_hangs_up_ends_the_talk(engine: EngineForTests) -> None:
    module = Module("dialler", calls=True)
    await engine.attach(module)
    ended: list[str] = []

    async def note(call: Call) -> None:
        try:
            await call.wait_for("chan.dtmf")
        except CallEnded as end:
            ended.append(end.reason)
            raise

    (outcome,) = await outcomes_of(
        module.campaign(["5"], "sim/{}", note), World(engine, n5="leave")
    )
    assert outcome == Outcome("5", 1, "answered")
    assert ended == ["hangup"]


@pytest.mark.yateway(expect_errors=True)
async def test_code_that_fails_ends_its_own_call_only(
    engine: EngineForTests, caplog: pytest.LogCaptureFixture
) -> None:
    module = Module("dialler", calls=True)
    await engine.attach(module)

    async def fail(call: Call) -> str:
        if call.called == "1":
            raise ValueError("no good")
        return "good"

    campaign = module.campaign(["1", "2"], "sim/{}", fail, rate=5)
    outcomes = await outcomes_of(campaign, World(engine))
    assert [(one.reason, one.result) for one in outcomes] == [
        ("failed", None),
        ("answered", "good"),
    ]
    assert "the call to '1' failed: ValueError('no good')" in caplog.text


async def test_a_cut_link_costs_a_try(engine: EngineForTests) -> None:
    module = Module("dialler", calls=True)
    await engine.attach(module)
    cut = asyncio.get_running_loop().call_later(0.5, engine.drop)
    campaign = module.campaign([*"123"], "sim/{}", talk, rate=2, retry={"lost": 5}, tries=2)
    outcomes = await outcomes_of(campaign, World(engine))
    assert cut.cancelled() is False
    assert Counter(outcome.reason for outcome in outcomes) == {"answered": 3}


async def test_a_module_that_ends_ends_its_campaigns(engine: EngineForTests) -> None:
    """It calls nobody any more, has patience with those who talk, and tells what became of them."""
    module = Module("dialler", calls=True, patience=20)
    await module.attach(engine.open)
    world = World(engine)
    living = asyncio.create_task(world.live())
    got: list[Outcome[str]] = []

    async def run() -> None:
        numbers = map(str, range(100))
        async with module.campaign(numbers, "sim/{}", talk, rate=1) as outcomes:
            got.extend([outcome async for outcome in outcomes])

    running = asyncio.create_task(run())
    await asyncio.sleep(4.5)
    await module.detach()
    await running
    assert [outcome.result for outcome in got] == [f"talked to {n}" for n in range(5)]
    assert len(world.calls) == 5
    living.cancel()
    await asyncio.wait([living])


async def test_what_calls_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not watch calls"):
        Module("m").campaign([], "sim/{}", talk)
    module = Module("m", calls=True)
    for wrong in ({"concurrency": 0}, {"rate": 0}, {"tries": 0}):
        with pytest.raises(ConfigError, match="calls nobody: give at least one"):
            module.campaign([], "sim/{}", talk, **wrong)  # type: ignore[arg-type]
