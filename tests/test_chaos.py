"""The machines that prove the promises: a little of each, and that they notice what is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from chaos import comparison, embedded, soak
from chaos.history import (
    History,
    answered_once_in_time,
    answers_belong,
    operations_end,
    setup_restored,
)
from chaos.outcome import Outcome, show
from chaos.world import play
from yateway.engine.recording import Entry
from yateway.errors import ConnectionLost, DispatchTimeout

DOCS = Path(__file__).parents[1] / "docs"

# --- The checkers ------------------------------------------------------------------------------


def history(*lines: str) -> list[Entry]:
    """Read `TIME DIRECTION CONNECTION LINE`, with `close` for the end of a connection."""
    entries = []
    for text in lines:
        time, direction, connection, line = text.split(" ", 3)
        event = {"close": "closed"}.get(line, "note" if connection == "notes" else "")
        entries.append(Entry(float(time), direction, connection, line, event))
    return entries


ASKED, ANSWERED = "0 E m1 %%>message:7:1:t.x::n=5", "1 A m1 %%<message:7:true::ok:seen=5"
LATER = "9 E m1 %%<setlocal:timeout:1:true"

Check = Callable[[Iterable[Entry]], list[str]]
GOOD: list[tuple[Check, list[str]]] = [
    (answered_once_in_time, [ASKED, ANSWERED, LATER]),
    (answered_once_in_time, [ASKED, "2 A m1 %%<message:7:false:", LATER]),
    (answered_once_in_time, [ASKED, "1 E m1 close", LATER]),
    (answered_once_in_time, [ASKED, ANSWERED, "3 E m1 %%>message:7:1:t:", "4 A m1 %%<message:7:"]),
    (answered_once_in_time, [ASKED, "1 E m2 %%>message:7:1:t:", "1 A m2 %%<message:7:", ANSWERED]),
    (answers_belong, [ASKED, ANSWERED]),
    (answers_belong, [ASKED, "1 A m1 %%<message:7:false:"]),
    (operations_end, ["0 A notes invoke 1", "1 A notes lost 1"]),
    (setup_restored, ["0 A m1 %%>install:1:a", "0 A m1 %%>watch:b", "1 A m2 %%>watch:b",
                      "1 A m2 %%>install:1:a"]),
]  # fmt: skip
BAD: list[tuple[Check, list[str], str]] = [
    (answered_once_in_time, [ASKED, ANSWERED, ANSWERED], "second answer"),
    (answered_once_in_time, [ANSWERED], "second answer"),
    (answered_once_in_time, [ASKED, "2.1 A m1 %%<message:7:false:"], "after its deadline"),
    (answered_once_in_time, [ASKED, LATER], "not answered at all"),
    (answered_once_in_time, [ASKED, "3 E m1 close"], "not answered until the end"),
    (answers_belong, [ASKED, "1 A m1 %%<message:7:true::ok:seen=6"], "not for 5"),
    (operations_end, ["0 A notes invoke 1"], "1 never ended"),
    (operations_end, ["0 A notes invoke 1", "1 A notes answer 1", "2 A notes lost 1"], "second"),
    (setup_restored, ["0 A m1 %%>install:1:a", "0 A m1 %%>install:1:b", "1 A m2 %%>install:1:a"],
     "m2: installed 1"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "lines"), GOOD)
def test_a_good_history_passes(check: Check, lines: list[str]) -> None:
    assert check(history(*lines)) == []


@pytest.mark.parametrize(("check", "lines", "told"), BAD)
def test_a_broken_promise_is_found(check: Check, lines: list[str], told: str) -> None:
    (broken,) = check(history(*lines))
    assert told in broken


async def test_operations_are_noted_with_their_end() -> None:
    """Each ends in its own way, and a bug of the scenario is not kept quiet."""
    it = History()
    for error in (None, ConnectionLost(), DispatchTimeout("t.x", 1.0)):
        with it.operation("7"):
            if error is not None:
                raise error
    with pytest.raises(asyncio.CancelledError), it.operation("7"):
        raise asyncio.CancelledError
    with pytest.raises(LookupError), it.operation("7"):
        raise LookupError
    ends = [entry.line for entry in it.entries if not entry.line.startswith("invoke")]
    assert ends == ["answer 7", "lost 7", "timeout 7", "cancelled 7"]


# --- The nemesis -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_a_seed_breaks_nothing(seed: int) -> None:
    """A few virtual seconds of all faults at once (E10); `make chaos` plays more of them."""
    run, _ = play(seed, 12.0)
    assert run.broken == []
    assert run.requests > 50
    assert run.cycles > 2
    assert len(run.deeds) > 4


def test_a_seed_does_the_same_again() -> None:
    """What was done and what it came to, to the last line."""
    runs = [play(3, 8.0) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    first, again = ([e.line for e in it.entries] for _, it in runs)
    # Their order in one moment is all that the set-up of two links leaves open.
    assert [line.split(":")[0] for line in first] == [line.split(":")[0] for line in again]


FAULTS: list[tuple[str, Any]] = [
    ("yateway.serving.Server.failed", lambda *_: 1 / 0),
    ("yateway.serving._Pending.expire", lambda self: None),
    ("yateway.message.Message.rollback", lambda self: None),
]


@pytest.mark.parametrize(("what", "instead"), FAULTS)
def test_a_seed_notices_a_fault_of_ours(
    what: str, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that does not keep its promises is caught by a seed."""
    monkeypatch.setattr(what, instead)
    run, _ = play(0, 12.0)
    assert run.broken


