"""What a scenario came to, and how it is printed. It must not know any scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Outcome", "show"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One promise that was tried.

    Attributes:
        guarantee: its id in docs/guarantees.md.
        what: was done, in a few words.
        figure: that was reached.
        broken: what broke it; none is good.
    """

    guarantee: str
    what: str
    figure: str
    broken: Sequence[str] = ()


def show(outcome: Outcome) -> None:
    """Print one line, and what broke below it."""
    verdict = "BROKEN" if outcome.broken else "holds"
    print(f"{outcome.guarantee:12}{verdict:8}{outcome.what:58} {outcome.figure}", flush=True)
    for each in outcome.broken[:10]:
        print(f"          {each}")
    if len(outcome.broken) > 10:
        print(f"          and {len(outcome.broken) - 10} more")
