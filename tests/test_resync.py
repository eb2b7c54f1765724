"""What a module is told after a reconnect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.far import Far, opener_to
from tests.real_engine import real_engine
from yateway.engine import Engine
from yateway.engine.faults import Faults
from yateway.message import Message
from yateway.module import Module
from yateway.resync import CHANNELS_LIMIT, Channel, Resync, _listed
from yateway.transport import opener_of


def told_of(module: Module) -> list[Resync]:
    """Return the list into which the module's resyncs go."""
    told: list[Resync] = []
    module.on_resync(told.append)
    return told


async def dial(module: Module, target: str) -> str:
    """Let the module call somebody from a leg of its own, and return the leg's id."""
    answer = await module.dispatch("call.execute", callto="dumb/", target="x", direct=target)
    assert answer.processed
    return answer["id"]


async def test_a_broken_link_is_no_new_engine() -> None:
    """The same engine: its channels are listed, with the time that was missed."""
    module = Module("m")
    told = told_of(module)
    async with Engine(module) as engine:
        leg = await dial(module, "tone/busy")
        other = await dial(module, "dumb/a b;c,d|e%")
        assert told == []
        loop = asyncio.get_running_loop()
        lost = loop.time()
        engine.drop()
        await asyncio.sleep(3)
        (resync,) = told
        assert (resync.new_engine, loop.time() - lost) == (False, 3)
        assert 0 <= resync.away <= 1.1
        assert resync.channels is not None
        by_id = {channel.id: channel for channel in resync.channels}
        assert by_id[leg].status == "answered"
        assert by_id[leg].peer == "tone/1"
        assert by_id[by_id[other].peer].address == "a b;c,d|e%"
        assert by_id[by_id[other].peer].peer == other


async def test_an_engine_started_anew_has_no_channels() -> None:
    """`runid` tells it; however long nobody listened, it is counted."""
    module = Module("m")
    told = told_of(module)
    async with Engine(module) as engine:
        await dial(module, "tone/busy")
        engine.kill()
        await asyncio.sleep(60)
        assert told == []
        await engine.start()
        await asyncio.sleep(11)
        (resync,) = told
        assert resync.new_engine
        assert 60 <= resync.away <= 70.1
        assert resync.channels == ()
        # From here on this engine is the known one.
        engine.drop()
        await asyncio.sleep(11)
        assert [one.new_engine for one in told] == [True, False]


async def test_parts_of_the_package_are_told_first_and_a_first_attach_tells_nothing() -> None:
    """The order is: whatever keeps calls, then the functions of the user, in their order."""
    module = Module("m")
    order: list[str] = []

    class Calls:
        """What stands in for the module's calls."""

        def __getattr__(self, name: str) -> Callable[[], None]:
            return lambda *_: order.append(name)

        async def drain(self) -> None:
            order.append("drain")

    module._plan.companion = Calls()  # type: ignore[assignment]

    @module.on_resync
    async def first(resync: Resync) -> None:
        await asyncio.sleep(1)
        order.append("first")

    module.on_resync(lambda resync: order.append("second"))
    async with Engine(module) as engine:
        await asyncio.sleep(1)
        assert order == ["attached"]
        engine.drop()
        await asyncio.sleep(5)
    assert order == [
        *("attached", "link_lost", "attached", "resynced", "first", "second", "drain", "close")
    ]


async def test_a_function_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Like any work of a module's life."""
    module = Module("m")

    @module.on_resync
    def fail(resync: Resync) -> None:
        raise ValueError("oops")

    async with Engine(module) as engine:
        engine.drop()
        await asyncio.sleep(3)
        assert module.attached
    assert "ValueError('oops')" in caplog.text


