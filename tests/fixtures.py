"""Fixtures for the examples of calls, which are tried with callers of all kinds.

PYTEST_DONT_REWRITE: the tests import it before pytest has looked at it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from examples import make_sounds
from yateway import Module
from yateway.cli.run import load

EXAMPLES = Path(__file__).parents[1] / "examples"

#: Loads an example by its name, with the given environment.
Load = Callable[..., Module]


def beeps(folder: Path) -> Path:
    """Fill a folder with the sounds of the examples' own tool, as where nothing can speak."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", lambda _: None)
        make_sounds.make(folder)
    return folder


@pytest.fixture(scope="session")
def example_sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sounds of the examples, beeps for the sake of speed."""
    return beeps(tmp_path_factory.mktemp("sounds"))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Return the folder in which the examples record."""
    folder = tmp_path / "recordings"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def example(example_sounds: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return what loads an example as `yateway run` does; its telephones are the tests'."""
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def loaded(name: str, **environment: str) -> Module:
        telephones = {"TARGET": "sim/{}", "SALES": "sim/200", "AGENTS": "sim/201 sim/202"}
        folders = {"SOUNDS": str(example_sounds), "RECORDINGS": str(recordings)}
        for variable, value in (telephones | folders | environment).items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setitem(sys.modules, name, sys)  # gone after the test, whatever it was before
        return load(str(EXAMPLES / f"{name}.py"))

    return loaded
