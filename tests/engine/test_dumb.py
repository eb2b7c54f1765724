"""Dumb legs: called, and calling by themselves."""

from __future__ import annotations

import asyncio

import pytest

from yateway import Message
from yateway.engine import Engine


async def test_a_called_leg_rings_unless_told_otherwise() -> None:
    """`autoring=no` in the route leaves the caller waiting."""
    async with Engine() as engine:
        params: dict[str, str] = {}

        def route(message: Message) -> bool:
            message.retvalue = "dumb/there"
            message.update(params)
            return True

        engine.install("call.route", route)
        for autoring, status in (("", "ringing"), ("no", "accepted")):
            params = {"autoring": autoring} if autoring else {}
            leg = await engine.call("1", "2")
            await leg.until(lambda leg=leg: leg.target_id != "")  # type: ignore[misc]
            assert (leg.status, leg.answered) == (status, False)
            assert leg.peer is not None
            located = await engine.dispatch("chan.locate", id=leg.peer.id, complete=True)
            assert (located["address"], located["targetid"]) == ("there", leg.id)
            assert located["billid"] == leg.billid


async def test_a_leg_calls_where_routing_says() -> None:
    """With the parameters that `copyparams` names; its own name is the caller."""
    async with Engine() as engine:
        asked: list[dict[str, str]] = []

        def route(message: Message) -> bool:
            asked.append(dict(message))
            message.retvalue = "sim/9"
            return True

        engine.install("call.route", route)
        answer = await engine.dispatch(
            *("call.execute", {"callto": "dumb/me", "target": "9", "copyparams": "a, b,c"}),
            a="1",
            b="2",
        )
        assert (answer.processed, answer["id"], answer["peerid"]) == (True, "dumb/1", "sim/1")
        assert answer["targetid"] == "sim/1"
        assert asked[0] == {
            **{"driver": "dumb", "id": "dumb/1", "caller": "dumb/me", "called": "9"},
            **{"a": "1", "b": "2", "handlers": "cdrbuild:50"},
        }
        phone = await engine.next_call()
        assert (phone.target_id, phone.address) == ("dumb/1", "9")
        phone.pick_up()
        await asyncio.sleep(0.1)
        located = await engine.dispatch("chan.locate", id="dumb/1", complete=True)
        assert (located["answered"], located["status"]) == ("true", "answered")


@pytest.mark.parametrize(
    ("params", "more"),
    [
        ({"direct": "sim/9"}, {}),
        ({"target": "9"}, {}),
        ({"target": "9", "direct": "nowhere/9"}, {}),
        ({"target": "9", "direct": "sim/9", "stop_call": "true"}, {"error": "stopped_call"}),
    ],
)
async def test_calls_that_fail(params: dict[str, str], more: dict[str, str]) -> None:
    """No target, no route, nobody there; what the target said is handed back."""
    async with Engine() as engine:
        answer = await engine.dispatch("call.execute", {"callto": "dumb/", **params})
        assert not answer.processed
        assert {name: answer[name] for name in more} == more
        assert "id" not in answer
        status = await engine.dispatch("engine.status", module="dumb", details=False)
        assert status.retvalue.endswith(",chans=0\r\n")


async def test_a_leg_without_a_target_leg_is_answered() -> None:
    """Whoever handles call.execute without connecting it answers it, and then it ends."""
    async with Engine() as engine:
        ended: list[dict[str, str]] = []

        def note(message: Message) -> bool:
            ended.append(dict(message))
            return False

        engine.install("chan.hangup", note)
        engine.install("call.execute", lambda m: m["callto"] == "mine", 50)
        answer = await engine.dispatch("call.execute", callto="dumb/", target="1", direct="mine")
        assert answer.processed
        await asyncio.sleep(0.1)
        assert (ended[0]["status"], ended[0]["answered"]) == ("answered", "true")
