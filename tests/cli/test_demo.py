"""`yateway demo` shows what is promised, and fails when an answer is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from yateway.cli import main

WRONG = """\
from yateway import Module

module = Module("wrong")


@module.handler("call.route")
def route(message):
    return "sip/sip:wrong@127.0.0.1"
"""


@pytest.mark.real_clock
def test_the_demo_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Every answer is right, also after the connection was cut, and the ladder is drawn."""
    assert main(["demo"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("  right: ") == 6
    assert "WRONG" not in shown
    assert "Žofia ☎" in shown
    assert shown.count("connects: tcp 127.0.0.1:") == 2
    assert "1001 dials 100" in shown
    assert "message=chan.attach source=…/enter-pin.slin" in shown
    assert "1001 is hung up" in shown
    assert shown.endswith("Every answer was right.\n")


@pytest.mark.real_clock
@pytest.mark.parametrize(("source", "complaint"), [(WRONG, "WRONG: an unknown"), ("", "attach")])
def test_a_module_that_is_wrong_fails(
    source: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong route, or no module at all, ends with exit code 1."""
    file = tmp_path / "wrong.py"
    file.write_text(source)
    assert main(["demo", str(file)]) == 1
    assert complaint in capsys.readouterr().out


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy is said too."""
    assert main(["demo", "no/such.py"]) == 1
    assert "there is no file 'no/such.py': give a module that" in capsys.readouterr().err
