"""What a session does that no recording shows: order, batches, logs, ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.engine.by_hand import EIGHT_WORKERS, Hand
from yateway.engine import Engine
from yateway.engine.config import ModuleDefaults
from yateway.engine.dispatcher import Dispatcher, EngineMessage, Handler
from yateway.engine.endpoints import Endpoint, Exchange
from yateway.engine.external import ModuleChannel
from yateway.engine.listeners import Address
from yateway.engine.run import Run
from yateway.engine.session import Session
from yateway.engine.settings import Facts, Settings
from yateway.memory import memory_pair


@asynccontextmanager
async def connected(count: int) -> AsyncIterator[list[Hand]]:
    """Run an engine and connect so many modules to it."""
    async with Engine(conf=EIGHT_WORKERS) as engine:
        yield [await Hand.on(engine) for _ in range(count)]


async def test_replies_of_one_batch_come_in_one_write() -> None:
    """A module that reads once gets all of them."""
    async with connected(1) as (hand,):
        hand.say("%%>watch:a", "%%>watch:b", "%%>setlocal:timeout:")
        data = await hand.transport.receive()
        assert data == b"%%<watch:a:true\n%%<watch:b:true\n%%<setlocal:timeout:10000:true\n"


async def test_a_selfwatcher_is_told_before_it_gets_its_answer() -> None:
    """The answer is sent when the message is over, after its watchers."""
    async with connected(1) as (hand,):
        await hand.ask("%%>setlocal:selfwatch:true", "%%>watch:t.x")
        assert await hand.ask("%%>message:1:1:t.x::p=1", "") == [
            "%%<message::false:t.x::p=1",
            "%%<message:1:false:t.x::p=1",
        ]


async def test_a_malformed_answer_keeps_the_request_waiting() -> None:
    """What could be read stays applied: the retvalue, and that it was processed."""
    async with connected(2) as (asker, handler):
        await handler.ask("%%>setlocal:timeout:300", "%%>install:50:t.x")
        asker.say("%%>message:1:1:t.x:old:p=1")
        id_, _ = await handler.request()
        handler.say(f"%%<message:{id_}:true:t.y:new:q=2:bad%!=1:r=3")
        assert await asker.is_quiet(0.29)
        assert await asker.hear() == ["%%<message:1:true:t.y:new:p=1:q=2"]


async def test_each_request_has_an_id_of_its_own() -> None:
    """Two thousand of them differ."""
    async with connected(2) as (asker, handler):
        await handler.ask("%%>setlocal:maxqueue:0", "%%>setlocal:timeout:10", "%%>install:50:t.x")
        asker.say(*["%%>message::1:t.x::"] * 2_000)
        ids = {line.split(":")[1] for line in await handler.hear(2_000)}
        assert len(ids) == 2_000


async def test_a_timebomb_ends_the_connection() -> None:
    """The request that timed out goes on to the next handler."""
    async with connected(3) as (asker, slow, next_one):
        await slow.ask("%%>setlocal:timebomb:true", "%%>setlocal:timeout:100", "%%>install:50:t.x")
        await next_one.ask("%%>install:60:t.x")
        asker.say("%%>message:1:1:t.x::")
        await slow.request()
        assert await slow.hear_rest() == []
        id_, _ = await next_one.request()
        next_one.say(f"%%<message:{id_}:true::late")
        assert await asker.hear() == ["%%<message:1:true:t.x:late"]


async def test_a_late_answer_is_ignored() -> None:
    """So is one after the request went on, and one to an id that never was."""
    async with connected(3) as (asker, slow, next_one):
        await slow.ask("%%>setlocal:timeout:100", "%%>install:50:t.x")
        await next_one.ask("%%>install:60:t.x")
        asker.say("%%>message:1:1:t.x::")
        id_, _ = await slow.request()
        next_id, _ = await next_one.request()
        slow.say(f"%%<message:{id_}:true::late", "%%<message:never:true::x")
        assert await asker.is_quiet()
        next_one.say(f"%%<message:{next_id}:false:")
        assert await asker.hear() == ["%%<message:1:false:t.x:"]


async def test_who_closes_releases_what_it_was_asked_at_once() -> None:
    """Its handlers are gone, too."""
    async with connected(2) as (asker, handler):
        await handler.ask("%%>install:50:t.x")
        asker.say("%%>message:1:1:t.x::")
        await handler.request()
        handler.transport.abort()
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await asker.hear() == ["%%<message:1:false:t.x:"]
        assert loop.time() == before
        assert await asker.ask("%%>message:2:1:t.x::") == ["%%<message:2:false:t.x:"]


async def test_a_sender_that_left_gets_no_answer() -> None:
    """The message is handled to its end."""
    async with Engine() as engine:
        asker, handler = await Hand.on(engine), await Hand.on(engine)
        await handler.ask("%%>install:50:t.x", "%%>watch:t.x")
        asker.say("%%>message:1:1:t.x::")
        id_, _ = await handler.request()
        asker.transport.abort()
        await asyncio.sleep(0)
        handler.say(f"%%<message:{id_}:true::done")
        assert await handler.hear() == ["%%<message::true:t.x:done"]


async def test_quit_waits_for_own_messages() -> None:
    """The connection closes after their answers."""
    async with connected(2) as (asker, handler):
        await handler.ask("%%>install:50:t.x")
        asker.say("%%>message:1:1:t.x::", "%%>quit", "%%>watch:never")
        id_, _ = await handler.request()
        assert await asker.hear() == ["%%<quit"]
        handler.say(f"%%<message:{id_}:true::done")
        assert await asker.hear_rest() == ["%%<message:1:true:t.x:done"]


async def test_after_quit_the_module_is_told_nothing_more() -> None:
    """New messages skip it, its answers are not read, and it closes at the last timeout."""
    async with connected(2) as (asker, handler):
        await handler.ask("%%>setlocal:timeout:500", "%%>install:50:t.x", "%%>watch:t.y")
        asker.say("%%>message:1:1:t.x::")
        id_, _ = await handler.request()
        handler.say("%%>quit")
        assert await handler.hear() == ["%%<quit"]
        handler.say(f"%%<message:{id_}:true::ignored")
        assert sorted(await asker.ask("%%>message:2:1:t.x::", "%%>message:3:1:t.y::")) == [
            "%%<message:2:false:t.x:",
            "%%<message:3:false:t.y:",
        ]
        assert await handler.hear_rest() == []
        assert await asker.hear() == ["%%<message:1:false:t.x:"]


@pytest.mark.parametrize("line", ["x" * 8191, "%%>watch:" + "x" * 9000])
async def test_a_line_that_is_too_long_closes_without_a_word(line: str) -> None:
    """No error line, no answer."""
    async with connected(1) as (hand,):
        hand.say("%%>watch:before", line, "%%>watch:after")
        assert await hand.hear_rest() == ["%%<watch:before:true"]


async def test_bufsize_holds_for_the_very_next_line() -> None:
    """Both may go in one write."""
    async with connected(1) as (hand,):
        long = "%%>watch:" + "x" * 60_000
        assert await hand.ask("%%>setlocal:bufsize:65536", long) == [
            "%%<setlocal:bufsize:65536:true",
            f"%%<{long[3:]}:true",
        ]


@pytest.mark.parametrize(
    "line", ["%%>quit", "%%>watch:a", "%%>connect:play", "%%>connect:", "%%>connect", "hello"]
)
async def test_without_a_role_the_first_line_must_be_connect(line: str) -> None:
    """Anything else closes without a word."""
    async with Engine() as engine:
        hand = await Hand.on(engine, "")
        hand.say("", line, "%%>watch:a")
        assert await hand.hear_rest() == []


async def test_a_good_connect_is_not_answered() -> None:
    """The next line is; a second connect is an error that ends nothing."""
    async with Engine() as engine:
        hand = await Hand.on(engine, "")
        hand.say("%%>connect:global:id:type")
        assert await hand.ask("%%>watch:a", "%%>connect:global", "%%>watch:b") == [
            "%%<watch:a:true",
            "Error in: %%>connect:global",
            "%%<watch:b:true",
        ]


async def test_a_channel_comes_with_the_first_call_execute() -> None:
    """Nobody takes it, so it ends with its message, and the connection with it."""
    async with Engine() as engine:
        hand = await Hand.on(engine, "channel")
        assert await hand.ask("%%>setlocal:id:", "%%>message:0:1:x.y::") == [
            "%%<setlocal:id::false",
            "%%<message:0:false:x.y:",
        ]
        hand.say(
            "%%>message:1:1:call.execute::callto=x",
            "%%>setlocal:id:",
            "%%>setlocal:id:bot/1",
            "%%>setlocal:disconnected:true",
            "%%>setlocal:disconnected:",
            "%%>setlocal:reason:bye",
        )
        assert await hand.hear_rest() == [
            "%%<setlocal:id:ExtModule:true",
            "%%<setlocal:id:bot/1:true",
            "%%<setlocal:disconnected:true:true",
            "%%<setlocal:disconnected:true:true",
            "%%<setlocal:reason:bye:true",
            "%%<message:1:false:call.execute::callto=x:id=ExtModule:handlers=cdrbuild%z50,tone%z90"
            ",dumb%z90,wave%z90,conf%z90,sim%z90,callfork%z100,pbx%z100",
        ]


@asynccontextmanager
async def bare_run() -> AsyncIterator[tuple[Run, Callable[[str], Hand]]]:
    """Run the inner part of an engine; the second value connects a module to it."""
    run = Run(None, 1, None)

    def connect(role: str) -> Hand:
        ours, theirs = memory_pair()
        run.serve(ours, Address(name="bare", kind="memory", role=role))
        return Hand(theirs)

    yield run, connect
    await run.halt()


async def test_a_channel_that_somebody_holds_stays() -> None:
    """Whoever connects to it says so; every message of the module is about it."""
    async with bare_run() as (run, connect):
        seen: list[object] = []

        async def hold(message: EngineMessage) -> bool:
            assert isinstance(message.user_data, ModuleChannel)
            if not seen:
                message.user_data.hold()
            seen.append(message.user_data)
            return True

        for name in ("call.execute", "chan.attach"):
            run.dispatcher.install(Handler(name, 40, hold))
        hand = connect("channel")
        assert await hand.ask("%%>message:1:1:call.execute::callto=x") == [
            "%%<message:1:true:call.execute::callto=x:id=ExtModule"
        ]
        assert await hand.ask("%%>message:2:1:chan.attach::") == ["%%<message:2:true:chan.attach:"]
        assert len(seen) == 2
        assert seen[0] is seen[1]
        hand.say("%%>quit")
        assert await hand.hear_rest() == ["%%<quit"]


async def test_a_message_with_the_id_of_a_request_is_about_the_same() -> None:
    """It carries what the request carries; the request waits on."""
    async with bare_run() as (run, connect):
        channel = Endpoint(run.exchange, "sip/1")
        seen: list[object] = []

        async def give(message: EngineMessage) -> bool:
            message.user_data = channel
            return False

        async def look(message: EngineMessage) -> bool:
            seen.append(message.user_data)
            return True

        run.dispatcher.install(Handler("chan.disconnected", 10, give))
        run.dispatcher.install(Handler("call.execute", 10, look))  # before all drivers
        asker, hand = connect("global"), connect("global")
        await hand.ask("%%>install:50:chan.disconnected")
        asker.say("%%>message:1:1:chan.disconnected::id=sip/1")
        id_, _ = await hand.request()
        assert await hand.ask(f"%%>message:{id_}:1:call.execute::callto=x") == [
            f"%%<message:{id_}:true:call.execute::callto=x"
        ]
        assert await hand.ask("%%>message:2:1:call.execute::") == [
            "%%<message:2:true:call.execute:"
        ]
        assert seen == [channel, None]
        hand.say(f"%%<message:{id_}:true:")
        assert await asker.hear() == ["%%<message:1:true:chan.disconnected::id=sip/1"]


async def test_output_and_debug_lines_are_escaped_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line of a module is one line of the log, and never longer than 1 KiB."""
    caplog.set_level(logging.DEBUG, "yateway.engine")
    async with connected(1) as (hand,):
        hand.say(
            "%%>output:\x1b[31mred\udcff grün",
            "%%>debug:2:a%zb%J c",
            "%%>debug:8:quiet",
            "%%>output:" + "ü" * 2000,
        )
        await hand.ask("%%>setlocal:debuglevel:9")
        hand.say("%%>debug:8:seen", "%%>debug:9:detail", "%%>output:" + "\x01" * 2000)
        await hand.ask("%%>watch:x")
    texts = [record.getMessage() for record in caplog.records]
    assert texts[:2] == ["\\x1b[31mred\\udcff grün", "'memory': a:b\\n c"]
    assert texts[3:5] == ["'memory': seen", "'memory': detail"]
    assert [record.levelname for record in caplog.records] == [
        *("INFO", "CRITICAL", "INFO", "INFO", "DEBUG", "INFO")
    ]
    assert all(len(text.encode()) < 1024 and text.isprintable() for text in texts)


