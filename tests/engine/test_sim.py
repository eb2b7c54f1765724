"""Telephones: calls from them, calls to them, keys, and how calls fail."""

from __future__ import annotations

import asyncio

import pytest

from yateway import Message
from yateway.engine import Engine
from yateway.engine.engine import OwnHandler


def to(target: str, processed: bool = True, **params: str) -> OwnHandler:
    """Return a handler that routes calls."""

    def route(message: Message) -> bool:
        message.retvalue = target
        message.update(params)
        return processed

    return route


class Log:
    """What is told by messages of some names."""

    def __init__(self, engine: Engine, *names: str) -> None:
        self.messages: list[Message] = []
        for name in names:
            engine.install(name, self._note, 1000)

    def _note(self, message: Message) -> bool:
        self.messages.append(message)
        return False

    def of(self, name: str, *params: str) -> list[tuple[str, ...]]:
        return [
            tuple(message.get(param, "") for param in params)
            for message in self.messages
            if message.name == name
        ]


async def test_a_call_goes_through_all_its_steps() -> None:
    """Start, route, execute, ring, answer, hang up, in this order."""
    names = ("chan.startup", "call.preroute", "call.route", "chan.connected", "chan.disconnected")
    async with Engine() as engine:
        seen: list[str] = []
        for name in (*names, "call.execute", "call.ringing", "call.answered", "chan.hangup"):
            engine.install(name, lambda m: bool(seen.append(f"{m.name} {m['id']}")), 0)  # type: ignore[func-returns-value]
        engine.install("call.route", to("sim/2", billid="mine"))
        caller = await engine.call("2", "1", callername="Me")
        assert (caller.id, caller.status, caller.outgoing) == ("sim/1", "incoming", False)
        called = await engine.next_call()
        assert (called.id, called.address, called.outgoing) == ("sim/2", "2", True)
        called.ring()
        await caller.until(lambda: caller.status == "ringing")
        called.early_media()
        await caller.until(lambda: caller.status == "progressing")
        called.pick_up()
        await caller.until(lambda: caller.answered)
        assert caller.peer is called
        assert caller.target_id == called.id
        assert called.billid == caller.billid
        called.hang_up("bye")
        await caller.until(lambda: caller.hung_up)
        assert (caller.reason, called.reason) == ("bye", "bye")
        await asyncio.sleep(0.1)
        assert seen[:3] == ["call.preroute sim/1", "call.route sim/1", "call.execute sim/1"] or (
            seen[0] == "chan.startup sim/1"
        )
        for step in ("chan.startup sim/2", "call.ringing sim/2", "call.answered sim/2"):
            assert step in seen
        assert seen[-3:] == ["chan.hangup sim/2", "chan.disconnected sim/1", "chan.hangup sim/1"]


@pytest.mark.parametrize(
    ("target", "processed", "params", "reason"),
    [
        ("", False, {}, "noroute"),
        ("", True, {}, "noroute"),
        ("-", True, {"error": "busy"}, "busy"),
        ("error", True, {}, "unknown"),
        ("sim/2", True, {"antiloop": "0"}, "looping"),
        ("nowhere/2", True, {}, "noconn"),
        ("sim/2", True, {"stop_call": "true"}, "stopped_call"),
    ],
)
async def test_calls_that_fail(
    target: str, processed: bool, params: dict[str, str], reason: str
) -> None:
    """The caller hears why, and hangs up."""
    async with Engine() as engine:
        engine.install("call.route", to(target, processed, **params))
        leg = await engine.call("2")
        await leg.until(lambda: leg.hung_up)
        assert (leg.status, leg.reason, leg.peer) == ("rejected", reason, None)


async def test_prerouting_can_reject_and_bill() -> None:
    """Before anybody is asked for a route."""
    async with Engine() as engine:
        log = Log(engine, "call.route")
        engine.install("call.preroute", to("-", error="forbidden"))
        leg = await engine.call("2")
        await leg.until(lambda: leg.hung_up)
        assert (leg.reason, log.messages) == ("forbidden", [])
    async with Engine() as engine:
        engine.install("call.preroute", to("", False, billid="mine"))
        leg = await engine.call("2")
        await leg.until(lambda: leg.hung_up)
        assert leg.billid == "mine"


