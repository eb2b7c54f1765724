"""The engine as its users see it: start and end, connections, messages of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.by_hand import Hand
from yateway.engine import Engine, Recording
from yateway.errors import ConfigError, ConnectionLost, LocalProtocolError
from yateway.message import Message
from yateway.transport import Opener, open_tcp, open_unix


class Attaching:
    """Attaches as a module does, and can fail at it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.hand: Hand | None = None
        self.detached = 0

    async def attach(self, opener: Opener, /) -> None:
        if self.fails:
            raise ZeroDivisionError
        self.hand = Hand(await opener())
        self.hand.say("%%>connect:global")
        await self.hand.ask("%%>install:50:call.route")

    async def detach(self) -> None:
        self.detached += 1


@asynccontextmanager
async def handled(engine: Engine, name: str) -> AsyncIterator[Hand]:
    """Connect a module that handles a message."""
    hand = await Hand.on(engine)
    await hand.ask(f"%%>install:50:{name}")
    yield hand
    hand.transport.abort()
    await asyncio.sleep(0)


# Modules


async def test_it_attaches_and_detaches_a_module() -> None:
    """Through an opener whose connections have no role."""
    module = Attaching()
    async with Engine(module) as engine:
        assert engine.handles("call.route")
        assert not engine.handles("call.execute")
        dispatched = asyncio.create_task(engine.dispatch("call.route", called="123"))
        assert module.hand is not None
        id_, rest = await module.hand.request()
        assert rest == "call.route::called=123:handlers=cdrbuild%z50"
        module.hand.say(f"%%<message:{id_}:true::sip/x:param1=value1")
        answer = await dispatched
    assert (answer.processed, answer.retvalue) == (True, "sip/x")
    assert dict(answer) == {"called": "123", "handlers": "cdrbuild:50", "param1": "value1"}
    assert module.detached == 1
    assert not engine.handles("call.route")


async def test_a_module_that_cannot_attach_stops_the_engine() -> None:
    """Its error comes through."""
    engine = Engine(Attaching(fails=True))
    with pytest.raises(ZeroDivisionError):
        async with engine:
            pytest.fail("it did not attach")
    with pytest.raises(ConnectionRefusedError):
        await engine.open()


# Messages


async def test_dispatch_takes_a_name_or_a_message() -> None:
    """Names that are no Python identifiers go into a mapping."""
    async with Engine() as engine:
        one = await engine.dispatch("t.x", {"callto.1": "sip/1"}, retvalue="r", n=1, flag=True)
        assert dict(one) == {"callto.1": "sip/1", "n": "1", "flag": "true"}
        assert (one.name, one.retvalue, one.processed) == ("t.x", "r", False)
        given = Message("t.y", {"a=b": "c"}, time=7)
        other = await engine.dispatch(given)
        assert other is not given
        assert (other.name, dict(other), other.time) == ("t.y", {"a=b": "c"}, 7)
        with pytest.raises(TypeError):
            await engine.dispatch(given, more="x")


async def test_the_engine_writes_an_equals_sign_in_a_name_as_it_does() -> None:
    """By an escape that it could not read itself."""
    async with Engine() as engine, handled(engine, "t.x") as hand:
        dispatched = asyncio.create_task(engine.dispatch("t.x", {"a=b": "c:d%"}))
        id_, rest = await hand.request()
        assert rest == "t.x::a%}b=c%zd%%"
        hand.say(f"%%<message:{id_}:false:")
        await dispatched


async def test_what_no_line_can_carry_is_refused() -> None:
    """NUL would end the line."""
    async with Engine() as engine, handled(engine, "t.x"):
        with pytest.raises(LocalProtocolError):
            await engine.dispatch("t.x", p="a\0b")


async def test_enqueue_does_not_wait() -> None:
    """Watchers see that it was dispatched."""
    async with Engine() as engine:
        hand = await Hand.on(engine)
        await hand.ask("%%>watch:chan.notify")
        engine.enqueue("chan.notify", targetid="x")
        assert await hand.hear() == ["%%<message::false:chan.notify::targetid=x"]


