"""Tools for testing a module without a telephone and without waiting; a pytest plugin.

    pytest_plugins = ["yateway.testing"]    in the topmost conftest.py

gives the fixtures `engine`, `caller` and `virtual_clock`, see docs/testing.md. There is no entry
point: installing yateway must not put names as common as these into everybody's sessions. A test
that asks for none of them runs as it always did; one that does is run here, on a clock of its own,
whatever other plugins for coroutines there are.

It must not import pytest before pytest does: the command line uses the clock on machines that have
no pytest. And it must not guess: what a test leaves behind fails it, unless its mark says so.

The clock alone: `asyncio.Runner(loop_factory=VirtualClockLoop)` runs a coroutine on an event loop
whose time is not the world's. It stands still while there is something to do and jumps to the next
timer when there is not, so an hour's sleep takes no time and no test depends on how fast the
machine is.

PYTEST_DONT_REWRITE: a conftest may well import this before pytest has looked at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, TypeVarTuple

from .engine import Engine, Recording
from .engine.caller import Caller, NotHappened, diagram
from .engine.engine import Attachable
from .engine.prompter import check_module
from .engine.staging import check_embedded
from .errors import RemoteProtocolError, shown
from .log import logger
from .wire.codec import c_integer
from .wire.frames import Answer
from .wire.reading import from_module

if TYPE_CHECKING:
    import pytest

__all__ = [
    "DeadlockError",
    "EngineForTests",
    "VirtualClock",
    "VirtualClockLoop",
    "in_fresh_loop",
    "recorded",
    "unanswered",
]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

#: Seconds that a caller of the fixtures waits; on a clock that jumps, patience costs nothing.
CALLER_LIMIT: Final = 60.0
#: Seconds that an engine waits for an answer unless told otherwise.
_TIMEOUT: Final = 10.0
_OPTIONS: Final = frozenset({"conf", "expect_errors", "real_clock"})
_MARK: Final = (
    "yateway(*modules, conf=None, expect_errors=False, real_clock=False): modules to attach to the"
    " fixture `engine`; the folder of its configuration; what yateway logs as an error does not"
    " fail the test; run it on the real clock"
)

# Real seconds of silence after which a loop without timers counts as dead.
_PATIENCE = 2.0


class DeadlockError(RuntimeError):
    """Nothing can happen any more: no timer is set, and no socket and no thread has spoken.

    The text names each pending task, with the line where it waits.
    """


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves its own clock on instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jobs = 0  # calls in executors which the loop waits for

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; when nothing is, let `timeout` virtual seconds pass."""
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.jobs:
            events = super().select(timeout)
        elif timeout is None:
            events = super().select(_PATIENCE)
            if not events:
                tasks = sorted(map(repr, asyncio.all_tasks()))
                raise DeadlockError("\n".join(["nothing can wake the loop; pending are:", *tasks]))
        if timeout is not None and not events:
            self.now += timeout
        return events


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever nothing is ready.

    `time()` starts at 0.0 and counts virtual seconds, for half a year at most: after that it can
    no longer count the nanoseconds that asyncio needs. Timers run in their order and at exactly
    their time; only the waiting is left out. `epoch` is what a clock on the wall shows at 0.0, in
    seconds since 1970: today, at a quarter past a whole second. An engine ticks at whole ones, so
    its `engine.timer` comes at 0.75, 1.75, 2.75... in every run.

    Sockets between parts of the same process work: what is sent is ready at once, before the
    clock may jump. Work in an executor (`run_in_executor`, `asyncio.to_thread`, looking up a
    host name) takes no virtual time, unless it outlasts the next timer by the real clock. Of what
    goes on elsewhere, in another process or in a thread of one's own, the loop cannot know: the
    clock jumps past it. Run such tests on an ordinary loop.

    Raises `DeadlockError` from inside the run when there is no timer left to jump to and two
    real seconds bring nothing either.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        self.epoch = int(time.time()) + 0.25
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._clock.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Call `func` in a thread, as on any loop; meanwhile the clock does not jump."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _future: asyncio.Future[Any]) -> None:
        self._clock.jobs -= 1

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the threads of the default executor, as on any loop; the clock does not jump."""
        self._clock.jobs += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._clock.jobs -= 1


# Running a test


def in_fresh_loop(
    test: Callable[..., Coroutine[Any, Any, object]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = VirtualClockLoop,
    problems: list[str] | None = None,
) -> Callable[..., None]:
    """Make a coroutine test an ordinary one, which fails when it leaves anything behind.

    What fails it: exceptions that reached nobody but the event loop, and tasks that still run at
    its end. Where the test fails by itself, they are notes on its exception: they may be the cause.

    Args:
        test: the coroutine function.
        loop_factory: makes the event loop of each run.
        problems: further lines that fail the test if there are any at its end.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        found = [] if problems is None else problems
        with asyncio.Runner(debug=False, loop_factory=loop_factory) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _, context: found.append(f"loop: {context}"))
            try:
                runner.run(test(*args, **kwargs))
            except BaseException as error:
                for problem in found:
                    error.add_note(problem)
                raise
            found += sorted(f"left pending: {task!r}" for task in asyncio.all_tasks(loop))
        gc.collect()  # what nobody awaited complains when it goes
        if found:
            __tracebackhide__ = False  # there is nothing of the test to show in place of us
            _fail("\n".join(found))

    return run


