"""The one call of a script that the engine has started for it: `external/nodata/SCRIPT NAME`.

It must not know what is said in the call. Such a script has a channel of its own, over which its
messages act (engine.md part 3, 5.3): the engine asks it to take the call, and closes its standard
input when the call is over. The channel goes with the call, so that nobody can be brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from .errors import LocalProtocolError, shown
from .handlers import label
from .link import Link
from .log import logger
from .message import Message
from .wire.frames import SetLocal, SetLocalDone

__all__ = ["Script"]

_F = TypeVar("_F", bound=Callable[..., object])


class Script:
    """What a script has to know of itself.

    Args:
        leg: the id of its channel.
    """

    def __init__(self, leg: str) -> None:
        self.leg = leg
        self.called = False
        self._ready = False
        self._request: tuple[Link, Message] | None = None

    async def find_out(self, link: Link) -> bool:
        """Ask the engine whether we have a channel: whether it has started us for a call."""
        # Nothing but a script that was called can set this.
        reply = await link.command(SetLocal("id", self.leg))
        self.called = isinstance(reply, SetLocalDone) and reply.success
        if self.called:
            # Else the reason of the end would not be told.
            await link.command(SetLocal("disconnected", "true"))
        return self.called

    def asked(self, link: Link, message: Message) -> tuple[Link, Message] | None:
        """Take the engine's question; return it when the events of the call are watched."""
        self._request = (link, message)
        return self._request if self._ready else None

    def ready(self) -> tuple[Link, Message] | None:
        """Take note that the events are watched; return the question that has come before."""
        self._ready = True
        return self._request

    def accept(self, link: Link, message: Message) -> None:
        """Take the call."""
        message["targetid"] = self.leg
        link.finish(message, processed=True)

    def refuse(self, link: Link, message: Message) -> None:
        """Leave the call to whoever comes next."""
        link.finish(message, processed=False)

    def choose(self, message: Message, functions: Mapping[str, _F]) -> _F | None:
        """Return the function for the call: the one that is named, or the only one.

        It is named by the parameter `call` of the call, else by the script's argument.
        """
        argument = message.get("callto", "").partition(" ")[2].strip(" \t")
        name = message.get("call") or argument
        if name in functions:
            return functions[name]
        if len(functions) == 1 and "call" not in message:
            return next(iter(functions.values()))
        logger.error(
            "the call is for %s, and there are only: %s; write external/nodata/SCRIPT NAME",
            shown(name),
            ", ".join(f"{shown(name)} ({label(f)})" for name, f in functions.items()) or "none",
        )
        return None

    def needs_attachment(self, what: str) -> None:
        """Refuse what only a module can do that is attached for itself.

        Raises:
            LocalProtocolError: we are a script that was called.
        """
        if self.called:
            raise LocalProtocolError(
                f"a script cannot {what}, for its channel goes with the call: run the module by"
                " itself, and route the call to module.take()"
            )
