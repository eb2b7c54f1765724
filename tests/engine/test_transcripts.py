"""The embedded engine says what the real one said, in every recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from yateway.engine import Recording
from yateway.engine.staging import check_embedded

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "transcripts"
#: Starts a script that lies elsewhere: see test_external.py.
ELSEWHERE = {"ivr_stdio"}
FILES = sorted(path for path in TRANSCRIPTS.rglob("*.jsonl") if path.stem not in ELSEWHERE)


def test_the_recordings_are_there() -> None:
    """None was lost."""
    assert len(FILES) == 47


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_the_embedded_engine_agrees_with_the_recording(file: Path) -> None:
    """No line is missing, unexpected or out of order."""
    differences = await check_embedded(Recording.from_file(file))
    assert [str(difference) for difference in differences] == []
