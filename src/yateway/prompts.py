"""What calls may play and record, and the language of a module.

It must not open a file; the engine does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from .errors import UnsafePath, shown
from .language import Language
from .paths import check_root, safe_path
from .sound import PLAY

__all__ = ["Files", "Prompts"]

Piece: TypeAlias = str | int | os.PathLike[str]
#: What can be played: a file by its name below `sounds`; a number, which is said; the path of a
#: file below `sounds` or `recordings`; several of them one after the other.
Files: TypeAlias = Piece | Sequence[Piece]


class Prompts:
    """The folders and the language of a module.

    Args:
        sounds, recordings: folders; None where nothing may be played or recorded.
        language: in which numbers are said.

    Raises:
        ConfigError: there is no such language.
    """

    def __init__(
        self,
        sounds: str | os.PathLike[str] | None = None,
        recordings: str | os.PathLike[str] | None = None,
        language: str | Language = "en",
    ) -> None:
        self._sounds = sounds
        self.recordings = recordings
        self._language = self.language(language)

    def check(self) -> None:
        """Find out now, and not in the first call, whether the folders are there.

        Raises:
            ConfigError: one is not.
        """
        for root in (self._sounds, self.recordings):
            if root:
                check_root(root)

    def sources(self, files: Files) -> list[str]:
        """Return the engine's sources for what is to be played.

        Raises:
            UnsafePath: a name or path leads out of the folders; or as `safe_path`.
            ConfigError: as `safe_path`.
        """
        pieces = [files] if isinstance(files, str | int | os.PathLike) else files
        sources: list[str] = []
        for piece in pieces:
            if isinstance(piece, int):
                sources += map(self._sound, self._language.number(piece))
            elif isinstance(piece, str):
                sources.append(self._sound(piece))
            else:
                sources.append(PLAY + self._known(Path(piece)))
        return sources

    def _sound(self, file: str) -> str:
        return PLAY + safe_path(self._sounds, file)

    def _known(self, path: Path) -> str:
        """Return a path if it lies in one of our folders, each by its name or where it leads."""
        for root in (self._sounds, self.recordings):
            for folder in (Path(root), Path(root).resolve()) if root else ():
                if path.is_relative_to(folder):
                    return safe_path(root, str(path.relative_to(folder)))
        raise UnsafePath(f"{shown(str(path))} is neither below `sounds` nor below `recordings`")

    def recording(self, file: str) -> str:
        """Return the path of a file below `recordings`.

        Raises:
            UnsafePath, ConfigError: as `safe_path`.
        """
        return safe_path(self.recordings, file)

    def language(self, language: str | Language = "") -> Language:
        """Return a language by its name; the module's for an empty one.

        Raises:
            ConfigError: there is none of that name.
        """
        if isinstance(language, Language):
            return language
        return Language.named(language) if language else self._language
