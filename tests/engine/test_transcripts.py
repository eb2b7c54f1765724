"""The embedded engine says what the real one said, in every recording that needs no channels."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from yateway.engine import Engine, Recording
from yateway.engine.recording import Entry, compare, replay
from yateway.transport import Transport

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "transcripts"
#: These need channels, which the embedded engine does not have yet.
NEED_CHANNELS = {"channel_listener_ivr", "channel_role", "ivr_stdio"}
NAMES = sorted(
    str(path.relative_to(TRANSCRIPTS).with_suffix(""))
    for path in TRANSCRIPTS.rglob("*.jsonl")
    if path.stem not in NEED_CHANNELS
)

CONFIG_DEFAULTS = """\
[general]
trackparam=true
timeout=1500
maxqueue=3
settime=true
timebomb=true
"""


def load(name: str) -> Recording:
    """Return a recording as it can be played."""
    recording = Recording.from_file(TRANSCRIPTS / f"{name}.jsonl")
    entries: list[Entry] = []
    for entry in recording.entries:
        if entries and entries[-1].line == "%%>wat" and entry.line == "ch:split":
            # Sent in two pieces; the format cannot tell pieces from lines.
            entries[-1] = replace(entries[-1], line="%%>watch:split")
        else:
            entries.append(entry)
    return Recording(entries)


class Stage:
    """Does to an engine what a recording's notes say was done to the real one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stopping: asyncio.Task[None] | None = None

    async def connect(self, listener: str) -> Transport:
        for role in ("global", "channel"):
            if listener.endswith(f"(role={role})"):
                return await self.engine.open(role)
        return await self.engine.open()

    async def act(self, note: str) -> None:
        if note.startswith("SIGKILL"):
            self.engine.kill()
        elif note.startswith("SIGTERM"):
            self._stopping = asyncio.create_task(self.engine.stop())
        elif note.startswith("restarted"):
            await self.engine.start()

    async def end(self) -> None:
        if self._stopping is not None:
            await self._stopping
        await self.engine.stop()


def test_the_recordings_are_there() -> None:
    assert len(NAMES) == 45


@pytest.mark.parametrize("name", NAMES)
async def test_the_embedded_engine_agrees_with_the_recording(name: str, tmp_path: Path) -> None:
    expected = load(name)
    if name == "config_defaults":
        (tmp_path / "extmodule.conf").write_text(CONFIG_DEFAULTS)
    engine = Engine(conf=tmp_path if name == "config_defaults" else None)
    stage = Stage(engine)
    await engine.start()
    try:
        actual = await replay(expected, stage.connect, stage.act)
    finally:
        await stage.end()
    assert [str(difference) for difference in compare(expected, actual)] == []