def _fail(text: str) -> NoReturn:
    import pytest

    pytest.fail(text, pytrace=False)


class VirtualClock:
    """What the fixture `virtual_clock` gives: the time, which passes by `asyncio.sleep`."""

    @property
    def now(self) -> float:
        """Virtual seconds since the test's event loop was made."""
        return asyncio.get_running_loop().time()


class EngineForTests(Engine):
    """The engine of the fixture: it keeps a recording, and detaches what was attached to it.

    Args:
        conf: the folder of its configuration.

    Attributes:
        recording: all that went over its connections, and what the callers did and heard.
    """

    def __init__(self, conf: str | Path | None = None) -> None:
        self.recording = Recording()
        self._attached: list[Attachable] = []
        super().__init__(conf=conf, record=self.recording)

    async def attach(self, module: Attachable) -> None:
        """Attach a module until the end of the test.

        Raises:
            InstallRefused, ConfigError: as `Module.attach`.
        """
        await module.attach(self.open)
        self._attached.append(module)

    def caller(self, number: str = "", *, limit: float = CALLER_LIMIT) -> Caller:
        """Return one more caller; `limit` is how long it waits for anything, in seconds."""
        return Caller(self, number, record=self.recording, limit=limit)

    async def release(self) -> None:
        """Detach the modules, the last one first."""
        try:
            while self._attached:
                await self._attached.pop().detach()
        finally:
            if self._attached:
                await self.release()


def unanswered(recording: Recording) -> list[str]:
    """Return for each request that a module has not answered, or too late, what to say about it.

    Not to have answered is no fault where the engine has cut the connection before its timeout.

    Args:
        recording: of an engine's side. What is open at its end counts as unanswered.
    """
    faults: list[str] = []
    asked: dict[tuple[str, str], tuple[float, str]] = {}
    timeouts: dict[str, float] = {}

    def settle(connection: str, id_: str, now: float, least: float) -> None:
        when, name = asked.pop((connection, id_), (now, ""))
        if name and now - when >= least:
            faults.append(f"not answered in time: {shown(name)}, asked at {when:.3f} s")

    for entry in recording.entries:
        connection, fields = entry.connection, entry.line.split(":", 4)
        timeout = timeouts.get(connection, _TIMEOUT)
        if entry.event.startswith(("close", "reset")):
            least = 0.0 if entry.direction == "A" else timeout
            for key in [key for key in asked if key[0] == connection]:
                settle(*key, entry.time, least)
        elif entry.direction == "A" and (id_ := _answered(entry.data)):
            settle(connection, id_, entry.time, timeout)
        elif entry.direction == "E" and fields[0] == "%%>message" and len(fields) > 3:
            asked[connection, fields[1]] = (entry.time, fields[3])
        elif fields[:2] == ["%%<setlocal", "timeout"] and fields[-1] == "true":
            milliseconds, _ = c_integer(fields[2])
            timeouts[connection] = (milliseconds or 0) / 1000 or float("inf")
    for key in list(asked):
        settle(*key, float("inf"), 0.0)
    return faults


def _answered(line: bytes) -> str:
    """Return the id of the request that a line answers so that the engine can read it."""
    if not line.startswith(b"%%<message:"):
        return ""
    try:
        frame = from_module(line)
    except RemoteProtocolError:
        return ""
    return frame.id if isinstance(frame, Answer) else ""


