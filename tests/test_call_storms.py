"""Calls under faults, in miniature: `make chaos` does the same with 200 at once and for longer."""

from __future__ import annotations

import logging

import pytest

from chaos.calls import kills, storm


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_a_storm_leaves_nothing_behind(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """No call, task, channel or notify id; no code that never ended (C10, C11, D5)."""
    caplog.set_level(logging.CRITICAL, "yateway")
    traffic, broken = await storm(seed, people=12, seconds=60)
    assert broken == []
    assert traffic.begun > 15


async def test_a_killed_engine_ends_all_calls(caplog: pytest.LogCaptureFixture) -> None:
    """Each within the second in which the module tries again (E1, C8)."""
    caplog.set_level(logging.CRITICAL, "yateway")
    traffic, broken = await kills(calls=20, times=5)
    assert broken == []
    assert traffic.begun == 100
    assert set(traffic.ends) == {"engine lost"}


async def test_the_checks_would_notice(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody whose call is forgotten is found."""
    caplog.set_level(logging.CRITICAL, "yateway")
    traffic, _ = await storm(1, people=1, seconds=1)
    traffic.begun += 1
    traffic.module._board.expect(lambda _: None)
    assert traffic.left() == ["1 notify ids left", "1 calls whose code never ended left"]