async def test_a_failed_target_can_be_replaced() -> None:
    """By whoever handles chan.disconnected with reroute=true."""
    async with Engine() as engine:
        engine.install("call.route", to("nowhere/2", copyparams="x", x="y"))

        async def rescue(message: Message) -> bool:
            assert (message["reroute"], message["error"], message["x"]) == ("true", "noconn", "y")
            answer = await engine.dispatch(
                "chan.masquerade", id=message["id"], message="call.execute", callto="tone/busy"
            )
            return answer.processed

        engine.install("chan.disconnected", rescue)
        leg = await engine.call("2")
        await leg.until(lambda: leg.hears == "tone/busy")
        assert not leg.hung_up
        leg.hang_up()


async def test_a_caller_may_hang_up_before_the_answer() -> None:
    """While the call is routed, and while it rings."""
    async with Engine() as engine:
        routing, go_on = asyncio.Event(), asyncio.Event()

        async def slow(message: Message) -> bool:
            routing.set()
            await go_on.wait()
            message.retvalue = "sim/2"
            return True

        engine.install("call.route", slow)
        leg = await engine.call("2")
        await routing.wait()
        leg.hang_up("cancelled")
        leg.hang_up("again")
        go_on.set()
        await asyncio.sleep(0.1)
        assert (leg.hung_up, leg.reason, leg.alive) == (True, "cancelled", False)
        second = await engine.call("2")
        called = await engine.next_call()
        assert called.address == "2"
        second.hang_up()
        await called.until(lambda: called.hung_up)


async def test_keys_and_texts_reach_the_other_telephone() -> None:
    """Each key is one message with its number; a twin detected in another way is no second one."""
    async with Engine() as engine:
        engine.install("call.route", to("sim/2"))
        log = Log(engine, "chan.dtmf")

        def pass_on(message: Message) -> bool:
            message["targetid"] = message["peerid"]
            return False

        engine.install("chan.dtmf", pass_on, 50)
        caller = await engine.call("2")
        called = await engine.next_call()
        called.pick_up()
        await caller.until(lambda: caller.answered)
        caller.press("12#")
        await called.until(lambda: called.digits == "12#")
        caller.press("#", detected="inband")
        await asyncio.sleep(5)
        caller.press("#", detected="inband")
        await called.until(lambda: called.digits == "12##")
        answer = await engine.dispatch("chan.text", targetid=called.id, text="hello")
        assert answer.processed
        assert called.texts == ["hello"]
        assert log.messages == []  # the telephone used them up
        caller.hang_up()


async def test_limits_of_time_drop_a_call() -> None:
    """`maxcall` until the answer, `timeout` after it; both can be taken away."""
    async with Engine() as engine:
        engine.install("call.route", to("sim/2", maxcall="3000", timeout="60000"))
        loop = asyncio.get_running_loop()
        leg = await engine.call("2")
        await leg.until(lambda: leg.hung_up)
        assert (leg.reason, round(loop.time(), 3)) == ("noanswer", 3.0)
        await engine.next_call()
        leg = await engine.call("2")
        (await engine.next_call()).pick_up()
        await leg.until(lambda: leg.answered)
        status = await engine.dispatch("engine.status", module=leg.id)
        assert ",timeout=60000\r\n" in status.retvalue
        await leg.until(lambda: leg.hung_up)
        assert (leg.reason, round(loop.time(), 3)) == ("timeout", 63.0)
        leg = await engine.call("2")
        for end in (leg, await engine.next_call()):
            await engine.dispatch("chan.control", targetid=end.id, timeout="0", maxcall="0")
        await asyncio.sleep(100)
        assert not leg.hung_up
        leg.hang_up()


async def test_nobody_is_called_by_nobody() -> None:
    """A telephone rings for somebody."""
    async with Engine() as engine:
        answer = await engine.dispatch("call.execute", callto="sim/2")
        assert (answer.processed, answer["error"]) == (False, "failure")


async def test_an_engine_that_ends_leaves_nothing_behind() -> None:
    """In the middle of a call."""
    async with Engine() as engine:
        engine.install("call.route", to("sim/2"))
        leg = await engine.call("2")
        (await engine.next_call()).pick_up()
        await leg.until(lambda: leg.answered)
        own: dict[str, str | int | float] = {"id": leg.id, "message": "chan.attach"}
        await engine.dispatch("chan.masquerade", {**own, "source": "tone/dial"})
