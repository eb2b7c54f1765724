"""The virtual clock, the plugin for users' tests, and the suite's own guard."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks
from yateway import Message, Module
from yateway.engine import Engine, Recording
from yateway.engine.caller import Caller
from yateway.testing import (
    DeadlockError,
    EngineForTests,
    VirtualClock,
    VirtualClockLoop,
    in_fresh_loop,
    unanswered,
)

pytest_plugins = ["pytester"]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_an_hour_takes_no_time() -> None:
    started = time.monotonic()
    await asyncio.sleep(3600)
    assert now() == 3600.0
    assert time.monotonic() - started < 1.0


async def test_half_a_year_takes_no_time() -> None:
    await asyncio.sleep(182 * 86400)
    assert now() == 182 * 86400


async def test_ticks_of_an_engine_fall_alike_in_every_run() -> None:
    """They come at whole seconds of the engine's clock, wherever the clock on the wall stands."""
    module = Module("ticking")
    ticks: list[tuple[float, int]] = []

    @module.watcher("engine.timer")
    def tick(message: Message) -> None:
        ticks.append((now(), int(message["time"])))

    async with Engine(module):
        await asyncio.sleep(3)
    assert [when for when, _ in ticks] == pytest.approx([0.75, 1.75, 2.75], abs=1e-5)
    first = ticks[0][1]
    assert [second for _, second in ticks] == [first, first + 1, first + 2]
    assert abs(first - time.time()) < 60


async def test_timers_keep_their_order_and_their_time() -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, now()))

    for name, delay in (("c", 30.0), ("a", 0.1), ("b", 2.5), ("b2", 2.5)):
        asyncio.get_running_loop().call_later(delay, note, name)
    await asyncio.sleep(60)
    assert seen == [("a", 0.1), ("b", 2.5), ("b2", 2.5), ("c", 30.0)]


async def test_the_clock_stands_still_while_there_is_something_to_do() -> None:
    timer = asyncio.get_running_loop().call_later(0.001, pytest.fail, "came first")
    for _ in range(1000):
        await asyncio.sleep(0)
    timer.cancel()
    assert now() == 0.0


async def test_a_deadline_comes_exactly_on_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.6):
            await asyncio.Event().wait()
    assert now() == 1.6


async def test_real_sockets_carry_bytes_before_the_clock_jumps() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    async with asyncio.timeout(5), await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(100):
            writer.write(b"%%>message\n")
            assert await reader.readline() == b"%%>message\n"
        writer.close()
        await writer.wait_closed()
        await done.wait()
    assert now() == 0.0


async def test_reading_a_silent_socket_does_not_stop_the_clock() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(ours, 1), 5)
        theirs.send(b"x")
        assert await loop.sock_recv(ours, 1) == b"x"
    assert now() == 5.0


async def test_work_in_a_thread_takes_no_virtual_time() -> None:
    pause = threading.Event().wait
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(pause, 0.05) is False
    assert now() == 0.0


async def test_work_in_a_thread_that_outlasts_a_timer_loses() -> None:
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asyncio.to_thread(go_on.wait)
    assert now() == 0.05
    go_on.set()


async def test_a_thread_of_ones_own_can_wake_the_loop() -> None:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    thread = threading.Timer(0.05, loop.call_soon_threadsafe, [woken.set])
    thread.start()
    await woken.wait()
    thread.join()


def test_a_deadlock_names_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yateway.testing._PATIENCE", 0.1)

    async def caller() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        with pytest.raises(DeadlockError, match=r"caller.* running at .*test_testing\.py:\d+"):
            runner.run(caller())
        # The loop is still good for cleaning up.
        runner.run(asyncio.sleep(1))


GUARDED = """
import asyncio
import pytest

async def test_good():
    await asyncio.sleep(3600)

async def test_leak():
    asyncio.get_running_loop().leak = asyncio.create_task(asyncio.sleep(1), name="forgotten")

async def test_loop_error():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(1)

async def test_never_retrieved():
    async def broken():
        raise ValueError("nobody looks")
    asyncio.create_task(broken())
    await asyncio.sleep(1)

async def test_never_awaited():
    asyncio.sleep(1)

async def test_hang():
    while True:
        await asyncio.sleep(0)

async def test_hang_in_a_task():
    async def spin():
        while True:
            pass
    await asyncio.gather(spin(), return_exceptions=True)

@pytest.mark.real_clock
async def test_real_clock():
    assert asyncio.get_running_loop().time() > 0

@pytest.mark.yate
def test_yate():
    assert False
"""