# --- Scenarios ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        lambda: embedded.reconnects(4),
        lambda: embedded.descriptors(4),
        lambda: embedded.cuts(1),
        lambda: embedded.fleet(20, 20.0),
        lambda: embedded.database(40),
    ],
)
def test_a_scenario_holds(scenario: Callable[[], Any]) -> None:
    """Each scenario in small."""
    outcome = embedded.virtual(scenario())
    # So few modules are no fleet: chance alone decides how they spread.
    if outcome.guarantee != "C3":
        assert list(outcome.broken) == []


def test_what_a_scenario_leaves_breaks_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks and errors that nobody saw count as broken, and are shown."""

    async def leaves() -> Outcome:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        left.append(asyncio.create_task(asyncio.sleep(9)))
        await asyncio.sleep(0)
        return Outcome("X1", "leaves", "nothing")

    left: list[asyncio.Task[None]] = []
    outcome = embedded.virtual(leaves())
    show(outcome)
    assert [line.split()[0] for line in outcome.broken] == ["loop:", "left"]
    assert "X1          BROKEN" in capsys.readouterr().out


# --- The comparison ----------------------------------------------------------------------------


def documented() -> dict[str, list[str]]:
    """Return the table of docs/comparison.md: what happens, and the words of the columns."""
    lines = (DOCS / "comparison.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {row[0]: row[1:3] for row in rows if len(row) > 2}


@pytest.mark.parametrize("name", comparison.FAULTS)
def test_the_comparison_is_as_documented(name: str) -> None:
    """Each fault befalls both libraries, and the table in the docs says what came of it."""
    survived = [comparison.survives(name, make) for make in comparison.SUBJECTS]
    assert documented()[name] == ["survives" if it else "fails" for it in survived]
    assert survived[0]


# --- The soak ----------------------------------------------------------------------------------


def sample(messages: int, memory: int, **more: int) -> soak.Sample:
    values: dict[str, Any] = {
        **{"descriptors": 7, "tasks": 4, "shed": 0, "expired": 0},
        **{"rate": 1.0, "p50": 1.0, "p99": 1.0, "pause": 1.0},
        **more,
    }
    return soak.Sample(messages=messages, memory=memory, **values)


def test_growth_fails_a_soak() -> None:
    """What grows after warming up is told; what grew while it did is not."""
    steady = [sample(n * 1000, 2**20 + min(n, 5) * 4096) for n in range(20)]
    assert soak.slope(steady) == 0
    assert soak.faults(steady, "resident") == []
    growing = [sample(n * 100_000, n * 409_600) for n in range(20)]
    assert soak.slope(growing) == pytest.approx(4.096)
    assert soak.faults(growing, "resident") == ["resident memory grows by 4.10 bytes a message"]
    assert soak.faults([sample(n * 100, n * 410) for n in range(20)], "resident") == []
    leaking = [sample(n * 1000, 0, descriptors=n, tasks=n, expired=n) for n in range(20)]
    assert len(soak.faults(leaking, "resident")) == 3


@pytest.mark.real_clock
def test_a_soak_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A small one: each interval has its line, and every request its answer."""
    samples = soak.soak(2000, intervals=2, paced=50)
    assert [s.expired for s in samples] == [0, 0]
    assert samples[-1].messages >= 2000
    assert len(capsys.readouterr().out.splitlines()) == 2
