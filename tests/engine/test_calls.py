"""Calls in the embedded engine say what the real engine said, line by line.

The recordings are made by `record_scenes.py`, which plays the scenes of `scenes.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.scenes import prepare
from yateway.engine import Recording
from yateway.engine.staging import check_embedded

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.jsonl"))
#: Other processes know nothing of a clock that jumps.
WITH_SCRIPTS = [name for name in NAMES if name.startswith("script_")]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_SCRIPTS])
async def test_the_embedded_engine_agrees_with_the_recording(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is missing, unexpected or out of order."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    differences = await check_embedded(Recording.from_file(RECORDINGS / f"{name}.jsonl"), tmp_path)
    assert [str(difference) for difference in differences] == []


@pytest.mark.real_clock
@pytest.mark.parametrize("name", WITH_SCRIPTS)
async def test_calls_of_scripts_agree_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the real clock."""
    await test_the_embedded_engine_agrees_with_the_recording(name, tmp_path, monkeypatch)
