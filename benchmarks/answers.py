"""Messages handled per second by one process that keeps up with 256 outstanding requests."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from .subjects import SUBJECTS


def measure(rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Measure all subjects in turn, round by round, so that a noisy moment hits them all.

    Returns:
        For each number of parameters and subject the rates of the rounds, in messages per second.
    """
    rates: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for params in (8, 40):
            for subject in SUBJECTS:
                rate = _once(subject, params, seconds)
                rates.setdefault(str(params), {}).setdefault(subject, []).append(rate)
    return rates


def _once(subject: str, params: int, seconds: float) -> float:
    command = [sys.executable, "-m", "benchmarks.load", str(params), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        port = load.stdout.readline().strip()
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.subjects", subject, port],
            stderr=subprocess.DEVNULL,
        ) as process:
            result = load.stdout.readline()
            # python-yate does not end by itself when the engine goes.
            process.kill()
    if not result:
        raise SystemExit(f"{subject} could not be measured")
    return float(json.loads(result)["rate"])


def show(rates: dict[str, dict[str, list[float]]]) -> None:
    """Print the medians and their ratios to python-yate and to the bare loop."""
    print("messages handled per second, one process, 256 outstanding, loopback TCP")
    for params, subjects in rates.items():
        peer = statistics.median(subjects["python-yate"])
        limit = statistics.median(subjects["bare asyncio loop"])
        print(
            f"\n{params} parameters" + " " * 12 + "median      min      max  x python-yate  x bare"
        )
        for subject, values in subjects.items():
            median = statistics.median(values)
            print(
                f"  {subject:22} {median:9.0f} {min(values):9.0f} {max(values):9.0f}"
                f" {median / peer:12.1f} {median / limit:7.2f}"
            )