async def test_a_further_connection_that_breaks_is_told_too() -> None:
    """While it was away its handlers were not asked."""
    module = Module("m")
    told = told_of(module)
    for priority in (50, 150):
        module.handler("call.route", priority)(lambda message: None)
    async with Engine() as engine, Faults(engine.open) as network:
        await module.attach(network.open)
        wires = set(network._wires)
        assert len(wires) == 2
        assert module._life is not None
        (further,) = module._life.links([1])
        further.abort()
        await asyncio.sleep(3)
        assert [one.new_engine for one in told] == [False]
        await module.detach()


# Lines by hand

STATUS = "name=dumb,type=misc,format=Status|Address|Peer;routed=0,routing=0,total=9,chans=2"
DUMBS = f"{STATUS};dumb/5=accepted|caller|fork/2,dumb/6=outgoing|a%2Cb%7C%25|\r\n"
OVERVIEW = f"name=tone,type=misc;sources=1\r\n{STATUS}\r\n"


async def reattach(far: Far, runid: str = "1") -> None:
    """Accept a module as an engine of that run."""
    for line in (setup := await far.hear(7)):
        name = line.split(":")[1]
        value = {"runid": runid, "timeout": "10000"}.get(name, "x")
        if line.startswith("%%>setlocal:"):
            far.say(f"%%<setlocal:{name}:{value}:{'false' if runid == '' else 'true'}")
    assert setup[-1] == "%%>setlocal:runid:"


async def asked(far: Far) -> tuple[str, str]:
    """Return the id and the parameters of the next engine.status."""
    (line,) = await far.hear()
    _, id_, _, name, _, params = line.split(":", 5)
    assert name == "engine.status"
    return id_, params


def say_status(far: Far, id_: str, text: str) -> None:
    wire = text.replace("%", "%%").replace("\r", "%M").replace("\n", "%J")
    far.say(f"%%<message:{id_}:true:engine.status:{wire}")


async def test_it_asks_for_the_drivers_and_then_for_those_with_channels() -> None:
    """As the real engine tells them; what is no driver is not asked again."""
    module = Module("m")
    told = told_of(module)
    first, second = Far(), Far()
    accepted = asyncio.create_task(first.accept())
    await module.attach(opener_to(first, second))
    await accepted
    first.close()
    await reattach(second)
    id_, params = await asked(second)
    assert params == "details=false"
    say_status(second, id_, OVERVIEW)
    id_, params = await asked(second)
    assert params == "module=dumb"
    say_status(second, id_, DUMBS)
    await asyncio.sleep(0.1)
    assert [one.channels for one in told] == [
        (
            Channel("dumb/5", "accepted", "caller", "fork/2"),
            Channel("dumb/6", "outgoing", "a,b|%", ""),
        )
    ]
    second.close()
    await module.detach()


async def test_a_link_that_breaks_while_it_asks_loses_nothing() -> None:
    """The next reconnect tells of the whole time, and of the change of engines in it."""
    module = Module("m")
    told = told_of(module)
    first, second, third = Far(), Far(), Far()
    accepted = asyncio.create_task(first.accept())
    await module.attach(opener_to(first, second, third))
    await accepted
    first.close()
    await reattach(second, "2")
    await asked(second)
    await asyncio.sleep(3)
    second.close()
    await reattach(third, "2")
    id_, _ = await asked(third)
    say_status(third, id_, "")
    await asyncio.sleep(0.1)
    (resync,) = told
    assert resync.new_engine
    assert resync.away >= 3
    assert resync.channels == ()
    third.close()
    await module.detach()


@pytest.mark.parametrize("reply", ["nothing", "unreadable", "many"])
async def test_an_engine_that_does_not_tell(reply: str, caplog: pytest.LogCaptureFixture) -> None:
    """Then nothing is known about channels, which is not the same as that there are none."""
    module = Module("m")
    told = told_of(module)
    first, second = Far(), Far()
    accepted = asyncio.create_task(first.accept())
    await module.attach(opener_to(first, second))
    await accepted
    first.close()
    await reattach(second)
    id_, _ = await asked(second)
    if reply == "unreadable":
        second.say(f"%%<message:{id_}:true:engine.status:%!")
    elif reply == "many":
        say_status(second, id_, OVERVIEW.replace("chans=2", f"chans={CHANNELS_LIMIT + 1}"))
    await asyncio.sleep(4)
    assert (told == []) is (reply == "nothing")
    await asyncio.sleep(1.5)
    assert [one.channels for one in told] == [None]
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert any("channels" in record.getMessage() for record in warnings)
    second.close()
    await module.detach()


