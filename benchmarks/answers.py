"""Messages a second and CPU seconds for each, of one process under a load without limits.

The CPU time is that of the subject alone, from the end of the warm-up to the end, as its kernel
counts it: on a machine with other work it wanders far less than messages a second.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from .subjects import SUBJECTS

#: For each kind of load: what is measured, how many parameters, and the peer to compare with.
KINDS = {
    "handle": ("requests handled, 256 outstanding", (8, 40), "python-yate"),
    "dispatch": ("messages dispatched, 256 in flight", (8,), "python-yate, dispatch"),
    "notify": ("notifications told", (8,), "python-yate, watch"),
    "large": ("requests of 60 kB of which two parameters are read", (1000,), "python-yate"),
}


@dataclass(frozen=True)
class Sample:
    """One measurement: messages a second, and microseconds of CPU for each."""

    rate: float
    cpu: float


Samples = dict[str, dict[str, list[Sample]]]


def measure(rounds: int, seconds: float, kinds: list[str]) -> Samples:
    """Measure all subjects in turn, round by round, so that a noisy moment hits them all.

    Returns:
        The samples by kind and number of parameters ("handle 8"), and by subject.
    """
    samples: Samples = {}
    for _ in range(rounds):
        for kind in kinds:
            for params in KINDS[kind][1]:
                for name, subject in SUBJECTS.items():
                    if kind in subject.kinds and subject.there:
                        sample = _once(name, kind, params, seconds)
                        of_kind = samples.setdefault(f"{kind} {params}", {})
                        of_kind.setdefault(name, []).append(sample)
    return samples


def _once(name: str, kind: str, params: int, seconds: float) -> Sample:
    load = ("benchmarks.load", kind, str(params), str(seconds))
    figures, used = under_load(name, params, *load)
    return Sample(figures["rate"], used / max(figures["messages"], 1) * 1e6)


def under_load(
    name: str, params: int, *load: str, apart: bool = False
) -> tuple[dict[str, float], float]:
    """Run a subject with a module of this package that plays the engine.

    Args:
        params: how many parameters those subjects send that send messages.
        load: the module's name and its arguments. It prints its port, a line when it begins to
            measure, and its figures as JSON.
        apart: each on a core of its own. A subject that is woken is else put where the load runs,
            and each waits until the other's time is up, 4 ms.

    Returns:
        The figures, and the CPU seconds that the subject used while they were measured.
    """
    command = [sys.executable, "-m", *load]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        port = peer.stdout.readline().strip()
        with subprocess.Popen(
            SUBJECTS[name].command(name, port, params),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            if apart:
                for core, pid in zip(
                    os.sched_getaffinity(0), (peer.pid, process.pid), strict=False
                ):
                    os.sched_setaffinity(pid, {core})
            try:
                begun = peer.stdout.readline() and cpu_time(process.pid)
                result = peer.stdout.readline()
                used = cpu_time(process.pid) - begun if result and begun else 0.0
            finally:
                # Not all end by themselves when the engine goes.
                process.kill()
    if not result:
        raise SystemExit(f"{name} could not be measured with {' '.join(load)}")
    return json.loads(result), used


def cpu_time(pid: int) -> float:
    """Return the CPU seconds that another process has used, from the clock Linux keeps of it."""
    return time.clock_gettime(~pid << 3 | 2)


def median(samples: list[Sample], what: str = "rate") -> float:
    """Return the median of one of the figures."""
    return float(statistics.median(getattr(sample, what) for sample in samples))


def show(samples: Samples) -> None:
    """Print the medians, the spread, and the ratios to the peer and to the bare loop."""
    for key, subjects in samples.items():
        kind, params = key.split()
        title, _, peer = KINDS[kind]
        print(f"\n{title}, {params} parameters, one process, loopback TCP")
        head = "  a second       min       max   us CPU   x peer      by CPU   x bare      by CPU"
        print(" " * 25 + head)
        for name, taken in subjects.items():
            rates = [sample.rate for sample in taken]
            print(
                f"  {name:22} {median(taken):10.0f} {min(rates):9.0f} {max(rates):9.0f}"
                f" {median(taken, 'cpu'):8.2f} {ratios(subjects, name, peer)}"
                f" {ratios(subjects, name, 'bare loop')}"
            )


def ratios(subjects: dict[str, list[Sample]], name: str, other: str) -> str:
    """Return how many times as fast a subject is as another, by rate and by CPU time."""
    if other not in subjects:
        return f"{'-':>8} {'-':>11}"
    rate = median(subjects[name]) / median(subjects[other])
    cpu = median(subjects[other], "cpu") / median(subjects[name], "cpu")
    return f"{rate:8.2f} {cpu:11.2f}"


def as_json(samples: Samples) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return the samples as JSON has them."""
    return {
        key: {name: [asdict(sample) for sample in taken] for name, taken in subjects.items()}
        for key, subjects in samples.items()
    }
