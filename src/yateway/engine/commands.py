"""engine.command: what operators type, carried out or completed, and engine.help.

It must not know lines of the protocol. The words and the texts are the real engine's, which
programs parse. Left out is what needs its process: `module load`, `events`, `external execute`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from .dispatcher import EngineMessage, Handler
from .driver import Driver
from .endpoints import Exchange
from .status import Part

__all__ = ["Attached", "Commands", "Modules"]

#: Where parts are asked about commands: most at the first, some early.
PRIORITY: Final = 120
EARLY: Final = {"engine": 100, "cdrbuild": 100, "extmodule": 100}

#: What may follow in the engine's own commands, by what was typed before.
_WORDS: Final = {
    "": ("module", "events", "logview", "runparam", "dispatcher", "version"),
    "help": ("module", "events", "logview", "runparam", "dispatcher"),
    "status": ("engine", "objects", "dispatcher"),
    "status dispatcher": ("handlers", "handlers-trackname"),
    "module": ("load", "unload", "reload", "list"),
    "events": ("log", "clear"),
    "events clear": ("log",),
    "dispatcher": ("handlers", "trace_msg_time", "trace_msg_handler_time"),
    "dispatcher trace_msg_time": ("on", "off"),
    "dispatcher trace_msg_handler_time": ("on", "off"),
}
_EXTERNAL_WORDS: Final = ("info", "start", "stop", "restart", "execute")
_EXTERNAL_HELP: Final = (
    "  external [info] [stop scriptname] [[start|restart] scriptname [parameter]]"
    " [execute progname [parameter]]\r\n"
)
_EXTERNAL_ABOUT: Final = "List, (re)start and stop scripts or execute an external program\r\n"
_ENGINE_HELP: Final = (
    "  module {{load|reload} modulefile|unload modulename|list}\r\n"
    "  events [clear] [type]\r\n"
    "  logview\r\n"
    "  runparam name=value\r\n"
    "  dispatcher {handlers|trace_msg_time|trace_msg_handler_time}\r\n"
    "  status dispatcher ...\r\n"
    "  version\r\n"
)


class Attached(Protocol):
    """A module that is attached."""

    @property
    def script(self) -> str:
        """The script's path as it was given, or the listener's name."""

    @property
    def argument(self) -> str:
        """The script's argument, or where the connection comes from."""

    def describe(self) -> str:
        """Return its role and state."""

    def dismiss(self) -> None:
        """End its connection; a script is not started again."""


class Modules(Protocol):
    """The modules that are attached."""

    def attached(self) -> Sequence[Attached]:
        """Return them in the order in which they came."""

    async def launch(self, path: str, argument: str) -> None:
        """Start a script; what prevents it is logged."""


