"""Every recording is also played against the real engine: it must still say the same (I6).

The embedded engine repeats the same recordings in tests/engine: the two agree line for line.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.engine.record_scenes import MODULES as MODULES_OF_SCENES
from tests.engine.scenes import prepare
from tests.real_engine import WORKERS, RealEngine, free_port, real_engine
from yateway.engine import Recording
from yateway.engine.replaying import Difference, compare, replay
from yateway.engine.staging import settings, whole_lines
from yateway.transport import Transport, opener_of

pytestmark = [pytest.mark.yate, pytest.mark.real_clock]

DATA = Path(__file__).parent / "data"
CALLS = ("rmanager", "dumbchan", "tonegen", "wavefile", "callgen", "cdrbuild", "regexroute")
ALL = (*CALLS, "callfork", "conference")
#: The modules that the engine of each folder of recordings had loaded.
MODULES = {"transcripts": ALL, "more": (), "recordings": MODULES_OF_SCENES}
#: Handlers of one priority are asked in the order of their addresses in memory, and of messages
#: that come at once the engine's threads take now one first and now another. At the very end an
#: answer may still get out before its connection closes. So the real engine has several histories,
#: of which the recorded one is the embedded engine's: it is given some tries to show that one.
BY_CHANCE = {"priority": 1, "maxqueue": 1, "halt": 1}
FILES = [
    path
    for folder in ("transcripts", "transcripts/more", "recordings")
    for path in sorted((DATA / folder).glob("*.jsonl"))
]


class Stage:
    """Does to the real engine what the notes of a recording say was done to it."""

    def __init__(self, engine: RealEngine, ports: dict[str, int]) -> None:
        self._engine = engine
        self._ports = ports
        self._ending: asyncio.Task[None] | None = None

    async def connect(self, listener: str) -> Transport:
        kind, name, *_ = listener.split()
        folder = self._engine.folder
        port = self._ports.get(name)
        url = f"unix://{folder}/{name}" if kind == "unix" else f"tcp://127.0.0.1:{port}"
        return await opener_of(url)()

    async def act(self, note: str) -> None:
        if note.startswith("SIGKILL"):
            await self._engine.kill()
        elif note.startswith("SIGTERM"):
            self._ending = asyncio.create_task(self._engine.stop())
        elif note.startswith("restarted"):
            await self._engine.start()

    async def end(self) -> None:
        if self._ending is not None:
            await self._ending


def listeners(ports: dict[str, int]) -> str:
    """Return the sections of the five listeners that recordings name."""
    return "".join(
        f"\n[listener {name}]\n"
        + (
            f"type=tcp\nport={ports[name]}\n"
            if name in ports
            else f"type=unix\npath={{folder}}/{name}\n"
        )
        + (f"role={role}\n" if role else "")
        for name, role in (
            ("t1", "global"),
            ("u1", "global"),
            ("t2", ""),
            ("u2", ""),
            ("c1", "channel"),
        )
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_the_real_engine_agrees_with_the_recording(file: Path) -> None:
    """No line is missing, unexpected or out of order."""
    for _ in range(BY_CHANCE.get(file.stem, 1)):
        differences = await played(file)
        if not differences:
            break
    assert [str(difference) for difference in differences] == []


async def played(file: Path) -> list[Difference]:
    """Play a recording against a fresh real engine and return what differs."""
    recording = whole_lines(Recording.from_file(file))
    ports = {name: free_port() for name in ("t1", "t2", "c1")}
    more = f"[general]\n{settings(recording, 'extmodule.conf')}\n{listeners(ports)}"
    general = settings(recording, "yate.conf") or WORKERS
    async with real_engine(more, MODULES[file.parent.name], general) as engine:
        prepare(engine.folder)
        stage = Stage(engine, ports)
        actual = await replay(recording, stage.connect, stage.act)
        await stage.end()
    return compare(recording, actual)
