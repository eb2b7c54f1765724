"""What a module sends: messages, settings, lines of the engine's log."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.by_hand import EIGHT_WORKERS
from tests.far import Far, opener_to
from yateway.engine import Engine
from yateway.errors import (
    ConfigError,
    ConnectionLost,
    DispatchTimeout,
    LocalProtocolError,
)
from yateway.message import Message
from yateway.module import Module
from yateway.resync import live_channels


@pytest.mark.parametrize(("reenter", "expected"), [("false", []), ("true", [50, 150])])
async def test_own_messages_reach_own_handlers_only_with_reenter(
    reenter: str, expected: list[int]
) -> None:
    """This holds for handlers of every priority, whichever connection they sit on."""
    module = Module("self")
    asked: list[int] = []
    module.handler("call.route", 50)(lambda message: asked.append(50))
    module.handler("call.route", 150)(lambda message: asked.append(150))
    async with Engine(module):
        await module.setlocal("reenter", reenter)
        answer = await module.dispatch("call.route", called="1")
        assert dict(answer).keys() <= {"called", "handlers"}
    assert asked == expected


async def test_a_handler_may_dispatch_the_message_it_handles() -> None:
    """Asking the engine from inside of a handler cannot deadlock (guarantee A11)."""
    module = Module("recursive")

    @module.handler("call.route")
    async def route(message: Message) -> str | None:
        if message.get("depth") == "3":
            return "bottom"
        inner = await module.dispatch("call.route", depth=int(message.get("depth", "0")) + 1)
        return inner.retvalue

    async with Engine(module, conf=EIGHT_WORKERS) as engine:
        started = asyncio.get_running_loop().time()
        assert (await engine.dispatch("call.route")).retvalue == ""
        await module.setlocal("reenter", value=True)
        assert (await engine.dispatch("call.route")).retvalue == "bottom"
        assert asyncio.get_running_loop().time() - started < 0.1


async def test_messages_of_our_own() -> None:
    """dispatch waits, enqueue does not; None leaves a parameter out, booleans are Yate's."""
    module = Module("sender")
    seen: list[dict[str, str]] = []
    async with Engine(module) as engine:

        def look(message: Message) -> bool:
            seen.append(dict(message))
            return message.get("yes") == "true"

        engine.install("test.it", look)
        answer = await module.dispatch("test.it", {"callto.1": "x"}, yes=True, no=None, n=5)
        assert answer.processed
        assert dict(answer) == {"callto.1": "x", "yes": "true", "n": "5"}
        made = Message("test.it", kept=1, retvalue="r")
        assert (await module.dispatch(made, {"kept": None}, yes="true")).retvalue == "r"
        await module.enqueue("test.it", yes=False)
        await asyncio.sleep(0.1)
    assert seen[0] == {"callto.1": "x", "yes": "true", "n": "5"}
    assert seen[1:] == [{"kept": "1", "yes": "true"}, {"yes": "false"}]


async def test_dispatch_has_a_time_limit() -> None:
    """The module's own limit is an error that tells the name."""
    module = Module("patient", dispatch_timeout=5)
    async with Engine(module) as engine:
        engine.install("slow", lambda message: asyncio.sleep(60, result=True))
        with pytest.raises(DispatchTimeout, match=r"'slow' within 5 s"):
            await module.dispatch("slow")


async def test_settings_of_the_connection() -> None:
    """setlocal returns what the engine took; an unknown one is an error with its name."""
    module = Module("settings")
    async with Engine(module):
        assert await module.setlocal("maxqueue", 99999) == "10000"
        assert await module.getlocal("maxqueue") == "10000"
        assert await module.getlocal("trackparam") == "settings"
        with pytest.raises(ConfigError, match=r"no\.such"):
            await module.getlocal("no.such")
        with pytest.raises(LocalProtocolError):
            await module.setlocal("a:b", "1")


async def test_log_lines_cannot_become_commands() -> None:
    """Line breaks are shown, not sent, and a long text goes into several lines (Y3, F2)."""
    module = Module("router")
    far = Far()
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    await accepted
    await module.output("called by\n%%>install:0:engine.halt\r\0\x1b 100%")
    await module.output("x" * 40_000)
    await module.debug(3, "50%: \n")
    lines = await far.hear(5)
    assert lines[0] == "%%>output:called by\\n%%>install:0:engine.halt\\r\\x00\\x1b 100%"
    assert "".join(line.removeprefix("%%>output:") for line in lines[1:4]) == "x" * 40_000
    assert lines[4] == "%%>debug:3:50%%%z \\n"
    far.close()
    await module.detach()


async def test_nothing_is_sent_by_a_module_that_is_not_attached() -> None:
    """Each way to send says so, and whether a module is attached can be asked."""
    module = Module("quiet")
    assert not module.attached
    for sending in (module.dispatch("a"), module.enqueue("a"), module.output("a")):
        with pytest.raises(ConnectionLost, match="quiet is not attached"):
            await sending
    async with Engine(module):
        assert module.attached


@pytest.mark.parametrize("id_", [None, "", "sip", "dumb", " "])
async def test_a_drop_without_a_channel_is_refused(id_: str | None) -> None:
    """The engine would hang up every call there is; nothing is sent (Y11 of part 5)."""
    module = Module("careless")
    asked: list[Message] = []
    async with Engine(module) as engine:
        engine.install("call.drop", asked.append, 1)  # type: ignore[arg-type]
        for send in (module.dispatch, module.enqueue):
            with pytest.raises(LocalProtocolError, match="would hang up every call") as caught:
                await send("call.drop", id=id_)
            assert caught.value.field == "id"
            with pytest.raises(LocalProtocolError, match="drop_all_calls"):
                await send(Message("call.drop", {"id": id_} if id_ else {}))
        assert asked == []
        await module.dispatch("call.drop", id="sip/1")
        assert [message["id"] for message in asked] == ["sip/1"]


async def test_all_calls_are_dropped_by_a_method_of_its_own() -> None:
    """Of the engine, or of one driver."""
    module = Module("closing time")
    async with Engine(module):

        async def call() -> None:
            await module.dispatch("call.execute", callto="dumb/", target="1", direct="tone/busy")

        async def kinds() -> list[str]:

            async def status(**params: str) -> str:
                return (await module.dispatch("engine.status", params)).retvalue

            channels = await live_channels(status)
            assert channels is not None
            return [channel.id.partition("/")[0] for channel in channels]

        await call()
        await call()
        assert await kinds() == ["dumb", "dumb"]
        await module.drop_all_calls("conf")
        assert await kinds() == ["dumb", "dumb"]
        await module.drop_all_calls("dumb", reason="closed")
        assert await kinds() == []
        await call()
        await module.drop_all_calls()
        assert await kinds() == []
