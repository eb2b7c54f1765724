"""One frozen value per protocol line, both directions.

It must not keep state: what a line means for a connection is decided in connection.py (the module's
side) and engine/session.py (the engine's side). A frame's `text()` is its line; `from_engine` and
`from_module` read the lines of one side with exactly that side's manners, which differ: a module's
lines are read as leniently as the engine reads them (engine.md part 1).

Parameters stay as they stand on the line, each led by a colon (":called=123:caller=100"), until
somebody asks for them: most handlers read two of forty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import LocalProtocolError, RemoteProtocolError, shown
from .codec import (
    c_integer,
    c_unsigned,
    escape,
    escape_name,
    from_bytes,
    leading_boolean,
    to_bytes,
    unescape,
    unescape_name,
    unescape_until_fault,
)

__all__ = [
    "Answer",
    "Connect",
    "Debug",
    "ErrorIn",
    "Frame",
    "Install",
    "Installed",
    "Output",
    "Quit",
    "QuitDone",
    "Request",
    "SetLocal",
    "SetLocalDone",
    "Uninstall",
    "Uninstalled",
    "Unwatch",
    "Unwatched",
    "Watch",
    "Watched",
    "decode_params",
    "encode",
    "encode_engine_params",
    "encode_params",
    "from_engine",
    "from_module",
    "message_id",
]

ROLES = ("global", "channel", "play", "record", "playrec")
PRIORITY_DEFAULT = 100
#: Level of a `%%>debug:` line whose level is no number (DebugAll), and the largest (yatengine.h).
DEBUG_ALL = 10


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def _raw(text: str, what: str, forbidden: str = "\0\n\r") -> str:
    """Check a field that is sent as it is, because the engine does not unescape it."""
    for char in forbidden:
        if char in text:
            raise LocalProtocolError(
                f"{what} {shown(text)} cannot hold {shown(char)}: the engine does not unescape it",
                field=what,
            )
    return text


@dataclass(frozen=True, slots=True)
class Connect:
    """`%%>connect:<role>[:<id>[:<type>]]`, the first line on a listener without a role.

    The engine knows the roles global and channel and closes on the three others, although its
    documentation names them; id and type are read and ignored (engine.md part 1).
    """

    role: str = "global"
    id: str = ""
    type: str = ""

    def text(self) -> str:
        if self.role not in ROLES:
            raise LocalProtocolError(f"{shown(self.role)} is no role; known are {', '.join(ROLES)}")
        _raw(self.id, "id of connect", "\0\n\r:")
        _raw(self.type, "type of connect")
        tail = f":{self.id}:{self.type}" if self.type else f":{self.id}" if self.id else ""
        return f"%%>connect:{self.role}{tail}"


@dataclass(frozen=True, slots=True)
class Install:
    """`%%>install:[<priority>]:<name>[:<filter name>[:<filter value>]]`.

    A lower priority is asked earlier. The filter is an exact match, never a regular expression; an
    empty filter name is no filter. The name is not unescaped by the engine.
    """

    name: str
    priority: int = PRIORITY_DEFAULT
    filter_name: str = ""
    filter_value: str = ""

    def text(self) -> str:
        _raw(self.name, "message name", "\0\n\r:")
        if not self.filter_name:
            return f"%%>install:{self.priority}:{self.name}"
        return (
            f"%%>install:{self.priority}:{self.name}"
            f":{escape(self.filter_name)}:{escape(self.filter_value)}"
        )


@dataclass(frozen=True, slots=True)
class Uninstall:
    """`%%>uninstall:<name>`."""

    name: str

    def text(self) -> str:
        return f"%%>uninstall:{_raw(self.name, 'message name')}"


@dataclass(frozen=True, slots=True)
class Watch:
    """`%%>watch:<name>`; the empty name watches every message."""

    name: str

    def text(self) -> str:
        return f"%%>watch:{_raw(self.name, 'message name')}"


@dataclass(frozen=True, slots=True)
class Unwatch:
    """`%%>unwatch:<name>`."""

    name: str

    def text(self) -> str:
        return f"%%>unwatch:{_raw(self.name, 'message name')}"


@dataclass(frozen=True, slots=True)
class SetLocal:
    """`%%>setlocal:<name>:<value>`; an empty value asks for the present one.

    Neither field is escaped or unescaped, and blanks around the value are trimmed by the engine.
    """

    name: str
    value: str = ""

    def text(self) -> str:
        if not self.name:
            raise LocalProtocolError("setlocal needs a name")
        _raw(self.name, "setlocal name", "\0\n\r:")
        return f"%%>setlocal:{self.name}:{_raw(self.value, 'setlocal value')}"


@dataclass(frozen=True, slots=True)
class Output:
    """`%%>output:<text>`, a line in the engine's log; the text is not unescaped by the engine.

    A line break would make the rest a command (engine.md Y3), so that none is accepted here.
    """

    content: str

    def text(self) -> str:
        return f"%%>output:{_raw(self.content, 'output text')}"


@dataclass(frozen=True, slots=True)
class Debug:
    """`%%>debug:<level>:<text>`, a line in the engine's debug log; levels are 0 to 10."""

    level: int
    content: str

    def text(self) -> str:
        return f"%%>debug:{self.level}:{escape(self.content)}"


