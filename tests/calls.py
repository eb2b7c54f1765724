"""What the tests of calls share: a module with one kind of call, and sounds to play."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from yateway import Call, Message, Module, Reject, Route

__all__ = ["SECOND", "Code", "forever", "ivr"]

#: A second of sound.
SECOND = b"\x00\x10" * 8000

Code = Callable[[Call], Coroutine[Any, Any, object]]


def ivr(folder: Path, code: Code, name: str = "ivr", **settings: Any) -> Module:
    """Return a module that drives calls to 100 with this code; it has sounds of two seconds."""
    for sound in ("menu", "wrong", "music", "thanks"):
        (folder / f"{sound}.slin").write_bytes(SECOND * 2)
    settings = {"sounds": folder, "recordings": folder, **settings}
    module = Module(name, **settings)

    @module.handler("call.route", filter=("called", "100"))
    def route(message: Message) -> Route | Reject:
        return module.take("it")

    @module.call("it")
    async def it(call: Call) -> None:
        await code(call)

    return module


async def forever(call: Call) -> None:
    """Answer, and wait until the end."""
    await call.answer()
    await asyncio.Event().wait()