@pytest.mark.real_clock
def test_the_suite_fails_what_leaks_and_what_hangs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    conftest = Path(__file__).with_name("conftest.py").read_text()
    pytester.makeconftest(conftest.replace("\nLIMIT = 10.0", "\nLIMIT = 0.2"))
    pytester.makepyprojecttoml(
        '[tool.pytest.ini_options]\nfilterwarnings = ["error"]\nmarkers = ["real_clock", "yate"]'
    )
    pytester.makepyfile(GUARDED)
    monkeypatch.setenv("YATEWAY_YATE", str(pytester.path))
    # The conftest has plugins beside it.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    result = pytester.runpytest_subprocess("-ra", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=6, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*left pending: <Task pending name='forgotten' coro=<sleep() *",
            "*loop: *ZeroDivisionError*",
            "*loop: *never retrieved*nobody looks*",
            "*coroutine 'sleep' was never awaited*",
            "*still running after 0.2 seconds of work*",
            "*still running after 0.2 seconds of work*",
            "SKIPPED * YATEWAY_YATE names no installed engine",
        ]
    )


# The fixtures, in this suite


module = Module("phones")


@module.handler("call.route")
def route(message: Message) -> str | None:
    return "tone/dial" if message.get("called") == "1" else None


@pytest.mark.yateway(module)
async def test_the_fixtures_go_together(
    engine: EngineForTests, caller: Caller, virtual_clock: VirtualClock
) -> None:
    """The module of the mark is attached, and a caller is there."""
    assert module.attached
    await caller.dial("1")
    await caller.hears("dial")
    other = engine.caller("1002")
    await other.dial("2")
    await other.rejected("noroute")
    await asyncio.sleep(3600)
    assert virtual_clock.now == now() == 3600.0


async def test_a_module_is_detached_after_the_test(engine: EngineForTests) -> None:
    """That of the test before as well as this one's, which attaches it by itself."""
    assert not module.attached
    await engine.attach(module)
    assert (await engine.dispatch("call.route", called="1")).retvalue == "tone/dial"


@pytest.mark.yateway(module)
async def test_a_test_may_end_while_a_call_is_routed(caller: Caller) -> None:
    """Nothing of it is left behind."""
    await caller.dial("1")


class TestMarks:
    """What stands nearer to a test says more; modules add up."""

    pytestmark = pytest.mark.yateway(module, expect_errors=True)

    @pytest.mark.yateway(Module("further"))
    async def test_modules_add_up(self, engine: EngineForTests) -> None:
        logging.getLogger("yateway").error("expected")
        names = {e.line for e in engine.recording.entries if "trackparam" in e.line}
        assert {name.split(":")[2] for name in names} == {"phones", "further"}

    @pytest.mark.parametrize("number", ["1", "2"])
    async def test_parameters_are_passed(self, number: str, caller: Caller) -> None:
        await caller.dial(number)
        await (caller.answered() if number == "1" else caller.rejected())


# The plugin


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's project whose warnings are errors."""
    # Nothing that this machine happens to have installed takes part unless asked for.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyprojecttoml(
        '[tool.pytest.ini_options]\nfilterwarnings = ["error"]\naddopts = ["--strict-markers"]'
    )
    pytester.makeconftest('pytest_plugins = ["yateway.testing"]')
    return pytester


