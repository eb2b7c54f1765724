"""What a module adds to the time of a message at half of the load that it can handle.

The most that it can handle is measured first; then requests come at half that rate, whether they
are answered or not, to the module, and at the same rate to a bare asyncio protocol with a canned
answer. What the module takes longer is added. Run alone as `python -m benchmarks.half_load`.
"""

from __future__ import annotations

import statistics
from typing import TypeAlias

from .answers import under_load

#: The samples of each figure, one for each round.
Figures: TypeAlias = dict[str, list[float]]

WHO = ("yateway", "yateway, coroutine")
PARAMS = (8, 40)


def measure(rounds: int, seconds: float) -> dict[str, Figures]:
    """Return requests a second and microseconds, by subject and number of parameters."""
    figures: dict[str, Figures] = {}
    for _ in range(rounds):
        for params in PARAMS:
            for name in WHO:
                so_far = figures.setdefault(f"{name}, {params} parameters", {})
                for figure, sample in _one(name, params, seconds).items():
                    so_far.setdefault(figure, []).append(sample)
    return figures


def _one(name: str, params: int, seconds: float) -> dict[str, float]:
    def times(who: str, *load: str) -> dict[str, float]:
        return under_load(who, params, *load, apart=True)[0]

    rate = times(name, "benchmarks.load", "handle", str(params), str(seconds))["rate"] / 2
    load = ("benchmarks.pacing", str(params), str(rate), str(seconds))
    return {"rate": rate} | compared(times(name, *load), times("bare loop", *load))


def compared(ours: dict[str, float], bare: dict[str, float]) -> dict[str, float]:
    """Return the times of both, and what ours are longer."""
    return {
        f"{who}{percent}": times[percent]
        for percent in ("p50", "p99")
        for who, times in (
            ("", ours),
            ("bare ", bare),
            ("added ", {percent: ours[percent] - bare[percent]}),
        )
    }


def show(figures: dict[str, Figures]) -> None:
    """Print medians, and the spread of what is added at the 99th percentile."""
    print("\nmicroseconds from request to answer at half of each one's own most, loopback TCP")
    columns = ("rate", "p50", "bare p50", "added p50", "p99", "bare p99", "added p99")
    print(" " * 36 + "".join(f"{column:>11}" for column in (*columns, "min", "max")))
    for name, taken in figures.items():
        added = taken["added p99"]
        cells = [*(statistics.median(taken[column]) for column in columns), min(added), max(added)]
        print(f"  {name:34}" + "".join(f"{cell:11.0f}" for cell in cells))


if __name__ == "__main__":
    show(measure(rounds=3, seconds=1.0))
