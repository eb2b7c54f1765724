"""One frozen value per protocol line, both directions; its `text()` is its line.

It must not keep state or read lines: that is `reading.py`. What a line means for a connection is
decided in `connection.py` (the module's side) and `engine/session.py` (the engine's side).

Two of these come with every message, `Request` and `Answer`: they are named tuples, because a
frozen dataclass of five fields takes five times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..errors import LocalProtocolError, shown
from .codec import INT_MAX, Memo, escape, to_bytes

__all__ = [
    "PRIORITY_DEFAULT",
    "Answer",
    "Connect",
    "Debug",
    "EngineFrame",
    "EngineReply",
    "ErrorIn",
    "Frame",
    "Install",
    "Installed",
    "ModuleFrame",
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
    "answer_text",
    "check_line",
    "encode",
    "request_text",
]

ROLES = ("global", "channel", "play", "record", "playrec")
PRIORITY_DEFAULT = 100

# Messages of a few names are sent again and again: a lookup takes a fifth of an escape's time.
_NAMES: Memo[str] = Memo(escape)


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
        if not -INT_MAX <= self.priority < INT_MAX:
            raise LocalProtocolError(
                f"the engine would read the priority {self.priority} as {PRIORITY_DEFAULT}: give"
                f" less than {INT_MAX}",
                field="priority",
            )
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
    """`%%>debug:<level>:<text>`, a line in the engine's debug log; levels are 1 to 10."""

    level: int
    content: str

    def text(self) -> str:
        return f"%%>debug:{self.level}:{escape(self.content)}"


@dataclass(frozen=True, slots=True)
class Quit:
    """`%%>quit`; nothing after it is read by the engine."""

    def text(self) -> str:
        return "%%>quit"


class Request(NamedTuple):
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
        return request_text(*self)


def request_text(id: str, time: int, name: str, retvalue: str, params: str) -> str:
    """Return the line of a `Request`, without which a message of our own can do.

    Raises:
        LocalProtocolError: a field cannot be sent.
    """
    if name == "user.auth" and "\0" in retvalue:
        raise LocalProtocolError("NUL in the return value of user.auth, a secret: remove it")
    if retvalue:
        retvalue = escape(retvalue)
    # Ours are numbers.
    if not id.isalnum():
        id = escape(id)
    return f"%%>message:{id}:{time}:{_NAMES[name]}:{retvalue}{params}"


class Answer(NamedTuple):
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
        return answer_text(*self)


def answer_text(id: str, processed: bool, name: str, retvalue: str | None, params: str) -> str:
    """Return the line of an `Answer`; this runs for each message, so that it needs none.

    Raises:
        LocalProtocolError: a field cannot be sent.
    """
    # What the engine gives as ids, two numbers with a dot between them, needs no escape.
    if "%" in id or ":" in id or not id.isprintable():
        id = escape(id)
    head = ":true:" if processed else ":false:"
    if retvalue is None:
        if name or params:
            raise LocalProtocolError("an answer with a name or parameters needs its retvalue")
        return f"%%<message:{id}{head}"
    # Most answers keep the name.
    if name:
        head += escape(name)
    return f"%%<message:{id}{head}:{escape(retvalue)}{params}"


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
EngineReply: TypeAlias = (
    Installed | Uninstalled | Watched | Unwatched | SetLocalDone | QuitDone | ErrorIn
)  # fmt: skip
EngineFrame: TypeAlias = EngineReply | Request | Answer
Frame: TypeAlias = ModuleFrame | EngineFrame


def check_line(text: str) -> int:
    """Return how many bytes a line takes without its line feed.

    Raises:
        LocalProtocolError: it cannot be sent.
    """
    # The last line of defence (guarantee F1): parameters and replies are put in as they are.
    if "\n" in text or "\0" in text:
        raise LocalProtocolError(f"a line feed or NUL would end the line early: {shown(text)}")
    return len(text) if text.isascii() else len(to_bytes(text))


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame, its line feed included.

    Raises:
        LocalProtocolError: a field cannot be sent.
    """
    text = frame.text()
    check_line(text)
    return f"{text}\n".encode("utf-8", "surrogateescape")
