"""Numbers as people say them, in every language that comes with yateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from yateway import ConfigError
from yateway.language import LANGUAGES, Language

KNOWN = {
    "en": {
        0: "0", 13: "13", 21: "20 1", 100: "1 hundred", 342: "3 hundred 40 2",
        1001: "1 thousand 1", 21_000: "20 1 thousand", 999_999: "9 hundred 90 9 thousand 9 hundred"
        " 90 9", 1_000_000: "1 million", 2_000_000_001: "2 billion 1", -7: "minus 7",
    },
    "de": {
        1: "1", 21: "ein und 20", 45: "5 und 40", 70: "70", 100: "ein hundert",
        101: "ein hundert 1",
        121: "ein hundert ein und 20", 201: "2 hundert 1", 1000: "ein tausend",
        21_000: "ein und 20 tausend", 101_000: "ein hundert ein tausend",
        1_000_000: "eine million", 3_000_000: "3 millionen", -1: "minus 1",
    },
    "es": {
        16: "16", 21: "21", 31: "30 y 1", 40: "40", 100: "cien", 101: "ciento 1", 121: "ciento 21",
        222: "200 22", 500: "500", 999: "900 90 y 9", 1000: "mil", 1001: "mil 1",
        21_000: "veintiun mil", 31_000: "30 y un mil", 221_000: "200 veintiun mil",
        131_000: "ciento 30 y un mil", 100_000: "cien mil", 1_000_000: "un millon",
        21_000_000: "veintiun millones", 1_000_000_000: "mil millones", -5: "menos 5",
    },
    "fr": {
        17: "10 7", 21: "20 et 1", 22: "20 2", 60: "60", 61: "60 et 1", 70: "60 10",
        71: "60 et 11", 77: "60 10 7", 80: "80", 81: "80 1", 90: "80 10", 91: "80 11",
        99: "80 10 9", 100: "cent", 200: "2 cent", 201: "2 cent 1", 1000: "mille",
        1071: "mille 60 et 11", 80_000: "80 mille", 1_000_000: "1 million", -3: "moins 3",
    },
}  # fmt: skip


def test_there_is_a_table_for_each() -> None:
    assert set(KNOWN) == set(LANGUAGES)


@pytest.mark.parametrize("name", LANGUAGES)
def test_known_numbers(name: str) -> None:
    language = Language.named(name)
    for number, words in KNOWN[name].items():
        said = [
            file.removeprefix(f"{name}/").removesuffix(".slin") for file in language.number(number)
        ]
        assert " ".join(said) == words, number
    assert repr(language) == f"<Language {name}>"
    assert Language.named(name) is language


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_number_is_said_and_no_two_alike(name: str) -> None:
    language = Language.named(name)
    said = {tuple(language.number(number)) for number in range(20_000)}
    assert len(said) == 20_000
    assert language.number(10**12 - 1)


@pytest.mark.parametrize("name", LANGUAGES)
def test_digits(name: str) -> None:
    language = Language.named(name)
    assert language.digits("10") == [f"{name}/1.slin", f"{name}/0.slin"]
    assert len(language.digits("0123456789*#abcd")) == 16
    assert language.digits("") == []
    with pytest.raises(ValueError, match="'1-2' are no digits"):
        language.digits("1-2")


def test_a_language_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    rules = '[rules.number]\n0 = "0"\n2 = "two"\n'
    file.write_text('files = "m/{}.au"\nminus = "m"\n' + rules)
    assert Language.load(file).number(2) == ["m/two.au"]


@pytest.mark.parametrize(
    "text",
    [
        "", "files = 1", 'files = ""\nminus = ""', 'files = ""\nminus = ""\n[rules.other]\n0 = "0"',
        'files = ""\nminus = ""\n[rules.number]\nten = "0"', "not toml",
        'files = ""\nminus = ""\n[rules.number]\n1 = "1"',
        'files = ""\nminus = ""\n[rules.number]\n0 = "0"\n"5/1" = "< >"',
        'files = ""\nminus = ""\n[rules.number]\n0 = "<"',
    ],
)  # fmt: skip
def test_what_is_no_language_is_refused_at_once(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="language"):
        Language.load(file)


def test_there_is_none_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no language 'xx': use de, en, es, fr"):
        Language.named("xx")
    with pytest.raises(ConfigError, match="is no language"):
        Language.load(tmp_path / "nothing.toml")