async def test_own_handlers_stand_among_those_of_modules() -> None:
    """Plain or coroutine functions; what they change goes the way of an answer."""
    engine = Engine()

    async def regexroute(message: Message) -> bool:
        await asyncio.sleep(1)
        assert message["called"] == "1"
        del message["called"]
        message["callto"] = "sip/1"
        message.retvalue = "sip/1"
        return True

    def rename(message: Message) -> bool:
        message.name = "call.route"
        return False

    engine.install("call.route", regexroute, 100, track="regexroute")
    async with engine:
        engine.install("call.preroute", rename, 10)
        answer = await engine.dispatch("call.preroute", called="1", caller="2")
        assert (answer.name, answer.retvalue, answer.processed) == ("call.route", "sip/1", True)
        assert dict(answer) == {
            "caller": "2",
            "handlers": "cdrbuild:50,regexroute:100",
            "callto": "sip/1",
        }
        unchanged = await engine.dispatch("call.other", retvalue="keep")
        assert unchanged.retvalue == "keep"


async def test_what_an_own_handler_raises_reaches_who_dispatched() -> None:
    """A test's own assertion is not lost."""
    async with Engine() as engine:

        def fail(message: Message) -> bool:
            raise ZeroDivisionError

        engine.install("t.x", fail)
        with pytest.raises(ZeroDivisionError):
            await engine.dispatch("t.x")


async def test_a_cancelled_dispatch_is_forgotten() -> None:
    """The module's answer comes too late, and does no harm."""
    async with Engine() as engine, handled(engine, "t.x") as hand:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await engine.dispatch("t.x")
        id_, _ = await hand.request()
        hand.say(f"%%<message:{id_}:true::late")
        assert await hand.ask("%%>watch:x") == ["%%<watch:x:true"]


async def test_without_a_run_there_are_no_messages() -> None:
    """Neither before the start nor after the end."""
    engine = Engine()
    with pytest.raises(ConnectionLost):
        await engine.dispatch("t.x")
    async with engine:
        pass
    with pytest.raises(ConnectionLost):
        engine.enqueue("t.x")
    with pytest.raises(ConnectionLost):
        engine.drop()


async def test_ending_what_never_began_does_no_harm() -> None:
    """Whichever way."""
    engine = Engine()
    engine.kill()
    await engine.stop()


# The engine's messages


async def test_it_ticks_while_somebody_cares() -> None:
    """Once a second, at full seconds of the engine's clock; else there is no timer at all."""
    async with Engine() as engine:
        loop = asyncio.get_running_loop()
        hand = await Hand.on(engine)
        await hand.ask("%%>watch:engine.timer")
        (first,) = await hand.hear()
        then = loop.time()
        ticks = await hand.hear(3)
        assert loop.time() - then == pytest.approx(3)
        times = [int(line.split("time=")[1].split(":")[0]) for line in (first, *ticks)]
        assert [time - times[0] for time in times] == [0, 1, 2, 3]
        assert first.startswith("%%<message::false:engine.timer::time=")
        assert first.endswith(
            f":nodename={socket.gethostname()}:handlers=callfork%z90,tone%z90,dumb%z90,wave%z90"
            ",conf%z90,sim%z90,pbx%z90"
        )
        await hand.ask("%%>unwatch:engine.timer")
        assert await hand.is_quiet(5)
        await hand.ask("%%>install:50:engine.timer")
        _, rest = await hand.request()
        assert rest.startswith("engine.timer::time=")


