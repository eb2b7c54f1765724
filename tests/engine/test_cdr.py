"""Records of calls, to the millisecond on the virtual clock."""

from __future__ import annotations

import asyncio

from yateway import Message
from yateway.engine import Engine
from yateway.engine.engine import OwnHandler


def collect(records: list[dict[str, str]]) -> OwnHandler:
    def note(message: Message) -> bool:
        records.append(dict(message))
        return False

    return note


async def test_a_record_counts_ringing_and_talking() -> None:
    """From start to answer, and from answer to hang-up."""
    async with Engine() as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))

        def route(message: Message) -> bool:
            message.retvalue = "sim/2"
            return True

        engine.install("call.route", route)
        caller = await engine.call("2", "1", username="me")
        called = await engine.next_call()
        await asyncio.sleep(1)
        called.ring()
        await asyncio.sleep(2)
        called.pick_up()
        await asyncio.sleep(30)
        caller.hang_up("bye")
        await asyncio.sleep(0.1)
        own = [record for record in records if record["chan"] == caller.id]
        operations = [record["operation"] for record in own]
        assert (operations[0], operations[-1]) == ("initialize", "finalize")
        assert set(operations[1:-1]) == {"update"}
        last = own[-1]
        assert last["direction"] == "incoming"
        assert (last["duration"], last["billtime"], last["ringtime"]) == (
            *("33.000", "30.000", "2.000"),
        )
        assert (last["caller"], last["called"], last["username"]) == ("1", "2", "me")
        assert (last["external"], last["reason"], last["billid"]) == ("1", "bye", caller.billid)
        other = [record for record in records if record["chan"] == called.id]
        assert other[-1]["external"] == "2"
        status = await engine.dispatch("engine.status", module="cdrbuild")
        assert ";cdrs=0,hungup=2;\r\n" in status.retvalue


async def test_a_late_message_begins_no_second_record() -> None:
    """For five seconds after the end; a start that was overtaken still gets its record."""
    async with Engine() as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await engine.dispatch("chan.startup", id="x/1")
        await engine.dispatch("chan.hangup", id="x/1")
        await engine.dispatch("call.answered", id="x/1")
        await asyncio.sleep(0.1)
        assert [record["operation"] for record in records] == ["initialize", "finalize"]
        await asyncio.sleep(5)
        await engine.dispatch("call.answered", id="x/1")
        await engine.dispatch("chan.hangup", id="x/2")
        await engine.dispatch("chan.startup", id="x/2")
        await asyncio.sleep(0.1)
        assert [(r["chan"], r["operation"]) for r in records[2:]] == [
            ("x/1", "initialize"),
            ("x/2", "finalize"),
        ]


async def test_what_is_not_recorded() -> None:
    """Early progress without media, what says so itself, and what is about nobody."""
    async with Engine() as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await engine.dispatch("chan.startup", id="x/1", cdrtrack=False)
        await engine.dispatch("call.answered", id="x/1", cdrcreate=False)
        await engine.dispatch("chan.startup")
        await engine.dispatch("call.ringing", id="x/1")
        await engine.dispatch("call.drop", id="cdrbuild/x/1")
        await asyncio.sleep(0.1)
        assert records == []
        await engine.dispatch("chan.startup", id="x/1", cdrwrite=False, trace_id="t")
        await engine.dispatch("call.progress", id="x/1")
        await engine.dispatch("call.progress", id="x/1", earlymedia=True)
        await engine.dispatch("call.update", id="x/1", operation="request")
        dropped = await engine.dispatch("call.drop", id="cdrbuild/x/1", reason="enough")
        assert dropped.processed
        await asyncio.sleep(0.1)
        assert [(r["operation"], r["cdrwrite"], r["trace_id"]) for r in records] == [
            ("initialize", "false", "t"),
            ("update", "false", "t"),
            ("finalize", "false", "t"),
        ]
        assert records[-1]["reason"] == "enough"
