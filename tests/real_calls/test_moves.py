"""Calls that go elsewhere on the real engine: to a telephone and back, to another call, a room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.real_calls.ivr import attached, ivr
from tests.sipp import Exchange, needs_sipp
from yateway import Call, CallEnded, CallFailed, Fork, Message, Module
from yateway.moving import Dialled
from yateway.sound import Playback
from yateway.transport import opener_of

pytestmark = [pytest.mark.yate, pytest.mark.real_clock, needs_sipp]


async def test_dial_and_back(exchange: Exchange, folder: Path) -> None:
    """Busy, refused, not answered, answered and hung up: each time the caller is with us again."""
    got: list[object] = []
    targets: list[str] = []

    async def code(call: Call) -> None:
        await call.answer()
        for target in targets:
            got.append(await call.dial(target, timeout=0.6))
            got.append((call.leg != "", await call.play("short.slin")))

    async with attached(exchange, ivr(folder, code)):
        phones = [
            await exchange.phone("refuses", 486),
            await exchange.phone("refuses", 403),
            await exchange.phone("rings-on"),
            await exchange.phone("callee", ring=100, stay=900),
        ]
        targets += [phone.target for phone in phones]
        targets.append("nowhere/1")
        caller = await exchange.call()
        await caller.done()
        for phone in phones:
            await phone.done()
    back = (True, Playback.EOF)
    assert got == [
        *(Dialled(False, "busy", 486), back),
        *(Dialled(False, "forbidden", 403), back),
        *(Dialled(False, "timeout"), back),
        *(Dialled(True, "hangup"), back),
        *(Dialled(False, "noconn"), back),
    ]


async def test_music_comes_back_with_the_caller(exchange: Exchange, folder: Path) -> None:
    """After who is busy, who does not answer, and who has talked, on a new leg each time."""
    got: list[str] = []
    targets: list[str] = []

    async def code(call: Call) -> None:
        await call.answer()
        async with call.hold("menu.slin"):
            for target in targets:
                await call.dial(target, timeout=0.6)
                got.append(call.leg)
        await call.hangup()

    music: list[str] = []
    listener = Module("listener")  # nobody is told of messages of their own

    @listener.handler("chan.attach", priority=50)
    def listen(message: Message) -> None:
        if message.get("source", "").endswith("menu.slin"):
            music.append(message["id"])

    await listener.attach(opener_of(exchange.engine.unix))
    try:
        async with attached(exchange, ivr(folder, code)):
            targets += [
                (await exchange.phone("refuses", 486)).target,
                (await exchange.phone("rings-on")).target,
                (await exchange.phone("callee", ring=100, stay=400)).target,
            ]
            caller = await exchange.call(stay=4000)
            await caller.done()
    finally:
        await listener.detach()
    assert len(set(got)) == 3
    assert music[1:] == got


async def test_dial_and_the_caller_hangs_up(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        try:
            got.append(await call.dial(phone.target))
        except CallEnded as end:
            got.append(end.reason)
            raise

    async with attached(exchange, ivr(folder, code)):
        for ring in (100, 2000):
            phone = await (exchange.phone("callee") if ring == 100 else exchange.phone("rings-on"))
            caller = await exchange.call(stay=500)
            await caller.done()
            await phone.done()
    assert got == ["hangup", "hangup"]


async def test_dial_without_an_answer_before(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        got.append((await call.dial(busy.target), call.status))
        got.append((await call.dial(friend.target), call.status))
        got.append(await call.play("short.slin"))

    async with attached(exchange, ivr(folder, code)):
        busy = await exchange.phone("refuses", 486)
        friend = await exchange.phone("callee", stay=400)
        caller = await exchange.call()
        await caller.done()
        await friend.done()
    assert got == [
        (Dialled(False, "busy", 486), "incoming"),
        (Dialled(True, "hangup"), "answered"),
        Playback.EOF,
    ]


async def test_fork(exchange: Exchange, folder: Path) -> None:
    """The first who answers talks; the caller comes back."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        got.append(await call.dial(Fork(slow.target, quick.target)))
        got.append(await call.play("short.slin"))

    async with attached(exchange, ivr(folder, code)):
        slow = await exchange.phone("rings-on")
        quick = await exchange.phone("callee", ring=300, stay=500)
        caller = await exchange.call()
        await caller.done()
        await quick.done()
        await slow.done()
    assert got == [Dialled(True, "hangup"), Playback.EOF]