async def test_a_module_is_told_the_end() -> None:
    """By engine.stop, which it may delay, and engine.halt; watchers see only the first."""
    engine = Engine()
    await engine.start()
    loop = asyncio.get_running_loop()
    handler, watcher = await Hand.on(engine), await Hand.on(engine)
    await handler.ask("%%>install:50:engine.stop", "%%>install:50:engine.halt")
    await watcher.ask("%%>watch:engine.stop", "%%>watch:engine.halt")
    before = loop.time()
    stopping = asyncio.create_task(engine.stop())
    for word in ("true", "false"):
        id_, rest = await handler.request()
        assert rest == f"engine.stop::nodename={socket.gethostname()}"
        handler.say(f"%%<message:{id_}:{word}:")
    id_, rest = await handler.request()
    assert rest.startswith("engine.halt:")
    handler.say(f"%%<message:{id_}:true:")
    await stopping
    assert loop.time() - before == 1.0
    assert await handler.hear_rest() == []
    told = await watcher.hear_rest()
    assert [line.split(":")[2:4] for line in told] == [
        ["true", "engine.stop"],
        ["false", "engine.stop"],
    ]


async def test_the_end_can_be_delayed_five_times() -> None:
    """Then the engine stops whatever its handlers say."""
    async with Engine() as engine:
        engine.install("engine.stop", lambda message: True)
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before == 5.0


async def test_what_is_under_way_at_the_end_is_answered_to_nobody() -> None:
    """The sender sees the connection close; who dispatched directly hears of it."""
    engine = Engine()
    await engine.start()
    asker, handler = await Hand.on(engine), await Hand.on(engine)
    await handler.ask("%%>install:50:t.x")
    asker.say("%%>message:1:1:t.x::")
    dispatched = asyncio.create_task(engine.dispatch("t.x"))
    await handler.hear(2)
    await engine.stop()
    assert await asker.hear_rest() == []
    with pytest.raises(ConnectionLost):
        await dispatched
    await engine.stop()


# Killing and dropping


async def test_a_killed_engine_forgets_modules_and_starts_anew() -> None:
    """With another runid; its own handlers are there again."""
    engine = Engine()
    engine.install("t.x", lambda message: True)
    await engine.start()
    hand = await Hand.on(engine)
    (before,) = await hand.ask("%%>setlocal:runid:")
    await hand.ask("%%>install:50:t.x", "%%>watch:engine.timer")
    dispatched = asyncio.create_task(engine.dispatch("t.x"))
    await hand.request()
    engine.kill()
    engine.kill()
    assert await hand.hear_rest() == []
    with pytest.raises(ConnectionLost):
        await dispatched
    with pytest.raises(ConnectionRefusedError):
        await engine.open()
    await engine.start()
    again = await Hand.on(engine)
    (after,) = await again.ask("%%>setlocal:runid:")
    assert before != after
    assert (await engine.dispatch("t.x")).processed
    with pytest.raises(RuntimeError):
        await engine.start()
    engine.kill()
    await engine.stop()


async def test_a_connection_just_opened_is_killed_too() -> None:
    """Whatever it has said already is not read."""
    engine = Engine()
    await engine.start()
    hand = await Hand.on(engine)
    hand.say("%%>watch:x")
    engine.kill()
    assert await hand.hear_rest() == []
    await engine.stop()


async def test_an_engine_that_stops_can_be_killed() -> None:
    """It waits no longer for a module that holds engine.halt."""
    engine = Engine()
    await engine.start()
    hand = await Hand.on(engine)
    await hand.ask("%%>install:50:engine.halt")
    before = asyncio.get_running_loop().time()
    stopping = asyncio.create_task(engine.stop())
    await hand.request()
    engine.kill()
    await stopping
    assert asyncio.get_running_loop().time() == before


async def test_dropping_ends_all_connections_but_not_the_engine() -> None:
    """What they were asked goes on to the next handler."""
    async with Engine() as engine:
        engine.install("t.x", lambda message: True, 200)
        hand = await Hand.on(engine)
        await hand.ask("%%>install:50:t.x")
        dispatched = asyncio.create_task(engine.dispatch("t.x"))
        await hand.request()
        engine.drop()
        assert (await dispatched).processed
        assert await hand.hear_rest() == []
        assert not (await engine.dispatch("t.y")).processed


