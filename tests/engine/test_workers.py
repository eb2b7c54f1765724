"""How many queued messages are under way at a time, as measured on the real engine."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.by_hand import EIGHT_WORKERS, Hand
from yateway.engine import Engine
from yateway.engine.dispatcher import EngineMessage
from yateway.engine.workers import Limits, Workers


class Scene:
    """Workers whose messages end when they are told to."""

    def __init__(self, limits: Limits) -> None:
        self.taken: list[str] = []
        self.exhausted = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.workers = Workers(self._work, limits, self._exhaust)

    def _exhaust(self) -> None:
        self.exhausted += 1

    async def _work(self, message: EngineMessage) -> None:
        self.taken.append(message.name)
        if gate := self.gates.get(message.name):
            await gate.wait()

    def hold(self, *names: str) -> None:
        """Enqueue messages that end only when they are released."""
        for name in names:
            self.gates[name] = asyncio.Event()
            self.pass_(name)

    def pass_(self, name: str) -> None:
        """Enqueue a message that ends at once."""
        self.workers.enqueue(EngineMessage(name, time=1))

    async def tick(self, count: int = 1) -> None:
        """Let full seconds pass."""
        for _ in range(count):
            self.workers.tick()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def test_a_held_worker_takes_no_other_message() -> None:
    """The next one waits, and the queue keeps its order."""
    scene = Scene(Limits(least=2))
    scene.hold("a", "b")
    scene.pass_("c")
    scene.pass_("d")
    await asyncio.sleep(1)
    assert scene.taken == ["a", "b"]
    assert len(scene.workers) == 2
    scene.gates["b"].set()
    await asyncio.sleep(1)
    assert scene.taken == ["a", "b", "c", "d"]
    assert (scene.workers.enqueued, scene.workers.dequeued, scene.workers.longest) == (4, 4, 4)
    scene.gates["a"].set()
    await asyncio.sleep(1)


async def test_workers_are_added_every_other_second_while_all_are_held() -> None:
    """A new one that is held at once gets its second too, and there is an end to it."""
    scene = Scene(Limits(least=1, most=3))
    scene.hold("a", "b", "c", "d")
    await asyncio.sleep(0)
    sizes = []
    for _ in range(8):
        await scene.tick()
        sizes.append(scene.workers.size)
    assert sizes == [1, 2, 2, 3, 3, 3, 3, 3]
    assert scene.taken == ["a", "b", "c"]
    assert not scene.workers.growing
    scene.workers.stop()
    await scene.workers.join()


async def test_several_may_be_added_at_a_time() -> None:
    """But never more than there may be."""
    scene = Scene(Limits(least=1, most=6, step=4))
    scene.hold("a", "b")
    await scene.tick(2)
    assert scene.workers.size == 5
    assert scene.taken == ["a", "b"]
    scene.hold("c", "d", "e", "f", "g")
    await scene.tick(2)
    assert scene.workers.size == 6
    assert scene.taken == ["a", "b", "c", "d", "e", "f"]
    scene.workers.stop()
    await scene.workers.join()


async def test_one_that_was_idle_meanwhile_is_enough() -> None:
    """Nothing is added as long as one comes to rest each second."""
    scene = Scene(Limits(least=1, most=3))
    for name in "abcd":
        scene.hold(name)
        await scene.tick()
        scene.gates[name].set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert scene.workers.size == 1
    assert scene.exhausted == 4
    await scene.tick(3)
    assert scene.workers.size == 1


@pytest.mark.parametrize(("held", "seconds"), [(1, 2), (3, 6), (9, 18)])
async def test_slow_handlers_delay_the_whole_engine(held: int, seconds: int) -> None:
    """An unrelated message waits until there are more workers than requests (engine.md Y10).

    On the real engine nine requests held delayed the tenth message by 18 s.
    """
    async with Engine() as engine:
        slow, other = await Hand.on(engine), await Hand.on(engine)
        await slow.ask("%%>setlocal:timeout:0", "%%>install:50:t.slow")
        loop = asyncio.get_running_loop()
        other.say(*(f"%%>message:{n}:0:t.slow:" for n in range(held)))
        before = loop.time()
        assert await other.ask("%%>message:free:0:t.free:") == ["%%<message:free:false:t.free:"]
        assert seconds - 1 <= loop.time() - before <= seconds


async def test_ten_held_requests_stop_the_engine() -> None:
    """More workers than that it does not have."""
    async with Engine() as engine:
        slow, other = await Hand.on(engine), await Hand.on(engine)
        await slow.ask("%%>setlocal:timeout:0", "%%>install:50:t.slow")
        other.say(*(f"%%>message:{n}:0:t.slow:" for n in range(10)), "%%>message:free:0:t.free:")
        assert await other.is_quiet(100)
        id_, _ = await slow.request()
        slow.say(f"%%<message:{id_}:true:")
        assert await other.hear(2) == ["%%<message:0:true:t.slow:", "%%<message:free:false:t.free:"]


async def test_the_configuration_says_how_many() -> None:
    """[general] minworkers of yate.conf."""
    async with Engine(conf=EIGHT_WORKERS) as engine:
        slow, other = await Hand.on(engine), await Hand.on(engine)
        await slow.ask("%%>install:50:t.slow")
        other.say(*(f"%%>message:{n}:0:t.slow:" for n in range(7)))
        before = asyncio.get_running_loop().time()
        assert await other.ask("%%>message:free:0:t.free:") == ["%%<message:free:false:t.free:"]
        assert asyncio.get_running_loop().time() == before


async def test_what_a_part_of_the_engine_dispatches_takes_no_worker() -> None:
    """It holds that part alone."""
    async with Engine() as engine:
        slow = await Hand.on(engine)
        await slow.ask("%%>setlocal:timeout:5000", "%%>install:50:t.slow")
        held = [asyncio.create_task(engine.dispatch("t.slow")) for _ in range(20)]
        before = asyncio.get_running_loop().time()
        assert await slow.ask("%%>message:free:0:t.free:") != []
        assert asyncio.get_running_loop().time() == before
        await asyncio.gather(*held)
