"""Yate's configuration files: their syntax, and what the embedded engine takes from them.

It must not open sockets or start programs. The syntax is that of the real engine's Configuration
class: `[section]`, `key=value`, a bare key, a comment line that starts with `;`, a backslash at the
end of a line that goes on in the next; names are case sensitive, a section may come in pieces, and
the first of several equal keys counts. Where the real engine logs a mistake and uses a default,
this one says what is wrong and where: it is there to find such mistakes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, shown
from ..wire.codec import FALSE_WORDS, INT_MAX, TRUE_WORDS, c_integer
from .listeners import Address

__all__ = [
    "ConfigFile",
    "ExternalModules",
    "ModuleDefaults",
    "Script",
    "Setting",
    "external_modules",
]

MAXQUEUE_DEFAULT = 1000
MAXQUEUE_MAX = 10000
#: Milliseconds that a module may take to answer (engine.md part 1).
TIMEOUT_DEFAULT = 10000

# A lone CR counts too, and NUL as in a module's lines.
_LINE_END = re.compile(r"\r\n|[\r\n\0]")
_BLANKS = " \t"
_PARAM = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Setting:
    """One `name=value` of a file, and the number of its line."""

    name: str
    value: str
    line: int


class ConfigFile:
    """One configuration file.

    Args:
        path: where it is; None for a file that is empty.

    Attributes:
        sections: the settings of each section, in their order.

    Raises:
        ConfigError: the file cannot be read, or uses a directive (`[$include ...]`) that is known
            to the real engine alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.sections: dict[str, list[Setting]] = {}
        if path is not None:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text("utf-8-sig", "surrogateescape")
        except OSError as error:
            raise ConfigError(
                f"cannot read {str(path)!a}: {error.strerror}; give the folder that holds"
                " extmodule.conf"
            ) from None
        lines = enumerate(_LINE_END.split(text), 1)
        section: list[Setting] | None = None
        for number, line in lines:
            line = line.lstrip(_BLANKS)
            if not line or line.startswith(";"):
                continue
            if line.startswith("["):
                name, bracket, _ = line[1:].partition("]")
                name = name.strip(_BLANKS)
                if name.startswith("$"):
                    raise self.error(
                        number,
                        f"[{shown(name)}] is a directive that the embedded engine does not know:"
                        " put the settings into the file itself",
                    )
                if bracket and name:
                    section = self.sections.setdefault(name, [])
                continue
            name, _, value = line.partition("=")
            while value.endswith("\\"):
                # The next line goes on where this one stops, without its leading blanks.
                value = value[:-1] + next(lines, (0, ""))[1].lstrip(_BLANKS)
            name = name.strip(_BLANKS)
            if name and section is not None:
                section.append(Setting(name, value.strip(_BLANKS), number))

    def error(self, line: int, text: str) -> ConfigError:
        """Return the error that says what is wrong in which line."""
        return ConfigError(f"{str(self.path)!a} line {line}: {text}")

    def find(self, section: str, name: str) -> Setting | None:
        """Return the first setting of that name, if any."""
        found = (s for s in self.sections.get(section, ()) if s.name == name)
        return next(found, None)

    def text(self, section: str, name: str, default: str = "") -> str:
        """Return a setting's value."""
        setting = self.find(section, name)
        return default if setting is None else setting.value

    def integer(
        self, section: str, name: str, default: int, low: int = -INT_MAX, high: int = INT_MAX
    ) -> int:
        """Return a number, clamped to its range as the real engine does.

        Raises:
            ConfigError: the value is no number.
        """
        setting = self.find(section, name)
        if setting is None or not setting.value:
            return default
        number, rest = c_integer(setting.value)
        if number is None or rest:
            raise self.error(
                setting.line,
                f"{name}={shown(setting.value)} is no number: write for example {name}={default}",
            )
        return max(low, min(number, high))

    def boolean(self, section: str, name: str, default: bool) -> bool:
        """Return a boolean.

        Raises:
            ConfigError: the value is none of the engine's ten words, all in lower case.
        """
        setting = self.find(section, name)
        if setting is None or not setting.value:
            return default
        if setting.value not in TRUE_WORDS + FALSE_WORDS:
            raise self.error(
                setting.line,
                f"{name}={shown(setting.value)} is no boolean: write one of"
                f" {', '.join(TRUE_WORDS)} or {', '.join(FALSE_WORDS)}",
            )
        return setting.value in TRUE_WORDS


