"""What takes too long is ended exactly then, and what is done in time never."""

from __future__ import annotations

import asyncio

import pytest

from yateway.deadlines import SWEEP, Deadlines


class Watch:
    """Deadlines, and when which of them passed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.passed: dict[str, float] = {}
        self.deadlines: Deadlines[str] = Deadlines(self._expire)

    def _expire(self, item: str) -> None:
        assert item not in self.passed
        self.passed[item] = self.loop.time() - self.began

    def set(self, item: str, seconds: float) -> None:
        self.deadlines.set(item, self.began + seconds)


@pytest.mark.parametrize("seconds", [0.0, 0.01, SWEEP, 0.051, 0.1, 1.0, 2.0, 59.99])
async def test_each_is_ended_when_it_is_due(seconds: float) -> None:
    """Not at the next sweep: to the moment, alone and among others."""
    watch = Watch()
    watch.set("before", 0.02)
    watch.set("it", seconds)
    watch.set("after", 60.0)
    await asyncio.sleep(61)
    assert watch.passed["before"] == pytest.approx(0.02)
    assert watch.passed["it"] == pytest.approx(seconds)
    assert watch.passed["after"] == pytest.approx(60.0)


async def test_what_is_dropped_is_not_ended() -> None:
    """Long before its time, when its timer runs, and when it was never there."""
    watch = Watch()
    for item in ("early", "late", "kept"):
        watch.set(item, 0.5)
    watch.deadlines.drop("early")
    await asyncio.sleep(0.49)
    watch.deadlines.drop("late")
    watch.deadlines.drop("nobody")
    await asyncio.sleep(1)
    assert watch.passed == {"kept": pytest.approx(0.5)}


async def test_another_time_replaces_the_first() -> None:
    """Later, earlier, and later again when the first timer runs already."""
    watch = Watch()
    watch.set("later", 0.02)
    watch.set("later", 0.3)
    watch.set("earlier", 0.3)
    watch.set("earlier", 0.02)
    await asyncio.sleep(1)
    assert watch.passed == {"later": pytest.approx(0.3), "earlier": pytest.approx(0.02)}


async def test_nothing_wakes_the_loop_where_nothing_is_due() -> None:
    """The sweeps end with the last item, and begin anew with the next."""
    watch = Watch()
    watch.set("first", 0.1)
    await asyncio.sleep(1)
    assert watch.deadlines._sweep is None
    watch.set("second", 2.0)
    await asyncio.sleep(2)
    assert watch.passed == {"first": pytest.approx(0.1), "second": pytest.approx(2.0)}
