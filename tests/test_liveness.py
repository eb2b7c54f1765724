"""A link that is dead without saying so is noticed, and one that lives is left alone."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.far import Far
from tests.real_engine import real_engine
from yateway.engine import Engine
from yateway.engine.faults import Faults, Toward
from yateway.errors import ConnectionLost
from yateway.link import Link
from yateway.liveness import INTERVAL, MISSES, Pulse
from yateway.message import Message
from yateway.module import Module
from yateway.transport import opener_of
from yateway.wire.frames import Quit

QUESTION = "%%>setlocal:runid:"
REPLY = "%%<setlocal:runid:1:true"


class Beating:
    """A link with a pulse, and its far end."""

    def __init__(self) -> None:
        self.far = Far()
        self.link = Link(self.far.near, lambda link, message: None, lambda message: None)
        self.reading = asyncio.create_task(self.link.run())
        self.pulse = Pulse(self.link)

    @property
    def alive(self) -> bool:
        return not self.reading.done()


@asynccontextmanager
async def beating() -> AsyncIterator[Beating]:
    it = Beating()
    try:
        yield it
    finally:
        it.pulse.stop()
        it.link.abort()
        await it.reading


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_silent_link_is_dropped_after_fifteen_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is asked after 5 s, and dropped after 15 s, when it has missed that twice (C4)."""
    async with beating() as it:
        heard = []
        while line := await it.far.hear():
            heard.append((*line, now()))
        assert heard == [(QUESTION, 5.0)]
        await it.reading
        assert now() == 15.0 == INTERVAL * (1 + MISSES)
    assert "memory:test is dead: nothing came for 15 s, dropped" in caplog.text


async def test_a_reply_is_a_sign_of_life() -> None:
    """An idle link is asked every 5 s and lives as long as it replies, whatever it replies."""
    async with beating() as it:
        for number in range(100):
            assert await it.far.hear() == [QUESTION]
            assert now() == pytest.approx(5.0 * (number + 1))
            it.far.say(REPLY if number % 2 else "Error in: " + QUESTION)
        assert it.alive


async def test_a_late_reply_is_a_sign_of_life() -> None:
    """One that comes just in time saves the link, and the count begins anew."""
    async with beating() as it:
        await asyncio.sleep(14.9)
        it.far.say(REPLY)
        await asyncio.sleep(14.9)
        assert it.alive
        await asyncio.sleep(0.2)
        assert not it.alive


async def test_a_question_without_a_reply_is_not_repeated() -> None:
    """Somebody who lives and does not reply gathers no questions in our memory (F13)."""
    async with beating() as it:
        for _ in range(1000):
            await asyncio.sleep(10)
            it.far.say("nonsense")
        it.link.abort()
        assert await it.far.hear_all() == [QUESTION]


@pytest.mark.parametrize("what", ["%%<message::true:engine.timer:", "nonsense", "%%>mess"])
async def test_nothing_is_asked_while_something_comes(what: str) -> None:
    """Be it of use or not: traffic costs no question."""
    async with beating() as it:
        for _ in range(100):
            it.far.say(what)
            await asyncio.sleep(4.9)
        it.link.abort()
        assert await it.far.hear_all() == []


@pytest.mark.parametrize("after", [0.1, 2.5, 4.9])
async def test_the_time_counts_from_what_came_last(after: float) -> None:
    """Not from the beat before it: never more than 15 s, wherever between two beats it came."""
    async with beating() as it:
        await asyncio.sleep(7 + after)
        it.far.say(REPLY)
        await it.reading
        assert now() == pytest.approx(7 + after + 15)


async def test_it_stops_with_its_link() -> None:
    """After quit nothing may be said, and at the end nobody is asked."""
    async with beating() as it:
        it.far.say(REPLY)
        quitting = it.link.command(Quit())
        await asyncio.sleep(100)
        assert await it.far.hear() == ["%%>quit"]
        it.far.close()
        with pytest.raises(ConnectionLost):
            await quitting


