"""`yateway replay` compares, counts and tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.elsewhere import engine_elsewhere
from yateway.cli import main

TRANSCRIPTS = Path(__file__).parents[1] / "data" / "transcripts"
QUIT, INSTALL, CRASH = (str(TRANSCRIPTS / f"{n}.jsonl") for n in ("quit", "install", "crash"))


def test_recordings_that_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """Each file has a line, and the sum stands below."""
    assert main(["replay", QUIT, INSTALL, CRASH]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "quit.jsonl: 4 lines, 0 differing",
        "install.jsonl: 30 lines, 0 differing",
        "crash.jsonl: 3 lines, 0 differing",
        "37 lines compared, 0 differing",
    ]


def test_a_recording_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What differs is shown, for people and for programs."""
    file = tmp_path / "altered.jsonl"
    file.write_text(Path(QUIT).read_text().replace("%%<quit", "%%<quitted", 1))
    assert main(["replay", str(file)]) == 1
    assert "missing at 0.0033 s on a: '%%<quitted'" in capsys.readouterr().out
    assert main(["replay", "--json", str(file)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["lines"], report["error"]) == (4, None)
    assert len(report["differences"]) == 2


@pytest.mark.real_clock
def test_against_an_engine_at_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """What needs an engine of its own is said and counts as a failure."""
    with engine_elsewhere() as url:
        assert main(["replay", "--engine", url, QUIT, CRASH]) == 1
    out = capsys.readouterr().out
    assert "quit.jsonl: 4 lines, 0 differing" in out
    assert "crash.jsonl: needs an engine of its own: SIGKILL" in out
