"""What setlocal answers; the long tables are in the recordings."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from yateway.engine.config import ConfigFile, ModuleDefaults
from yateway.engine.settings import Facts, Settings, run_params
from yateway.errors import ConfigError


def facts(tmp_path: Path, text: str = "") -> Facts:
    """Return the facts of an engine whose yate.conf has that text."""
    path = tmp_path / "yate.conf"
    path.write_text(text)
    config = ConfigFile(path)
    return Facts(run_params(config, str(tmp_path), 42), config)


def test_run_parameters_are_read_only(tmp_path: Path) -> None:
    """With a value the answer is the value it has, and false."""
    known = facts(tmp_path)
    assert known.ask("engine.version", "") == ("6.4.1", True)
    assert known.ask("engine.version", "7") == ("6.4.1", False)
    assert known.ask("engine.nope", "") == ("", False)
    assert known.ask("engine.logfile", "") == ("", True)
    assert known.ask("engine.nodename", "") == (socket.gethostname(), True)
    assert known.ask("engine.configpath", "") == (str(tmp_path), True)
    assert known.ask("runid", "") == known.ask("engine.runid", "") == ("42", True)
    assert known.ask("runid", "1") == ("42", False)
    for name in ("timeout", "engine", "other.thing"):
        assert known.ask(name, "") is None


@pytest.mark.parametrize(
    ("trackparam", "expected"),
    [
        ("", ("handlers", True)),
        ("trackparam=yes", ("handlers", True)),
        ("trackparam=seen", ("seen", True)),
        ("trackparam=no", ("", False)),
    ],
)
def test_the_main_file_names_the_tracking_parameter(
    tmp_path: Path, trackparam: str, expected: tuple[str, bool]
) -> None:
    """Or switches it off."""
    known = facts(tmp_path, f"[general]\n{trackparam}\n")
    assert known.ask("engine.trackparam", "") == expected


def test_numbers_of_workers_are_clamped(tmp_path: Path) -> None:
    """There are never fewer at most than at least."""
    known = facts(tmp_path, "[general]\nminworkers=20\nmaxworkers=5\nmaxevents=-3\n")
    assert [known.ask(f"engine.{name}workers", "") for name in ("min", "max", "add")] == [
        ("20", True),
        ("20", True),
        ("1", True),
    ]
    assert known.ask("engine.maxevents", "") == ("0", True)
    with pytest.raises(ConfigError, match="minworkers='many'"):
        facts(tmp_path, "[general]\nminworkers=many\n")


def test_the_main_file_can_be_asked(tmp_path: Path) -> None:
    """A section answers whether it is there, whatever value is given."""
    known = facts(tmp_path, "[a b]\nc.d=e\n")
    assert known.ask("config.a b.c.d", "") == ("e", True)
    assert known.ask("config. a b . c.d ", "") == ("e", True)
    assert known.ask("config.a b.c.d", "x") == ("e", False)
    assert known.ask("config.a b.nope", "") == ("", False)
    assert known.ask("config.a b", "x") == ("", True)
    assert known.ask("config.nope", "") == ("", False)
    assert known.ask("config..c", "") == ("", False)


def test_only_a_script_can_be_restarted() -> None:
    """On a socket the answer is that it will not be."""
    script = Settings(ModuleDefaults(), "a.py", script=True)
    assert script.set("restart", "") == ("false", True)
    assert script.set("restart", "true") == ("true", True)
    assert script.restart
    assert Settings(ModuleDefaults(), "u1").set("restart", "true") == ("false", True)


def test_defaults_come_from_the_configuration() -> None:
    """And are then the module's to change."""
    settings = Settings(ModuleDefaults(1500, 3, True, True, "extmodule"), "u1")
    assert [settings.set(name, "") for name in ("timeout", "maxqueue", "timebomb", "settime")] == [
        ("1500", True),
        ("3", True),
        ("true", True),
        ("true", True),
    ]
    assert settings.set("trackparam", "") == ("extmodule", True)
    assert settings.set("trackparam", "me") == ("me", True)
    assert settings.set("unknown", "x") == ("x", False)
