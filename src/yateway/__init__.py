"""yateway: the Python gateway to the Yate telephony engine."""

from .call import Call
from .campaign import Campaign, Outcome
from .errors import (
    CallEnded,
    CallFailed,
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
from .paths import safe_path
from .resync import Channel, Resync
from .routing import Continue, Fork, Reject, Route, Then, digits, safe_target

__all__ = [
    "Call",
    "CallEnded",
    "CallFailed",
    "Campaign",
    "Channel",
    "ConfigError",
    "ConnectionLost",
    "Continue",
    "DispatchTimeout",
    "Fork",
    "InstallRefused",
    "LocalProtocolError",
    "Message",
    "Module",
    "Outcome",
    "ProtocolError",
    "Reject",
    "RemoteProtocolError",
    "Resync",
    "Route",
    "Then",
    "UnsafePath",
    "YatewayError",
    "digits",
    "safe_path",
    "safe_target",
]