def test_the_tutorial_is_true(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are those of a project whose tests pass, the recording among them."""
    monkeypatch.syspath_prepend(project.path)
    for block in blocks(ROOT / "docs" / "testing.md"):
        if block.purpose.startswith("file: "):
            (project.path / block.purpose.removeprefix("file: ")).write_text(block.text)

    async def call() -> None:
        from waiting_room import module as waiting_room  # type: ignore[import-not-found]

        recording = Recording()
        async with Engine(waiting_room, record=recording) as engine:
            caller = Caller(engine, "1001", record=recording, limit=40)
            await caller.dial("100")
            await caller.hung_up()
        recording.to_file("call.jsonl")

    in_fresh_loop(call)()
    started = time.process_time()
    project.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=4)
    assert time.process_time() - started < 5.0
    sys.modules.pop("waiting_room")


FAILING = """
import asyncio
import pytest
from yateway import Module

module = Module("faulty")

@module.handler("call.route")
async def route(message):
    if message["called"] == "late":
        await asyncio.sleep(60)
    raise ZeroDivisionError

async def attach_by_hand(engine):
    transport = await engine.open("global")
    transport.write(b"%%>install:50:call.route\\n")
    await transport.receive()
    return transport

pytestmark = pytest.mark.yateway(module)

async def test_leak(virtual_clock):
    asyncio.get_running_loop().leak = asyncio.create_task(asyncio.sleep(1), name="forgotten")

async def test_loop_error(virtual_clock):
    asyncio.get_running_loop().call_soon(lambda: [].pop())
    await asyncio.sleep(1)

async def test_loop_error_and_failure(virtual_clock):
    asyncio.get_running_loop().call_soon(lambda: {}["cause"])
    await asyncio.sleep(1)
    assert 1 == 2

async def test_handler_raised(engine):
    await engine.dispatch("call.route", called="1")

async def test_handler_was_late(engine):
    await engine.dispatch("call.route", called="late")

@pytest.mark.yateway(expect_errors=True)
async def test_expected(engine):
    assert not (await engine.dispatch("call.route", called="late")).processed

async def test_unanswered(engine):
    transport = await attach_by_hand(engine)
    assert not (await engine.dispatch("call.route", called="1")).processed
    await transport.close()

async def test_cut_by_the_engine(engine):
    await engine.dispatch("x")
    await attach_by_hand(engine)
    engine.enqueue("call.route", called="1")
    await asyncio.sleep(1)
    engine.drop()

async def test_in_vain(caller):
    await caller.dial("1")
    await caller.hears("menu")

async def test_something_else(engine):
    await engine.dispatch("call.route", called="1")
    assert "this" == "that"

ends = Module("ends")

@ends.handler("call.route")
def end(message):
    raise SystemExit("enough")

@pytest.mark.yateway(ends)
async def test_a_module_that_ends(engine):
    await engine.dispatch("call.route", called="1")
"""


def test_what_a_test_leaves_behind_fails_it(project: pytest.Pytester) -> None:
    """And no other test; the report says what it was, and draws what went over the wire."""
    project.makepyfile(FAILING)
    result = project.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=9)
    result.stdout.fnmatch_lines(
        [
            "*_ test_leak _*",
            "left pending: <Task pending name='forgotten' coro=<sleep() *",
            "loop: *IndexError*",
            "E * assert 1 == 2",
            "E * loop: *KeyError('cause')*",
            "*_ test_handler_raised _*",
            "handler route (*py:*) failed on 'call.route' and counts as declined: ZeroDivision*",
            "*_ test_handler_was_late _*",
            "handler route (*py:*) did not answer 'call.route' in time, the engine gets false",
            "*_ test_unanswered _*",
            "not answered in time: 'call.route', asked at 0.000 s",
            "*Captured over the wire call*",
            "*_ test_in_vain _*",
            ">*await caller.hears(*",
            "E*NotHappened: caller 1001 did not hear 'menu': the call was over",
            "E*heard: nothing at all",
            "E*note: 1001 dials 1",
            "*_ test_something_else _*",
            '>*assert "this" == "that"',
            "E*handler route (*py:*) failed on 'call.route'*",
            "*Captured over the wire call*",
            "*│  call.route #1 called=1*",
            "*_ test_a_module_that_ends _*",
            "E *SystemExit: enough",
        ]
    )
    text = result.stdout.str()
    assert text.count("E       time ") == 1
    assert "yateway/testing.py" not in text
    assert "traceback entries are hidden" not in text


def test_wrong_use_is_said_in_one_line(project: pytest.Pytester) -> None:
    """Before the test runs."""
    project.makepyfile(
        """
        import pytest

        def test_plain(engine): ...

        @pytest.mark.yateway(configuration="x")
        async def test_option(engine): ...

        @pytest.mark.yateway(real_clock=True)
        async def test_both(virtual_clock): ...
        """
    )
    result = project.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "test_plain asks for a fixture of yateway: write it as `async def`",
            "the mark yateway has no option configuration: yateway(*modules, conf=None, *",
            "a test has a virtual clock or the real one, but not both",
        ]
    )


def test_configuration_and_clock_are_those_of_the_mark(project: pytest.Pytester) -> None:
    """A folder with extmodule.conf, and real time where scripts need it."""
    (project.path / "extmodule.conf").write_text("[general]\ntimeout=1500\n")
    project.makepyfile(
        f"""
        import asyncio
        import pytest
        from yateway import Module

        module = Module("m")

        @pytest.mark.yateway(module, conf={str(project.path)!r}, real_clock=True)
        async def test_it(engine):
            assert await module.getlocal("timeout") == "1500"
            assert asyncio.get_running_loop().time() > 1
        """
    )
    project.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


OTHERS = """
import asyncio
import inspect
import pytest

pytest_plugins = ["yateway.testing"]

class Item(pytest.Function):
    "Runs coroutines by itself, as that of pytest-asyncio does."

    def runtest(self):
        test = self.obj
        assert inspect.iscoroutinefunction(test)
        self.obj = lambda *args, **kwargs: asyncio.run(test(*args, **kwargs))
        super().runtest()

@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name, obj):
    items = yield
    if inspect.iscoroutinefunction(obj):
        return [Item.from_parent(collector, name=item.name, callobj=obj) for item in items]
    return items
"""

TWO = """
import asyncio

async def test_theirs():
    assert asyncio.get_running_loop().time() > 1

