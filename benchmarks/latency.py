"""How long a lone request takes through the real engine, over TCP and over a UNIX socket.

The engine's own floor is its idle polling, 5 ms by default, which each message meets; what a
library adds over TCP is the delayed acknowledgement, unless it re-arms TCP_QUICKACK.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from tests.real_engine import RealEngine, real_engine
from yateway import Module
from yateway.transport import opener_of

from .asking import handling, lone

#: As functions of `latency_subjects.py` are called.
LIBRARIES = {
    "yateway": "yateway",
    "no_quickack": "yateway without TCP_QUICKACK",
    "python_yate": "python-yate",
}
KINDS = ("unix", "tcp")


def available() -> bool:
    """Tell whether there is a real engine to measure on."""
    return Path(os.environ.get("YATEWAY_YATE", ""), "bin", "yate").exists()


async def measure(rounds: int, messages: int) -> dict[str, list[float]]:
    """Return the times of all messages in milliseconds, by library and kind of socket."""
    times: dict[str, list[float]] = {}
    async with real_engine() as engine:
        asker = Module("asker")
        await asker.attach(opener_of(engine.unix))
        for _ in range(rounds):
            for library in LIBRARIES:
                for kind in KINDS:
                    taken = await _one(engine, asker, library, kind, messages)
                    times.setdefault(f"{library} {kind}", []).extend(taken)
        await asker.detach()
    return times


async def _one(
    engine: RealEngine, asker: Module, library: str, kind: str, messages: int
) -> list[float]:
    address = engine.unix if kind == "unix" else engine.tcp

    async def handled() -> bool:
        return (await asker.dispatch("test.latency")).processed

    async with handling(handled, "benchmarks.latency_subjects", library, address):
        return await lone(lambda _: asker.dispatch("test.latency", called="123"), messages)


def show(times: dict[str, list[float]]) -> None:
    """Print means and the ratio of TCP to UNIX for each library.

    Means, because a time is a matter of one or two polls of 5 ms, between which medians jump.
    """
    print("\na lone request through the real engine, milliseconds")
    for library, name in LIBRARIES.items():
        means = {kind: statistics.mean(times[f"{library} {kind}"]) for kind in KINDS}
        print(
            f"  {name:30} UNIX {means['unix']:6.2f}"
            f"   TCP {means['tcp']:6.2f}   TCP / UNIX {means['tcp'] / means['unix']:5.2f}"
        )
