"""What operators type: beyond what the recording `commands` shows."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.engine.by_hand import Hand
from yateway.engine import Engine
from yateway.message import Message
from yateway.transport import opener_of


async def command(engine: Engine, line: str) -> str | None:
    """Return what a command says, None if nobody knows it."""
    answer = await engine.dispatch("engine.command", line=line)
    return answer.retvalue if answer.processed else None


async def test_the_version_is_told() -> None:
    """In the real engine's columns."""
    async with Engine() as engine:
        assert (await command(engine, "version") or "").startswith("version:  6.4.1\r\nrelease:  ")
        assert await command(engine, "versions") is None


@pytest.mark.parametrize(
    ("line", "params"),
    [
        ("control x/1 mute=true", {"mute": "true"}),
        ("control x/1 a=1 b=2", {"b": "2", "a": "1"}),
        ("control x/1 hold now a=1", {"a": "1", "operation": "hold now"}),
        ("control x/1 hold", {"operation": "hold"}),
    ],
)
async def test_control_reaches_who_knows_the_id(line: str, params: dict[str, str]) -> None:
    """With values and an operation; whether it worked, he says himself."""
    async with Engine() as engine:
        seen: list[dict[str, str]] = []

        def control(message: Message) -> bool:
            seen.append(dict(message.items()))
            message.retvalue = "done"
            message["operation-status"] = "a" not in message
            return True

        engine.install("chan.control", control, 50)
        assert await command(engine, line) == (None if "a" in params else "done")
        (told,) = seen
        assert {k: v for k, v in told.items() if k not in ("handlers", "operation-status")} == {
            "targetid": "x/1",
            "component": "x/1",
        } | params


async def test_control_needs_an_id_that_somebody_knows() -> None:
    """And something to do."""
    async with Engine() as engine:
        assert await command(engine, "control x/1 mute=true") is None
        assert await command(engine, "control x/1") is None
        assert await command(engine, "control x/1 ") is None


@pytest.mark.real_clock
async def test_modules_are_listed_and_dismissed(tmp_path: Path) -> None:
    """By the name of their listener and where they come from, or by their script."""
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.stdin.read()\n")
    script.chmod(0o700)
    (tmp_path / "extmodule.conf").write_text("")
    async with Engine(listen=["tcp://127.0.0.1:0?name=net"], conf=tmp_path) as engine:
        by_net = Hand(await opener_of(engine.urls[0])())
        by_memory = await Hand.on(engine)
        await by_memory.ask("%%>setlocal:timeout:")
        assert await command(engine, "external script one") == "External start attempt\r\n"
        assert await command(engine, "external nosuch") == "External start attempt\r\n"
        listed = (await command(engine, "external info") or "").split("\r\n")
        assert sorted(line.partition(". ")[2].split(":")[0] for line in listed[:-1:2]) == [
            "memory ",
            "net 127.0.0.1",
            "script one",
        ]
        assert sorted(listed[1::2]) == [
            "\tGlobal, pid=1",
            "\tGlobal, pid=1",
            "\tUnknown, pid=1",
        ]
        assert await command(engine, "external start script") == "External already running\r\n"
        assert await command(engine, "external stop script two") == "External not running\r\n"
        assert await command(engine, "external stop net") == "External command stopped\r\n"
        assert await by_net.hear_rest() == []
        assert await command(engine, "external restart script") == "External start attempt\r\n"
        completed = await engine.dispatch(
            "engine.command", {"partline": "external stop script", "partword": "o"}
        )
        assert completed.retvalue == ""
        await asyncio.sleep(0.05)
        assert (await command(engine, "external") or "").endswith("script \r\n")
