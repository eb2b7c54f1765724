"""A module on the real engine whose calls run the code of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.sipp import Exchange
from yateway import Call, Message, Module, Reject, Route
from yateway.transport import Opener, opener_of

__all__ = ["attached", "channels", "ivr"]


def ivr(folder: Path, code: Callable[[Call], Awaitable[object]]) -> Module:
    """Return a module that drives calls to 100 with this code."""
    module = Module("ivr", sounds=folder / "sounds", recordings=folder / "recordings")

    @module.handler("call.route", filter=("called", "100"))
    def route(message: Message) -> Route | Reject:
        return module.take("it", color="red")

    @module.call("it")
    async def it(call: Call) -> None:
        await code(call)

    return module


async def channels(module: Module) -> str:
    """Return what the engine has of channels, empty if it has none."""
    found = ""
    for driver in ("sip", "dumb", "conf", "fork"):
        answer = await module.dispatch("engine.status", module=driver)
        if ",chans=0" not in answer.retvalue:
            found += answer.retvalue
    return found


@asynccontextmanager
async def attached(
    exchange: Exchange, module: Module, opener: Opener | None = None
) -> AsyncIterator[Module]:
    """Attach a module while the block lasts; no call may be left over."""
    await module.attach(opener or opener_of(exchange.engine.tcp))
    try:
        if await channels(module):  # another test has failed
            await module.drop_all_calls()
        yield module
        until = asyncio.get_running_loop().time() + 5
        while left := len(module.calls) or await channels(module):
            assert asyncio.get_running_loop().time() < until, f"left over: {left}"
            await asyncio.sleep(0.05)
    finally:
        await exchange.close()
        await module.detach()
