"""yateway: the Python gateway to the Yate telephony engine."""

from .errors import (
    CallEnded,
    ConfigError,
    ConnectionLost,
    DispatchTimeout,
    InstallRefused,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    UnsafePath,
    YatewayError,
)
from .message import Message
from .module import Module
from .routing import Continue, Fork, Reject, Route, Then

__all__ = [
    "CallEnded",
    "ConfigError",
    "ConnectionLost",
    "Continue",
    "DispatchTimeout",
    "Fork",
    "InstallRefused",
    "LocalProtocolError",
    "Message",
    "Module",
    "ProtocolError",
    "Reject",
    "RemoteProtocolError",
    "Route",
    "Then",
    "UnsafePath",
    "YatewayError",
]
