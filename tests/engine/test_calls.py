"""Calls in the embedded engine say what the real engine said, line by line.

The recordings are made by `record_scenes.py`, which plays the scenes of `scenes.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.by_hand import EIGHT_WORKERS
from tests.engine.scenes import prepare
from yateway.engine import Engine, Recording
from yateway.engine.replaying import compare, replay

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.jsonl"))


@pytest.mark.parametrize("name", NAMES)
async def test_the_embedded_engine_agrees_with_the_recording(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    expected = Recording.from_file(RECORDINGS / f"{name}.jsonl")
    async with Engine(conf=EIGHT_WORKERS) as engine:
        actual = await replay(
            expected, lambda where: engine.open("global" if "global" in where else "", where[5:7])
        )
    assert [str(difference) for difference in compare(expected, actual)] == []
