"""Channels: what messages do to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from yateway import Message
from yateway.engine import Engine


async def pair(engine: Engine, **params: str) -> Message:
    """Connect two dumb legs: dumb/1 calls dumb/2."""
    answer = await engine.dispatch(
        "call.execute", callto="dumb/far", target="200", direct="dumb/near", **params
    )
    assert answer.processed
    return answer


async def test_a_message_keeps_its_channel() -> None:
    """A leg that is dropped while a message about it is handled ends after that message."""
    async with Engine() as engine:
        ended: list[str] = []
        started, go_on = asyncio.Event(), asyncio.Event()

        def note(message: Message) -> bool:
            ended.append(message["id"])
            return False

        async def hold(message: Message) -> bool:
            started.set()
            await go_on.wait()
            return True

        engine.install("chan.hangup", note)
        engine.install("x.y", hold)
        await pair(engine)
        asking = asyncio.create_task(engine.dispatch("chan.masquerade", id="dumb/1", message="x.y"))
        await started.wait()
        await engine.dispatch("call.drop", id="dumb/1")
        await asyncio.sleep(1)
        assert ended == ["dumb/2"]
        go_on.set()
        assert (await asking).processed
        await asyncio.sleep(0.1)
        assert ended == ["dumb/2", "dumb/1"]


async def test_masquerade_says_whether_the_channel_is_there() -> None:
    """The name stays if it is not; else the message gets all that the channel knows."""
    async with Engine() as engine:
        await pair(engine)
        lost = await engine.dispatch("chan.masquerade", id="dumb/9", message="x.y")
        assert (lost.name, lost.processed) == ("chan.masquerade", False)
        found = await engine.dispatch("chan.masquerade", id="dumb/2", message="x.y")
        assert (found.name, found["status"], found["peerid"]) == ("x.y", "outgoing", "dumb/1")
        short = await engine.dispatch(
            "chan.masquerade", id="dumb/2", message="x.y", complete_minimal=True
        )
        assert set(short) == {"id", "module", "handlers", "complete_minimal"}


async def test_channels_carry_parameters() -> None:
    """Those that a prefix names, in all their messages from then on."""
    async with Engine() as engine:
        more = {"chanparams-prefix": "mine.", "mine.color": "blue"}
        names = "chanparams-prefix,mine.color"
        await pair(engine, copyparams=names, **more)
        located = await engine.dispatch("chan.locate", id="dumb/2", complete=True)
        assert located["color"] == "blue"
        plain = await engine.dispatch("chan.locate", id="dumb/2")
        assert "color" not in plain


async def test_calls_are_dropped_by_driver_kind_or_all_at_once() -> None:
    """An empty id means all, which is why nobody may forget it."""
    async with Engine() as engine:
        for what, processed in (("dumb", True), ("misc", False), ("", False), ("tone", True)):
            await pair(engine)
            answer = await engine.dispatch("call.drop", id=what, reason="x")
            assert answer.processed is processed
            await asyncio.sleep(0.1)
            status = await engine.dispatch("engine.status", module="dumb")
            left = 2 if what == "tone" else 0
            assert f",chans={left}" in status.retvalue


async def test_a_disconnected_channel_can_be_rescued() -> None:
    """By connecting it again before chan.disconnected is answered."""
    async with Engine() as engine:

        async def rescue(message: Message) -> bool:
            answer = await engine.dispatch(
                "chan.masquerade", id=message["id"], message="call.execute", callto="tone/busy"
            )
            return answer.processed

        engine.install("chan.disconnected", rescue)
        await pair(engine)
        await engine.dispatch("call.drop", id="dumb/2", reason="busy")
        await asyncio.sleep(1)
        located = await engine.dispatch("chan.locate", id="dumb/1", complete=True)
        assert located["peerid"] == "tone/1"


async def test_the_configuration_counts(tmp_path: Path) -> None:
    """How long a call may last, whether twins of digits are told, and which modules are there."""
    limits = "[telephony]\ntimeout=2000\ndtmfdups=yes\n"
    some = "[general]\nmodload=disable\n[modules]\ndumbchan.yate=yes\ntonegen=yes\n"
    (tmp_path / "yate.conf").write_text(limits + some)
    (tmp_path / "extmodule.conf").write_text("")
    async with Engine(conf=tmp_path) as engine:
        status = await engine.dispatch("engine.status", details=False)
        names = [line.partition(",")[0] for line in status.retvalue.split("\r\n")]
        assert names[1:-1] == ["name=tone", "name=dumb", "name=sim", "name=extmodule"]
        leg = await engine.call("1")
        await leg.until(lambda: leg.hung_up)
        await pair(engine)
        digit = await engine.dispatch(
            "chan.masquerade", id="dumb/1", message="chan.dtmf", text="1", detected="a"
        )
        twin = await engine.dispatch(
            "chan.masquerade", id="dumb/1", message="chan.dtmf", text="1", detected="b"
        )
        assert [m["duplicate"] for m in (digit, twin)] == ["false", "true"]
        assert "status" in twin
        await asyncio.sleep(3)
        assert not (await engine.dispatch("chan.locate", id="dumb/1")).processed


async def test_only_what_is_loaded_is_there() -> None:
    """By default everything."""
    async with Engine() as engine:
        status = await engine.dispatch("engine.status", details=False)
        names = [line.partition(",")[0] for line in status.retvalue.split("\r\n")]
        assert names == [
            *("name=engine", "name=cdrbuild", "name=callfork", "name=tone", "name=dumb"),
            *("name=wave", "name=conf", "name=sim", "name=pbx", "name=extmodule", ""),
        ]
