"""What `%%>setlocal` reads and writes: the settings of one connection, and facts of the engine.

It must not act on a setting: the session asks for them when they matter. The table of names is in
engine.md part 1 ("setlocal"); each rule here was checked against the real engine, which clamps
`debuglevel` to 3..10.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import Final

from ..wire.buffer import BUFSIZE_DEFAULT, BUFSIZE_MAX, BUFSIZE_MIN
from ..wire.codec import INT_MAX, c_integer, to_boolean
from .config import MAXQUEUE_MAX, ConfigFile, ModuleDefaults

__all__ = ["Facts", "Settings", "run_params"]

#: The engine whose behaviour this one shows.
VERSION = "6.4.1"

BOOLEANS: Final = ("reenter", "selfwatch", "setdata", "settime", "timebomb")
#: Least and greatest value of the numbers, and what stands for text that is no number: None for
#: the present value.
NUMBERS: Final[dict[str, tuple[int, int, int | None]]] = {
    "bufsize": (BUFSIZE_MIN, BUFSIZE_MAX, None),
    "debuglevel": (3, 10, 10),
    "maxqueue": (0, MAXQUEUE_MAX, None),
    "timeout": (-INT_MAX, INT_MAX, None),
}
#: Debug lines up to this level are shown unless the module or the operator says otherwise.
DEBUG_DEFAULT = 7


def _word(flag: bool) -> str:
    return "true" if flag else "false"


@dataclass(slots=True)
class Facts:
    """What is the same for all connections and can only be asked for.

    Attributes:
        params: the run parameters, asked for as `engine.NAME`.
        config: the main configuration file, asked for as `config.SECTION.KEY`.
        loaded: the engine's modules, asked for as `loaded.NAME`.
    """

    params: dict[str, str]
    config: ConfigFile = field(default_factory=ConfigFile)
    loaded: frozenset[str] = frozenset({"extmodule"})

    def ask(self, name: str, value: str) -> tuple[str, bool] | None:
        """Return a fact and whether it was only asked for; None when the name is no fact's."""
        kind, dot, key = name.partition(".")
        if name == "runid":
            return self.params["runid"], not value
        if not dot:
            return None
        if kind == "engine":
            found = self.params.get(key)
            return found or "", found is not None and not value
        if kind == "config":
            return self._configured(key, value)
        if kind == "loaded":
            return _word(key in self.loaded), not value
        return None

    def _configured(self, key: str, value: str) -> tuple[str, bool]:
        section, dot, name = key.partition(".")
        if not (section and dot):
            # Asking for a section succeeds even with a value, as in the real engine.
            return "", key in self.config.sections
        setting = self.config.find(section.strip(" \t"), name.strip(" \t"))
        return ("", False) if setting is None else (setting.value, not value)


class Settings:
    """The local settings of one connection.

    Args:
        defaults: from extmodule.conf.
        name: the listener's or script's; the `debugname` until the module sets it.
        script: the connection is a script's standard input and output.

    Attributes:
        timeout: milliseconds a request waits for its answer; for ever unless positive.
        maxqueue: requests beyond this many skip the module; 0 is no limit.
        bufsize: bytes of the line buffer.
        timebomb: a request that times out ends the connection.
        reenter: the module's own messages are offered to its own handlers.
        selfwatch: and to its own watchers.
        setdata: its messages carry its channel.
        settime: its messages get the engine's time.
        restart: a script that ended is started again.
        trackparam: what its handlers leave in the `handlers` parameter, empty for nothing.
        reason: given to the channel's peer at the end.
        debuglevel: its debug lines up to this level are shown.
        debugname: what its lines are shown with.
    """

    def __init__(self, defaults: ModuleDefaults, name: str, *, script: bool = False) -> None:
        self.timeout = defaults.timeout
        self.maxqueue = defaults.maxqueue
        self.bufsize = BUFSIZE_DEFAULT
        self.timebomb = defaults.timebomb
        self.reenter = False
        self.selfwatch = False
        self.setdata = True
        self.settime = defaults.settime
        self.restart = False
        self.trackparam = defaults.trackparam
        self.reason = ""
        self.debuglevel = DEBUG_DEFAULT
        self.debugname = name
        self._script = script
        self._named = False

    def set(self, name: str, value: str) -> tuple[str, bool]:
        """Set or ask for a setting; return what the engine answers: a value and the success."""
        if name in BOOLEANS:
            setattr(self, name, to_boolean(value, getattr(self, name)))
            return _word(getattr(self, name)), True
        if name in NUMBERS:
            return self._number(name, value), True
        if name == "trackparam":
            self.trackparam = value or self.trackparam
            return self.trackparam, True
        if name == "debugname":
            if value and not self._named:
                self.debugname = value
                self._named = True
            return self.debugname, True
        if name == "reason":
            self.reason = value
            return value, True
        if name == "restart":
            self.restart = self._script and to_boolean(value, self.restart)
            return _word(self.restart), True
        return value, False

    def _number(self, name: str, value: str) -> str:
        low, high, default = NUMBERS[name]
        number, rest = c_integer(value)
        if number is not None and not rest:
            setattr(self, name, max(low, min(number, high)))
        elif value and default is not None:
            setattr(self, name, default)
        return str(getattr(self, name))


def run_params(config: ConfigFile, folder: str, runid: int) -> dict[str, str]:
    """Return the engine's run parameters, in the real engine's order.

    Args:
        config: the main configuration file; its `[general]` section sets some of them.
        folder: where it lies, empty for none.
        runid: what tells this run of the engine from others.

    Raises:
        ConfigError: a value is no number.
    """
    least = config.integer("general", "minworkers", 1, 1, 500)
    track = config.text("general", "trackparam")
    params = {
        "version": VERSION,
        "release": "yateway",
        "revision": "",
        "nodename": config.text("general", "nodename") or socket.gethostname(),
        "runid": str(runid),
        "configname": "yate",
        "sharedpath": folder,
        "configpath": folder,
        "usercfgpath": folder,
        "cfgsuffix": ".conf",
        "modulepath": folder,
        "modsuffix": ".yate",
        "logfile": "",
        "interactive": "true",
        "clientmode": "false",
        "supervised": "false",
        "runattempt": "0",
        "lastsignal": "0",
        "childpid": str(os.getpid()),
        "minworkers": str(least),
        "maxworkers": str(config.integer("general", "maxworkers", max(10, least), least, 1000)),
        "addworkers": str(config.integer("general", "addworkers", 1, 1, 10)),
        "maxmsgrate": str(config.integer("general", "maxmsgrate", 0, 0, 50000)),
        "maxmsgage": str(config.integer("general", "maxmsgage", 0, 0, 5000)),
        "maxqueued": str(config.integer("general", "maxqueued", 0, 0, 10000)),
        "maxevents": str(config.integer("general", "maxevents", 25, 0, 1000)),
        "trackparam": "handlers" if not track or to_boolean(track, False) else track,
        "workpath": os.getcwd(),
    }
    if track and not to_boolean(track, True):
        del params["trackparam"]
    return params