@dataclass(frozen=True, slots=True)
class Quit:
    """`%%>quit`; nothing after it is read by the engine."""

    def text(self) -> str:
        return "%%>quit"


@dataclass(frozen=True, slots=True)
class Request:
    """`%%>message:<id>:<time>:<name>:<retvalue>[:<key>=<value>...]`, in both directions.

    From the engine: one of its threads waits for the answer. From a module: the message to
    dispatch; an empty id means that no answer will come.

    Attributes:
        time: seconds since the epoch; 0 from a module means now.
        params: the parameters as they stand on the line, each led by a colon.
    """

    id: str
    time: int
    name: str
    retvalue: str = ""
    params: str = ""

    def text(self) -> str:
        return (
            f"%%>message:{escape(self.id)}:{self.time}:{escape(self.name)}"
            f":{escape(self.retvalue)}{self.params}"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """`%%<message:<id>:<processed>:[<name>]:<retvalue>[:<key>=<value>...]`, in both directions.

    From the engine with an empty id it is a notification of a watched message.

    Attributes:
        name: empty leaves the message's name alone.
        retvalue: None ends the line after `processed:`, which changes nothing at all; an empty
            text erases the retvalue (engine.md Y7).
        params: what changed, as on the line; a key without `=` deletes.
    """

    id: str
    processed: bool
    name: str = ""
    retvalue: str | None = None
    params: str = ""

    def text(self) -> str:
        head = f"%%<message:{escape(self.id)}:{_word(self.processed)}:"
        if self.retvalue is None:
            if self.name or self.params:
                raise LocalProtocolError("an answer with a name or parameters needs its retvalue")
            return head
        return f"{head}{escape(self.name)}:{escape(self.retvalue)}{self.params}"


@dataclass(frozen=True, slots=True)
class Installed:
    """`%%<install:<priority>:<name>:<success>`."""

    priority: int
    name: str
    success: bool

    def text(self) -> str:
        return f"%%<install:{self.priority}:{self.name}:{_word(self.success)}"


@dataclass(frozen=True, slots=True)
class Uninstalled:
    """`%%<uninstall:<priority>:<name>:<success>`; the priority is 0 when it was not installed."""

    priority: int
    name: str
    success: bool

    def text(self) -> str:
        return f"%%<uninstall:{self.priority}:{self.name}:{_word(self.success)}"


@dataclass(frozen=True, slots=True)
class Watched:
    """`%%<watch:<name>:<success>`."""

    name: str
    success: bool

    def text(self) -> str:
        return f"%%<watch:{self.name}:{_word(self.success)}"


@dataclass(frozen=True, slots=True)
class Unwatched:
    """`%%<unwatch:<name>:<success>`."""

    name: str
    success: bool

    def text(self) -> str:
        return f"%%<unwatch:{self.name}:{_word(self.success)}"


@dataclass(frozen=True, slots=True)
class SetLocalDone:
    """`%%<setlocal:<name>:<value>:<success>`; the value is neither escaped nor unescaped."""

    name: str
    value: str
    success: bool

    def text(self) -> str:
        return f"%%<setlocal:{self.name}:{self.value}:{_word(self.success)}"


@dataclass(frozen=True, slots=True)
class QuitDone:
    """`%%<quit`."""

    def text(self) -> str:
        return "%%<quit"


@dataclass(frozen=True, slots=True)
class ErrorIn:
    """`Error in: <line>`, the engine's word on a line that it could not read."""

    line: str

    def text(self) -> str:
        return f"Error in: {self.line}"


ModuleFrame: TypeAlias = (
    Connect | Install | Uninstall | Watch | Unwatch | SetLocal | Output | Debug | Quit | Request
    | Answer
)  # fmt: skip
EngineFrame: TypeAlias = (
    Installed | Uninstalled | Watched | Unwatched | SetLocalDone | QuitDone | ErrorIn | Request
    | Answer
)  # fmt: skip
Frame: TypeAlias = ModuleFrame | EngineFrame


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame, its line feed included.

    Raises:
        LocalProtocolError: a field cannot be sent.
    """
    return to_bytes(frame.text()) + b"\n"


# Parameters


def encode_params(params: Iterable[tuple[str, str | None]]) -> str:
    """Return parameters as they stand on a module's line; the value None deletes.

    Raises:
        LocalProtocolError: a name or value cannot be sent; `field` names the parameter.
    """
    parts: list[str] = []
    for name, value in params:
        try:
            parts.append(
                f":{escape_name(name)}"
                if value is None
                else f":{escape_name(name)}={escape(value)}"
            )
        except LocalProtocolError as error:
            error.field = name
            raise
    return "".join(parts)


def encode_engine_params(params: Iterable[tuple[str, str]]) -> str:
    """Return parameters as the engine writes them: `=` in a name becomes `%}`."""
    return "".join(f":{escape(name).replace('=', '%}')}={escape(value)}" for name, value in params)


def decode_params(params: str) -> Iterator[tuple[str, str | None]]:
    """Yield the parameters of an engine's line in their order; a key without `=` has no value.

    Raises:
        RemoteProtocolError: a malformed escape or a raw control character.
    """
    for chunk in params.split(":"):
        if chunk:
            name, equals, value = chunk.partition("=")
            yield unescape_name(name), unescape(value) if equals else None


def _check_params(params: str, line: str) -> None:
    """Refuse parameters that `decode_params` could not read, in a fraction of its time."""
    quick = params.replace("%%", "").replace("%z", "") if "%" in params else params
    # isprintable() is false for control characters, but for much else too: it only opens the way
    # round the slow check, which most lines take (0.2 instead of 2 microseconds for 200 bytes).
    if "%" in quick or not quick.isprintable():
        try:
            for _ in decode_params(params):
                pass
        except RemoteProtocolError as error:
            raise RemoteProtocolError(str(error), line=line) from None


# Lines of an engine, as a module reads them


def from_engine(line: bytes) -> EngineFrame:
    """Read one line that an engine sent.

    Raises:
        RemoteProtocolError: it is no line of the protocol; `line` holds it.
    """
    text = from_bytes(line)
    keyword, _, rest = text.partition(":")
    try:
        if keyword == "%%>message":
            id_, time, name, tail = rest.split(":", 3)
            retvalue, colon, params = tail.partition(":")
            params = colon + params
            _check_params(params, text)
            return Request(unescape(id_), int(time), unescape(name), unescape(retvalue), params)
        if keyword == "%%<message":
            id_, processed, name, tail = rest.split(":", 3)
            retvalue, colon, params = tail.partition(":")
            params = colon + params
            _check_params(params, text)
            return Answer(
                unescape(id_), _flag(processed), unescape(name), unescape(retvalue), params
            )
        return _engine_reply(text, keyword, rest)
    except ValueError:
        raise RemoteProtocolError(f"cannot read {shown(text)}", line=text) from None
    except RemoteProtocolError as error:
        raise RemoteProtocolError(str(error), line=text) from None


def _engine_reply(text: str, keyword: str, rest: str) -> EngineFrame:
    if keyword in ("%%<install", "%%<uninstall"):
        priority, name, success = rest.split(":")
        reply = Installed if keyword == "%%<install" else Uninstalled
        return reply(int(priority), name, _flag(success))
    if keyword in ("%%<watch", "%%<unwatch"):
        name, success = rest.rsplit(":", 1)
        return (Watched if keyword == "%%<watch" else Unwatched)(name, _flag(success))
    if keyword == "%%<setlocal":
        name, value = rest.split(":", 1)
        value, success = value.rsplit(":", 1)
        return SetLocalDone(name, value, _flag(success))
    if text == "%%<quit":
        return QuitDone()
    if text.startswith("Error in: "):
        return ErrorIn(text[len("Error in: ") :])
    raise ValueError


def _flag(word: str) -> bool:
    if word not in ("true", "false"):
        raise ValueError
    return word == "true"


def message_id(line: str) -> str:
    """Return the id of a message line that could not be read as a whole, empty if it has none."""
    keyword, _, rest = line.partition(":")
    # The id ends at its colon; without one the line may have been cut within the id.
    id_, colon, _ = rest.partition(":")
    if not colon or keyword not in ("%%>message", "%%<message"):
        return ""
    try:
        return unescape(id_)
    except RemoteProtocolError:
        return ""


# Lines of a module, as the engine reads them


def from_module(line: bytes) -> ModuleFrame:
    """Read one line that a module sent, exactly as leniently as the engine does.

    Raises:
        RemoteProtocolError: the engine reports the line with "Error in:", or for an answer says
            nothing; then `partial` is the `Answer` as far as it was read, which the engine applies
            if its id is that of a waiting request (`None` where nothing was read).
    """
    text = from_bytes(line)
    keyword, colon, rest = text.partition(":")
    if colon:
        read = _MODULE_LINES.get(keyword)
        if read is not None:
            return read(rest, text)
    elif text == "%%>quit":
        return Quit()
    raise RemoteProtocolError(f"cannot read {shown(text)}", line=text)


def _connect(rest: str, text: str) -> Connect:
    role, _, tail = rest.partition(":")
    id_, _, type_ = tail.partition(":")
    return Connect(role, id_, type_)


def _install(rest: str, text: str) -> Install:
    priority, tail = c_integer(rest)
    # `>> ":"` skips to behind the next colon wherever it is, and nothing when there is none: this
    # is how `install:abc:name` gets the priority 100 and `install:name` works at all.
    tail = tail.partition(":")[2] if ":" in tail else tail
    name, _, tail = tail.partition(":")
    filter_name, _, filter_value = tail.partition(":")
    return Install(
        name,
        PRIORITY_DEFAULT if priority is None else priority,
        unescape_until_fault(filter_name),
        unescape_until_fault(filter_value),
    )


def _setlocal(rest: str, text: str) -> SetLocal:
    name, colon, value = rest.partition(":")
    if not (name and colon):
        raise RemoteProtocolError(f"cannot read {shown(text)}", line=text)
    return SetLocal(name, value.strip(" \t"))


def _debug(rest: str, text: str) -> Debug:
    word, colon, content = rest.partition(":")
    if not (word and colon):
        raise RemoteProtocolError(f"cannot read {shown(text)}", line=text)
    level, tail = c_integer(word)
    level = DEBUG_ALL if level is None or tail else max(0, min(level, DEBUG_ALL))
    return Debug(level, unescape_until_fault(content))


def _request(rest: str, text: str) -> Request:
    fault = RemoteProtocolError(f"cannot read {shown(text)}", line=text)
    try:
        id_, time, name, tail = rest.split(":", 3)
    except ValueError:
        raise fault from None
    seconds, junk = c_unsigned(time) if time else (0, "")
    if seconds is None or junk:
        raise fault
    try:
        read = _Reading("")
        read.body(name, tail)
        return Request(unescape(id_), seconds, read.name, read.retvalue or "", read.encoded())
    except RemoteProtocolError:
        raise fault from None


def _answer(rest: str, text: str) -> Answer:
    id_, colon, rest = rest.partition(":")
    word, colon2, body = rest.partition(":")
    processed, junk = leading_boolean(word) if word else (False, "")
    read = _Reading(id_, bool(processed))
    fault = RemoteProtocolError(f"cannot read {shown(text)}", line=text)
    if not (colon and colon2):
        raise fault
    if processed is None or junk:
        if processed is not None:
            fault.partial = read.answer()
        raise fault
    name, colon, tail = body.partition(":")
    if body and not colon:
        fault.partial = read.answer()
        raise fault
    try:
        if body:
            read.body(name, tail)
    except RemoteProtocolError:
        fault.partial = read.answer()
        raise fault from None
    return read.answer()


@dataclass(slots=True)
class _Reading:
    """A message line while it is read: what was read before a fault stays (Message.cpp, 182)."""

    id: str
    processed: bool = False
    name: str = ""
    retvalue: str | None = None
    params: list[tuple[str, str | None]] = field(default_factory=list)

    def body(self, name: str, tail: str) -> None:
        self.name = unescape(name)
        retvalue, _, params = tail.partition(":")
        self.retvalue = unescape(retvalue)
        for chunk in filter(None, params.split(":")):
            # The whole chunk is unescaped before its `=` is looked for.
            key, equals, value = unescape(chunk).partition("=")
            if not key:
                raise RemoteProtocolError("a parameter without a name")
            self.params.append((key, value if equals else None))

    def encoded(self) -> str:
        return encode_params(self.params)

    def answer(self) -> Answer:
        return Answer(self.id, self.processed, self.name, self.retvalue, self.encoded())


_MODULE_LINES: dict[str, Callable[[str, str], ModuleFrame]] = {
    "%%>connect": _connect,
    "%%>install": _install,
    "%%>uninstall": lambda rest, text: Uninstall(rest),
    "%%>watch": lambda rest, text: Watch(rest),
    "%%>unwatch": lambda rest, text: Unwatch(rest),
    "%%>output": lambda rest, text: Output(rest.strip(" \t")),
    "%%>debug": _debug,
    "%%>setlocal": _setlocal,
    "%%>message": _request,
    "%%<message": _answer,
}
