"""File names from outside: they stay below a folder that was chosen, or are refused.

It must not open anything. The engine opens the path of `wave/record/...` exactly as it is given,
to create and to write, with whatever the engine's user may (engine.md Y15).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import ConfigError, UnsafePath, shown

__all__ = ["check_root", "safe_path"]

#: Bytes that a name may have, and each of its parts; the system's own limits.
NAME_LIMIT = 1024
PART_LIMIT = 255

# What is no letter of ASCII may look like one, and blanks and quotes mean something elsewhere.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
# These name a source or consumer of the engine, so that somebody took one for a file.
_NO_FILES = ("wave/", "tone/", "moh/", "external/")


def safe_path(root: str | os.PathLike[str] | None, name: str) -> str:
    """Return the absolute path of the file `name` below the folder `root`.

    A name consists of ASCII letters, digits, `_`, `-` and `.`, with `/` between folders. Nothing
    below the root may be a symbolic link. There is no default root: whoever plays or records names
    given by callers has to say where.

    Args:
        root: an absolute path of a folder that only trusted users may write to: what is checked
            now, somebody else could replace later.
        name: the file, relative to the root; it need not exist.

    Raises:
        UnsafePath: the name would leave the root or could be mistaken, or there is no root.
        ConfigError: the root is no folder below which anything could be kept.
    """
    if root is None or not os.fspath(root):
        raise UnsafePath(f"no root is configured for {shown(name)}: say below which folder it lies")
    parts = name.split("/")
    if name.startswith(_NO_FILES):
        raise UnsafePath(f"{shown(name)} names a source or consumer: give the file alone")
    if len(name) > NAME_LIMIT or not all(map(_is_part, parts)):
        raise UnsafePath(
            f"{shown(name)} is no name of a file below the root: use letters, digits, '_', '-'"
            " and '.', with '/' between folders"
        )
    path = check_root(root)
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise UnsafePath(f"{shown(str(path))} is a symbolic link: put the file itself there")
    return str(path)


def _is_part(part: str) -> bool:
    return len(part) <= PART_LIMIT and _PART.fullmatch(part) is not None


def check_root(root: str | os.PathLike[str]) -> Path:
    """Return the folder that a root stands for.

    Raises:
        ConfigError: it is no folder below which anything could be kept.
    """
    given = Path(root)
    if not given.is_absolute():
        raise ConfigError(
            f"the root {shown(str(given))} is not absolute: the engine's current folder is another"
        )
    try:
        # Its own links are the business of whoever chose it.
        folder = given.resolve(strict=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the root {shown(str(given))} cannot be used: {shown(str(error))}"
        ) from None
    if not folder.is_dir() or folder == Path(folder.anchor):
        raise ConfigError(f"the root {shown(str(given))} is no folder to keep files in: name one")
    return folder
