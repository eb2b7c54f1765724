"""Programs that the engine starts itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.engine.by_hand import Hand
from yateway.engine import Engine
from yateway.engine.config import Script
from yateway.engine.scripts import start
from yateway.errors import ConfigError

pytestmark = pytest.mark.real_clock


def script(tmp_path: Path, text: str, argument: str = "") -> Script:
    """Write a shell script."""
    path = tmp_path / "script.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Script("script.sh", str(path), argument, "here line 1")


async def test_standard_input_and_output_are_pipes(tmp_path: Path) -> None:
    """By which a script sees that an engine started it; it gets one argument."""
    text = 'echo "$# $1"; [ -p /dev/stdin ] && [ -p /dev/stdout ] && echo pipes; cat'
    transport = await start(script(tmp_path, text, "two words"))
    hand = Hand(transport)
    assert await hand.hear(2) == ["1 two words", "pipes"]
    assert await hand.ask("echoed") == ["echoed"]
    await transport.drain()
    await transport.close()
    transport.write(b"too late\n")
    assert await hand.hear_rest() == []


async def test_a_script_that_ends_is_at_its_end(tmp_path: Path) -> None:
    """What it said before is heard."""
    transport = await start(script(tmp_path, "echo bye"))
    assert await Hand(transport).hear_rest() == ["bye"]
    await transport.close()


async def test_a_stubborn_script_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First by the end of its input, then by SIGTERM, then by SIGKILL."""
    monkeypatch.setattr("yateway.engine.scripts.LAST_PATIENCE", 0.05)
    transport = await start(
        script(tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    )
    assert await Hand(transport).hear() == ["ready"]
    transport.abort()
    transport.abort()
    await transport.close()


async def test_a_full_pipe_is_waited_for(tmp_path: Path) -> None:
    """Until the script reads on, or is forgotten."""
    transport = await start(script(tmp_path, "read -r go; cat >/dev/null"))
    transport.write(b"x" * 1_000_000)
    draining = asyncio.create_task(transport.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    transport.write(b"\n")
    await draining
    await transport.close()
    stuck = await start(script(tmp_path, "sleep 30"))
    stuck.write(b"x" * 1_000_000)
    draining = asyncio.create_task(stuck.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    stuck.abort()
    await draining
    await stuck.close()


@pytest.mark.parametrize("path", ["/nowhere/script.sh", "/etc/passwd"])
async def test_what_cannot_be_started_is_named(path: str) -> None:
    """With the line that asks for it, and the remedy."""
    wanted = Script("script.sh", path, "", "here line 1")
    with pytest.raises(ConfigError, match=r"here line 1: cannot start .*give the path"):
        await start(wanted)


def conf(tmp_path: Path, text: str) -> Path:
    """Write a configuration that starts a script, and return its folder."""
    script(tmp_path, text)
    (tmp_path / "extmodule.conf").write_text("[scripts]\nscript.sh=argument\n")
    return tmp_path


async def test_the_engine_runs_the_scripts_of_its_configuration(tmp_path: Path) -> None:
    """As modules of role global, whose debugname is the script's name."""
    text = """
echo "%%>setlocal:debugname:"
read -r name
[ "$name" = "%%<setlocal:debugname:script.sh:true" ] || exit
echo "%%>install:50:t.x"
read -r installed
read -r request
id=${request#*:}
echo "%%<message:${id%%:*}:true::$1"
cat >/dev/null
"""
    async with Engine(conf=conf(tmp_path, text)) as engine:
        while not engine.handles("t.x"):
            await asyncio.sleep(0.01)
        answer = await engine.dispatch("t.x")
    assert (answer.processed, answer.retvalue) == (True, "argument")


async def test_a_script_that_asked_for_it_is_started_again(tmp_path: Path) -> None:
    """And not again when it did not ask the next time."""
    marks = tmp_path / "marks"
    text = f"""
[ -f {marks} ] || {{ echo "%%>setlocal:restart:true"; read -r answer; }}
echo mark >>{marks}
"""
    async with Engine(conf=conf(tmp_path, text)):
        while not marks.exists() or marks.read_text() != "mark\nmark\n":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    assert marks.read_text() == "mark\nmark\n"


async def test_a_script_that_vanished_is_not_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    text = f'echo "%%>setlocal:restart:true"; read -r answer; rm {tmp_path}/script.sh'
    async with Engine(conf=conf(tmp_path, text)):
        while "cannot restart" not in caplog.text:
            await asyncio.sleep(0.01)


async def test_a_missing_script_stops_the_start(tmp_path: Path) -> None:
    """The engine is down afterwards."""
    (tmp_path / "extmodule.conf").write_text("[scripts]\nmissing.sh\n")
    engine = Engine(conf=tmp_path)
    with pytest.raises(ConfigError, match="line 2"):
        await engine.start()
    with pytest.raises(ConnectionRefusedError):
        await engine.open()
