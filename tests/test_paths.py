"""File names from outside stay below the root that was chosen (guarantee F3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yateway.errors import ConfigError, UnsafePath
from yateway.paths import NAME_LIMIT, PART_LIMIT, safe_path

EVIL = [
    # Out of the root, upward.
    "..", "../x", "../../etc/passwd", "a/..", "a/../x", "a/../../x", "a/./../../x", "./../x",
    "...", "..../x", "a/.../b", "..\\x", "a\\..\\..\\x", "%2e%2e/x", "%2e%2e%2fx", "..%00/x",
    "..;/x", ".. /x", "../", "a/b/../../..",
    # From the top.
    "/", "//", "/etc/passwd", "//etc/passwd", "///x", "/dev/null", "/proc/self/mem",
    "C:\\x", "C:/x", "\\\\host\\share", "file:///etc/passwd",
    # Of somebody.
    "~", "~/x", "~root/x", "$HOME/x", "${HOME}", "`id`", "$(id)",
    # What the engine takes for something else.
    "wave/play/x", "wave/record//etc/passwd", "wave/record/x", "tone/dial", "moh/default",
    "external/nodata/x", "-",
    # That ends early, or is not what it looks like.
    "a\0", "a\0.slin", "\0", "a\n", "a\nb", "a\r", "a\t", "a ", " a", "a b", "a/ /b",
    "", ".", "./x", "a/", "a//b", ".hidden", "a/.hidden", "-rf", "a|b", "a;b", "a:b", "a%zb",
    "a*", "a?", "a'b", 'a"b', "a&b", "a<b", "a>b", "a=b", "a,b", "a@b", "a#b",
    # Look-alikes: full-width dot and slash, division slash, dotless i, Cyrillic a, wide digits,
    # right-to-left, zero width, combining, surrogates for bytes that are not UTF-8.
    "\uff0e\uff0e/x", "\uff0e\uff0e\uff0fx", "..\u2215x", "\u2024\u2024/x", "a\u2044b",
    "\u0131", "\u0430", "\uff11", "\u0663", "a\u202eb", "a\u200bb", "e\u0301", "\udcff", "\x7f",
    # Too long.
    "a" * (PART_LIMIT + 1), "a/" * (NAME_LIMIT // 2) + "b",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL, ids=range(len(EVIL)))
def test_an_evil_name_is_refused(name: str, tmp_path: Path) -> None:
    """It raises UnsafePath, whose text shows the name escaped and in one line."""
    with pytest.raises(UnsafePath) as caught:
        safe_path(tmp_path, name)
    text = str(caught.value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 500


def test_there_are_more_than_sixty() -> None:
    """So many the guarantee speaks of, each another."""
    assert len(EVIL) == len(set(EVIL)) >= 90


@pytest.mark.parametrize(
    "name",
    ["a", "a.slin", "A-1_b.alaw", "de/hello.slin", "a/b/c/d", "a..b", "1", "_x", "x" * PART_LIMIT],
)
def test_a_good_name_leads_below_the_root(name: str, tmp_path: Path) -> None:
    """The file need not exist; the root may be a path or a text."""
    assert safe_path(tmp_path, name) == f"{tmp_path}/{name}"
    assert safe_path(str(tmp_path), name) == f"{tmp_path}/{name}"


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    """Whether it leads out or not, whether its target is there or not, as file or as folder."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real" / "file").touch()
    for target, name in [
        ("/etc/passwd", "out"),
        ("real/file", "in"),
        ("nowhere", "dangling"),
        ("..", "up"),
    ]:
        os.symlink(target, root / name)
        with pytest.raises(UnsafePath, match="symbolic link"):
            safe_path(root, name)
    os.symlink("real", root / "folder")
    for name in ("folder/file", "folder/new", "up/x"):
        with pytest.raises(UnsafePath, match="symbolic link"):
            safe_path(root, name)
    assert safe_path(root, "real/file") == str(root / "real" / "file")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Whoever chose it knows; what comes back is where it leads."""
    (tmp_path / "there").mkdir()
    os.symlink("there", tmp_path / "here")
    assert safe_path(tmp_path / "here", "x") == str(tmp_path / "there" / "x")


@pytest.mark.parametrize("root", [None, ""])
def test_there_is_no_default_root(root: str | None) -> None:
    """Without one nothing is played or recorded by name."""
    with pytest.raises(UnsafePath, match="no root is configured for 'x'"):
        safe_path(root, "x")


@pytest.mark.parametrize("root", ["sounds", "./sounds", "/", "//", "/nowhere/at/all", "/x\0y"])
def test_a_root_that_keeps_nothing_is_refused(root: str) -> None:
    """A relative one would be another folder for the engine, and the top keeps nothing in."""
    with pytest.raises(ConfigError, match="the root"):
        safe_path(root, "x")


def test_a_file_is_no_root(tmp_path: Path) -> None:
    """Nor anything else that is no folder."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no folder to keep files in"):
        safe_path(tmp_path / "file", "x")
