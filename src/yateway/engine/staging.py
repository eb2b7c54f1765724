"""Plays a recording where it belongs: on the embedded engine, or on a real one at an address.

It must not compare: that is `recording.py`. A recording's notes say what was done to the engine
(killed, stopped, restarted, configured); the embedded one is treated the same way, and a recording
that needs this cannot be played against a real engine at an address.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError
from ..transport import Opener, Transport
from ..wire.frames import Connect, encode
from .engine import Engine
from .recording import Entry, Recording
from .replaying import Difference, compare, replay

__all__ = [
    "check_at",
    "check_embedded",
    "lines_of_engine",
    "settings",
    "starts_scripts",
    "typed",
    "whole_lines",
]

#: The yate.conf under which recordings are made, unless a note says otherwise.
_MAIN = """\
[general]
modload=disable
minworkers=8
maxworkers=20

[modules]
extmodule.yate=yes
rmanager.yate=yes
dumbchan.yate=yes
tonegen.yate=yes
wavefile.yate=yes
callgen.yate=yes
cdrbuild.yate=yes
regexroute.yate=yes
callfork.yate=yes
conference.yate=yes
pbx.yate=yes
"""
_TREATED = ("SIGKILL", "SIGTERM", "restarted", "extmodule.conf ")
_STDIO = "stdio of the script"
_SCRIPT = re.compile(r"=external/\w+/(/[^ :]+)")
# What was typed at the real engine's console, as a note tells.
_TYPED = re.compile(r"\bexternal (?:stop|restart) [^\s'\",;:()]+")


async def check_embedded(
    recording: Recording, folder: str | Path | None = None
) -> list[Difference]:
    """Play a recording against a fresh embedded engine and return what differs.

    Args:
        recording: what to play.
        folder: where the configuration is written that the recording asks for; scripts that it
            names lie below. None is an empty one for the time being.

    Raises:
        ConfigError: the recording asks for a configuration that cannot be used.
    """
    recording = whole_lines(recording)
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place:
        recording = _with_scripts(recording, Path(place))
        _configure(Path(place), recording)
        engine = Engine(conf=place)
        stage = _Stage(engine, recording)
        await engine.start()
        try:
            return compare(recording, await replay(recording, stage.connect, stage.act))
        finally:
            await stage.end()


async def check_at(recording: Recording, opener: Opener) -> list[Difference]:
    """Play a recording against the engine that `opener` connects to and return what differs.

    Args:
        recording: one in which nothing is done to the engine itself.
        opener: leads to a listener without a role; where the recording's listener has one, it is
            asked for by `%%>connect:`, which has no reply.

    Raises:
        ConfigError: the recording needs an engine that is killed, stopped or configured for it.
        OSError: the engine cannot be reached.
    """
    recording = whole_lines(recording)
    for entry in recording.entries:
        if entry.event == "note" and entry.line.startswith(_TREATED):
            raise ConfigError(f"needs an engine of its own: {entry.line}")

    async def connect(listener: str) -> Transport:
        transport = await opener()
        if role := _role(listener):
            transport.write(encode(Connect(role)))
        return transport

    return compare(recording, await replay(recording, connect))


def starts_scripts(recording: Recording) -> bool:
    """Tell whether the engine starts a script, which takes real time and not a virtual clock's."""
    return any(entry.event.startswith(_STDIO) for entry in recording.entries)


def _with_scripts(recording: Recording, folder: Path) -> Recording:
    """Return a recording whose script lies here, written anew from what it said and heard."""
    if not starts_scripts(recording):
        return recording
    path = next(found[1] for e in recording.entries if (found := _SCRIPT.search(e.line)))
    said: list[str] = []
    for entry in recording.entries:
        if not entry.event.startswith(_STDIO):
            continue
        keyword, _, rest = entry.line.partition(":")
        if entry.direction == "A":
            said.append(entry.line)
        elif keyword.startswith("%%<") and keyword != "%%<message":
            # What it asked for is not kept, only the reply.
            said.append(f"%%>{keyword[3:]}:{rest.rpartition(':')[0]}")
    script = folder / "script"
    # The first line is the request; its id is the engine's own.
    answer = (line.split(":", 2)[2] for line in said if line.startswith("%%<message:"))
    others = (line for line in said if not line.startswith("%%<message:"))
    script.write_text(
        "#!/bin/sh\nIFS=: read -r _ id _\n"
        + "".join(f'echo "%%<message:$id:"{shlex.quote(line)}\n' for line in answer)
        + "".join(f"echo {shlex.quote(line)}\n" for line in others)
        + "while read -r _; do :; done\n"
    )
    script.chmod(0o700)
    entries = (replace(e, line=e.line.replace(path, str(script))) for e in recording.entries)
    return Recording(list(entries))


def lines_of_engine(recording: Recording) -> int:
    """Return how many lines of an engine a recording holds."""
    return sum(entry.direction == "E" and not entry.event for entry in recording.entries)


def whole_lines(recording: Recording) -> Recording:
    """Return a recording with the lines joined that were sent in pieces.

    The format has no sign for pieces; one recording of the real engine holds one such line.
    """
    entries: list[Entry] = []
    for entry in recording.entries:
        before = entries[-1] if entries else entry
        if before.line == "%%>wat" and entry.line == "ch:split":
            entries[-1] = replace(before, line=before.line + entry.line)
        else:
            entries.append(entry)
    return Recording(entries)


def settings(recording: Recording, file: str) -> str:
    """Return what a note asks for in the section `general` of a file, a setting a line."""
    sign = f"{file} [general] "
    for entry in recording.entries:
        if entry.event == "note" and entry.line.startswith(sign):
            return "".join(f"{setting}\n" for setting in entry.line.removeprefix(sign).split())
    return ""


def _configure(folder: Path, recording: Recording) -> None:
    for file, default in (("yate.conf", _MAIN), ("extmodule.conf", "")):
        asked = settings(recording, file)
        (folder / file).write_text(f"[general]\n{asked}" if asked else default)


def _role(listener: str) -> str:
    _, marked, role = listener.rstrip(")").partition("(role=")
    return role if marked else ""


def typed(recording: Recording) -> Iterator[str]:
    """Yield for each note the command that was typed, empty if none was.

    A note that mentions one without a connection that ends shortly before or after it explains or
    repeats.
    """
    notes = [n for n, entry in enumerate(recording.entries) if entry.event == "note"]
    for before, at, after in zip([0, *notes], notes, [*notes[1:], None], strict=False):
        found = _TYPED.search(recording.entries[at].line)
        ends = any(
            entry.direction == "E" and entry.event.startswith(("closed", "reset"))
            for entry in recording.entries[before:after]
        )
        yield found[0] if found and ends else ""


class _Stage:
    """Does to the embedded engine what the notes say was done to the real one."""

    def __init__(self, engine: Engine, recording: Recording) -> None:
        self._engine = engine
        self._typed = typed(recording)
        self._stopping: asyncio.Task[None] | None = None

    async def connect(self, listener: str) -> Transport:
        _, _, name = listener.partition(" (")[0].partition(" ")
        return await self._engine.open(_role(listener), name or "memory")

    async def act(self, note: str) -> None:
        command = next(self._typed)
        if note.startswith("SIGKILL"):
            self._engine.kill()
        elif note.startswith("SIGTERM"):
            self._stopping = asyncio.create_task(self._engine.stop())
        elif note.startswith("restarted"):
            await self._engine.start()
        elif command:
            await self._engine.dispatch("engine.command", line=command)

    async def end(self) -> None:
        if self._stopping is not None:
            await self._stopping
        await self._engine.stop()