async def test_a_loop_that_stood_still_does_not_count_as_silence() -> None:
    """A process that was stopped for a minute reads what came before it judges."""
    async with beating() as it:
        # What a stopped process sees: the clock has moved on, and nothing was read.
        it.pulse.stop()
        it.link.heard = now() - 60
        it.pulse = Pulse(it.link)
        assert await it.far.hear() == [QUESTION]
        await asyncio.sleep(4)
        assert it.alive
        it.far.say(REPLY)
        await asyncio.sleep(5.9)
        assert it.alive


# Modules


def route(message: Message) -> str:
    return "tone/dial"


@pytest.mark.parametrize("toward", ["engine", "module", None])
@pytest.mark.parametrize("idle", [False, True])
async def test_a_half_open_link_is_replaced(toward: Toward, idle: bool) -> None:
    """Packets vanish and nothing is reset: within 15 s every waiter knows, then it is back (C4)."""
    module = Module("m")
    module.handler("call.route")(route)
    lost: list[float] = []
    module.on_disconnected(lambda: lost.append(now()))
    async with Engine() as engine, Faults(engine.open) as network:
        await module.attach(network.open)
        await asyncio.sleep(123.4)
        cut = now()
        network.silence(toward=toward)
        waiting = None if idle else asyncio.create_task(module.dispatch("t.x"))
        # Connections to come are good ones.
        network._weather = dict.fromkeys(network._weather, type(network._weather["engine"])())
        await asyncio.sleep(15.01)
        assert len(lost) == 1
        assert lost[0] - cut <= 15.0
        if waiting is not None:
            assert waiting.done()
            assert isinstance(waiting.exception(), ConnectionLost)
        await asyncio.sleep(1.1)
        assert (await engine.dispatch("call.route")).processed
        network.heal()
        await module.detach()


async def test_an_idle_module_stays_attached_for_days() -> None:
    """The embedded engine replies like any other."""
    module = Module("m")
    lost: list[float] = []
    module.on_disconnected(lambda: lost.append(now()))
    async with Engine(module):
        await asyncio.sleep(86_400 / 4)
        assert lost == []


async def test_a_script_is_not_asked() -> None:
    """Its far end is on this machine and cannot vanish; a stopped one would end the script."""
    module = Module("script")
    far = Far()
    far.near.single = True
    accepted = asyncio.create_task(far.accept())

    async def opener() -> object:
        return far.near

    await module.attach(opener)  # type: ignore[arg-type]
    await accepted
    await asyncio.sleep(100)
    assert module.attached
    assert far.heard == []
    far.close()
    await module.detach()


# On the real clock

SERVING = """\
import asyncio, sys
from yateway import Message, Module
module = Module("stopped")

@module.handler("call.route")
def route(message: Message) -> str:
    return "tone/dial"

@module.on_connected
def connected() -> None:
    print("connected", flush=True)

asyncio.run(module.serve(sys.argv[1]))
"""


@pytest.mark.yate
@pytest.mark.real_clock
async def test_a_module_that_was_stopped_goes_on() -> None:
    """SIGSTOP of us: the engine keeps the link, and the first request after it is answered (C13).

    Six seconds, which is more than an interval; sixty are for longer runs.
    """
    asker = Module("asker")
    async with real_engine() as engine:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVING, engine.unix, stdout=PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"connected\n"
        await asker.attach(opener_of(engine.unix))
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(6)
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(15):
            while not (await asker.dispatch("call.route")).processed:
                pass
        # It is the link of before: nothing was dropped.
        process.kill()
        assert await process.stdout.read() == b""
        await process.wait()
        await asker.detach()


@pytest.mark.yate
@pytest.mark.real_clock
async def test_an_engine_that_was_stopped_is_left_and_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGSTOP of the engine: every waiter knows within 15 s, and after SIGCONT it is back (C13).

    With an interval of 1 s, so that 3 s stand for the 15.
    """
    monkeypatch.setattr("yateway.liveness.INTERVAL", 1.0)
    module = Module("m")
    async with real_engine() as engine:
        await module.attach(opener_of(engine.unix))
        engine._process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(ConnectionLost):
            await module.dispatch("t.x")
        assert time.monotonic() - started < 4
        engine._process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(15):
            while not module.attached:
                await asyncio.sleep(0.05)
        assert (await module.getlocal("engine.version")).startswith("6.")
        await module.detach()
