"""Records of calls, to the millisecond on the virtual clock."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from yateway import Message
from yateway.engine import Engine
from yateway.engine.engine import OwnHandler
from yateway.errors import ConfigError


def collect(records: list[dict[str, str]]) -> OwnHandler:
    def note(message: Message) -> bool:
        records.append(dict(message))
        return False

    return note


async def test_a_record_counts_ringing_and_talking() -> None:
    """From start to answer, and from answer to hang-up."""
    async with Engine() as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))

        def route(message: Message) -> bool:
            message.retvalue = "sim/2"
            return True

        engine.install("call.route", route)
        caller = await engine.call("2", "1", username="me")
        called = await engine.next_call()
        await asyncio.sleep(1)
        called.ring()
        await asyncio.sleep(2)
        called.pick_up()
        await asyncio.sleep(30)
        caller.hang_up("bye")
        await asyncio.sleep(0.1)
        own = [record for record in records if record["chan"] == caller.id]
        operations = [record["operation"] for record in own]
        assert (operations[0], operations[-1]) == ("initialize", "finalize")
        assert set(operations[1:-1]) == {"update"}
        last = own[-1]
        assert last["direction"] == "incoming"
        assert (last["duration"], last["billtime"], last["ringtime"]) == (
            *("33.000", "30.000", "2.000"),
        )
        assert (last["caller"], last["called"], last["username"]) == ("1", "2", "me")
        assert (last["external"], last["reason"], last["billid"]) == ("1", "bye", caller.billid)
        other = [record for record in records if record["chan"] == called.id]
        assert other[-1]["external"] == "2"
        status = await engine.dispatch("engine.status", module="cdrbuild")
        assert ";cdrs=0,hungup=2;\r\n" in status.retvalue


async def test_a_late_message_begins_no_second_record() -> None:
    """For five seconds after the end; a start that was overtaken still gets its record."""
    async with Engine() as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await engine.dispatch("chan.startup", id="x/1")
        await engine.dispatch("chan.hangup", id="x/1")
        await engine.dispatch("call.answered", id="x/1")
        await asyncio.sleep(0.1)
        assert [record["operation"] for record in records] == ["initialize", "finalize"]
        await asyncio.sleep(5)
        await engine.dispatch("call.answered", id="x/1")
        await engine.dispatch("chan.hangup", id="x/2")
        await engine.dispatch("chan.startup", id="x/2")
        await asyncio.sleep(0.1)
        assert [(r["chan"], r["operation"]) for r in records[2:]] == [
            ("x/1", "initialize"),
            ("x/2", "finalize"),
        ]


async def test_what_is_not_recorded() -> None:
    """Early progress without media, what says so itself, and what is about nobody."""
    async with Engine() as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await engine.dispatch("chan.startup", id="x/1", cdrtrack=False)
        await engine.dispatch("call.answered", id="x/1", cdrcreate=False)
        await engine.dispatch("chan.startup")
        await engine.dispatch("call.ringing", id="x/1")
        await engine.dispatch("call.drop", id="cdrbuild/x/1")
        await asyncio.sleep(0.1)
        assert records == []
        await engine.dispatch("chan.startup", id="x/1", cdrwrite=False, trace_id="t")
        await engine.dispatch("call.progress", id="x/1")
        await engine.dispatch("call.progress", id="x/1", earlymedia=True)
        await engine.dispatch("call.update", id="x/1", operation="request")
        dropped = await engine.dispatch("call.drop", id="cdrbuild/x/1", reason="enough")
        assert dropped.processed
        await asyncio.sleep(0.1)
        assert [(r["operation"], r["cdrwrite"], r["trace_id"]) for r in records] == [
            ("initialize", "false", "t"),
            ("update", "false", "t"),
            ("finalize", "false", "t"),
        ]
        assert records[-1]["reason"] == "enough"


CONFIGURED = """\
[general]
resolution=usec
status=true
ring_on_progress=true
updates=false
[parameters]
foo=true
bar=false
caller=true
"""


async def answered_call(engine: Engine) -> None:
    """Let one leg call another, with parameters that change under way."""
    await engine.dispatch(
        "call.execute",
        {"callto": "dumb/far", "caller": "100", "target": "200", "direct": "dumb/near"},
        foo=1,
        bar=2,
        copyparams="foo,bar",
    )
    for name, foo, bar in (("call.progress", 3, 4), ("call.answered", 5, 6)):
        await asyncio.sleep(1)
        await engine.dispatch(
            "chan.masquerade", id="dumb/2", message=name, targetid="dumb/1", foo=foo, bar=bar
        )


async def test_the_configuration_says_what_a_record_tells(tmp_path: Path) -> None:
    """As measured on the real engine with this cdrbuild.conf."""
    (tmp_path / "cdrbuild.conf").write_text(CONFIGURED)
    (tmp_path / "extmodule.conf").write_text("")
    async with Engine(conf=tmp_path) as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await answered_call(engine)
        await asyncio.sleep(0.1)
        await engine.dispatch("call.drop", id="dumb/2", reason="bye", foo=7)
        await asyncio.sleep(0.1)
    assert all(re.fullmatch(r"\d+\.\d{6}", record["duration"]) for record in records)
    shown = ("chan", "operation", "ringtime", "foo", "bar")
    told = [tuple(record.get(name, "-") for name in shown) for record in records]
    assert [told[:2], sorted(told[2:4]), sorted(told[4:])] == [
        [
            ("dumb/1", "initialize", "0.000000", "1", "2"),
            ("dumb/2", "initialize", "0.000000", "-", "-"),
        ],
        [
            ("dumb/1", "status", "1.000000", "1", "2"),
            ("dumb/2", "status", "1.000000", "5", "4"),
        ],
        [
            ("dumb/1", "finalize", "1.000000", "1", "2"),
            ("dumb/2", "finalize", "1.000000", "5", "4"),
        ],
    ]


STAMPED = """\
[formatted-timers]
call_start_time=%s
call_answer_time=%s
call_hangup_time=%s
call_duration=mm:SS.uu
"""


async def test_times_are_written_as_the_configuration_has_it(tmp_path: Path) -> None:
    """Before there is an answer or an end it counts as now, as in the plain times."""
    (tmp_path / "cdrbuild.conf").write_text(STAMPED)
    (tmp_path / "extmodule.conf").write_text("")
    async with Engine(conf=tmp_path) as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await answered_call(engine)
        await asyncio.sleep(61.25)
        await engine.dispatch("call.drop", id="dumb/2", reason="bye")
        await asyncio.sleep(0.1)
    mine = [record for record in records if record["chan"] == "dumb/2"]
    names = list(mine[-1])
    place = names.index("status") + 1
    assert names[place : place + 4] == [
        *("call_start_time", "call_answer_time", "call_hangup_time", "call_duration"),
    ]
    assert (mine[0]["call_duration"], mine[-1]["call_duration"]) == ("00:00.00", "01:03.25")
    start = float(mine[0]["time"])
    for record, after in ((mine[0], (0, 0, 0)), (mine[-1], (0, 2, 63.25))):
        times = [int(record[name].split()[0]) for name in names[place : place + 3]]
        assert times == pytest.approx([start + seconds for seconds in after], abs=0.6)


@pytest.mark.parametrize(
    ("settings", "moments"),
    [
        ("status=true", [0, 60, 120]),
        ("status=true\nstatus_answer=false\nstatus_interval=100", [100]),
        ("status=true\nstatus_interval=5", [0, 60, 120]),
        ("status=true\nstatus_interval=0", [0]),
        ("status=false", []),
    ],
)
async def test_records_tell_that_a_call_goes_on(
    settings: str, moments: list[int], tmp_path: Path
) -> None:
    """At the answer and each minute, unless the configuration says otherwise."""
    (tmp_path / "cdrbuild.conf").write_text(f"[general]\n{settings}\n")
    (tmp_path / "extmodule.conf").write_text("")
    async with Engine(conf=tmp_path) as engine:
        records: list[dict[str, str]] = []
        engine.install("call.cdr", collect(records))
        await answered_call(engine)
        await asyncio.sleep(150)
    told = [r for r in records if r["operation"] == "status" and r["chan"] == "dumb/1"]
    assert [round(float(record["billtime"])) for record in told] == moments


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[general]\nresolution=min\n", "write one of sec, msec, usec"),
        ("[parameters]\nduration=true\n", "line 2: 'duration' is told by the record itself"),
        ("[parameters]\nfoo=maybe\n", "foo='maybe' is no boolean"),
        ("[general]\nguardtime=long\n", "guardtime='long' is no number"),
        ("[formatted-timers]\ncall_duration=\n", "call_duration is empty.* write a format"),
    ],
)
async def test_a_configuration_that_cannot_be_used(text: str, error: str, tmp_path: Path) -> None:
    """The error names the line and the remedy."""
    (tmp_path / "cdrbuild.conf").write_text(text)
    (tmp_path / "extmodule.conf").write_text("")
    with pytest.raises(ConfigError, match=error):
        await Engine(conf=tmp_path).start()
