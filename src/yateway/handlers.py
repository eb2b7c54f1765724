"""The table of a module's handlers: who is asked about what, over which connection.

It must not do I/O. The engine takes one install for a name and connection, whatever its priority or
filter (engine.md Y4). Handlers of one name and priority therefore share an install, and each
further priority of a name goes over a further connection, so that a priority always means what
Yate means by it. The engine's filter is used only when all handlers of an install have the same.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from .errors import ConfigError, shown
from .message import Message
from .routing import Continue, Fork, Reject, Route, Verdict
from .wire.frames import PRIORITY_DEFAULT, Install, encode

__all__ = ["Handler", "HandlerFunction", "HandlerTable", "Installation", "label"]

HandlerFunction: TypeAlias = Callable[[Message], Verdict | Awaitable[Verdict]]


def label(function: Callable[..., object]) -> str:
    """Name a function for people: "route (router.py:12)"."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__qualname__", type(function).__name__)
    if code is None:
        return str(name)
    return f"{name} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})"


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler function and what it is for.

    Attributes:
        name: the message it is asked about.
        priority: when: the lowest first.
        filter: ask only when the parameter has exactly this value; an absent one counts as empty.
        deadline: seconds it may take, None for the module's.
    """

    name: str
    function: HandlerFunction
    priority: int = PRIORITY_DEFAULT
    filter: tuple[str, str] | None = None
    deadline: float | None = None
    label: str = field(init=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a handler needs the name of a message; the engine refuses none")
        if self.deadline is not None and self.deadline <= 0:
            raise ConfigError(f"a deadline of {self.deadline} s leaves no time: give more than 0")
        if self.filter is not None and not self.filter[0]:
            raise ConfigError("a filter needs the name of a parameter: the engine takes no other")
        # What cannot be sent as an install is refused here and not when the engine is there.
        encode(self.install())
        object.__setattr__(self, "label", label(self.function))

    def install(self) -> Install:
        """Return the line that installs this handler alone."""
        return Install(self.name, self.priority, *(self.filter or ()))

    def matches(self, message: Message) -> bool:
        """Tell whether the filter lets the message through."""
        if self.filter is None:
            return True
        name, value = self.filter
        return message.get(name, "") == value

    def apply(self, verdict: object, message: Message) -> bool:
        """Write what the handler returned into the message; tell whether it is processed.

        Raises:
            TypeError: a handler may not return this.
        """
        if isinstance(verdict, str):
            message.retvalue = verdict
            return True
        if verdict is None:
            return False
        if isinstance(verdict, bool):
            return verdict
        if isinstance(verdict, (Route, Reject, Continue, Fork)):
            return verdict.apply(message)
        raise TypeError(
            f"a handler cannot return {type(verdict).__name__}: return None or False to decline,"
            " True or a return value to process, or Route, Reject, Continue, Fork"
        )


@dataclass(slots=True)
class Installation:
    """What one connection installs for one name: handlers of one priority, in order."""

    name: str
    priority: int
    handlers: tuple[Handler, ...] = ()

    def frame(self) -> Install:
        """Return the install; it has a filter only when all handlers have the same."""
        first = self.handlers[0]
        if all(handler.filter == first.filter for handler in self.handlers):
            return first.install()
        return Install(self.name, self.priority)


class HandlerTable:
    """The handlers of a module, by connection and name.

    Attributes:
        connections: for each connection that is needed, its installations by name.
    """

    def __init__(self) -> None:
        self.connections: list[dict[str, Installation]] = [{}]

    def add(self, handler: Handler) -> int:
        """Add a handler and return the number of the connection that it is asked over."""
        number = 0
        while number < len(self.connections):
            installation = self.connections[number].get(handler.name)
            if installation is None or installation.priority == handler.priority:
                break
            number += 1
        else:
            self.connections.append({})
        installation = self.connections[number].setdefault(
            handler.name, Installation(handler.name, handler.priority)
        )
        installation.handlers += (handler,)
        return number

    def remove(self, name: str) -> list[int]:
        """Remove all handlers of a name; return the numbers of the connections that had some."""
        return [
            number
            for number, installed in enumerate(self.connections)
            if installed.pop(name, None) is not None
        ]

    def frame(self, number: int, name: str) -> Install | None:
        """Return what is to be installed for a name over a connection."""
        installation = self.connections[number].get(name)
        return installation.frame() if installation else None

    def check_single(self) -> None:
        """Refuse a table that needs more than one connection.

        Raises:
            ConfigError: standard input and output are one connection; it names the handlers.
        """
        if len(self.connections) > 1:
            for name, further in self.connections[1].items():
                first, other = self.connections[0][name], further
                raise ConfigError(
                    f"handlers of {shown(name)} with the priorities {first.priority}"
                    f" ({first.handlers[0].label}) and {other.priority}"
                    f" ({other.handlers[0].label}) need a connection each, and standard input and"
                    " output are only one: give them one priority, or attach over TCP or UNIX"
                )
