"""Yate's configuration files, read as the real engine reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from yateway.engine.config import (
    ConfigFile,
    ExternalModules,
    ModuleDefaults,
    Script,
    external_modules,
)
from yateway.engine.listeners import Address
from yateway.errors import ConfigError

# Each of these lines was put before the real engine, which was then asked for `config.test.X`.
SYNTAX = b"""\xef\xbb\xbforphan=1
[ test ] trailing=x
a=1
  b  =  two words\x20\t
bare
; comment=1
  ; indented=2
c==x
=novalue
d=x;y
e=one\\
   two \\
;notacomment
f=after\r
g=cr\rh=second
i=
a=again
J.k=v
k=a\tb
[test2]
x=1
[test]
z=9
[unclosed
y=2
[]
w=3
l=\xff\xe9
m=${nodename}
n=end\\"""

VALUES = {
    "a": "1",
    "b": "two words",
    "bare": "",
    "c": "=x",
    "d": "x;y",
    "e": "onetwo ;notacomment",
    "f": "after",
    "g": "cr",
    "h": "second",
    "i": "",
    "J.k": "v",
    "k": "a\tb",
    "z": "9",
    "y": "2",
    "w": "3",
    "l": "\udcff\udce9",
    "m": "${nodename}",
    "n": "end",
}


def config(tmp_path: Path, text: str | bytes) -> ConfigFile:
    """Return a file with that text."""
    path = tmp_path / "extmodule.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ConfigFile(path)


def modules(tmp_path: Path, text: str) -> ExternalModules:
    """Return what a file with that text says."""
    return external_modules(config(tmp_path, text), {"nodename": "here"})


def test_the_syntax_is_the_real_engines(tmp_path: Path) -> None:
    """A repeated key is kept but the first counts; names are case sensitive."""
    file = config(tmp_path, SYNTAX)
    assert list(file.sections) == ["test", "test2"]
    assert {name: file.text("test", name, "missing") for name in VALUES} == VALUES
    assert file.text("test", "A", "missing") == "missing"
    assert file.text("TEST", "a", "missing") == "missing"
    assert [setting.value for setting in file.sections["test"] if setting.name == "a"] == [
        "1",
        "again",
    ]
    assert file.find("test", "orphan") is None


def test_no_file_is_an_empty_one() -> None:
    """So that an engine needs no configuration."""
    assert external_modules(ConfigFile(), {}) == ExternalModules()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the remedy."""
    with pytest.raises(ConfigError, match=r"nowhere.*No such file.*give the folder"):
        ConfigFile(tmp_path / "nowhere")


def test_a_directive_is_refused(tmp_path: Path) -> None:
    """What the real engine would include must not be missed in silence."""
    with pytest.raises(ConfigError, match=r"line 2: .*\$include others"):
        config(tmp_path, "[general]\n[$include others.conf]\n")


def test_the_defaults_are_the_real_engines(tmp_path: Path) -> None:
    """And general settings replace them, clamped where the real engine clamps."""
    assert modules(tmp_path, "[general]\ntimeout=\ntimebomb=\n").defaults == ModuleDefaults()
    text = "[general]\ntimeout=0x100\nmaxqueue=99999\ntimebomb=on\nsettime=t\ntrackparam=yes\n"
    assert modules(tmp_path, text).defaults == ModuleDefaults(256, 10000, True, True, "extmodule")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[general]\ntimeout=10s\n", "line 2: timeout='10s' is no number"),
        ("[general]\n\nsettime=True\n", "line 3: settime='True' is no boolean"),
        ("[general]\nmaxqueue=\x07\n", r"maxqueue='\\x07' is no number"),
        ("[listener a]\nport=5\n", r"line 2: in \['listener a'\]: type='' is unknown"),
        ("[listener a]\ntype=udp\n", "type='udp' is unknown: write type=tcp or type=unix"),
        ("[listener a]\ntype=tcp\n", "write port="),
        ("[listener a]\ntype=tcp\nport=x\n", "line 3: port='x' is no number"),
        ("[listener a]\ntype=tcp\nport=70000\n", "port 70000"),
        ("[listener a]\ntype=tcp\nport=5\naddr=0.0.0.0\n", "no password"),
        ("[listener a]\ntype=tcp\nport=5\nrole=play\n", "role='play' is unknown"),
        ("[listener a]\ntype=unix\n", "path='' is no absolute path"),
        ("[listener a]\n", "line 0: in"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """File, line, value and remedy, all escaped."""
    with pytest.raises(ConfigError, match=complaint) as raised:
        modules(tmp_path, text)
    assert "extmodule.conf" in str(raised.value)
    assert str(raised.value).isprintable()


def test_listeners_are_sections(tmp_path: Path) -> None:
    """A listener without a name is none."""
    text = """
[listener one]
type=tcp
port=5678
[listener two]
type=unix
path=/tmp/x
role=channel
[listener]
type=wrong
[other]
"""
    assert modules(tmp_path, text).listeners == (
        Address(name="one", kind="tcp", host="127.0.0.1", port=5678),
        Address(name="two", kind="unix", path="/tmp/x", role="channel"),  # noqa: S108
    )


def test_scripts_are_found_below_the_folder(tmp_path: Path) -> None:
    """Or below scripts_dir, or where they say; run parameters are replaced."""
    text = "[scripts]\na.py=${nodename} and ${nothing}\n/bin/b\na.py=again\n"
    first, second, third = modules(tmp_path, text).scripts
    place = f"'{tmp_path}/extmodule.conf' line"
    assert first == Script("a.py", f"{tmp_path}/a.py", "here and ", f"{place} 2")
    assert second == Script("/bin/b", "/bin/b", "", f"{place} 3")
    assert third.argument == "again"
    (script,) = modules(tmp_path, "[general]\nscripts_dir=/x/${nodename}\n[scripts]\na.py").scripts
    assert script.path == "/x/here/a.py"