async def test_an_engine_that_knows_no_runid_counts_as_the_same() -> None:
    """Nothing says that it is another."""
    module = Module("m")
    told = told_of(module)

    def old(far: Far) -> asyncio.Task[None]:
        async def accept() -> None:
            for line in await far.hear(7):
                _, name, value = (*line.split(":", 2), "")[:3]
                if line.startswith("%%>setlocal:"):
                    good = "false" if name == "runid" else "true"
                    far.say(f"%%<setlocal:{name}:{value or ''}:{good}")

        return asyncio.create_task(accept())

    first, second = Far(), Far()
    accepting = old(first)
    await module.attach(opener_to(first, second))
    await accepting
    first.close()
    await old(second)
    id_, _ = await asked(second)
    say_status(second, id_, "")
    await asyncio.sleep(0.1)
    assert [one.new_engine for one in told] == [False]
    second.close()
    await module.detach()


@pytest.mark.parametrize(
    ("report", "count"),
    [
        ("", 0),
        ("\r\n", 0),
        ("name=sip,type=varchans,format=Status|Address|Peer;chans=0\r\n", 0),
        ("name=sip;chans=1;\r\n", 0),
        ("name=sip;chans=1;nonsense\r\n", 0),
        ("name=sip;chans=1;sip/1=\r\n", 1),
        ("name=sip;chans=1;sip/1=a|b|c;d\r\n", 1),
    ],
)
def test_reports_that_no_driver_writes_do_no_harm(report: str, count: int) -> None:
    """They come from whoever is on the engine's port."""
    assert len(_listed(report)) == count


async def test_messages_for_channels_are_not_disturbed() -> None:
    """The question goes beside the module's own messages."""
    module = Module("m")
    told = told_of(module)
    answers: list[Message] = []

    @module.on_connected
    async def connected() -> None:
        answers.append(await module.dispatch("test.it"))

    async with Engine(module) as engine:
        engine.install("test.it", lambda message: True)
        await asyncio.sleep(1)
        engine.drop()
        await asyncio.sleep(3)
    assert [answer.processed for answer in answers] == [True, True]
    assert len(told) == 1


# On the real engine


@pytest.mark.yate
@pytest.mark.real_clock
async def test_the_real_engine_tells_its_channels_and_that_it_is_new() -> None:
    """A dropped connection leaves the calls, a restart none of them; escapes are undone."""
    module = Module("m")
    told = told_of(module)

    async def resynced(count: int) -> Resync:
        async with asyncio.timeout(15):
            while len(told) < count:
                await asyncio.sleep(0.05)
        return told[-1]

    async with real_engine(modules=["dumbchan", "tonegen"]) as engine:
        await module.attach(opener_of(engine.tcp))
        leg = await dial(module, "dumb/a b;c,d|e%")
        assert module._life is not None
        assert module._life.primary is not None
        module._life.primary.abort()
        resync = await resynced(1)
        assert not resync.new_engine
        assert resync.channels is not None
        by_id = {channel.id: channel for channel in resync.channels}
        far = by_id[by_id[leg].peer]
        assert (far.address, far.peer) == ("a b;c,d|e%", leg)
        # A run's id is the second in which it was started.
        await asyncio.sleep(1.1)
        await engine.kill()
        await engine.start()
        resync = await resynced(2)
        assert resync.new_engine
        assert resync.channels == ()
        await module.detach()
