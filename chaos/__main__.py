"""`make chaos`: every scenario, and one line for each promise.

    make chaos SEEDS=1000    so many seeds of the nemesis; everything else scales along
    make chaos SEED=7        one seed again: what was done, what broke, and its history in a file

The real engine takes part when YATEWAY_YATE names one.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from . import calls, comparison, embedded, real
from .outcome import Outcome, show
from .world import play

#: Seeds that one process plays before it says what broke.
BATCH = 25


def seeds(first: int, count: int) -> tuple[int, int, list[str]]:
    """Play seeds and return how many requests and connections there were, and what broke."""
    _quiet()
    requests, cycles, broken = 0, 0, list[str]()
    for seed in range(first, first + count):
        run, _ = play(seed)
        requests, cycles = requests + run.requests, cycles + run.cycles
        broken += [f"seed {seed}: {violation}" for violation in run.broken]
    return requests, cycles, broken


def one_seed(seed: int) -> int:
    """Play one seed again and tell all about it."""
    run, history = play(seed)
    print("\n".join(run.deeds))
    file = f"chaos-{seed}.jsonl"
    history.to_file(file)
    print(f"{run.requests} requests, {run.cycles} connections; the history is in {file}")
    print("\n".join(run.broken) or "nothing is broken")
    return 1 if run.broken else 0


def embedded_scenarios(scale: int) -> list[Callable[[], Outcome]]:
    """Return what is to be tried on virtual time, for so many seeds."""

    def job(name: str, *arguments: float) -> Callable[[], Outcome]:
        return functools.partial(_virtual, name, *arguments)

    return [
        job("reconnects", scale * 10),
        job("descriptors", scale * 4),
        *(job("cuts", seconds) for seconds in (1, 5, 30, 120)),
        job("fleet", 1000),
        job("database", scale),
        job("weather", max(1, scale // 500)),
        job("kill_engines", max(1, scale // 5)),
    ]


def _virtual(name: str, *arguments: float) -> Outcome:
    _quiet()
    scenario = getattr(embedded, name, None) or getattr(calls, name)
    return embedded.virtual(scenario(*arguments))


def outcomes(scale: int) -> Iterator[Outcome]:
    """Try everything on the embedded engine, on all cores, and yield what came of it."""
    with ProcessPoolExecutor() as pool:
        begun = [pool.submit(scenario) for scenario in embedded_scenarios(scale)]
        batches = [
            pool.submit(seeds, first, min(BATCH, scale - first)) for first in range(0, scale, BATCH)
        ]
        for future in begun:
            yield future.result()
        parts = [batch.result() for batch in batches]
    requests, cycles = sum(part[0] for part in parts), sum(part[1] for part in parts)
    broken = [violation for part in parts for violation in part[2]]
    figure = f"{len(broken)} violations, {requests:,} requests, {cycles:,} connections"
    yield Outcome("E10 A1 A3", f"{scale:,} seeds of faults of all kinds", figure, broken)


def _quiet() -> None:
    # What a broken handler logs is not the matter here.
    logging.getLogger("yateway").setLevel(logging.CRITICAL + 1)


def main() -> int:
    """Run what was chosen; 0 when nothing is broken."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seeds", type=int, default=500, help="scales everything")
    parser.add_argument("--seed", type=int, help="repeat this one alone")
    arguments = parser.parse_args()
    _quiet()
    if arguments.seed is not None:
        return one_seed(arguments.seed)
    begun, failed = time.monotonic(), False
    for outcome in outcomes(arguments.seeds):
        show(outcome)
        failed |= bool(outcome.broken)
    for outcome in real.outcomes(arguments.seeds):
        show(outcome)
        failed |= bool(outcome.broken)
    failed |= not comparison.main()
    print(f"took {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
