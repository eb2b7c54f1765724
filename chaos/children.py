"""Modules that scenarios run in processes of their own: `python -m chaos.children WHAT URL`.

It must not print, but for what a scenario reads.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
import tracemalloc

from yateway import Message, Module
from yateway.transport import opener_of

__all__ = ["CHILDREN", "resident"]


def many() -> Module:
    """Return a module with 50 handlers."""
    module = Module("many")
    for number in range(50):
        module.handler(f"real.{number}")(lambda message: True)
    return module


def holds() -> Module:
    """Return a module that holds a request until the engine's patience is over."""
    module = Module("holds", deadline=8)
    module.handler("test.ready")(lambda message: str(os.getpid()))

    @module.handler("test.hold")
    async def hold(message: Message) -> None:
        await asyncio.sleep(60)

    return module


def blocks() -> Module:
    """Return a module whose handler stops its whole loop."""
    module = Module("blocks")
    module.handler("test.ready")(lambda message: True)

    @module.handler("test.block")
    def block(message: Message) -> bool:
        time.sleep(float(message["seconds"]))
        return True

    return module


def soak() -> Module:
    """Return the module that is soaked: one handler of each kind, and one that says how it is."""
    module = Module("soak")
    pauses = [0.0, 0.0]

    def collecting(phase: str, _: object) -> None:
        now = time.perf_counter()
        if phase == "stop":
            pauses[1] = max(pauses[1], now - pauses[0])
        pauses[0] = now

    gc.callbacks.append(collecting)

    @module.handler("soak.route")
    def route(message: Message) -> str:
        message["param1"] = message["called"]
        return "sip/sip:test@127.0.0.1"

    @module.handler("soak.later")
    async def later(message: Message) -> bool:
        await asyncio.sleep(0)
        return True

    @module.handler("soak.fails")
    def fails(message: Message) -> None:
        raise LookupError(message.name)

    @module.handler("soak.how")
    def how(message: Message) -> bool:
        message["tasks"] = len(asyncio.all_tasks())
        message["shed"] = module.counters.shed
        message["expired"] = module.counters.expired
        message["pause"] = pauses[1] * 1000
        if tracemalloc.is_tracing():
            gc.collect()
            message["traced"] = tracemalloc.get_traced_memory()[0]
        return True

    module.watcher("soak.told")(lambda message: None)
    module.on_disconnected(module.stop)
    return module


async def links(url: str, count: int) -> None:
    """Attach so many modules, and print by how many bytes this process has grown."""

    async def attach(number: int) -> Module:
        module = Module(f"link-{number}")
        module.handler("call.route")(lambda message: True)
        await module.attach(opener_of(url))
        return module

    # The first one brings what all share.
    modules = [await attach(0)]
    gc.collect()
    before = resident(os.getpid())
    modules += [await attach(number) for number in range(1, count + 1)]
    gc.collect()
    print(resident(os.getpid()) - before)
    for module in modules:
        await module.detach()


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


#: For `yateway run`, which starts it again when it is killed.
held = holds()


def stuck() -> Module:
    """Return a module all of whose handlers and watchers hang."""
    module = Module("stuck", deadline=3600)

    @module.handler("soak.route")
    async def hang(message: Message) -> None:
        await asyncio.sleep(3600)

    @module.watcher("soak.told")
    async def hang_too(message: Message) -> None:
        await asyncio.sleep(3600)

    module.on_disconnected(module.stop)
    return module


CHILDREN = {"many": many, "holds": holds, "blocks": blocks, "soak": soak, "stuck": stuck}


def main(what: str, url: str, *options: str) -> None:
    """Run one of them until it ends."""
    logging.getLogger("yateway").setLevel(logging.CRITICAL)
    if what == "links":
        asyncio.run(links(url, int(options[0])))
        return
    if "traced" in options:
        tracemalloc.start()
    CHILDREN[what]().run(url)


if __name__ == "__main__":
    main(*sys.argv[1:])
