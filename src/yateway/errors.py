"""The exceptions of yateway.

    YatewayError
    ├── ProtocolError
    │   ├── LocalProtocolError    ours is at fault: what we were asked to send has no legal line
    │   └── RemoteProtocolError   theirs is at fault: what came in is no legal line
    ├── ConnectionLost            the link ended before the answer came
    ├── InstallRefused            the engine said false to an install or a watch
    ├── DispatchTimeout           no answer within the dispatch timeout (also a TimeoutError)
    ├── CallEnded                 the call is over
    ├── UnsafePath                a file name that leaves the configured root
    └── ConfigError               a setting, an address or a module file cannot be used

Attributes carry the data. The text of an error never contains an unescaped value from the wire.
"""

from __future__ import annotations

__all__ = [
    "CallEnded",
    "ConfigError",
    "ConnectionLost",
    "DispatchTimeout",
    "InstallRefused",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "UnsafePath",
    "YatewayError",
    "shown",
]

#: How many characters of a foreign value an error or a log line shows, and how many they may become
#: by escaping. A caller can make a value as long as the engine's largest line; a log line shows up
#: to three of them and stays under 1 KiB (guarantee F6).
SHOWN_CHARACTERS = 75
SHOWN_ESCAPED = 256


def shown(value: str | bytes) -> str:
    """Return `value` quoted, escaped and cut so that it can stand in a log line or an error."""
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    quoted = ascii(text[:SHOWN_CHARACTERS])
    if len(text) <= SHOWN_CHARACTERS and len(quoted) <= SHOWN_ESCAPED:
        return quoted
    return f"{quoted[:SHOWN_ESCAPED]}... ({len(text)} characters)"


class YatewayError(Exception):
    """Base of every error that yateway raises on purpose."""


class ProtocolError(YatewayError):
    """A line that the protocol does not allow."""


class LocalProtocolError(ProtocolError):
    """We were asked to send what the protocol cannot carry; nothing was sent.

    Attributes:
        field: the name of the field or parameter at fault, empty when it is the whole line.
    """

    def __init__(self, text: str, *, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that are no legal line.

    Attributes:
        line: the line as it came (without its newline), empty when the stream itself is at fault.
        partial: what could be read before the fault, if anything; the engine applies so much of a
            malformed answer (engine.md part 1, "Requests to the module and answers").
    """

    def __init__(self, text: str, *, line: str = "", partial: object | None = None) -> None:
        super().__init__(text)
        self.line = line
        self.partial = partial


class ConnectionLost(YatewayError):
    """The link to the engine ended while something waited for it."""


class InstallRefused(YatewayError):
    """The engine refused an install or a watch.

    Attributes:
        name: the name of the message whose handler or watcher was refused.
    """

    def __init__(self, text: str, *, name: str) -> None:
        super().__init__(text)
        self.name = name


class DispatchTimeout(YatewayError, TimeoutError):
    """The engine did not answer a dispatched message in time.

    Attributes:
        name: the name of the message.
        seconds: how long it was waited for.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"no answer to {shown(name)} within {seconds:g} s")
        self.name = name
        self.seconds = seconds


class CallEnded(YatewayError):
    """The call is over; raised inside the coroutine that owns it."""


class UnsafePath(YatewayError):
    """A file name would leave the configured root, or no root is configured."""


class ConfigError(YatewayError):
    """A setting, an address, a priority or a module file cannot be used as given."""
