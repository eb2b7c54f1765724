"""The module that `operators.py` asks: a name for each way to handle a message.

Run as `python -m benchmarks.operators_subject URL`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

from yateway import Message, Module

#: Seconds that a slow handler holds a request, and that the work of a longer one takes.
HELD = 0.02
WORK = 0.05


def subject() -> Module:
    """Return a module that handles, declines or watches, and tells how many it has seen."""
    module = Module("operators")
    seen: Counter[str] = Counter()

    @module.handler("test.declined")
    def decline(message: Message) -> None:
        seen[message.name] += 1

    @module.watcher("test.watched")
    def watch(message: Message) -> None:
        seen[message.name] += 1

    @module.handler("test.held")
    async def hold(message: Message) -> bool:
        await asyncio.sleep(HELD)
        return True

    @module.handler("test.work_first")
    async def work_first(message: Message) -> bool:
        await asyncio.sleep(WORK)
        return True

    @module.handler("test.answer_first")
    async def answer_first(message: Message) -> None:
        await message.answer(True)
        await asyncio.sleep(WORK)

    @module.handler("test.seen")
    def tell(message: Message) -> str:
        return str(seen[message["of"]])

    # The last one to be installed: once it handles, all do.
    @module.handler("test.plain")
    def handle(message: Message) -> bool:
        return True

    return module


if __name__ == "__main__":
    subject().run(sys.argv[1])
