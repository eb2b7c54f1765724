"""Run a module, attached to an engine."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

from ..engine.tapping import tapped
from ..errors import ConfigError, shown
from ..module import Module, default_engine
from ..transport import Opener, opener_of
from .engine import ALLOW_REMOTE, RECORD_SECRETS, recording_to
from .supervising import supervise, supervised

__all__ = ["add_arguments", "load", "run"]

#: Seconds that a module may take to drain before --reload kills it.
RELOAD_PATIENCE = 15.0
WRONG_USE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `yateway run`."""
    parser.add_argument(
        "module",
        metavar="FILE_OR_MODULE[:NAME]",
        help="a Python file or a dotted module, and the name of the Module in it",
    )
    parser.add_argument(
        "--engine",
        metavar="URL",
        help="tcp://host:port, unix:///path or stdio:; else YATEWAY_ENGINE, else stdio: when Yate"
        " started us, else tcp://127.0.0.1:5678",
    )
    parser.add_argument(
        "--reload", action="store_true", help="start again whenever a Python file nearby changes"
    )
    parser.add_argument(
        "--record", metavar="FILE", help="write what goes over the connection to FILE"
    )
    parser.add_argument("--record-secrets", action="store_true", help=RECORD_SECRETS)
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help=ALLOW_REMOTE,
    )
    parser.add_argument(
        "--no-restart",
        action="store_true",
        help="run in this process and end when the module dies; it is else started again, and"
        " given up with exit code 70 when it dies more than 5 times within 30 s",
    )
    parser.add_argument("--supervised", type=int, metavar="FD", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Run the module until SIGTERM or SIGINT."""
    engine = arguments.engine or default_engine()
    try:
        opener = opener_of(engine, allow_remote=arguments.allow_remote)
    except ConfigError as error:
        print(f"yateway: {error}", file=sys.stderr)
        return WRONG_USE
    if arguments.reload:
        return _run_reloading(arguments, engine)
    if arguments.supervised is not None:
        return supervised(arguments.supervised, lambda: _run_here(arguments, engine, opener))
    # A script's pipes die with it, and a recording ends with its module.
    if arguments.no_restart or arguments.record or engine == "stdio:":
        return _run_here(arguments, engine, opener)
    return supervise(_command(arguments, engine))


def _run_here(arguments: argparse.Namespace, engine: str, opener: Opener) -> int:
    module = load(arguments.module)
    with recording_to(arguments.record, arguments.record_secrets) as recording:
        if recording is not None:
            module.run(tapped(opener, recording))
        else:
            # By the address it knows what to refuse before standard input and output are taken.
            module.run(engine if engine == "stdio:" else opener)
    return 0


def _command(arguments: argparse.Namespace, engine: str, *options: str) -> list[str]:
    """Return what runs the same module with the same options once more."""
    command = [sys.executable, "-m", "yateway", *(["-v"] if arguments.verbose else [])]
    command += ["run", arguments.module, "--engine", engine, *options]
    return command + (["--allow-remote"] if arguments.allow_remote else [])


def load(name: str) -> Module:
    """Import a module file and return the `Module` in it.

    Args:
        name: a file or a dotted module, optionally with `:NAME`.

    Raises:
        ConfigError: there is no such file, no Module in it, or several and none was named.
    """
    place, _, attribute = name.partition(":")
    namespace = _import(place)
    if attribute:
        found = getattr(namespace, attribute, None)
        if not isinstance(found, Module):
            raise ConfigError(f"{shown(attribute)} in {shown(place)} is no yateway.Module")
        return found
    modules = {
        id(value): key for key, value in vars(namespace).items() if isinstance(value, Module)
    }
    names = sorted(modules.values())
    if not names:
        raise ConfigError(f"{shown(place)} holds no yateway.Module: make one, module = Module(...)")
    if len(names) > 1:
        raise ConfigError(f"{shown(place)} holds several Modules: say {place}:NAME, one of {names}")
    only: Module = getattr(namespace, names[0])
    return only


def _import(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py" and not path.is_file():
        return _import_dotted(place)
    if not path.is_file():
        raise ConfigError(f"there is no file {shown(place)}")
    # As if the file were started: what lies beside it can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{shown(place)} is no Python file: give it the ending .py")
    namespace = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = namespace
    spec.loader.exec_module(namespace)
    return namespace


def _import_dotted(place: str) -> ModuleType:
    unknown = ConfigError(f"there is neither a file nor a module {shown(place)}")
    if not all(part.isidentifier() for part in place.split(".")):
        raise unknown
    sys.path.insert(0, "")
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        # One that the user's own code misses is the user's to see, with its traceback.
        if not f"{place}.".startswith(f"{error.name}."):
            raise
        raise unknown from None


def _run_reloading(arguments: argparse.Namespace, engine: str) -> int:
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ConfigError("--reload needs watchfiles: pip install 'yateway[cli]'") from None
    if engine == "stdio:":
        raise ConfigError("--reload cannot restart a script that owns standard input and output")
    if arguments.record:
        raise ConfigError("--reload would begin the --record file anew each time: choose one")
    # That of the file, and of a dotted name the one where we are.
    folder = Path(arguments.module.partition(":")[0]).resolve().parent
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    # One that dies while it is worked on comes back with the next change.
    command = _command(arguments, engine, "--no-restart")
    child = _start(command)
    try:
        for _ in watch(folder, watch_filter=PythonFilter(), stop_event=stopped):
            print(f"yateway: {folder} has changed, starting again", file=sys.stderr)
            _end(child)
            child = _start(command)
    finally:
        _end(child)
    return 0


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # In a group of its own: Ctrl-C would reach it too, and the SIGTERM that follows would be the
    # second signal, which does not wait for the module to drain.
    return subprocess.Popen(command, process_group=0)  # noqa: S603  our own interpreter


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(RELOAD_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