async def test_what_could_not_be_read_is_logged_escaped(caplog: pytest.LogCaptureFixture) -> None:
    """A malformed answer is answered by nothing and logged; so is a line that is an error."""
    async with connected(1) as (hand,):
        hand.say("%%<message:1:True:\x07", "\x07" * 200)
        assert await hand.hear() == ["Error in: " + "\x07" * 200]
    assert len(caplog.records) == 2
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_session_shows_its_state() -> None:
    """Its repr names the module, the state and what waits."""

    class Alone:
        dispatcher = Dispatcher("handlers", lambda: None)
        exchange = Exchange(dispatcher, lambda: 0.0, "1", lambda coroutine: coroutine.close())
        facts = Facts({})

        def now(self) -> int:
            return 0

        def new_id(self) -> str:
            return "1"

    ours, theirs = memory_pair()
    session = Session(Alone(), ours, Settings(ModuleDefaults(), "me"), role="global")
    assert repr(session) == "<Session 'me' open requests=0>"
    serving = asyncio.create_task(session.run())
    hand = Hand(theirs)
    hand.say("%%>quit")
    assert await hand.hear_rest() == ["%%<quit"]
    await serving
    assert repr(session) == "<Session 'me' ended requests=0>"


async def test_a_session_that_fails_is_reported() -> None:
    """To the event loop's exception handler; the module sees the end of the connection."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["exception"])
    )
    async with bare_run() as (run, connect):

        def fail() -> int:
            raise ZeroDivisionError

        run.now = fail  # type: ignore[method-assign]
        hand = connect("global")
        hand.say("%%>message:1:0:t.x::")
        assert await hand.hear_rest() == []
        await asyncio.sleep(0)
        del run.now
    assert [type(error) for error in reported] == [ZeroDivisionError]
