"""What calls may play and record, and the language of a module.

It must not open a file; the engine does.
"""

from __future__ import annotations

import os

from .language import Language
from .paths import safe_path
from .sound import PLAY

__all__ = ["Prompts"]


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
        self._recordings = recordings
        self._language = self.language(language)

    def sound(self, file: str) -> str:
        """Return the engine's source for a file below `sounds`.

        Raises:
            UnsafePath, ConfigError: as `safe_path`.
        """
        return PLAY + safe_path(self._sounds, file)

    def recording(self, file: str) -> str:
        """Return the path of a file below `recordings`.

        Raises:
            UnsafePath, ConfigError: as `safe_path`.
        """
        return safe_path(self._recordings, file)

    def language(self, language: str | Language = "") -> Language:
        """Return a language by its name; the module's for an empty one.

        Raises:
            ConfigError: there is none of that name.
        """
        if isinstance(language, Language):
            return language
        return Language.named(language) if language else self._language
