"""A module that dies is started again, and given up when it dies again and again (E2, E3)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.real_engine import real_engine
from yateway import Module
from yateway.cli import main, supervising
from yateway.cli.supervising import GAVE_UP, RESTARTS, supervise
from yateway.engine import Engine
from yateway.transport import opener_of

# --- Small programs in place of modules --------------------------------------------------------


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """See that what signals do is as before the test."""
    caught = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in caught]
    yield
    assert [signal.getsignal(number) for number in caught] == before


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what makes the command of a program that counts how often it was started."""

    def command(code: str) -> list[str]:
        file = tmp_path / "program.py"
        lives = tmp_path / "lives"
        file.write_text(
            "import os, sys, signal, time\n"
            f"with open({str(lives)!r}, 'a') as f: print(len(sys.argv), file=f)\n"
            f"life = len(open({str(lives)!r}).readlines())\n{code}\n"
        )
        return [sys.executable, "-S", str(file)]

    return command


def lives(folder: Path) -> int:
    return len((folder / "lives").read_text().splitlines())


Program = Callable[[str], list[str]]


@pytest.mark.real_clock
def test_one_that_ends_well_has_ended(program: Program, tmp_path: Path) -> None:
    assert supervise(program("")) == 0
    assert lives(tmp_path) == 1
    # It is told its supervisor's descriptor.
    assert (tmp_path / "lives").read_text() == "3\n"


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("death", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), 40)", "was killed by signal 40"),
        ("1 / 0", "ended with exit code 1"),
        ("sys.exit(3)", "ended with exit code 3"),
    ],
)
def test_one_that_dies_is_started_again(
    death: str, told: str, program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However it died; how, and how often that may happen, is told."""
    assert supervise(program(f"if life == 1: {death}")) == 0
    assert lives(tmp_path) == 2
    assert f"the module {told}, it is started again (1 of 5 within 30 s)" in caplog.text


@pytest.mark.real_clock
def test_a_crash_loop_ends(
    program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More than five restarts within 30 s end it, with exit code 70 and the reason (E3)."""
    assert supervise(program("sys.exit(9)")) == GAVE_UP == 70
    assert lives(tmp_path) == 1 + RESTARTS == 6
    last = caplog.records[-1]
    assert last.levelno == logging.ERROR
    assert last.getMessage() == (
        "the module ended with exit code 9, 6 times within 30 s: gave up starting it"
    )


@pytest.mark.real_clock
def test_deaths_long_ago_are_forgotten(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies now and then is started again for ever."""
    now = iter(range(0, 10_000, 7))
    clock = SimpleNamespace(monotonic=lambda: float(next(now)))
    monkeypatch.setattr("yateway.cli.supervising.time", clock)
    assert supervise(program("sys.exit(life < 20)")) == 0
    assert lives(tmp_path) == 20


@pytest.mark.real_clock
def test_what_another_start_could_not_help_is_passed_on(program: Program, tmp_path: Path) -> None:
    """A refused handler, a setting that cannot be: the module has told it (C9)."""
    assert supervise(program("sys.exit(78)")) == 1
    assert lives(tmp_path) == 1


@pytest.mark.real_clock
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("signal.signal({n}, lambda *_: sys.exit(0))", lambda number: 0),
        ("signal.signal({n}, lambda *_: sys.exit(7))", lambda number: 7),
        ("signal.signal({n}, signal.SIG_DFL)", lambda number: 128 + number),
    ],
)
def test_a_signal_is_passed_on_and_ends_it(
    code: str,
    expected: Callable[[int], int],
    number: signal.Signals,
    program: Program,
    tmp_path: Path,
) -> None:
    """Whatever it ends with: nobody starts again what was asked to end."""
    command = program(
        f"{code.format(n=int(number))}\nos.kill(os.getppid(), {int(number)})\nsignal.pause()"
    )
    assert supervise(command) == expected(number)
    assert lives(tmp_path) == 1


@pytest.mark.real_clock
def test_a_signal_between_two_lives_ends_it_too(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed on to the one that was just being started."""
    start: Any = subprocess.Popen

    def popen(*arguments: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return start(*arguments, **more)

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert supervise(program("signal.pause()")) == 128 + signal.SIGTERM


@pytest.mark.real_clock
def test_nothing_is_left_behind_by_an_error(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process and no descriptor."""
    before = os.listdir("/proc/self/fd")
    start: Any = subprocess.Popen
    started: list[Any] = []

    def popen(*arguments: Any, **more: Any) -> Any:
        child = start(*arguments, **more)
        started.append(child)

        def wait() -> int:
            monkeypatch.undo()
            del child.wait
            raise RuntimeError("oops")

        child.wait = wait
        return child

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(RuntimeError):
        supervise(program("signal.pause()"))
    assert started[0].returncode == -signal.SIGKILL
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("options", [[], ["--allow-remote"]])
def test_what_is_supervised_is_the_same_command(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the engine's address as it was found, and all that was allowed."""
    commands: list[list[str]] = []

    def supervise(command: list[str]) -> int:
        commands.append(command)
        return 7

    monkeypatch.setattr("yateway.cli.run.supervise", supervise)
    monkeypatch.setenv("YATEWAY_ENGINE", "tcp://127.0.0.1:1")
    assert main(["-v", "run", "m.py:module", *options]) == 7
    run = ["-m", "yateway", "-v", "run", "m.py:module", "--engine", "tcp://127.0.0.1:1"]
    assert commands == [[sys.executable, *run, *options]]


# --- Modules -----------------------------------------------------------------------------------

ROUTER = """
import os
from yateway import Message, Module

module = Module("router")

@module.handler("call.route")
def route(message: Message) -> str:
    return str(os.getpid())

@module.on_stop
def stopped() -> None:
    print("stopped", flush=True)
"""


@asynccontextmanager
async def running(file: Path, *options: str) -> AsyncIterator[Process]:
    """Run `yateway run`; it is asked to end at the latest at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "yateway", "run", str(file), *options), stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def routed(engine: Engine, *, but: str = "") -> str:
    """Ask for a route until a module has one, and not that one; return the module's process id."""
    async with asyncio.timeout(20):
        while True:
            answer = await engine.dispatch("call.route")
            if answer.processed and answer.retvalue != but:
                return answer.retvalue
            await asyncio.sleep(0.01)


@pytest.mark.real_clock
async def test_a_killed_module_is_back_soon(tmp_path: Path) -> None:
    """`kill -9`: within two seconds another process routes calls (E2)."""
    file = tmp_path / "router.py"
    file.write_text(ROUTER)
    async with Engine(listen=["tcp://127.0.0.1:0"]) as engine:
        async with running(file, "--engine", engine.urls[0]) as process:
            first = await routed(engine)
            assert int(first) != process.pid
            os.kill(int(first), signal.SIGKILL)
            second = await routed(engine, but=first)
            process.terminate()
            out, err = await process.communicate()
            assert process.returncode == 0
            assert out == b"stopped\n"
            assert "the module was killed by SIGKILL, it is started again" in err.decode()
        assert second != first
        assert not (await engine.dispatch("call.route")).processed


@pytest.mark.real_clock
async def test_a_module_without_its_supervisor_ends_in_good_order(tmp_path: Path) -> None:
    """Should the supervisor be killed, nobody is left to restart what it started."""
    file = tmp_path / "router.py"
    file.write_text(ROUTER)
    async with (
        Engine(listen=["tcp://127.0.0.1:0"]) as engine,
        running(file, "--engine", engine.urls[0]) as process,
    ):
        await routed(engine)
        process.kill()
        # Its end closes the pipe that it shares with the one that was killed.
        out, _ = await process.communicate()
        assert out == b"stopped\n"
        assert not engine.handles("call.route")


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("raise RuntimeError('at start')", 70, "RuntimeError: at start"),
        ("", 1, "holds no yateway.Module"),
    ],
)
def test_how_a_module_that_dies_at_start_ends(
    text: str,
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With 70 in the end, or at once with 1 where starting again could not help (E3).

    Given up after one restart, since starting Python takes its time.
    """
    monkeypatch.setattr(supervising, "RESTARTS", 1)
    file = tmp_path / "module.py"
    file.write_text(text)
    assert main(["run", str(file), "--engine", "tcp://127.0.0.1:1"]) == code
    err = capfd.readouterr().err + caplog.text
    assert told in err
    assert err.count("started again") == (1 if code == 70 else 0)


@pytest.mark.yate
@pytest.mark.real_clock
async def test_the_real_engine_lets_a_killed_module_go_and_gets_it_back(tmp_path: Path) -> None:
    """Its open request ends at once, others are served on, and it is back within 2 s (E2)."""
    file = tmp_path / "router.py"
    file.write_text(ROUTER + HELD)
    other, asker = Module("other"), Module("asker")
    other.handler("t.other")(lambda message: True)
    loop = asyncio.get_running_loop()
    async with real_engine() as engine, running(file, "--engine", engine.unix):
        for module in (other, asker):
            await module.attach(opener_of(engine.unix))
        async with asyncio.timeout(20):
            while not (first := await asker.dispatch("call.route")).processed:
                await asyncio.sleep(0.01)
        held = asyncio.create_task(asker.dispatch("t.held"))
        await asyncio.sleep(0.1)
        assert not held.done()
        killed = loop.time()
        os.kill(int(first.retvalue), signal.SIGKILL)
        assert not (await held).processed
        # It would have been held for two seconds.
        assert loop.time() - killed < 1
        async with asyncio.timeout(20):
            while not (second := await asker.dispatch("call.route")).processed:
                assert (await asker.dispatch("t.other")).processed
        assert second.retvalue != first.retvalue
        for module in (other, asker):
            await module.detach()


HELD = """
import asyncio

@module.handler("t.held")
async def held(message: Message) -> None:
    await asyncio.sleep(1000)
"""