@dataclass(frozen=True, slots=True)
class ModuleDefaults:
    """What the local settings of a connection are before its module changes them."""

    timeout: int = TIMEOUT_DEFAULT
    maxqueue: int = MAXQUEUE_DEFAULT
    timebomb: bool = False
    settime: bool = False
    trackparam: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """A program to start as a module on its standard input and output.

    Attributes:
        name: as in the file; the module's `debugname`.
        path: absolute.
        argument: its only argument, empty for none.
        place: file and line, for errors.
    """

    name: str
    path: str
    argument: str
    place: str


@dataclass(frozen=True, slots=True)
class ExternalModules:
    """What extmodule.conf says.

    Attributes:
        defaults: of the local settings.
        listeners: where to listen.
        scripts: what to start.
        scripts_dir: where paths of scripts that are not absolute start.
        priority: where scripts are asked about calls to `external/...`.
    """

    defaults: ModuleDefaults = ModuleDefaults()
    listeners: tuple[Address, ...] = ()
    scripts: tuple[Script, ...] = ()
    scripts_dir: Path = Path()
    priority: int = 100

    def script(self, path: str, argument: str) -> Script:
        """Return a script that is to be started for a call."""
        return Script(path, os.path.abspath(self.scripts_dir / path), argument, f"external {path}")


def external_modules(file: ConfigFile, params: Mapping[str, str]) -> ExternalModules:
    """Return what extmodule.conf asks for.

    Args:
        file: the file read.
        params: the engine's run parameters, which may stand in scripts' values as `${name}`.

    Raises:
        ConfigError: a value cannot be used.
    """
    defaults = ModuleDefaults(
        timeout=file.integer("general", "timeout", TIMEOUT_DEFAULT),
        maxqueue=file.integer("general", "maxqueue", MAXQUEUE_DEFAULT, 0, MAXQUEUE_MAX),
        timebomb=file.boolean("general", "timebomb", False),
        settime=file.boolean("general", "settime", False),
        trackparam="extmodule" if file.boolean("general", "trackparam", False) else "",
    )
    folder = Path(file.path.parent if file.path else ".")
    folder /= _replaced(file.text("general", "scripts_dir"), params)
    scripts = tuple(_scripts(file, params, folder))
    priority = file.integer("general", "priority", 100)
    return ExternalModules(defaults, tuple(_listeners(file)), scripts, folder, priority)


def _listeners(file: ConfigFile) -> Iterator[Address]:
    for section, settings in file.sections.items():
        keyword, _, name = section.partition(" ")
        name = name.strip(_BLANKS)
        if keyword == "listener" and name:
            port = file.integer(section, "port", 0)
            try:
                yield _listener(file, section, name, port)
            except ConfigError as error:
                line = settings[0].line if settings else 0
                raise file.error(line, f"in [{shown(section)}]: {error}") from None


def _listener(file: ConfigFile, section: str, name: str, port: int) -> Address:
    kind = file.text(section, "type")
    role = file.text(section, "role")
    if kind == "tcp":
        if not port:
            raise ConfigError("write port= and a number from 1 to 65535")
        host = file.text(section, "addr", "127.0.0.1")
        return Address(name=name, kind="tcp", host=host, port=port, role=role)
    if kind == "unix":
        return Address(name=name, kind="unix", path=file.text(section, "path"), role=role)
    raise ConfigError(f"type={shown(kind)} is unknown: write type=tcp or type=unix")


def _scripts(file: ConfigFile, params: Mapping[str, str], folder: Path) -> Iterator[Script]:
    for setting in file.sections.get("scripts", ()):
        path = os.path.abspath(folder / setting.name)
        place = f"{str(file.path)!a} line {setting.line}"
        yield Script(setting.name, path, _replaced(setting.value, params), place)


def _replaced(text: str, params: Mapping[str, str]) -> str:
    return _PARAM.sub(lambda match: params.get(match[1], ""), text)
