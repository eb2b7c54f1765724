"""How the suite runs: coroutines on a virtual clock, nothing left behind, nothing that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
from collections.abc import Generator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from types import FrameType

import hypothesis
import pytest

from yateway.testing import VirtualClockLoop, in_fresh_loop

# What users get; a test of ours that asks for none of its fixtures is run by this file.
pytest_plugins = ["yateway.testing"]

# Seconds of the processor after which a test counts as hanging; the long one for properties, of
# which a hundred examples are tried and more.
LIMIT = 10.0
LONG_LIMIT = 30.0
# And by the clock on the wall, for what waits in vain; other programs may keep this one waiting.
REAL_LIMIT = 100.0

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("yateway", deadline=None)
hypothesis.settings.load_profile("yateway")


class StillRunning(KeyboardInterrupt):
    """Raised inside a test that hangs: the one kind of exception that no task keeps to itself."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="the tests in a random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed: int | None = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("yate"):
        prefix = os.environ.get("YATEWAY_YATE")
        if not prefix or not Path(prefix, "bin", "yate").exists():
            pytest.skip("YATEWAY_YATE names no installed engine")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    real = pyfuncitem.get_closest_marker("real_clock") is not None
    property_test = getattr(pyfuncitem.obj, "hypothesis", None)
    holder, name = (property_test, "inner_test") if property_test else (pyfuncitem, "obj")
    if iscoroutinefunction(test := getattr(holder, name)):
        loop_factory = asyncio.new_event_loop if real else VirtualClockLoop
        setattr(holder, name, in_fresh_loop(test, loop_factory))
    with time_limit(LONG_LIMIT if property_test else LIMIT):
        result = yield
    if iscoroutinefunction(test):
        # It has just collected; what is left the next one need not look at. Thousands of such
        # looks at all that pytest keeps would take a third of the suite's time.
        gc.freeze()
    return result


def pytest_unconfigure() -> None:
    gc.unfreeze()  # for the last look, after which warnings still fail the run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many scenarios agree, of how many that were played."""
    for engine in ("embedded", "real"):
        passed, failed = (
            sum(f"_the_{engine}_engine_agrees" in report.nodeid for report in reports)
            for outcome in ("passed", "failed")
            for reports in [terminalreporter.getreports(outcome)]
        )
        if passed + failed:
            total = passed + failed
            terminalreporter.write_line(f"{passed} of {total} scenarios agree, {engine} engine")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail the test that has used so many seconds of the processor, or waits for ever."""

    over = False

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal over
        over = True
        raise StillRunning

    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, REAL_LIMIT),
    )
    before = [signal.signal(number, interrupt) for _, number, _ in timers]
    for timer, _, limit in timers:
        signal.setitimer(timer, limit, 1.0)  # and again, should cleaning up hang too
    try:
        yield
    except BaseException:
        # Raised between two steps of the loop it may leave a task that nothing wakes any more, so
        # that cleaning up fails in a way of its own.
        if not over:
            raise
        pytest.fail(f"still running after {seconds} seconds of work, or {REAL_LIMIT} seconds")
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
