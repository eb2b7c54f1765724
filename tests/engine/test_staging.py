"""Recordings are played where they belong, and what cannot be played is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from yateway.engine import Engine, Recording
from yateway.engine.staging import check_at, check_embedded, lines_of_engine
from yateway.errors import ConfigError

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "transcripts"


async def test_a_recording_is_played_at_an_address() -> None:
    """The role of the recording's listener is asked for where the address has none."""
    recording = Recording.from_file(TRANSCRIPTS / "install.jsonl")
    assert lines_of_engine(recording) == 30
    async with Engine() as engine:
        assert await check_at(recording, engine.open) == []


async def test_a_recording_that_kills_its_engine_needs_one_of_its_own() -> None:
    """An engine at an address is nobody's to kill."""
    recording = Recording.from_file(TRANSCRIPTS / "crash.jsonl")
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="SIGKILL"):
            await check_at(recording, engine.open)


@pytest.mark.parametrize("file", ["quit", "config_defaults"])
async def test_a_changed_line_is_found(file: str) -> None:
    """A recording with another value in one line differs."""
    recording = Recording.from_file(TRANSCRIPTS / f"{file}.jsonl")
    altered = Recording()
    for entry in recording.entries:
        line = entry.line.replace("%%<quit", "%%<quit:").replace(":1500:true", ":1501:true")
        altered.add(entry.connection, entry.direction, line.encode("latin-1"), entry.event)
    assert await check_embedded(altered) != []
