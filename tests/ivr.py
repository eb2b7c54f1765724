"""A module for tests of calls, and what it plays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from yateway import Call, Message, Module, Reject, Route

__all__ = ["SECOND", "make_sounds", "module_of"]

#: Sound of a second.
SECOND = b"\x00\x10" * 8000
SOUNDS = ("menu", "wrong", "music", "thanks", *(f"en/{n}" for n in range(10)))


def make_sounds(folder: Path) -> Path:
    """Fill a folder with sounds: menu.slin and others of two seconds each; return it.

    Recordings go into the folder beside it.
    """
    (folder / "en").mkdir(parents=True)
    for name in SOUNDS:
        (folder / f"{name}.slin").write_bytes(SECOND * 2)
    (folder.parent / "recordings").mkdir()
    return folder


def module_of(sounds: Path, code: Callable[[Call], Awaitable[object]], **options: int) -> Module:
    """Return a module that drives calls to 100, 101 and so on with this code."""
    recordings = sounds.parent / "recordings"
    module = Module("ivr", sounds=sounds, recordings=recordings, max_calls=options.get("max_calls"))

    @module.handler("call.route")
    def route(message: Message) -> Route | Reject | None:
        return module.take("it") if message.get("called", "").startswith("10") else None

    @module.call("it")
    async def it(call: Call) -> None:
        await code(call)

    return module
