"""`yateway run`: which module it finds, how it ends, and that it ends."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from yateway.cli import main
from yateway.cli.run import RELOAD_PATIENCE, load
from yateway.engine import Engine
from yateway.errors import ConfigError
from yateway.module import Module
from yateway.transport import opener_of as real_opener_of

ONE = "from yateway import Module\nmodule = Module('one')\n"
SEVERAL = ONE + "b = Module('b')\na = Module('a')\nno_module = 'a'\n"


@pytest.fixture(autouse=True)
def forget_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty folder; what a test imports is not there for the next one."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def number_texts(value: str) -> str | None:
    """Name a test by its arguments, without the texts of whole files."""
    return f"{value.count(chr(10))}-lines" if "\n" in value else None


# --- What is loaded ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "name", "found"),
    [
        ("router.py", ONE, "router.py", "one"),
        ("router.py", ONE, "./router.py", "one"),
        ("router.py", ONE, "{folder}/router.py", "one"),
        ("with blank.py", ONE, "with blank.py", "one"),
        ("sub/router.py", ONE, "sub/router.py", "one"),
        ("router.py", ONE, "router", "one"),
        ("sub/router.py", ONE, "sub.router", "one"),
        ("package/__init__.py", ONE, "package", "one"),
        ("router.py", ONE, "router.py:module", "one"),
        ("router.py", SEVERAL, "router.py:a", "a"),
        ("sub/router.py", SEVERAL, "sub.router:b", "b"),
        ("router.py", ONE + "same = module\n", "router.py", "one"),
        ("router.py", ONE + "modules = [Module('in a list')]\n", "router.py", "one"),
    ],
    ids=number_texts,
)
def test_a_module_is_found(path: str, text: str, name: str, found: str, tmp_path: Path) -> None:
    """It is given as a file or by its dotted name, and by NAME where there are several."""
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    assert load(name.format(folder=tmp_path)).name == found


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        (ONE, "nowhere.py", "there is no file 'nowhere.py'"),
        (ONE, "sub/nowhere.py", "there is no file 'sub/nowhere.py'"),
        (ONE, "nowhere", "there is neither a file nor a module 'nowhere'"),
        (ONE, "nowhere.at.all", "there is neither a file nor a module 'nowhere.at.all'"),
        (ONE, "router.sub", "there is neither a file nor a module 'router.sub'"),
        (ONE, "./nowhere", "there is neither a file nor a module './nowhere'"),
        (ONE, "../nowhere", "there is neither a file nor a module '../nowhere'"),
        (ONE, "folder/", "there is neither a file nor a module 'folder/'"),
        (ONE, "", "there is neither a file nor a module ''"),
        (ONE, ":module", "there is neither a file nor a module ''"),
        (ONE, "a\nb", r"there is neither a file nor a module 'a\nb'"),
        (ONE, "text.txt", "'text.txt' is no Python file: give it the ending .py"),
        ("", "router.py", "'router.py' holds no yateway.Module: make one, module = Module(...)"),
        (
            SEVERAL,
            "router.py",
            "'router.py' holds several Modules: say router.py:NAME, one of ['a', 'b', 'module']",
        ),
        (SEVERAL, "router.py:c", "'c' in 'router.py' is no yateway.Module"),
        (SEVERAL, "router:no_module", "'no_module' in 'router' is no yateway.Module"),
        (SEVERAL, "router.py:Module", "'Module' in 'router.py' is no yateway.Module"),
    ],
    ids=number_texts,
)
def test_a_module_that_is_not_found(text: str, name: str, complaint: str, tmp_path: Path) -> None:
    """What is missing is named, escaped, with what to do."""
    (tmp_path / "router.py").write_text(text)
    (tmp_path / "text.txt").write_text(ONE)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError) as caught:
        load(name)
    assert str(caught.value) == complaint


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    """As if it were started by Python itself, wherever one stands."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "beside.py").write_text("name = 'from beside'\n")
    (folder / "router.py").write_text(
        "import sys\nfrom yateway import Module\nimport beside\n"
        "module = Module(beside.name)\nassert sys.modules[__name__].module is module\n"
    )
    assert load("folder/router.py").name == "from beside"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("import no_such_package", ModuleNotFoundError),
        ("import router.sub", ModuleNotFoundError),
        ("import rout", ModuleNotFoundError),
        ("from yateway import NoSuchName", ImportError),
        ("raise ModuleNotFoundError('without a name')", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def :", SyntaxError),
    ],
)
@pytest.mark.parametrize("name", ["router.py", "router"])
def test_an_error_of_the_file_keeps_its_traceback(
    name: str, statement: str, error: type[Exception], tmp_path: Path
) -> None:
    """The user sees which line of which file it was; it is not taken for a missing module."""
    (tmp_path / "router.py").write_text(f"# first line\n{statement}\n")
    with pytest.raises(error) as caught:
        main(["run", name, "--engine", "tcp://127.0.0.1:5678", "--no-restart"])
    text = "".join(traceback.format_exception(caught.value))
    assert 'router.py", line 2' in text
    assert statement in text


