"""What the benchmarks count and print; what they measure is nobody's test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import half_load, operators
from benchmarks.asking import lone, rate
from benchmarks.load import REQUEST
from benchmarks.operators_subject import HELD, WORK, subject
from benchmarks.pacing import Pacing, number_of, percentiles
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


# --- Half load ---------------------------------------------------------------------------------

REQUESTS = [REQUEST.format(id=number, params=":called=123").encode() for number in range(50)]

GOOD = b"%%%%<message:%s:true::x:param1=value1\n"


@contextmanager
def answering(answer: bytes) -> Iterator[socket.socket]:
    """Give the engine's end of a connection whose other end answers each line so, by its id."""
    engine, module = socket.socketpair()

    def answer_all() -> None:
        with module, module.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                if not answer:
                    return
                module.sendall(answer % line.split(b":", 2)[1])

    thread = threading.Thread(target=answer_all)
    thread.start()
    try:
        with engine:
            yield engine
    finally:
        thread.join()


@pytest.mark.real_clock
def test_each_request_of_steady_traffic_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(GOOD) as peer:
        taken = Pacing(peer, REQUESTS, rate=400).run(warm_up=0.01, seconds=0.12)
    assert len(taken) == 48, "all that were asked, more than there are ids, but for the warm-up"
    assert min(taken) > 0
    assert max(taken) < 10
    assert capsys.readouterr().out == "measuring\n"


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("answer", "told"),
    [(b"%%%%<message:%s:false:::\n", "no good answer"), (b"", "the subject went away")],
)
def test_a_subject_that_does_not_answer_well_is_not_measured(answer: bytes, told: str) -> None:
    with answering(answer) as peer, pytest.raises(SystemExit, match=told):
        Pacing(peer, REQUESTS, rate=1000).run(warm_up=0.0, seconds=0.01)


@pytest.mark.real_clock
def test_requests_may_not_pile_up() -> None:
    with answering(GOOD) as peer, pytest.raises(SystemExit, match="more than the subject can"):
        Pacing(peer, REQUESTS, rate=1e9).run(warm_up=0.0, seconds=1e-6)


def test_an_answer_is_known_by_its_number() -> None:
    assert number_of(b"%%<message:0x7f25bbd74c60.4711:true::x:param1=value1") == 4711


def test_a_moment_of_standstill_is_not_usual() -> None:
    quick, slow = [0.001] * 990, [0.005] * 110
    figures = percentiles([*quick, *slow], slice=100)
    assert figures["p50"] == pytest.approx(1000)
    assert figures["p99"] == pytest.approx(5000)
    assert figures["usual p99"] == pytest.approx(1000)


def test_what_is_added_is_what_the_bare_loop_did_not_take() -> None:
    ours = {"p50": 30.0, "p99": 250.0, "usual p99": 90.0}
    added = half_load.compared(ours, {"p50": 10.0, "p99": 300.0, "usual p99": 20.0})
    assert added["p50, added"] == 20.0
    assert added["p99, added"] == -50.0
    assert added["usual p99, added"] == 70.0
    assert added["p99"] == 250.0
    assert added["p99, bare"] == 300.0


def test_what_is_added_is_shown_with_its_spread(capsys: pytest.CaptureFixture[str]) -> None:
    times = {"p50": 30.0, "p99": 250.0, "usual p99": 90.0}
    rounds = [half_load.compared(times, dict.fromkeys(times, bare)) for bare in (1.0, 20.0, 5.0)]
    figures = {figure: [one[figure] for one in rounds] for figure in rounds[0]}
    half_load.show({"yateway": {"rate": [100.0, 300.0], **figures}})
    _, _, title, *lines = capsys.readouterr().out.splitlines()
    assert " ".join(title.split()) == "yateway, 200 a second bare added min max"
    assert lines[1].split() == ["p99", "250", "5", "245", "230", "249"]
    assert len(lines) == 3
