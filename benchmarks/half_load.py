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
#: Of the microseconds from a request to its answer, see `pacing.percentiles`.
PERCENTS = ("p50", "p99", "usual p99")


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
    def run(who: str, *load: str) -> dict[str, float]:
        return under_load(who, params, *load, apart=True)[0]

    rate = run(name, "benchmarks.load", "handle", str(params), str(seconds))["rate"] / 2
    load = ("benchmarks.pacing", str(params), str(rate), str(seconds))
    return {"rate": rate} | compared(run(name, *load), run("bare loop", *load))


def compared(ours: dict[str, float], bare: dict[str, float]) -> dict[str, float]:
    """Return the times of both, and what ours are longer."""
    figures = {}
    for percent in PERCENTS:
        figures[percent] = ours[percent]
        figures[f"{percent}, bare"] = bare[percent]
        figures[f"{percent}, added"] = ours[percent] - bare[percent]
    return figures


def show(figures: dict[str, Figures]) -> None:
    """Print medians, and the spread of what is added."""
    print("\nmicroseconds from a request to its answer at half of the most that each can handle")
    for name, taken in figures.items():
        title = f"{name}, {statistics.median(taken['rate']):.0f} a second"
        print(f"  {title:48}    bare   added     min     max")
        for percent in PERCENTS:
            added = taken[f"{percent}, added"]
            medians = (statistics.median(taken[percent + who]) for who in ("", ", bare", ", added"))
            cells = (*medians, min(added), max(added))
            print(f"    {percent:36} " + "".join(f"{cell:8.0f}" for cell in cells))


if __name__ == "__main__":
    show(measure(rounds=3, seconds=1.0))
