"""What the benchmarks count and print; what they measure is nobody's test."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import operators
from benchmarks.asking import lone, rate
from benchmarks.operators_subject import HELD, WORK, subject
from yateway.engine import Engine

# --- Asking ------------------------------------------------------------------------------------


async def test_a_rate_counts_what_all_that_are_under_way_get_answered() -> None:
    asked: list[int] = []

    async def ask(number: int) -> None:
        asked.append(number)
        await asyncio.sleep(0.1)

    assert await rate(ask, outstanding=3, seconds=0.95) == pytest.approx(30)
    assert sorted(set(asked)) == [0, 1, 2]
    assert len(asked) == 30


async def test_lone_requests_are_timed_one_by_one() -> None:
    under_way = 0

    async def ask(number: int) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(0.007)
        under_way -= 1

    assert await lone(ask, count=5) == pytest.approx([7.0] * 5)


# --- Operators ---------------------------------------------------------------------------------


async def test_each_name_is_handled_as_it_says() -> None:
    async with Engine(subject()) as engine:
        clock = asyncio.get_running_loop().time
        taken = {}
        for name in ("plain", "declined", "watched", "held", "work_first", "answer_first"):
            started = clock()
            answer = await engine.dispatch(f"test.{name}")
            taken[name] = clock() - started
            assert answer.processed == (name not in ("declined", "watched"))
        for name in ("declined", "watched"):
            assert (await engine.dispatch("test.seen", of=f"test.{name}")).retvalue == "1"
        assert taken["held"] - taken["plain"] == pytest.approx(HELD)
        assert taken["work_first"] - taken["plain"] == pytest.approx(WORK)
        assert taken["answer_first"] == pytest.approx(taken["plain"])


def test_an_engine_has_the_workers_that_it_is_said_to_have() -> None:
    assert operators.general((1, 25)) == "idlemsec=1\nminworkers=25\nmaxworkers=25\n"


def test_the_tables_compare_within_the_run() -> None:
    names = [*operators.BY_SETTINGS, *operators.BY_HANDLING]
    figures = {
        (idle, workers): {name: [100.0 * workers, 300.0 * workers] for name in names}
        for idle in operators.IDLE
        for workers in operators.WORKERS
    }
    figures[operators.DEFAULT]["watched"] = [0.5]
    lines = [" ".join(line.split()) for line in operators.tables(figures)]
    assert lines.count("5 10 2000 1000 3000 10.00") == len(operators.BY_SETTINGS)
    assert "watched, 16 outstanding, a second 0.50 0.50 0.50 0.00" in lines
    assert "the answer, then the work: ms 5000 2500 7500 1.00" in lines
    assert operators.as_json(figures)["idlemsec=1 workers=25"]["lone"] == [2500.0, 7500.0]