# --- What is run -------------------------------------------------------------------------------


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Note which module is run with which engine, in place of running it."""
    noted: list[tuple[str, str | None]] = []

    def run(self: Module, engine: str | None = None) -> None:
        noted.append((self.name, engine))

    def opener_of(url: str, *, allow_remote: bool) -> str:
        real_opener_of(url, allow_remote=allow_remote)
        return url

    monkeypatch.setattr(Module, "run", run)
    monkeypatch.setattr("yateway.cli.run.opener_of", opener_of)
    return noted


def test_the_module_is_run_with_the_engine_that_is_given(
    runs: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--engine goes before the environment, and the environment before the usual address."""
    (tmp_path / "router.py").write_text(ONE)
    monkeypatch.setenv("YATEWAY_ENGINE", "unix:///run/from-environment")
    assert main(["run", "router.py", "--no-restart", "--engine", "unix:///run/given"]) == 0
    assert main(["run", "router.py", "--no-restart"]) == 0
    monkeypatch.delenv("YATEWAY_ENGINE")
    assert main(["run", "router.py", "--no-restart"]) == 0
    assert runs == [
        ("one", "unix:///run/given"),
        ("one", "unix:///run/from-environment"),
        ("one", "tcp://127.0.0.1:5678"),
    ]


@pytest.mark.parametrize("reload", [[], ["--reload"]])
@pytest.mark.parametrize("source", ["option", "environment"])
def test_a_bad_address_is_wrong_use(
    source: str,
    reload: list[str],
    runs: list[tuple[str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """It is noticed before the file is imported."""
    (tmp_path / "router.py").write_text("raise AssertionError\n")
    option = ["--engine", "localhost"] if source == "option" else []
    if source == "environment":
        monkeypatch.setenv("YATEWAY_ENGINE", "localhost")
    assert main(["run", "router.py", *option, *reload]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("yateway: 'localhost' is no address of an engine: give tcp://")
    assert err.count("\n") == 1
    assert runs == []


REMOTE = [
    "tcp://192.0.2.1:5678",
    "tcp://yate.example:5678",
    "tcp://0.0.0.0:1",
    "tcp://[2001:db8::1]:1",
]


@pytest.mark.parametrize("url", REMOTE)
def test_another_machine_needs_a_flag(
    url: str,
    runs: list[tuple[str, str | None]],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Without it the module is not even imported; with it, the danger is told (guarantee F8)."""
    (tmp_path / "router.py").write_text(ONE)
    command = ["run", "router.py", "--engine", url]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert f"{url!r} may lead to another machine" in err
    assert "neither passwords nor encryption" in err
    assert "--allow-remote" in err
    assert err.count("\n") == 1
    assert runs == []
    assert main([*command, "--no-restart", "--allow-remote"]) == 0
    assert runs == [("one", url)]
    assert caplog.text.count("who is on the way reads every call and owns the module") == 1


def test_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback of ours for a mistyped name."""
    command = ["run", "nowhere.py", "--engine", "tcp://127.0.0.1:5678"]
    assert main([*command, "--no-restart"]) == 1
    assert capsys.readouterr() == ("", "yateway: there is no file 'nowhere.py'\n")


# --- --reload, with nothing but its own code ---------------------------------------------------


class Child:
    """A process that ends as the test says."""

    def __init__(self, command: list[str], happened: list[object], stubborn: bool) -> None:
        self.stubborn = stubborn
        self.happened = happened
        happened.append(command[1:])

    def terminate(self) -> None:
        self.happened.append("terminated")

    def kill(self) -> None:
        self.happened.append("killed")
        self.stubborn = False

    def wait(self, timeout: float | None = None) -> int:
        self.happened.append(("waited", timeout))
        if self.stubborn:
            raise subprocess.TimeoutExpired("", timeout or 0)
        return 0


@pytest.fixture
def signals() -> Iterator[None]:
    """Bring back what signals did before the test."""
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in caught]
    yield
    for number, handler in zip(caught, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("stubborn", [False, True])
def test_reload_ends_one_process_before_it_starts_the_next(
    stubborn: bool, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It lets the old one drain, but not for ever, and at a signal ends the last one."""
    watchfiles = pytest.importorskip("watchfiles")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "router.py").write_text(ONE)
    happened: list[object] = []
    folders: list[Path] = []

    def start(command: list[str], process_group: int) -> Child:
        assert command[0] == sys.executable
        # Ctrl-C must not reach it by itself.
        assert process_group == 0
        return Child(command, happened, stubborn)

    def watch(folder: Path, *, watch_filter: Any, stop_event: Any) -> Iterator[object]:
        folders.append(folder)
        assert isinstance(watch_filter, watchfiles.PythonFilter)
        yield {"a change"}
        assert not stop_event.is_set()
        os.kill(os.getpid(), number)
        assert stop_event.is_set()

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(watchfiles, "watch", watch)
    engine = ["--engine", "tcp://127.0.0.1:1"]
    line = ["-v", "run", "sub/router.py:module", *engine]
    assert main([*line, "--reload"]) == 0
    assert folders == [tmp_path / "sub"]
    ended: list[object] = ["terminated", ("waited", RELOAD_PATIENCE)]
    if stubborn:
        ended += ["killed", ("waited", None)]
    started = ["-m", "yateway", *line, "--no-restart"]
    assert happened == [started, *ended, started, *ended]
    # Without -v the new process has none either, and a dotted name has no folder but this one.
    happened.clear()
    assert main(["run", "sub.router", *engine, "--reload"]) == 0
    assert happened[0] == ["-m", "yateway", "run", "sub.router", *engine, "--no-restart"]
    assert folders[1] == tmp_path


def test_reload_needs_watchfiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The core has no dependency; what this one command needs is named."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert main(["run", "router.py", "--engine", "tcp://127.0.0.1:1", "--reload"]) == 1
    assert capsys.readouterr().err == (
        "yateway: --reload needs watchfiles: pip install 'yateway[cli]'\n"
    )


def test_reload_refuses_standard_input_and_output(capsys: pytest.CaptureFixture[str]) -> None:
    """A second process could not have the pipes of the first."""
    pytest.importorskip("watchfiles")
    assert main(["run", "router.py", "--engine", "stdio:", "--reload"]) == 1
    assert capsys.readouterr().err == (
        "yateway: --reload cannot restart a script that owns standard input and output\n"
    )


# --- Real processes ----------------------------------------------------------------------------

SLOW = """
import asyncio
from yateway import Message, Module

module = Module("slow")

@module.handler("call.route")
async def route(message: Message) -> str:
    await asyncio.sleep(0.2)
    return "sip/1"

@module.on_stop
def stopped() -> None:
    print("the stop hook ran")
"""

HANGING = """
import asyncio
from yateway import Message, Module

module = Module("hanging")

@module.handler("call.route", deadline=3600)
async def route(message: Message) -> None:
    await asyncio.Event().wait()
"""

REFUSING = """
import asyncio
from yateway import Message, Module

module = Module("refusing")

@module.handler("call.route", deadline=3600)
async def route(message: Message) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
"""

RELOADED = """
import asyncio
from yateway import Message, Module

module = Module("reloaded")

@module.handler("call.route")
async def route(message: Message) -> str:
    if message["called"] == "slow":
        await asyncio.sleep(0.2)
    return "VERSION"
"""


class ByHand:
    """An engine that agrees to everything but one name, and writes down what it is told."""

    def __init__(self, refuse: str = "") -> None:
        self._refuse = refuse
        self._writer: asyncio.StreamWriter | None = None
        self.lines: list[str] = []
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak to a module until it closes."""
        self._writer = writer
        async for raw in reader:
            line = raw.decode().rstrip("\n")
            self.lines.append(line)
            keyword, _, rest = line.partition(":")
            words = rest.split(":")
            match keyword:
                case "%%>setlocal":
                    self.say(f"%%<setlocal:{words[0]}:{words[1] or '10000'}:true")
                case "%%>install":
                    self.say(f"%%<install:{rest}:{str(words[1] != self._refuse).lower()}")
                case "%%>uninstall":
                    self.say(f"%%<uninstall:100:{rest}:true")
                case "%%>quit":
                    self.say("%%<quit")
        writer.close()

    def say(self, line: str) -> None:
        assert self._writer is not None
        self._writer.write(f"{line}\n".encode())


async def until(true: Callable[[], object], seconds: float = 25.0) -> None:
    """Wait until something is the case."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(file: Path, *options: str, **more: Any) -> AsyncIterator[Process]:
    """Run `yateway run`; it is killed at the latest at the end, with all that it started."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "yateway", "run", str(file), *options),
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
        **more,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def written(folder: Path, text: str) -> Path:
    file = folder / "router.py"
    file.write_text(text)
    return file


@pytest.mark.real_clock
async def test_a_signal_lets_the_module_drain(tmp_path: Path) -> None:
    """It uninstalls, answers what is open, quits, runs its stop hooks and ends with code 0."""
    file = written(tmp_path, SLOW)
    await asyncio.gather(drained(file, signal.SIGTERM), drained(file, signal.SIGINT))


async def drained(file: Path, number: signal.Signals) -> None:
    engine = ByHand()
    async with engine.listening(), running(file, "--engine", engine.url) as process:
        await until(lambda: "%%>install:100:call.route" in engine.lines)
        engine.say("%%>message:7:1:call.route::called=1")
        # The reply to a question in between shows that the request was taken up.
        before = len(engine.lines)
        engine.say("%%>message:8:1:call.nobody::")
        await until(lambda: "%%<message:8:false:" in engine.lines[before:])
        process.send_signal(number)
        out, err = await process.communicate()
        assert process.returncode == 0
        assert engine.lines[before + 1 :] == [
            "%%>uninstall:call.route",
            "%%<message:7:true::sip/1",
            "%%>quit",
        ]
        assert out == b"the stop hook ran\n"
        assert b"Traceback" not in err


@pytest.mark.real_clock
async def test_a_refused_install_is_told_in_one_line(tmp_path: Path) -> None:
    """The process fails, and the line names the message whose handler was refused (C9)."""
    engine = ByHand(refuse="call.route")
    async with (
        engine.listening(),
        running(written(tmp_path, SLOW), "--engine", engine.url) as process,
    ):
        _, err = await process.communicate()
        assert process.returncode == 1
        (line,) = err.decode().splitlines()
        assert line.startswith("yateway: the engine refused the handler of 'call.route'")


@pytest.mark.real_clock
async def test_the_end_of_standard_input_ends_the_process(tmp_path: Path) -> None:
    """Within a second, though a handler hangs or even refuses to be cancelled (guarantee C6)."""
    files = tmp_path / "hanging.py", tmp_path / "refusing.py"
    for file, text in zip(files, (HANGING, REFUSING), strict=True):
        file.write_text(text)
    await asyncio.gather(*map(ended_by_its_input, files))


async def ended_by_its_input(file: Path) -> None:
    engine = ByHand()
    async with running(file, stdin=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        talking = asyncio.create_task(engine.talk(process.stdout, process.stdin))
        await until(lambda: "%%>install:100:call.route" in engine.lines)
        engine.say("%%>message:7:1:call.route::called=1")
        engine.say("%%>message:8:1:call.nobody::")
        await until(lambda: "%%<message:8:false:" in engine.lines)
        loop = asyncio.get_running_loop()
        closed = loop.time()
        process.stdin.close()
        assert await process.wait() == 0
        assert loop.time() - closed < 1.0
        await talking
        err = (await process.stderr.read()).decode()
        assert "attached to stdio:" in err
        assert "Traceback" not in err


@pytest.mark.real_clock
async def test_two_priorities_are_refused_over_standard_input_and_output(tmp_path: Path) -> None:
    """They need two connections; the process does not end as if nothing were wrong."""
    other = "@module.handler('call.route', 50)\ndef other(message: Message) -> None: ...\n"
    async with running(written(tmp_path, HANGING + other), stdin=PIPE) as process:
        assert await process.wait() == 1
        assert process.stderr is not None
        (line,) = (await process.stderr.read()).decode().splitlines()
        assert line.startswith("yateway: ")
        assert "one priority, or attach over TCP or UNIX" in line


@pytest.mark.real_clock
async def test_reload_starts_the_module_again_when_its_file_changes(tmp_path: Path) -> None:
    """The new code answers; Ctrl-C in a terminal lets it drain as a lone signal does."""
    pytest.importorskip("watchfiles")
    file = written(tmp_path, RELOADED.replace("VERSION", "first"))
    async with Engine(listen=["tcp://127.0.0.1:0"]) as engine:
        answers: list[str] = []

        async def ask(called: str) -> str:
            answer = await engine.dispatch("call.route", called=called)
            return answer.retvalue if answer.processed else ""

        async def answered(expected: str) -> None:
            async with asyncio.timeout(10):
                while (answer := await ask("fast")) != expected:
                    answers.append(answer)
                    await asyncio.sleep(0.02)

        async with running(file, "--engine", engine.urls[0], "--reload") as process:
            await answered("first")
            written(tmp_path, RELOADED.replace("VERSION", "second"))
            await answered("second")
            assert set(answers) <= {"", "first"}
            slow = asyncio.create_task(ask("slow"))
            await asyncio.sleep(0)
            assert await ask("fast") == "second"
            # A terminal sends it to all processes of the foreground.
            os.killpg(process.pid, signal.SIGINT)
            assert await slow == "second"
            _, err = await process.communicate()
            assert process.returncode == 0
            assert f"yateway: {tmp_path} has changed, starting again" in err.decode()
            assert await ask("fast") == ""
