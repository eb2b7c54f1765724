"""Formatted times as the real engine writes them: every line was measured on one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.real_engine import RealEngine, real_engine
from yateway import Message, Module
from yateway.engine.stamps import DURATION, STAMPS, Stamp
from yateway.transport import opener_of

#: The moment of all measurements, and how long after it was answered and over.
START, ANSWER, HANGUP = 1347625890, 61, 36671
NAMES = (*STAMPS, DURATION)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be where it was measured; written out, since not every machine knows the place."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


MOMENTS = [
    ("YYYY/MM/DD HH:mm:SS UTC", 0, "2012/09/14 12:31:30 GMT"),
    ("YY-MM-DD HH:mm:SS.uuu", ANSWER, "12-09-14 14:32:31.000 CEST"),
    ("%H%M%S UTC", HANGUP, "224241 GMT"),
    ("YYYY YY DD DD mm DD", 0, "2012 YY 14 DD 31 DD CEST"),
    ("SS.uuuuuuuuu UTC", ANSWER, "31.000000 GMT"),
    ("UTCHHmmSS", HANGUP, "GMT224241"),
    ("MMmm UTC", 0, "%Mm GMT"),
    ("%j %a u", ANSWER, "258 Fri 0 CEST"),
    ("100%", HANGUP, "100% CEST"),
    ("mmMM UTC", 0, "3109 GMT"),
    ("YYYYYY UTC", ANSWER, "2012YY GMT"),
    ("HHHH UTC", HANGUP, "22HH GMT"),
    ("x UTC", 0, "x GMT"),
    ("uu.u UTC", ANSWER, "00.u GMT"),
    ("%% UTC", HANGUP, "% GMT"),
    ("%Y UTC", 0, "2012 GMT"),
    ("DD.MM.", ANSWER, "14.09. CEST"),
    ("u.SS", HANGUP, "0.41 CEST"),
]
DURATIONS = [
    ("HH:mm:SS", "10:11:11"),
    ("mm:SS.uuu HH", "11:11.000 10"),
    ("SS", "36671"),
    ("HHuu SS SS mm", "1000 11 SS 11"),
    ("u", "0"),
    ("mm:SS", "611:11"),
]


@pytest.mark.parametrize(("text", "after", "written"), MOMENTS)
def test_moments(text: str, after: int, written: str) -> None:
    assert Stamp(text).at((START + after) * 1_000_000) == written


@pytest.mark.parametrize(("text", "written"), DURATIONS)
def test_durations(text: str, written: str) -> None:
    assert Stamp(text).lasting(HANGUP * 1_000_000) == written


@pytest.mark.parametrize(
    ("text", "moment", "lasting"),
    [
        ("SS", "31 CEST", "30"),
        ("SS.u", "30.6 CEST", "30.6"),
        ("SS.uu", "30.57 CEST", "30.57"),
        ("SS.uuuuu", "30.56790 CEST", "30.56790"),
    ],
)
def test_parts_of_a_second(text: str, moment: str, lasting: str) -> None:
    """Rounded; of a duration only where they are shown (cdrbuild.cpp, getTime)."""
    assert Stamp(text).at(START * 1_000_000 + 567_899) == moment
    assert Stamp(text).lasting(30_567_899) == lasting


def test_what_is_rounded_up_to_a_second_is_not_carried() -> None:
    assert Stamp("SS.u UTC").at(START * 1_000_000 + 960_000) == "30.0 GMT"
    assert Stamp("SS UTC").at(START * 1_000_000 + 500_000) == "30 GMT"
    assert Stamp("SS UTC").at(START * 1_000_000 + 500_001) == "31 GMT"


@pytest.mark.yate
@pytest.mark.real_clock
async def test_the_real_engine_writes_them_so() -> None:
    """All of the above once more, a few with each start of it."""
    by_moment = [
        [(text, written) for text, after, written in MOMENTS if after == one]
        for one in (0, ANSWER, HANGUP)
    ]
    for rows in zip(*by_moment, DURATIONS, strict=True):
        lines = (f"{name}={text}" for name, (text, _) in zip(NAMES, rows, strict=True))
        conf = "[formatted-timers]\n" + "\n".join(lines)
        async with real_engine(modules=["cdrbuild"], files={"cdrbuild.conf": conf}) as engine:
            record = await last_record(engine)
        assert [record[name] for name in NAMES] == [written for _, written in rows]


async def last_record(engine: RealEngine) -> Message:
    """Tell the engine of a call, each message with its time, and return its last record."""
    records: asyncio.Queue[Message] = asyncio.Queue()
    module = Module("listener")
    module.watcher("call.cdr")(records.put_nowait)
    await module.attach(opener_of(engine.unix))
    try:
        for after, name in (
            (0, "chan.startup"),
            (ANSWER, "call.answered"),
            (HANGUP, "chan.hangup"),
        ):
            await module.dispatch(Message(name, id="x/1", time=START + after))
        while True:
            record = await asyncio.wait_for(records.get(), 5)
            if record["operation"] == "finalize":
                return record
    finally:
        await module.detach()
