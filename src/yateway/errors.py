"""The exceptions of yateway.

    YatewayError
    ├── ProtocolError
    │   ├── LocalProtocolError    ours is at fault: what we were asked to send has no legal line
    │   └── RemoteProtocolError   theirs is at fault: what came in is no legal line
    ├── ConnectionLost            the link ended before the answer came
    ├── InstallRefused            the engine said false to an install or a watch
    ├── DispatchTimeout           no answer within the dispatch timeout (also a TimeoutError)
    ├── CallEnded                 the call is over
    ├── CallFailed                a call that we made was not answered
    ├── UnsafePath                a file name that leaves the configured root
    └── ConfigError               a setting, an address or a module file cannot be used

Attributes carry the data. The text of an error never contains an unescaped value from the wire.
"""

from __future__ import annotations

import re

__all__ = [
    "CallEnded",
    "CallFailed",
    "ConfigError",
    "ConnectionLost",
    "DispatchTimeout",
    "InstallRefused",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "UnsafePath",
    "YatewayError",
    "is_secret",
    "masked",
    "shown",
]

#: How many characters of a foreign value an error or a log line shows, and how many they may become
#: by escaping. A caller can make a value as long as the engine's largest line; a log line shows up
#: to three of them and stays under 1 KiB (guarantee F6).
SHOWN_CHARACTERS = 75
SHOWN_ESCAPED = 256

#: What stands in place of a secret (guarantee F7).
HIDDEN = "***"

# Of a name like "auth.response" or "sip_authorization" each part counts.
_SECRET = re.compile(r"password|passwd|secret|token|(?:^|[._-])auth", re.IGNORECASE)
_PARAMETER = re.compile(r":([^:=]+)=[^:]+")
# The return value of user.auth is the password.
_USER_AUTH = re.compile(r"(%%[<>]message:[^:]*:[^:]*:user\.auth:)[^:]+")


def is_secret(name: str) -> bool:
    """Tell whether the value of a parameter of this name is not to be shown or kept."""
    # A handler may have given what is no text: that is told where it is to be sent.
    return _SECRET.search(str(name)) is not None


def masked(line: str) -> str:
    """Return a line of the protocol, or a part of one, without the secrets in it."""
    if "user.auth" in line:
        line = _USER_AUTH.sub(rf"\g<1>{HIDDEN}", line)
    return _PARAMETER.sub(_without_value, line) if _SECRET.search(line) else line


def _without_value(parameter: re.Match[str]) -> str:
    return f":{parameter[1]}={HIDDEN}" if is_secret(parameter[1]) else parameter[0]


def shown(value: object) -> str:
    """Return a text or bytes quoted, escaped, without secrets and cut, for a log line or an error.

    Of what is neither, and stands where a text belongs, it tells the type.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    elif not isinstance(value, str):
        value = f"<{type(value).__name__}>"
    text = value
    quoted = ascii(masked(text[:SHOWN_CHARACTERS]))
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
    """The call is over; raised inside the coroutine that owns it, and by what is asked of it later.

    Attributes:
        id: of the channel at the other end.
        reason: why, as Yate says it: "hangup", "busy"; "engine lost" when the engine has gone.
        cause: the SIP status that came with it, None if there was none.
    """

    def __init__(self, text: str, *, id: str, reason: str = "", cause: int | None = None) -> None:
        super().__init__(text)
        self.id = id
        self.reason = reason
        self.cause = cause


class CallFailed(YatewayError):
    """A call that we made was not answered.

    Attributes:
        target: where it was to go.
        reason: why, as Yate says it: "busy", "noanswer", "noroute"; "timeout" for our own limit.
        cause: the SIP status that came with it, None if there was none.
    """

    def __init__(self, text: str, *, target: str, reason: str, cause: int | None = None) -> None:
        super().__init__(text)
        self.target = target
        self.reason = reason
        self.cause = cause


class UnsafePath(YatewayError):
    """A file name would leave the configured root, or no root is configured."""


class ConfigError(YatewayError):
    """A setting, an address, a priority or a module file cannot be used as given."""
