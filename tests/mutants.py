"""Says how many of mutmut's changes the tests noticed; fails below 90 % (guarantee I5).

Run by `make mutants` with the file of mutmut's figures. It lies here beside `own_coverage.py`: both
ask whether the tests are worth anything.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LEAST = 0.9


def share(figures: dict[str, int]) -> float:
    """Return the share of changes that made a test fail, or run for too long."""
    return (figures["killed"] + figures["timeout"]) / figures["total"]


def main(path: str) -> int:
    figures = json.loads(Path(path).read_text())
    killed = share(figures)
    print(f"{figures['total']} changes, {killed:.1%} noticed, {figures['survived']} not")
    return 0 if killed >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
