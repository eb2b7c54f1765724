"""What calls may play and record: names, numbers and paths, below the folders and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from yateway.errors import ConfigError, UnsafePath
from yateway.language import Language
from yateway.prompts import Prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    for name in ("sounds", "recordings"):
        (tmp_path / name).mkdir()
    return Prompts(tmp_path / "sounds", tmp_path / "recordings", "de")


def test_names_numbers_and_paths_become_sources(prompts: Prompts, tmp_path: Path) -> None:
    """A number is said in the module's language; what was recorded can be played."""
    recorded = prompts.recording("ann/1.slin")
    assert recorded == str(tmp_path / "recordings" / "ann" / "1.slin")
    sources = prompts.sources(["hello.slin", 21, Path(recorded)])
    below = f"wave/play/{tmp_path}"
    assert sources == [
        f"{below}/sounds/hello.slin",
        *(f"{below}/sounds/de/{word}.slin" for word in ("ein", "und", "20")),
        f"{below}/recordings/ann/1.slin",
    ]
    assert prompts.sources("hello.slin") == sources[:1]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b", "", "a b", "wave/x", "a/../b"])
def test_names_that_lead_out_are_refused(prompts: Prompts, name: str) -> None:
    """To play and to record."""
    with pytest.raises(UnsafePath):
        prompts.sources(name)
    with pytest.raises(UnsafePath):
        prompts.recording(name)


def test_paths_from_elsewhere_are_refused(prompts: Prompts, tmp_path: Path) -> None:
    """Also those that only begin like a folder of ours."""
    for path in (tmp_path / "x.slin", tmp_path / "sounds-too" / "x.slin", Path("/etc/passwd")):
        with pytest.raises(UnsafePath, match="neither below"):
            prompts.sources(path)


def test_without_folders_nothing_is_played_or_recorded() -> None:
    """There is no default; asked at attach, that is no mistake."""
    prompts = Prompts()
    prompts.check()
    with pytest.raises(UnsafePath, match="no root"):
        prompts.sources("hello.slin")
    with pytest.raises(UnsafePath, match="no root"):
        prompts.recording("hello.slin")


def test_a_folder_that_is_not_there_is_found_out_at_attach(tmp_path: Path) -> None:
    """And not when the first call comes."""
    with pytest.raises(ConfigError, match="cannot be used"):
        Prompts(tmp_path / "nowhere").check()


def test_languages(prompts: Prompts) -> None:
    """By name, as an object, or the module's own."""
    assert prompts.language() is Language.named("de")
    assert prompts.language("en") is Language.named("en")
    assert prompts.language(Language.named("fr")) is Language.named("fr")
    with pytest.raises(ConfigError, match="no language"):
        Prompts(language="xx")