async def test_it_shows_its_state() -> None:
    """Its repr says whether it runs."""
    engine = Engine()
    assert repr(engine) == "<Engine stopped at []>"
    async with engine:
        assert repr(engine) == "<Engine running at []>"


# Sockets


@pytest.mark.real_clock
async def test_it_listens_on_tcp_and_unix_sockets(tmp_path: Path) -> None:
    """With and without a role, and after a kill in the same places."""
    path = tmp_path / "yate.sock"
    recording = Recording()
    engine = Engine(
        listen=["tcp://127.0.0.1:0", f"unix://{path}?role=global&name=u1"], record=recording
    )
    await engine.start()
    first, second = engine.urls
    assert second == f"unix://{path}"
    port = int(first.rpartition(":")[2])
    for _ in range(2):
        tcp, unix = Hand(await open_tcp("127.0.0.1", port)), Hand(await open_unix(str(path)))
        tcp.say("%%>connect:global")
        assert await tcp.ask("%%>setlocal:debugname:\r") == [
            f"%%<setlocal:debugname:127.0.0.1:{port}:true"
        ]
        assert await unix.ask("%%>setlocal:debugname:") == ["%%<setlocal:debugname:u1:true"]
        engine.kill()
        assert await tcp.hear_rest() == []
        assert await unix.hear_rest() == []
        for hand in (tcp, unix):
            await hand.transport.close()
        await engine.start()
        assert engine.urls == [first, second]
    await engine.stop()
    assert not path.exists()
    connects = [entry.event for entry in recording.entries if entry.event.startswith("connect")]
    assert connects[:2] == [f"connect tcp 127.0.0.1:{port}", "connect unix u1 (role=global)"]


@pytest.mark.real_clock
async def test_two_engines_do_not_share_an_address(tmp_path: Path) -> None:
    """The second is told, and nothing of it stays behind."""
    url = f"unix://{tmp_path}/yate.sock"
    async with Engine(listen=[url, "tcp://127.0.0.1:0"]) as engine:
        with pytest.raises(ConfigError, match="listens"):
            await Engine(listen=[url]).start()
        other = Engine(listen=["tcp://127.0.0.1:0", engine.urls[1]])
        with pytest.raises(ConfigError, match="in use"):
            await other.start()
        await (await open_unix(f"{tmp_path}/yate.sock")).close()


async def test_a_configuration_is_read_at_each_start(tmp_path: Path) -> None:
    """So that it can change while the engine is down."""
    file = tmp_path / "extmodule.conf"
    engine = Engine(conf=tmp_path)
    for timeout in ("1500", "2500"):
        file.write_text(f"[general]\ntimeout={timeout}\n")
        async with engine:
            hand = await Hand.on(engine)
            assert await hand.ask("%%>setlocal:timeout:") == [f"%%<setlocal:timeout:{timeout}:true"]
    file.write_text("[general]\ntimeout=soon\n")
    with pytest.raises(ConfigError, match="soon"):
        await engine.start()
    (tmp_path / "yate.conf").write_text("[modules]\ndumbchan.yate=yes\nwave.yate=no\n[a]\nb=c\n")
    file.write_text("")
    async with engine:
        hand = await Hand.on(engine)
        assert await hand.ask(
            "%%>setlocal:loaded.dumbchan:", "%%>setlocal:loaded.wave:", "%%>setlocal:config.a.b:"
        ) == [
            "%%<setlocal:loaded.dumbchan:true:true",
            "%%<setlocal:loaded.wave:false:true",
            "%%<setlocal:config.a.b:c:true",
        ]


async def test_the_end_while_a_call_is_routed_is_no_failure() -> None:
    """Nothing is reported to the event loop, which would fail this test."""

    async def route(message: Message) -> bool:
        await asyncio.sleep(1)
        return False

    async with Engine() as engine:
        engine.install("call.route", route)
        await engine.call("1")
        await asyncio.sleep(0.1)
