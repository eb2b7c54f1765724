"""Calls to several targets: who wins, who is called when, and what is heard meanwhile."""

from __future__ import annotations

import asyncio

from yateway import Message
from yateway.engine import Engine
from yateway.engine.sim import Leg


async def call(engine: Engine, target: str, **params: str) -> Leg:
    """Call a fork."""

    def route(message: Message) -> bool:
        message.retvalue = target
        message.update(params)
        return True

    engine.install("call.route", route)
    return await engine.call("1", "2")


async def test_the_first_answer_wins() -> None:
    """The others are hung up on, and the caller hears whom he got."""
    async with Engine() as engine:
        replaced: list[dict[str, str]] = []
        engine.install("chan.replaced", lambda m: bool(replaced.append(dict(m))))  # type: ignore[func-returns-value]
        caller = await call(engine, "fork sim/a sim/b")
        first, second = await engine.next_call(), await engine.next_call()
        first.ring()
        await caller.until(lambda: caller.status == "ringing")
        second.pick_up()
        await caller.until(lambda: caller.answered)
        await first.until(lambda: first.hung_up)
        assert first.reason == "pickup"
        assert caller.peer is second
        assert second.hears == ""
        caller.say("x.slin")
        await asyncio.sleep(0)
        assert replaced[0]["newid"] == second.id
        assert replaced[0]["newid.1"] == caller.id
        first.pick_up()
        await asyncio.sleep(0.1)
        assert caller.peer is second
        caller.hang_up()
        await second.until(lambda: second.hung_up)


async def test_the_ringing_one_is_heard() -> None:
    """Its early media, and nobody else's; another one when it has gone."""
    async with Engine() as engine:
        caller = await call(engine, "fork sim/a sim/b")
        first, second = await engine.next_call(), await engine.next_call()
        for leg, tone in ((first, "tone/ring"), (second, "tone/busy")):
            own: dict[str, str | int | float] = {"id": leg.id, "message": "chan.attach"}
            await engine.dispatch("chan.masquerade", {**own, "source": tone})
        first.early_media()
        await caller.until(lambda: caller.hears == "tone/ring")
        second.early_media()
        await asyncio.sleep(0.1)
        assert caller.hears == "tone/ring"
        first.hang_up("busy")
        assert caller.hears == ""
        second.early_media()
        await caller.until(lambda: caller.hears == "tone/busy")
        second.hang_up("busy")
        await caller.until(lambda: caller.hung_up)
        assert caller.reason == "busy"


async def test_groups_follow_each_other() -> None:
    """After the last one of a group has gone, or after a time; `drop` hangs up on the others."""
    async with Engine() as engine:
        caller = await call(engine, "fork sim/a | sim/b |next=1000 sim/c |drop=2000 sim/d")
        loop = asyncio.get_running_loop()
        (await engine.next_call()).hang_up("busy")
        second = await engine.next_call()
        assert (second.address, loop.time()) == ("b", 0.0)
        third = await engine.next_call()
        assert (third.address, round(loop.time(), 3)) == ("c", 1.0)
        assert not second.hung_up
        fourth = await engine.next_call()
        assert (fourth.address, round(loop.time(), 3)) == ("d", 3.0)
        assert (second.hung_up, third.hung_up) == (True, True)
        caller.hang_up()
        await fourth.until(lambda: fourth.hung_up)


async def test_persistent_ones_ring_on() -> None:
    """Through all groups, but do not keep a group alive."""
    async with Engine() as engine:
        targets = {"callto.1": "sim/a", "callto.1.fork.calltype": "persistent", "callto.2": "sim/b"}
        more = {"callto.3": "|", "callto.4": "sim/c", "callto.4.called": "77"}
        caller = await call(engine, "fork", **targets, **more)
        persistent, second = await engine.next_call(), await engine.next_call()
        second.hang_up("busy")
        third = await engine.next_call()
        assert third.address == "c"
        assert not persistent.hung_up
        persistent.pick_up()
        await caller.until(lambda: caller.answered)
        await third.until(lambda: third.hung_up)
        caller.hang_up()


async def test_a_reason_can_end_it_all() -> None:
    """`fork.stop` is a pattern, with `^` behind it for all other reasons."""
    for stop, reasons in (("busy|rejected", ["busy"]), ("busy^", ["busy", "rejected"])):
        async with Engine() as engine:
            caller = await call(engine, "fork sim/a | sim/b | sim/c", **{"fork.stop": stop})
            for reason in reasons:
                (await engine.next_call()).hang_up(reason)
            await caller.until(lambda leg=caller: leg.hung_up)  # type: ignore[misc]
            assert caller.reason == reasons[-1]


async def test_forks_can_be_forked() -> None:
    """An answer finds its way through both."""
    async with Engine() as engine:

        def route(message: Message) -> bool:
            message.retvalue = "fork"
            message.update({"callto.1": "fork sim/a sim/b", "callto.2": "sim/c"})
            return True

        engine.install("call.route", route)
        caller = await engine.call("1")
        legs = [await engine.next_call() for _ in range(3)]
        assert [leg.address for leg in legs] == ["a", "b", "c"]
        legs[1].pick_up()
        await caller.until(lambda: caller.answered)
        assert caller.peer is legs[1]
        await legs[2].until(lambda: legs[2].hung_up)
        caller.hang_up()


async def test_a_caller_who_hangs_up_leaves_nobody_ringing() -> None:
    """And the fork is gone."""
    async with Engine() as engine:
        caller = await call(engine, "fork sim/a sim/b")
        legs = [await engine.next_call() for _ in range(2)]
        caller.hang_up("enough")
        for leg in legs:
            await leg.until(lambda leg=leg: leg.hung_up)  # type: ignore[misc]
            assert leg.reason == "hangup"
        status = await engine.dispatch("engine.status", module="callfork")
        assert status.retvalue == "name=callfork,type=misc;total=1,forks=0\r\n"


async def test_keys_reach_all_targets() -> None:
    """While none of them has answered."""
    async with Engine() as engine:
        await call(engine, "fork sim/a sim/b")
        legs = [await engine.next_call() for _ in range(2)]
        await engine.dispatch("chan.dtmf", id="sim/1", peerid="fork/1", text="5")
        for leg in legs:
            await leg.until(lambda leg=leg: leg.digits == "5")  # type: ignore[misc]


async def test_nobody_to_call() -> None:
    """No targets, targets that fail, and no caller."""
    async with Engine() as engine:
        for target in ("fork", "fork nowhere/1 | nowhere/2"):
            caller = await call(engine, target)
            await caller.until(lambda leg=caller: leg.hung_up)  # type: ignore[misc]
        assert not (await engine.dispatch("call.execute", callto="fork sim/a")).processed
        assert not (await engine.dispatch("chan.locate", id="fork/1")).processed
        lost = await engine.dispatch("chan.masquerade", id="fork/1/1", message="x.y")
        assert lost.name == "chan.masquerade"
