"""What a module does under more than it can do: it reads on, answers, and keeps little."""

from __future__ import annotations

import asyncio
import itertools
import time
import tracemalloc

import pytest

from tests.far import Far, opener_to
from yateway.message import Message
from yateway.module import Module

MIB = 1024 * 1024


def now() -> float:
    return asyncio.get_running_loop().time()


async def attached(module: Module) -> Far:
    """Attach a module to a far end that is typed by hand."""
    far = Far()
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    await accepted
    return far


async def leave(module: Module, far: Far) -> None:
    far.close()
    await module.detach()


async def test_it_never_stops_reading_whatever_its_handlers_do() -> None:
    """All handlers hang and watchers sleep while the engine pumps 100 MB (C5).

    The engine's writes never wait, every request has its answer, and little is kept.
    """
    module = Module("stuck", deadline=1000)

    @module.handler("t.request")
    async def hang(message: Message) -> None:
        await asyncio.sleep(500)

    @module.watcher("t.watched")
    async def sleep(message: Message) -> None:
        await asyncio.sleep(500)

    far = await attached(module)
    params = ":" + ":".join(f"p{number}={'x' * 62_000}" for number in range(4))
    tracemalloc.start()
    try:
        pumped, sent = 0, 0
        answered: set[str] = set()
        while pumped < 100_000_000:
            sent += 1
            line = f"%%>message:{sent}:1:t.request:{params}"
            far.say(line, f"%%<message::false:t.watched:{params}")
            pumped += 2 * len(line)
            # What the module has not read yet would make the engine wait.
            await far._end.drain()
            if sent > 64:
                (answer,) = await far.hear()
                answered.add(answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now() == 0.0
    assert answered == {f"%%<message:{number}:false:" for number in range(65, sent + 1)}
    assert module.counters.shed == sent - 64
    # 64 requests and the watcher's queue, as bytes and as text.
    assert peak < 80 * MIB
    await asyncio.sleep(600)
    assert len(await far.hear(64)) == 64
    await leave(module, far)


async def test_ten_times_too_much_is_shed_at_once() -> None:
    """No more than 64 are held, and nobody waits for a refusal (D1)."""
    module = Module("busy")

    @module.handler("t.x")
    async def work(message: Message) -> bool:
        await asyncio.sleep(1)
        return True

    far = await attached(module)
    begun: dict[str, float] = {}
    took: dict[str, list[float]] = {"true": [], "false": []}
    most = 0

    async def listen() -> None:
        while lines := await far.hear():
            _, id_, processed, _ = lines[0].split(":", 3)
            took[processed].append(now() - begun.pop(id_))

    listening = asyncio.create_task(listen())
    for number in range(10 * 640):
        begun[str(number)] = now()
        far.say(f"%%>message:{number}:1:t.x:")
        await asyncio.sleep(1 / 640)
        assert module._life is not None
        most = max(most, module._life.server.in_flight)
    await asyncio.sleep(2)
    assert begun == {}
    assert most == 64
    assert max(took["false"]) < 0.005
    assert max(took["true"]) < 1.005
    assert 10 * 63 <= len(took["true"]) <= 11 * 64
    assert module.counters.shed == len(took["false"])
    await leave(module, far)
    await listening


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1.0, 1e9])
async def test_a_clock_that_is_set_changes_no_deadline(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour forth or back, a leap second, years: only messages have another time (C12)."""
    real = time.time
    offset = 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset)
    module = Module("clocks")

    @module.handler("t.hang")
    async def hang(message: Message) -> None:
        nonlocal offset
        offset = jump
        await asyncio.sleep(1000)

    far = await attached(module)
    began = now()
    far.say("%%>message:1:1:t.hang:")
    assert await far.hear() == ["%%<message:1:false:"]
    assert now() - began == 2.0
    # An idle link is asked as before, and one that is silent dropped.
    assert await far.hear() == ["%%>setlocal:runid:"]
    assert now() - began == 5.0
    assert abs(Message("t.x").time - (real() + jump)) < 5
    assert (await far.hear_all()) == []
    assert now() - began == 15.0
    await leave(module, far)


async def test_a_flood_of_what_nobody_can_use_leaves_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An engine that says nothing but nonsense fills no log (F13, B10)."""
    module = Module("patient")

    @module.handler("t.fail")
    def fail(message: Message) -> None:
        raise ValueError(message.name)

    far = await attached(module)
    ids = itertools.count()
    for _ in range(100):
        for _ in range(20):
            far.say(
                "nonsense",
                "%%<install:1:t.x:true",
                "Error in: nonsense",
                "%%<message:99:true:t.x:",
                f"%%>message:{next(ids)}:soon:t.x:",
                f"%%>message:{next(ids)}:1:t.fail:",
            )
        await asyncio.sleep(0.1)
    assert module.attached
    # Of each kind one line a second at the most.
    assert len([r for r in caplog.records if r.levelname != "DEBUG"]) <= 2 * 12
    assert len(await far.hear(4_000)) == 4_000
    await leave(module, far)
