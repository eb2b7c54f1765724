"""Records scenes of calls on the real engine, for the embedded one to repeat.

    YATEWAY_YATE=/opt/yate python -m tests.engine.record_scenes [NAME...]

Each scene runs on a fresh engine, so that its numbers are the same each time, and becomes
`tests/data/recordings/NAME.jsonl`. It must not judge what the engine does: it only notes it.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.engine.detail_scenes import SCENES
from tests.engine.scenes import prepare
from tests.real_engine import real_engine
from yateway.engine.recording import Recording
from yateway.engine.staging import settings
from yateway.transport import Transport, open_unix

FOLDER = Path(__file__).parent.parent / "data" / "recordings"
MODULES = (
    *("rmanager", "dumbchan", "tonegen", "wavefile", "callgen", "cdrbuild"),
    *("regexroute", "callfork", "conference", "pbx"),
)
LISTENERS = """
[listener u1]
type=unix
path={folder}/u1
role=global

[listener u2]
type=unix
path={folder}/u2
"""


class Scene:
    """A running engine, and connections to it whose lines are kept."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        self.folder = folder
        self.recording = recording
        self._heard: dict[str, list[str]] = {}
        self._news = asyncio.Event()
        self._transports: dict[str, Transport] = {}
        self._readers: list[asyncio.Task[None]] = []

    async def open(self, name: str, *lines: str, role: str = "global") -> None:
        """Connect, and send lines of which each is answered by one."""
        listener = "unix u1 (role=global)" if role == "global" else "unix u2 (no role)"
        path = self.folder / ("u1" if role == "global" else "u2")
        self.recording.add(name, "A", event=f"connect {listener}")
        self._transports[name] = transport = await open_unix(str(path))
        self._heard[name] = []
        self._readers.append(asyncio.create_task(self._read(name, transport)))
        if role == "channel":
            self.say(name, "%%>connect:channel")
        for line in lines:
            self.say(name, line)
            await self.hear(name, "%%<")

    def say(self, name: str, line: str) -> None:
        """Send a line."""
        self.recording.add(name, "A", line.encode())
        self._transports[name].write(line.encode() + b"\n")

    async def ask(self, name: str, line: str) -> str:
        """Send a message and wait for its answer."""
        self.say(name, line)
        id_ = line.split(":", 2)[1]
        return (await self.hear(name, rf"%%<message:{re.escape(id_)}:"))[0]

    async def hear(self, name: str, pattern: str, seconds: float = 5.0) -> re.Match[str]:
        """Wait for a line in which a pattern is found, and drop it and all before it."""
        heard = self._heard[name]
        async with asyncio.timeout(seconds):
            while True:
                for place, line in enumerate(heard):
                    if found := re.search(pattern, line):
                        del heard[: place + 1]
                        return found
                self._news.clear()
                await self._news.wait()

    async def close(self, name: str) -> None:
        """Close a connection."""
        self.recording.add(name, "A", event="close")
        await self._transports.pop(name).close()

    async def end(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for transport in self._transports.values():
            await transport.close()

    async def _read(self, name: str, transport: Transport) -> None:
        rest = b""
        while data := await transport.receive():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.recording.add(name, "E", line)
                self._heard[name].append(line.decode("latin-1"))
            self._news.set()
        if name in self._transports:  # else it was closed by us
            self.recording.add(name, "E", event="closed")
            self._heard[name].append("<EOF>")
            self._news.set()


async def record(name: str) -> None:
    """Run a scene on a fresh engine."""
    play, notes = SCENES[name]
    recording = Recording()
    for note in notes:
        recording.add("", "A", note.encode(), "note")
    more = f"[general]\n{settings(recording, 'extmodule.conf')}{LISTENERS}"
    async with real_engine(more, MODULES, settings(recording, "yate.conf")) as engine:
        prepare(engine.folder)
        scene = Scene(engine.folder, recording)
        try:
            await play(scene)
        except BaseException:
            for entry in recording.entries:
                print(entry.time, entry.direction, entry.connection, entry.line or entry.event)
            raise
        finally:
            await scene.end()
    recording.to_file(FOLDER / f"{name}.jsonl")


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SCENES:
        # One after the other: pauses are part of a recording.
        await record(name)
        print(name, "recorded")


if __name__ == "__main__":
    asyncio.run(main())
