"""The command `yateway engine`."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.by_hand import Hand
from yateway.cli import main
from yateway.engine import Recording
from yateway.transport import open_tcp, open_unix


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command; it is killed at the latest at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "yateway", "engine", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    """Return the next line that the command prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")


@pytest.mark.real_clock
async def test_it_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    """It prints where it listens, understands telnet, and writes the recording."""
    socket, record = tmp_path / "s", tmp_path / "r.jsonl"
    arguments = ("--listen", "tcp://127.0.0.1:0", "--listen", f"unix://{socket}?role=global")
    async with running(*arguments, "--record", str(record)) as process:
        found = re.fullmatch(r"listening on tcp://127\.0\.0\.1:(\d+)", await line(process))
        assert found
        assert await line(process) == f"listening on unix://{socket}"
        telnet = Hand(await open_tcp("127.0.0.1", int(found[1])))
        telnet.say("%%>connect:global\r")
        assert await telnet.ask("%%>watch:x\r") == ["%%<watch:x:true"]
        module = Hand(await open_unix(str(socket)))
        assert await module.ask("%%>watch:y") == ["%%<watch:y:true"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        for hand in (telnet, module):
            assert await hand.hear_rest() == []
            await hand.transport.close()
    lines = [entry.line for entry in Recording.from_file(record).entries]
    assert "%%<watch:x:true" in lines
    assert "%%<watch:y:true" in lines


@pytest.mark.real_clock
async def test_asked_twice_it_does_not_wait_for_modules(tmp_path: Path) -> None:
    """One holds engine.halt, but not for long."""
    async with running("--listen", f"unix://{tmp_path}/s?role=global") as process:
        await line(process)
        module = Hand(await open_unix(f"{tmp_path}/s"))
        await module.ask("%%>install:50:engine.halt")
        process.send_signal(signal.SIGINT)
        await module.request()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert await module.hear_rest() == []
        await module.transport.close()


@pytest.mark.real_clock
async def test_it_listens_where_the_configuration_says(tmp_path: Path) -> None:
    """And then not on the default address."""
    text = f"[listener u1]\ntype=unix\npath={tmp_path}/s\n"
    (tmp_path / "extmodule.conf").write_text(text)
    async with running("--conf", str(tmp_path)) as process:
        assert await line(process) == f"listening on unix://{tmp_path}/s"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert await line(process) == ""


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--listen", "0.0.0.0:5678"], 2, "no address to listen on"),
        (["--listen", "tcp://0.0.0.0:5678"], 2, "no password"),
        (["--conf", "/nowhere"], 1, "cannot read '/nowhere/extmodule.conf'"),
        (["--record", "/nowhere/file"], 1, "/nowhere/file"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 for what failed, 2 for wrong use."""
    assert main(["engine", *arguments]) == code
    output = capsys.readouterr()
    assert complaint in output.err
    assert output.out == ""


def test_it_ends_in_this_process_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signal ends it whatever process it is."""

    def end(text: str, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("builtins.print", end)
    record = tmp_path / "r.jsonl"
    assert main(["engine", "--listen", "tcp://127.0.0.1:0", "--record", str(record)]) == 0
    assert record.read_text() == ""