async def test_blind_transfer(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        with pytest.raises(CallFailed):
            await call.transfer("nowhere/1")
        got.append(await call.play("short.slin"))
        await call.transfer(friend.target)
        got.append((call.leg, call.peer.startswith("sip/"), len(module.calls)))

    module = ivr(folder, code)
    async with attached(exchange, module):
        friend = await exchange.phone("callee", stay=500)
        caller = await exchange.call()
        await caller.done()
        await friend.done()
    assert got == [Playback.EOF, ("", True, 1)]


async def test_attended_transfer(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        with pytest.raises(CallFailed) as failed:
            await call.transfer(busy.target, attended=True)
        got.append((failed.value.reason, failed.value.cause))
        async with call.hold("menu.slin"):
            await call.transfer(friend.target, attended=True)
        got.append((call.leg, call.peer.startswith("sip/"), len(module.calls)))

    module = ivr(folder, code)
    async with attached(exchange, module):
        busy = await exchange.phone("refuses", 486)
        friend = await exchange.phone("callee", stay=700)
        caller = await exchange.call()
        await caller.done()
        await friend.done()
    assert got == [("busy", 486), ("", True, 2)]


async def test_two_callers_are_joined(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        others = [other for other in module.calls if other is not call]
        if others:
            await call.join(others[0])
            got.append(
                (call.peer == others[0].id, others[0].peer == call.id, call.leg, others[0].leg)
            )
        else:
            got.append(await call.wait_ended())

    module = ivr(folder, code)
    async with attached(exchange, module):
        first = await exchange.call()
        await asyncio.sleep(0.3)
        second = await exchange.call(stay=500)
        await first.done()
        await second.done()
    assert got == [(True, True, "", "")]


async def test_conference(exchange: Exchange, folder: Path) -> None:
    """Who is in the room is known, can be muted and put out, and can come back to us."""
    got: list[object] = []

    async def code(call: Call) -> None:
        await call.answer()
        room = await call.conference("room")

        def others() -> set[str]:
            found = map(module.calls.get, room.members.values())
            return {one.caller for one in found if one is not None and one is not call}

        if call.caller == "1000":
            while others() != {"1001", "1002"}:
                await room.changed()
            got.append(await room.mute(call.id))
            got.append(await room.mute(call.id, False))
            (kicked,) = module.calls.of_caller("1002")
            got.append(await room.kick(kicked.id))
            while len(room) > 2:
                await room.changed()
            got.append(others())
            await call.take_back()
            got.append(await call.play("short.slin"))
            (last,) = module.calls.of_caller("1001")
            await last.hangup()
            while room.members:
                await room.changed()
            got.append(others())

    module = ivr(folder, code)
    async with attached(exchange, module):
        phones = [await exchange.call(caller=1000 + number) for number in range(3)]
        for phone in phones:
            await phone.done()
    assert got == [True, True, True, {"1001"}, Playback.EOF, set()]


async def test_originate(exchange: Exchange, folder: Path) -> None:
    got: list[object] = []
    module = ivr(folder, Call.answer)
    async with attached(exchange, module):
        for scenario, status in (
            ("refuses", 486),
            ("refuses", 404),
            ("refuses", 603),
            ("rings-on", 0),
        ):
            phone = await exchange.phone(scenario, status)
            with pytest.raises(CallFailed) as failed:
                async with module.originate(phone.target, caller="5", timeout=0.5):
                    pass
            got.append((failed.value.reason, failed.value.cause))
            await phone.done()
        with pytest.raises(CallFailed) as failed:
            async with module.originate("nowhere/1"):
                pass
        got.append((failed.value.reason, failed.value.cause))
        # Answered; we hang up, then they do.
        phone = await exchange.phone("callee")
        async with module.originate(phone.target, caller="5") as call:
            got.append((call.status, call.outgoing, await call.play("short.slin")))
        text = await phone.done()
        assert "From: <sip:5@" in text
        phone = await exchange.phone("callee", stay=300)
        async with module.originate(phone.target, caller="5") as call:
            await call.play("menu.slin")
            got.append("unreachable")
        got.append((call.ended, call.reason, call.cause))
        await phone.done()
        # Cancelled while it rings.
        phone = await exchange.phone("rings-on")
        try:
            async with asyncio.timeout(0.4), module.originate(phone.target, caller="5"):
                pass
        except TimeoutError:
            got.append("cancelled")
        await phone.done()
        # The events of one that is not waited for.
        phone = await exchange.phone("callee", ring=400)
        async with module.originate(phone.target, caller="5", timeout=None) as call:
            # It may ring before we are told that the call was accepted.
            if call.status != "ringing":
                await call.wait_for("call.ringing", timeout=5)
            got.append(call.status)
            await call.wait_answered(5)
            got.append(call.status)
        await phone.done()
    assert got == [
        *(("busy", 486), ("noroute", 404), ("forbidden", 603), ("timeout", None)),
        ("noconn", None),
        ("answered", True, Playback.EOF),
        (True, "hangup", None),
        "cancelled",
        *("ringing", "answered"),
    ]
