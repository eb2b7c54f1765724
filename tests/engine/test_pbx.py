"""Joining calls from outside: chan.connect, pickup/ and taking sound away."""

from __future__ import annotations

from yateway import Message
from yateway.engine import Engine
from yateway.engine.sim import Leg


async def calls(engine: Engine, count: int) -> list[tuple[Leg, Leg]]:
    """Return answered calls between telephones."""

    def route(message: Message) -> bool:
        message.retvalue = message["called"]
        return True

    engine.install("call.route", route)
    pairs = []
    for _ in range(count):
        caller = await engine.call("sim/x")
        called = await engine.next_call()
        called.pick_up()
        await caller.until(lambda leg=caller: leg.answered)  # type: ignore[misc]
        pairs.append((caller, called))
    return pairs


async def test_two_channels_are_joined() -> None:
    """Those they were connected to hang up with the reason given."""
    async with Engine() as engine:
        (a, b), (c, d) = await calls(engine, 2)
        answer = await engine.dispatch("chan.connect", id=a.id, targetid=d.id, reason="swap")
        assert answer.processed
        assert a.peer is d
        await b.until(lambda: b.hung_up and c.hung_up)
        assert (b.reason, c.reason) == ("swap", "swap")


async def test_peers_are_joined() -> None:
    """By `id_peer` and `targetid_peer`."""
    async with Engine() as engine:
        (a, b), (c, d) = await calls(engine, 2)
        await engine.dispatch(
            "chan.connect", id=a.id, id_peer=True, targetid=d.id, targetid_peer=True
        )
        assert b.peer is c
        await a.until(lambda: a.hung_up and d.hung_up)


async def test_what_cannot_be_joined() -> None:
    """Who is not there, and one with himself."""
    async with Engine() as engine:
        ((a, b),) = await calls(engine, 1)
        for one, other in ((a.id, "sim/9"), ("sim/9", a.id), (a.id, a.id), ("", a.id)):
            answer = await engine.dispatch("chan.connect", id=one, targetid=other)
            assert not answer.processed
        assert a.peer is b


async def test_a_ringing_call_is_picked_up() -> None:
    """By `pickup/` and the ringing leg: the caller gets whoever picks up."""
    async with Engine() as engine:
        ((_, other),) = await calls(engine, 1)
        caller = await engine.call("sim/y")
        ringing = await engine.next_call()
        colleague = await engine.call(f"pickup/{ringing.id}")
        await colleague.until(lambda: colleague.answered)
        await ringing.until(lambda: ringing.hung_up)
        assert colleague.peer is caller
        assert (caller.status, ringing.reason) == ("answered", "pickup")
        for target in ("pickup/sim/99", "pickup/"):
            failed = await engine.call(target)
            await failed.until(lambda leg=failed: leg.hung_up)  # type: ignore[misc]
        assert not (await engine.dispatch("call.execute", callto=f"pickup/{other.id}")).processed


async def test_sound_is_taken_away() -> None:
    """`-` for a source, a consumer, and what was laid over."""
    async with Engine() as engine:
        ((caller, called),) = await calls(engine, 1)

        async def attach(leg: Leg, **params: str) -> bool:
            own = {"id": leg.id, "message": "chan.attach", "single": "true"}
            return (await engine.dispatch("chan.masquerade", {**own, **params})).processed

        assert await attach(called, source="tone/dial")
        assert await attach(caller, override="tone/busy")
        assert caller.hears == "tone/busy"
        assert await attach(caller, override="-")
        assert caller.hears == "tone/dial"
        assert await attach(called, source="-")
        assert caller.hears == ""
        assert await attach(called, source="tone/dial")
        assert await attach(caller, consumer="-")
        assert caller.hears == ""
        assert not (await engine.dispatch("chan.attach", source="-", single=True)).processed
