"""`make fuzz`: every target for a while, and a table of what came of it.

    make fuzz SECONDS=600             so long for each target; half of it in each way
    make fuzz ARGS="codec reading"    only these
    make fuzz ARGS="--input FILE codec"   one input again: what a find was

A find ends its target. Its input is kept below `fuzz/finds`, and belongs into
`tests/data/finds.jsonl` once it is mended.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import TARGETS
from .campaign import target_of

FINDS = Path(__file__).parent / "finds"
WAYS = ("atheris", "hypothesis")
#: Seconds that a process may take to start and to end, beyond its time.
GRACE = 120
_EXECUTIONS = re.compile(r"^(?:executions|stat::number_of_executed_units:) +(\d+)$", re.MULTILINE)


@dataclass(slots=True)
class Outcome:
    """What a target did in one way."""

    executions: int
    seconds: float
    finds: int


def campaign(name: str, how: str, seconds: int) -> Outcome:
    """Run a target in a process of its own, and show what it found."""
    with tempfile.TemporaryDirectory(prefix="yateway-fuzz-") as folder:
        command = [sys.executable, "-m", "fuzz.campaign", name, how, str(seconds), folder]
        started = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + GRACE,
            check=False,
        )  # fmt: skip
        taken = time.monotonic() - started
        printed = done.stdout + done.stderr
        found = [path for path in Path(folder).glob("find-*") if path.stat().st_size]
        for path in found:
            kept = FINDS / f"{name}-{path.name.removeprefix('find-')}"
            FINDS.mkdir(exist_ok=True)
            kept.write_bytes(path.read_bytes())
            print(f"FOUND {kept}\n{path.read_bytes()!r}\n")
        if done.returncode:
            told = [line for line in printed.splitlines() if not line.startswith("INFO: ")]
            print("\n".join(told[-60:]))
    numbers = [int(number) for number in _EXECUTIONS.findall(printed)]
    failed = max(len(found), int(done.returncode != 0))
    return Outcome(numbers[-1] if numbers else 0, taken, failed)


def show(name: str, how: str, outcome: Outcome) -> None:
    """Print one line of the table."""
    rate = outcome.executions / outcome.seconds
    print(f"{name:12}{how:12}{outcome.executions:14,d}{rate:14,.0f}{outcome.finds:10d}", flush=True)


def main() -> int:
    """Run what was chosen; 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seconds", type=int, default=40, help="for each target")
    parser.add_argument("--input", type=Path, help="check this input alone")
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET")
    arguments = parser.parse_args()
    if arguments.input:
        for name in arguments.targets:
            target_of(name).check(arguments.input.read_bytes())
        return 0
    print(f"{'target':12}{'driven by':12}{'executions':>14}{'a second':>14}{'crashes':>10}")
    total, finds, each = 0, 0, max(1, arguments.seconds // len(WAYS))
    for name in arguments.targets:
        for how in WAYS:
            outcome = campaign(name, how, each)
            show(name, how, outcome)
            total, finds = total + outcome.executions, finds + outcome.finds
    print(f"{total:,d} executions, {finds} crashes")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