class Commands:
    """Carries out and completes commands, for the engine and for all its parts.

    Args:
        exchange: where the parts are.
        parts: all of them, in the order in which they are asked.
        modules: those that are attached.
        facts: of the engine itself.
    """

    def __init__(
        self, exchange: Exchange, parts: Sequence[Part], modules: Modules, facts: dict[str, str]
    ) -> None:
        self._exchange = exchange
        self._parts = parts
        self._modules = modules
        self._facts = facts

    def install(self) -> None:
        """Begin to handle messages."""
        install = self._exchange.dispatcher.install
        # Of equal priorities the last one installed is asked first.
        for part in reversed(self._parts):
            receive = self._external if part.name == "extmodule" else _completing(part)
            priority = EARLY.get(part.name, PRIORITY)
            install(Handler("engine.command", priority, receive, track=part.name), own=True)
        for name, receive, track in (
            ("engine.command", self._engine, "engine"),
            ("engine.help", self._external_help, "extmodule"),
            ("engine.help", self._help, "engine"),
        ):
            install(Handler(name, EARLY[track], receive, track=track), own=True)

    # The engine's own

    async def _engine(self, message: EngineMessage) -> bool:
        line = message.params.get("line", "")
        if not line:
            before = message.params.get("partline", "")
            words: Sequence[str] = _WORDS.get(before, ())
            if before == "reload":
                words = [part.name for part in self._parts]
            _complete(message, words)
            return False
        if line == "version":
            facts = self._facts
            message.retvalue += "".join(
                f"{name + ':':<10}{facts.get(name, '')}\r\n"
                for name in ("version", "release", "revision")
            )
            return True
        if line.startswith("control "):
            return await self._control(message, line.removeprefix("control ").strip())
        return False

    async def _control(self, message: EngineMessage, line: str) -> bool:
        """Put `ID [NAME=VALUE...] [OPERATION]` to whoever knows the id."""
        id_, blank, rest = line.partition(" ")
        if not (blank and rest.strip()):
            return False
        control = self._exchange.message("chan.control", (("targetid", id_), ("component", id_)))
        for word in reversed(rest.split()):
            name, equals, value = word.partition("=")
            if not equals:
                control.set("operation", rest.strip())
                break
            control.set(name, value)
            rest = rest.rstrip().removesuffix(word)
        if not await self._exchange.dispatch(control):
            return False
        message.retvalue = control.retvalue
        return control.params.get("operation-status", "true") != "false"

    async def _help(self, message: EngineMessage) -> bool:
        if not message.params.get("line"):
            message.retvalue += _ENGINE_HELP
        return False

    async def _external_help(self, message: EngineMessage) -> bool:
        line = message.params.get("line", "")
        if line not in ("", "external"):
            return False
        message.retvalue += _EXTERNAL_HELP + (_EXTERNAL_ABOUT if line else "")
        return bool(line)

    # Modules

    async def _external(self, message: EngineMessage) -> bool:
        line = message.params.get("line")
        if line is None:
            return self._complete_external(message)
        command, _, rest = line.partition(" ")
        if command != "external":
            return False
        rest = rest.strip()
        if rest in ("", "info"):
            message.retvalue = "".join(self._list(describe=bool(rest)))
            return True
        verb, _, named = rest.partition(" ")
        named = named.strip()
        if verb == "execute" or (verb in ("start", "stop", "restart") and not named):
            return False
        if verb in ("stop", "start", "restart"):
            script, _, argument = named.partition(" ")
            text = self._dismiss(script, argument, start=verb == "start")
            message.retvalue = text
            if verb == "stop" or "already" in text:
                return True
        else:
            script, _, argument = rest.partition(" ")
        await self._modules.launch(script, argument)
        message.retvalue = "External start attempt\r\n"
        return True

    def _list(self, *, describe: bool) -> Iterator[str]:
        for number, module in enumerate(self._modules.attached(), 1):
            yield f"{number}. {module.script} {module.argument}\r\n"
            if describe:
                yield f"\t{module.describe()}\r\n"

    def _dismiss(self, script: str, argument: str, *, start: bool) -> str:
        for module in self._modules.attached():
            if module.script == script and argument in ("", module.argument):
                if start:
                    return "External already running\r\n"
                module.dismiss()
                return "External command stopped\r\n"
        return "External not running\r\n"

    def _complete_external(self, message: EngineMessage) -> bool:
        before = message.params.get("partline", "")
        if not (before or message.params.get("partword")):
            return False
        if before in ("", "help"):
            _complete(message, ("external",))
        elif before in ("debug", "status"):
            _complete(message, ("extmodule",))
        elif before == "external":
            _complete(message, _EXTERNAL_WORDS)
            return True
        elif before in ("external stop", "external restart"):
            _complete(message, dict.fromkeys(m.script for m in self._modules.attached()))
        elif before.startswith(("external stop ", "external restart ")):
            named = before.split(" ", 2)[2]
            arguments = (m.argument for m in self._modules.attached() if m.script == named)
            _complete(message, dict.fromkeys(filter(None, arguments)))
        return False


def _completing(part: Part) -> Callable[[EngineMessage], Awaitable[bool]]:
    """Return what completes the names of a part and its channels."""

    async def complete(message: EngineMessage) -> bool:
        params = message.params
        before, start = params.get("partline", ""), params.get("partword", "")
        if "line" in params or not ("partline" in params or "partword" in params):
            return False
        if part.report().kind == "cdr":
            # No Module of the real engine: it does not know `debug`.
            _complete(message, (part.name,) if before == "status" else ())
            return False
        lists = isinstance(part, Driver) and params.get("complete") == "channels"
        if before in ("status", "debug") or (lists and part.name.startswith(start)):
            _complete(message, (part.name,))
        if not (start and lists and isinstance(part, Driver) and part.channels):
            return False
        if part.name.startswith(start):
            _add(message, part.prefix)
            return False
        _complete(message, part.channels)
        if not start.startswith(part.prefix):
            return False
        _complete(message, part.places())
        return True

    return complete


def _complete(message: EngineMessage, words: Iterable[str]) -> None:
    """Add the words that begin with what was typed."""
    start = message.params.get("partword", "")
    for word in words:
        if word.startswith(start):
            _add(message, word)


def _add(message: EngineMessage, word: str) -> None:
    message.retvalue += f"\t{word}" if message.retvalue else word
