"""Who asks on a real engine: starts a handler in another process, and times what it answers.

It must not know what is handled, nor by whom.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

#: Asks once and waits for the answer; is told which of those under way it is, from 0 on.
Ask: TypeAlias = Callable[[int], Awaitable[object]]

#: Seconds until a handler must be there, or gone.
PATIENCE = 20.0


@asynccontextmanager
async def handling(handled: Callable[[], Awaitable[bool]], *command: str) -> AsyncIterator[None]:
    """Run a module of this package while the block lasts.

    Args:
        handled: tells whether what is asked is handled; the block begins when it is, and ends when
            it is no longer, so that the next handler is alone.
        command: the module's name and its arguments.

    Raises:
        TimeoutError: it does not handle anything, or does not end.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await _until(handled, True)
        yield
    finally:
        process.kill()
        await process.wait()
        await _until(handled, False)


async def _until(handled: Callable[[], Awaitable[bool]], wanted: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while await handled() != wanted:
            await asyncio.sleep(0.02)


async def rate(ask: Ask, outstanding: int, seconds: float) -> float:
    """Return how many answers come in a second while so many questions are under way."""
    clock = asyncio.get_running_loop().time
    started = clock()
    done = 0

    async def keep_asking(number: int) -> None:
        nonlocal done
        while clock() < started + seconds:
            await ask(number)
            done += 1

    await asyncio.gather(*map(keep_asking, range(outstanding)))
    return done / (clock() - started)


async def lone(ask: Ask, count: int) -> list[float]:
    """Return the milliseconds that each of so many questions takes, asked one at a time."""
    clock = asyncio.get_running_loop().time
    taken = []
    for _ in range(count):
        started = clock()
        await ask(0)
        taken.append((clock() - started) * 1000)
        # Lone requests come at any moment of the engine's polling, not in step with it.
        await asyncio.sleep(random.uniform(0.0, 0.02))
    return taken
