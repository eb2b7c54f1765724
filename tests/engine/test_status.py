"""engine.status and engine.command: the lines that programs parse."""

from __future__ import annotations

import asyncio

from tests.engine.by_hand import EIGHT_WORKERS, Hand
from yateway.engine import Engine


async def test_a_part_lists_its_channels() -> None:
    """With what would break the line escaped; without details, only counted."""
    async with Engine() as engine:
        await engine.dispatch("call.execute", callto="dumb/a,b|c d", target="1", direct="dumb/x")
        listed = await engine.dispatch("engine.status", module="dumb")
        assert listed.processed
        assert listed.retvalue == (
            "name=dumb,type=misc,format=Status|Address|Peer;routed=0,routing=0,total=2,chans=2"
            ";dumb/1=ringing|a%2cb%7cc%20d|dumb/2,dumb/2=outgoing|x|dumb/1\r\n"
        )
        counted = await engine.dispatch("engine.status", module="dumb", details=False)
        assert counted.retvalue.endswith(",chans=2\r\n")


async def test_a_channel_tells_all() -> None:
    """In the line and in the parameters."""
    async with Engine() as engine:
        await engine.dispatch("call.execute", callto="dumb/a", target="1", direct="dumb/x")
        answer = await engine.dispatch("engine.status", module="dumb/2")
        assert answer.retvalue.startswith("name=dumb/2,type=channel;module=dumb,peerid=dumb/1")
        assert (answer["status"], answer["peerid"]) == ("outgoing", "dumb/1")


async def test_the_engine_itself_reports() -> None:
    """Alone, or before all others, which then answer nobody finally."""
    async with Engine() as engine:
        own = await engine.dispatch("engine.status", module="engine")
        assert own.processed
        assert own.retvalue.startswith("name=engine,type=system,version=6.4.1,")
        everybody = await engine.dispatch("engine.status")
        assert not everybody.processed
        assert everybody.retvalue.count("\r\n") == 10
        kind = await engine.dispatch("engine.status", module="misc")
        assert not kind.processed
        assert "name=engine" not in kind.retvalue
        assert not (await engine.dispatch("engine.status", module="nosuch")).processed


async def test_the_engine_counts_its_messages_and_workers() -> None:
    """As it goes: what waits, what was taken from the queue, and who takes it."""
    async with Engine(conf=EIGHT_WORKERS) as engine:
        slow = await Hand.on(engine)
        await slow.ask("%%>install:50:t.slow", "%%>watch:t.none")
        other = await Hand.on(engine)
        other.say(*(f"%%>message:{n}:0:t.slow:" for n in range(10)))
        await asyncio.sleep(0.5)
        own = await engine.dispatch("engine.status", module="engine")
        counts = dict(item.split("=") for item in own.retvalue.split(";")[1].split(","))
        assert (counts["messages"], counts["maxqueue"]) == ("2", "10")
        assert (counts["enqueued"], counts["dequeued"]) == ("10", "8")
        assert (counts["dispatched"], counts["hooks"], counts["workers"]) == ("9", "1", "8")
        brief = await engine.dispatch("engine.status", module="engine", details=False)
        assert "configpath=" in own.retvalue
        assert brief.retvalue.endswith(",congestion=0\r\n")


async def test_words_are_completed() -> None:
    """Names of parts, and ids of channels."""
    async with Engine() as engine:
        await engine.dispatch("call.execute", callto="dumb/a", target="1", direct="dumb/x")
        for params, words in (
            ({"partline": "status", "partword": "du"}, "dumb"),
            ({"partline": "status", "partword": "c"}, "cdrbuild\tcallfork\tconf"),
            ({"partline": "drop", "partword": "du", "complete": "channels"}, "dumb\tdumb/"),
            ({"partline": "drop", "partword": "dumb/", "complete": "channels"}, "dumb/1\tdumb/2"),
            ({"partline": "reload", "partword": "du"}, "dumb"),
            ({"partline": "nosuch", "partword": "du"}, ""),
        ):
            answer = await engine.dispatch("engine.command", params)
            assert answer.retvalue == words
