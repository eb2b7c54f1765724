"""The command line as such: what it takes, what it prints, how it ends."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from yateway import cli
from yateway.cli import main
from yateway.errors import ConfigError, InstallRefused


class Command:
    """A command that does what the test says."""

    __doc__ = "What the command is for, at length."

    def __init__(self, action: Callable[[], int]) -> None:
        self.action = action
        self.given: list[argparse.Namespace] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what")

    def run(self, arguments: argparse.Namespace) -> int:
        self.given.append(arguments)
        return self.action()


@pytest.fixture
def having(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], Command]:
    """Make a command the only one there is, and leave the suite's logging alone."""

    def only(action: Callable[[], int]) -> Command:
        command = Command(action)
        monkeypatch.setattr(cli, "_COMMANDS", {"try": (command, "a command to try")})
        monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
        return command

    return only


def raising(error: BaseException) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_that_of_the_command(
    code: int, having: Callable[[Callable[[], int]], Command]
) -> None:
    """What a command returns is returned; it is given what the line says."""
    command = having(lambda: code)
    assert main(["try", "this"]) == code
    assert [given.what for given in command.given] == ["this"]


@pytest.mark.parametrize(
    "error", [ConfigError("no such thing"), InstallRefused("no such thing", name="call.route")]
)
def test_an_error_of_ours_is_one_line(
    error: Exception,
    having: Callable[[Callable[[], int]], Command],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever made a mistake sees what it was, without a traceback, and the command has failed."""
    having(raising(error))
    assert main(["try", "this"]) == 1
    assert capsys.readouterr() == ("", "yateway: no such thing\n")


def test_an_error_of_anybody_else_keeps_its_traceback(
    having: Callable[[Callable[[], int]], Command],
) -> None:
    """What we do not know is not hidden."""
    having(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["try", "this"])


def test_an_interrupted_command_has_failed(
    having: Callable[[Callable[[], int]], Command], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C needs no words."""
    having(raising(KeyboardInterrupt()))
    assert main(["try", "this"]) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("line", [[], ["no-such-command"], ["try"], ["try", "this", "--odd"]])
def test_wrong_use_is_code_2(
    line: list[str],
    having: Callable[[Callable[[], int]], Command],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line that is no command is answered by how to use it, and nothing is run."""
    command = having(lambda: 0)
    with pytest.raises(SystemExit) as caught:
        main(line)
    assert caught.value.code == 2
    assert "usage: yateway" in capsys.readouterr().err
    assert command.given == []


def test_help_names_the_commands(
    having: Callable[[Callable[[], int]], Command], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command is listed with its summary, and tells about itself at length."""
    having(lambda: 0)
    for line, expected in (
        (["--help"], "a command to try"),
        (["try", "--help"], "What the command is for, at length."),
    ):
        with pytest.raises(SystemExit) as caught:
            main(line)
        assert caught.value.code == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(("options", "level"), [([], logging.INFO), (["-v"], logging.DEBUG)])
def test_log_lines_go_to_standard_error(
    options: list[str],
    level: int,
    having: Callable[[Callable[[], int]], Command],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Standard output is for results, or for the protocol; --verbose tells more."""
    having(lambda: 0)
    settings: list[dict[str, Any]] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **given: settings.append(given))
    main([*options, "try", "this"])
    (given,) = settings
    assert (given["stream"], given["level"]) == (sys.stderr, level)


@pytest.mark.real_clock
def test_the_package_is_the_command() -> None:
    """`python -m yateway` lists all commands."""
    command = [sys.executable, "-m", "yateway"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    for name in ("run", "engine", "demo", "replay"):
        assert f"\n    {name} " in done.stdout