async def test_ours(virtual_clock, engine):
    assert virtual_clock.now == 0.0
    await engine.dispatch("x")
"""


def test_a_plugin_with_items_of_its_own_keeps_its_tests(project: pytest.Pytester) -> None:
    """And leaves us ours."""
    project.makeconftest(OTHERS)
    project.makepyfile(TWO)
    project.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_anyio_keeps_its_tests(project: pytest.Pytester) -> None:
    """In its automatic mode too."""
    pytest.importorskip("anyio.pytest_plugin")
    project.makepyfile(TWO)
    arguments = ("-p", "anyio.pytest_plugin", "-o", "anyio_mode=auto", "-k", "not trio")
    project.runpytest_inprocess("-p", "no:cacheprovider", *arguments).assert_outcomes(passed=2)


def test_fixtures_of_the_same_names_take_precedence(project: pytest.Pytester) -> None:
    """A database's `engine` for example, and tests of it are none of our business."""
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def engine():
            return "sqlite://"

        def test_it(engine):
            assert engine == "sqlite://"
        """
    )
    project.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.real_clock
def test_the_plugin_is_loaded_by_whoever_wants_it() -> None:
    """Installing yateway adds nothing to pytest; importing the clock does not load pytest."""
    from importlib.metadata import entry_points

    assert [point for point in entry_points(group="pytest11") if "yateway" in point.value] == []
    code = "import sys, yateway.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


RECORDED = """
from yateway import Module
from yateway.testing import recorded

def router(target):
    module = Module("router")
    module.handler("call.route")(lambda message: target)
    return module

test_same = recorded("data/call.jsonl", router("tone/dial"))
test_other = recorded("data/call.jsonl", router("tone/busy"))
test_engine = recorded("data/call.jsonl")
"""


def test_a_recording_is_a_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any plugin; it is looked for beside the test's file."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    folder = pytester.mkdir("tests")
    (folder / "test_recorded.py").write_text(RECORDED)
    (folder / "data").mkdir()
    recording = Recording()

    async def record() -> None:
        router = Module("router")
        router.handler("call.route")(lambda _message: "tone/dial")
        async with Engine(router, record=recording) as engine:
            await engine.dispatch("call.route", called="1")

    in_fresh_loop(record)()
    recording.to_file(folder / "data" / "call.jsonl")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["2 lines differ from data/call.jsonl:", "missing at * on c1: *tone/dial*"]
    )
    result.assert_outcomes(passed=1, failed=2)


# Unanswered requests

ASKED = "%%>message:0x1.1:1700000000:call.route::called=1"


def recording(*entries: tuple[str, str] | float) -> Recording:
    """Make a recording of lines, events and pauses."""
    made = Recording()

    async def record() -> None:
        for entry in entries:
            if isinstance(entry, float):
                await asyncio.sleep(entry)
                continue
            direction, line = entry
            if line.startswith("%%"):
                made.add("c1", direction, line.encode())
            else:
                made.add("c1", direction, event=line)

    in_fresh_loop(record)()
    return made


@pytest.mark.parametrize(
    "entries",
    [
        (("E", ASKED), 9.9, ("A", "%%<message:0x1.1:false:")),
        (("E", ASKED), 9.9, ("E", "closed")),
        (("E", ASKED), ("E", "reset")),
        (("E", "%%<setlocal:timeout:0:true"), ("E", ASKED), 99.0, ("A", "%%<message:0x1.1:true:")),
        (("E", "%%<message:1:true:x::"), ("A", "%%>message:1:0:x::"), ("E", "%%<quit")),
    ],
)
def test_what_was_answered_in_time(entries: tuple[tuple[str, str] | float, ...]) -> None:
    """Or what nobody could answer any more, is no fault."""
    assert unanswered(recording(*entries)) == []


@pytest.mark.parametrize(
    "entries",
    [
        (("E", ASKED),),
        (("E", ASKED), ("A", "close")),
        (("E", ASKED), 10.0, ("E", "closed")),
        (("E", ASKED), 10.0, ("A", "%%<message:0x1.1:false:")),
        (("E", ASKED), ("A", "%%<message:0x1.2:false:")),
        (("E", ASKED), ("A", "%%<message:0x1.1")),
        (("E", "%%<setlocal:timeout:500:true"), ("E", ASKED), 0.5, ("A", "%%<message:0x1.1:true:")),
        (("E", "%%<setlocal:timeout:500:false"), ("E", ASKED), 10.0, ("E", "closed")),
    ],
)
def test_what_was_not_answered_in_time(entries: tuple[tuple[str, str] | float, ...]) -> None:
    """Or not so that the engine could read it, is one."""
    assert unanswered(recording(*entries)) == [
        "not answered in time: 'call.route', asked at 0.000 s"
    ]