class _Complaints(logging.Handler):
    """Collects what yateway logs as an error: a handler that fails or is too slow, for example."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # What a module writes into the engine's log (`module.debug`) is no fault.
        if record.name == logger.name:
            self.lines.append(record.getMessage())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


# The plugin


class _Run:
    """One run of a test that asked for a fixture of ours.

    Attributes:
        engine: that of the fixture, once somebody asked for it.
    """

    def __init__(self, item: pytest.Function) -> None:
        marks = [*item.iter_markers("yateway")][::-1]  # that of the test itself comes last
        self._modules: list[Attachable] = [module for mark in marks for module in mark.args]
        options: dict[str, Any] = {k: v for mark in marks for k, v in mark.kwargs.items()}
        if unknown := options.keys() - _OPTIONS:
            _fail(f"the mark yateway has no option {min(unknown)}: {_MARK}")
        if not iscoroutinefunction(item.obj):
            _fail(f"{item.name} asks for a fixture of yateway: write it as `async def`")
        self.real_clock = bool(options.get("real_clock"))
        self._expect_errors = bool(options.get("expect_errors"))
        self._conf = options.get("conf")
        self._item = item
        self._problems: list[str] = []
        self.engine: EngineForTests | None = None
        if self._modules:
            self.with_engine()

    def with_engine(self) -> EngineForTests:
        """Return the engine; it starts with the test."""
        if self.engine is None:
            self.engine = EngineForTests(self._conf)
        return self.engine

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the test be run by us and by nobody else."""
        import pytest

        item, test = self._item, self._item.obj
        factory = asyncio.new_event_loop if self.real_clock else VirtualClockLoop
        own = functools.wraps(test)(functools.partial(self._run, test))
        # Plugins for coroutines look at the function when it is called, or have it called by an
        # item of their own: what they find is neither a coroutine function nor their item's method.
        item.obj = in_fresh_loop(own, factory, self._problems)
        item.runtest = functools.partial(pytest.Function.runtest, item)  # type: ignore[method-assign]
        try:
            yield
        finally:
            del item.runtest
            item.obj = test

    async def _run(self, test: Callable[..., Coroutine[Any, Any, object]], **kwargs: Any) -> None:
        __tracebackhide__ = True
        complaints = _Complaints()
        try:
            with complaints.listening():
                if self.engine is None:
                    await test(**kwargs)
                else:
                    await self._on_engine(self.engine, test, kwargs)
        finally:
            if not self._expect_errors:
                self._problems += complaints.lines
        if self._problems:
            self._show()

    async def _on_engine(
        self,
        engine: EngineForTests,
        test: Callable[..., Coroutine[Any, Any, object]],
        kwargs: dict[str, Any],
    ) -> None:
        __tracebackhide__ = True
        await engine.start()
        try:
            for module in self._modules:
                await engine.attach(module)
            await test(**kwargs)
        except NotHappened:
            raise  # it shows the diagram itself
        except BaseException:
            self._show()
            raise
        finally:
            try:
                await engine.release()
                self._problems += unanswered(engine.recording)
            finally:
                await engine.stop()

    def _show(self) -> None:
        if self.engine is not None:
            text = diagram(self.engine.recording)
            self._item.add_report_section("call", "over the wire", text)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark and the fixtures; pytest calls this when it has loaded the plugin."""
    config.addinivalue_line("markers", _MARK)
    config.pluginmanager.register(_fixtures(), "yateway fixtures")


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of the collection after each test, which it would slow."""
    gc.collect()
    gc.freeze()


def _fixtures() -> object:
    """Return the fixtures, as a plugin of their own: see the top about importing pytest."""
    import pytest

    class Fixtures:
        @pytest.fixture
        def _yateway(self, request: pytest.FixtureRequest) -> Iterator[_Run]:
            run = _Run(request.node)
            with run.in_place():
                yield run

        @pytest.fixture
        def virtual_clock(self, _yateway: _Run) -> VirtualClock:
            """The test's clock, which jumps to the next timer when there is nothing to do."""
            if _yateway.real_clock:
                _fail("a test has a virtual clock or the real one, but not both")
            return VirtualClock()

        @pytest.fixture
        def engine(self, _yateway: _Run) -> EngineForTests:
            """An embedded Yate, running, with the modules of the mark `yateway` attached."""
            return _yateway.with_engine()

        @pytest.fixture
        def caller(self, engine: EngineForTests) -> Caller:
            """Somebody with a telephone, number 1001, at the engine."""
            return engine.caller("1001")

    return Fixtures()


# Recordings


def recorded(
    file: str | Path, module: Attachable | None = None
) -> Callable[[pytest.FixtureRequest], None]:
    """Make a test of a recording: `test_the_customers_call = recorded("call.jsonl", module)`.

    With a module, the engine's side of the recording is played to it, and its lines are compared
    (`engine.prompter.check_module`); without, the module's side is played to an embedded engine,
    and the engine's lines are compared (`engine.staging.check_embedded`). The test needs no plugin
    and takes no time, however long the call was.

    Args:
        file: where it is, from the folder of the test's file on.
        module: what the recording is to be played to.
    """

    def test(request: pytest.FixtureRequest) -> None:
        recording = Recording.from_file(request.path.parent / file)
        differences = []

        async def play() -> None:
            check = check_embedded(recording) if module is None else check_module(recording, module)
            differences.extend(await check)

        in_fresh_loop(play)()
        if differences:
            lines = [f"{len(differences)} lines differ from {file}:", *map(str, differences)]
            _fail("\n".join(lines))

    return test
