"""`yateway run --record` keeps a session, and what it kept can be played again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.elsewhere import engine_elsewhere
from yateway.cli import main
from yateway.engine import Recording

SOURCE = """\
from yateway import Module

module = Module("taped")
module.handler("call.route")(lambda message: "sip/a")


@module.on_connected
async def ask() -> None:
    await module.dispatch("test.it", x="50%")
    module.stop()
"""


@pytest.mark.real_clock
def test_a_session_is_recorded_and_agrees_with_the_embedded_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module's own lines are there from its first to its quit."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    module, record = tmp_path / "taped.py", tmp_path / "taped.jsonl"
    module.write_text(SOURCE)
    with engine_elsewhere() as url:
        assert main(["run", str(module), "--engine", url, "--record", str(record)]) == 0
    lines = [entry.line for entry in Recording.from_file(record).entries if not entry.event]
    assert lines[0] == "%%>connect:global"
    assert "%%<message:1:false:test.it::x=50%%" in lines
    assert lines[-1] == "%%<quit"
    assert main(["replay", str(record)]) == 0, capsys.readouterr().out


def test_a_file_that_restarts_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """Each start would begin the file anew."""
    arguments = ["run", "x.py", "--engine", "tcp://127.0.0.1:1", "--reload", "--record", "x"]
    assert main(arguments) == 1
    assert "--record" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "x.py", "--engine", "tcp://127.0.0.1:1"], ["engine"]])
def test_a_file_that_cannot_be_written_is_said(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started."""
    (tmp_path / "x.py").write_text("from yateway import Module\nmodule = Module('x')\n")
    command = [str(tmp_path / word) if word == "x.py" else word for word in command]
    assert main([*command, "--record", str(tmp_path / "no" / "such")]) == 1
    assert "No such file" in capsys.readouterr().err
