"""How numbers are said in a language: which sound files, in which order.

It must not play anything. A language is data, a file in TOML (`languages/en.toml` explains itself),
so that one more needs no code: rules from a base number on, as people learn them at school.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .errors import ConfigError, shown

__all__ = ["LANGUAGES", "Language"]

_DATA = files(__package__) / "languages"

#: The languages that come with yateway.
LANGUAGES: Final = tuple(
    sorted(f.name.removesuffix(".toml") for f in _DATA.iterdir() if f.name.endswith(".toml"))
)

# `[` and `]` around what is only said when something remains; `<` and `>`, perhaps with the name of
# a set of rules; a word.
_TOKEN = re.compile(r"[\[\]]|[<>]\w*|[^\s\[\]<>]+")


@dataclass(frozen=True, slots=True)
class _Rule:
    """How numbers from a base on are said.

    Attributes:
        divisor: `<` stands for the number divided by it, `>` for the remainder.
        tokens: words, and what stands for other numbers.
    """

    base: int
    divisor: int
    tokens: tuple[str, ...]

    @property
    def last(self) -> str:
        """What is said last."""
        return [part for part in self.tokens if part[0] not in "[]"][-1]


class Language:
    """The rules of one language.

    Args:
        data: as read from its file.
        name: for errors.

    Raises:
        ConfigError: the data is no such file.
    """

    def __init__(self, data: dict[str, Any], name: str) -> None:
        self.name = name
        try:
            self._files = str(data["files"])
            self._digits = {str(k): str(v) for k, v in data.get("digits", {}).items()}
            self._minus = str(data["minus"])
            self._sets = {
                set_: sorted((_rule(*item) for item in rules.items()), key=lambda rule: rule.base)
                for set_, rules in data["rules"].items()
            }
            self._rules("number")
            self.number(0)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the language {shown(name)} is incomplete or wrong ({error!r}): compare it with"
                " languages/en.toml"
            ) from None

    def __repr__(self) -> str:
        return f"<Language {self.name}>"

    @classmethod
    def load(cls, file: str | Path) -> Language:
        """Read a language of your own.

        Raises:
            ConfigError: the file cannot be read or is no language.
        """
        try:
            data = tomllib.loads(Path(file).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{shown(str(file))} is no language: {shown(str(error))}") from None
        return cls(data, str(file))

    @classmethod
    @cache
    def named(cls, name: str) -> Language:
        """Return a language that comes with yateway.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in LANGUAGES:
            raise ConfigError(
                f"there is no language {shown(name)}: use {', '.join(LANGUAGES)}, or Language.load"
            )
        return cls(tomllib.loads((_DATA / f"{name}.toml").read_text("utf-8")), name)

    def digits(self, text: str) -> list[str]:
        """Return the files that say digits one by one.

        Raises:
            ValueError: there is something else than 0-9, *, # and A-D in it.
        """
        if set(text.upper()) - set("0123456789*#ABCD"):
            raise ValueError(f"{shown(text)} are no digits: use 0-9, *, # and A-D")
        return [self._file(self._digits.get(key, key)) for key in text.upper()]

    def number(self, number: int) -> list[str]:
        """Return the files that say a whole number."""
        words = [self._minus] if number < 0 else []
        return [self._file(word) for word in (*words, *self._say(abs(number), "number"))]

    def _file(self, word: str) -> str:
        return self._files.replace("{}", word.lower())

    def _rules(self, set_: str) -> list[_Rule]:
        return self._sets[set_]

    def _rule_for(self, number: int, set_: str) -> tuple[_Rule, str]:
        """Return the rule for a number: that of the set itself, where it has the very number."""
        rules = self._rules(set_)
        at = bisect_right(rules, number, key=lambda rule: rule.base) - 1
        if at >= 0 and (set_ == "number" or rules[at].base == number):
            return rules[at], set_
        if set_ == "number":
            raise ValueError(f"there is no rule for {number}")
        return self._rule_for(number, "number")

    def _say(self, number: int, set_: str) -> list[str]:
        rule, _ = self._rule_for(number, set_)
        quotient, remainder = divmod(number, rule.divisor)
        words: list[str] = []
        optional = False
        for part in rule.tokens:
            if part in "[]":
                optional = part == "["
            elif optional and not remainder:
                continue
            elif part[0] == "<":
                words += self._say(quotient, part[1:] or "number")
            elif part[0] == ">":
                # What ends a number stands where that stands: "hundert ein" before "tausend" too.
                inherited = set_ if part == rule.last else "number"
                words += self._say(remainder, part[1:] or inherited)
            else:
                words.append(part)
        return words


def _rule(key: str, text: str) -> _Rule:
    base, slash, divisor = key.partition("/")
    number = int(base)
    power = 10 ** (len(base) - 1)
    rule = _Rule(number, int(divisor) if slash else power, tuple(_TOKEN.findall(text)))
    # Each step must lead to a smaller number, or a language could be said for ever.
    if any(token[0] in "<>" for token in rule.tokens) and rule.divisor < 2:
        raise ValueError(f"{key}: what stands for < and >?")
    return rule
