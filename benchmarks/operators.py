"""What an operator can do: the engine's settings, and how a message is handled, on a real engine.

Each engine has as many workers as it is said to have, no more and no less, so that a row of a table
stands for one number of them. Run alone as `python -m benchmarks.operators`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from tests.real_engine import real_engine
from yateway import Module
from yateway.transport import opener_of

from .answers import cpu_time
from .asking import Ask, handling, lone, rate
from .latency import available
from .operators_subject import HELD, WORK

#: What is measured, by its name: messages a second, or milliseconds of each.
Figures: TypeAlias = dict[str, list[float]]
#: Milliseconds between two looks of the engine at a connection, and the engine's workers.
Settings: TypeAlias = tuple[int, int]

IDLE = (5, 1)
WORKERS = (1, 4, 10, 25)
#: An engine as it is installed begins with one worker.
DEFAULT: Settings = (5, 1)
#: On these engines the ways to handle a message are compared.
COMPARED = (DEFAULT, (1, 25))
OUTSTANDING = 16
#: Lone requests in each round.
LONE = 20
BY_SETTINGS = {
    "lone": "a lone request, ms",
    "one": "requests a second, 1 outstanding",
    "many": f"requests a second, {OUTSTANDING} outstanding",
    "held": f"the same, held by their handler for {HELD * 1000:.0f} ms each",
    "meanwhile": "meanwhile a lone request that is not held, ms",
    "idle": "CPU of the engine when nobody asks, percent of a core",
}
#: With what each is compared.
BY_HANDLING = {
    "declined": (f"declined, {OUTSTANDING} outstanding, a second", "declined"),
    "watched": (f"watched, {OUTSTANDING} outstanding, a second", "declined"),
    "work first": (f"{WORK * 1000:.0f} ms of work, then the answer: ms", "work first"),
    "answer first": ("the answer, then the work: ms", "work first"),
}


async def measure(rounds: int, seconds: float) -> dict[Settings, Figures]:
    """Measure all engines in turn, round by round, so that a noisy moment hits them all.

    Args:
        seconds: for each figure that counts messages.
    """
    figures: dict[Settings, Figures] = {(idle, n): {} for idle in IDLE for n in WORKERS}
    for _ in range(rounds):
        for settings, so_far in figures.items():
            for name, samples in (await _one(settings, seconds)).items():
                so_far.setdefault(name, []).extend(samples)
    return figures


async def _one(settings: Settings, seconds: float) -> Figures:
    sender = Module("sender", dispatch_timeout=15.0)

    async def handled() -> bool:
        return (await sender.dispatch("test.plain")).processed

    async with real_engine(general=general(settings)) as engine:
        await sender.attach(opener_of(engine.unix))
        async with handling(handled, "benchmarks.operators_subject", engine.unix):
            figures = await _with_settings(sender, seconds)
            figures["idle"] = [await _idle(engine.pid, seconds)]
            if settings in COMPARED:
                figures |= await _by_handling(sender, seconds)
        await sender.detach()
        await engine.kill()
    return figures


def general(settings: Settings) -> str:
    """Return the lines of the section general of yate.conf."""
    idle, workers = settings
    return f"idlemsec={idle}\nminworkers={workers}\nmaxworkers={workers}\n"


async def _with_settings(sender: Module, seconds: float) -> Figures:
    plain = _ask(sender, "test.plain")
    held, meanwhile = await asyncio.gather(
        rate(_ask(sender, "test.held"), OUTSTANDING, seconds), _meanwhile(plain, seconds)
    )
    return {
        "lone": await lone(plain, LONE),
        "one": [await rate(plain, 1, seconds)],
        "many": [await rate(plain, OUTSTANDING, seconds)],
        "held": [held],
        "meanwhile": meanwhile,
    }


async def _by_handling(sender: Module, seconds: float) -> Figures:
    return {
        "declined": [await _passing(sender, "test.declined", seconds)],
        "watched": [await _passing(sender, "test.watched", seconds)],
        "work first": await lone(_ask(sender, "test.work_first"), LONE // 4),
        "answer first": await lone(_ask(sender, "test.answer_first"), LONE // 4),
    }


async def _idle(pid: int, seconds: float) -> float:
    """Return the percents of a core that an engine takes when nobody asks."""
    before = cpu_time(pid)
    await asyncio.sleep(seconds)
    return (cpu_time(pid) - before) / seconds * 100


def _ask(sender: Module, name: str) -> Ask:
    async def ask(number: int) -> None:
        if not (await sender.dispatch(name, called="123", caller="100")).processed:
            raise SystemExit(f"{name} came back unhandled")

    return ask


async def _meanwhile(ask: Ask, seconds: float) -> list[float]:
    """Ask one at a time until that time is over, at least once; return the milliseconds of each."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    # Not before the others are all under way.
    await asyncio.sleep(HELD)
    taken = await lone(ask, 1)
    while clock() < end:
        taken += await lone(ask, 1)
    return taken


async def _passing(sender: Module, name: str, seconds: float) -> float:
    """Return how many messages a second pass that nobody handles, if all of them are seen."""
    asked = 0

    async def ask(number: int) -> None:
        nonlocal asked
        asked += 1
        await sender.dispatch(name, called="123", caller="100")

    async def seen() -> int:
        return int((await sender.dispatch("test.seen", of=name)).retvalue)

    before = await seen()
    passed = await rate(ask, OUTSTANDING, seconds)
    if (told := await seen() - before) != asked:
        raise SystemExit(f"of {asked} messages {name} only {told} were seen")
    return passed


# Tables


def tables(figures: dict[Settings, Figures]) -> Iterator[str]:
    """Return the lines to print: means, because lone requests jump between polls of the engine."""
    default = figures[DEFAULT]
    for name, title in BY_SETTINGS.items():
        yield f"\n{title}, by the settings of a real engine"
        yield f"  idlemsec workers      mean       min       max   x {DEFAULT[0]}, {DEFAULT[1]}"
        for (idle, workers), taken in figures.items():
            yield f"  {idle:8} {workers:7} {row(taken[name], default[name])}"
    for idle, workers in COMPARED:
        taken = figures[idle, workers]
        yield f"\nways to handle a message, idlemsec {idle}, workers {workers}"
        for name, (title, other) in BY_HANDLING.items():
            yield f"  {title:41} {row(taken[name], taken[other])}"


def row(samples: list[float], others: list[float]) -> str:
    """Return the mean, the least and the most, and the mean as a multiple of the others'."""
    mean = statistics.mean(samples)
    figures = " ".join(
        f"{figure:9.{0 if figure >= 100 else 2}f}" for figure in (mean, min(samples), max(samples))
    )
    return f"{figures} {mean / statistics.mean(others):7.2f}"


def show(figures: dict[Settings, Figures]) -> None:
    """Print the tables."""
    print("\n".join(tables(figures)))


def as_json(figures: dict[Settings, Figures]) -> dict[str, Figures]:
    """Return the samples as JSON has them."""
    return {
        f"idlemsec={idle} workers={workers}": taken for (idle, workers), taken in figures.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operators")
    parser.add_argument("--rounds", type=int, default=3, help="times that all are measured")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each count of messages")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if not available():
        raise SystemExit("this needs YATEWAY_YATE to name an installed engine")
    figures = asyncio.run(measure(arguments.rounds, arguments.seconds))
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(figures), indent=1))


if __name__ == "__main__":
    main()
