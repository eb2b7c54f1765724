"""Sound made up for a caller whose targets ring without any: `fork.fake` of call.execute.

It must not know how calls are forked.
"""

from __future__ import annotations

from .dispatcher import EngineMessage
from .endpoints import Endpoint, word

__all__ = ["Fake"]


class Fake:
    """What one fork lets its caller hear.

    Args:
        params: of the call; what is about this sound is taken out.

    Attributes:
        force: the message at which it begins even if a target has sound, "-" for any.
        ready: it may begin, once.
        on: it is what the caller hears.
    """

    def __init__(self, params: dict[str, str]) -> None:
        self.source = params.pop("fork.fake", "")
        self.force = params.pop("fork.fake_force", "")
        if self.force not in ("", "call.progress", "call.ringing"):
            self.force = "-"
        self.ready = bool(self.force and self.source)
        self.on = False
        self._renamed = params.pop("fork.fakemessage", "")
        self._result = params.pop("fork.fake_result_param", "")
        self._attach = _taken(params, "fork.fake.", also="autorepeat")
        self._changes = _taken(params, "fork.fake_msg_param.")

    async def begin(self, master: Endpoint, message: EngineMessage, *, last: bool) -> None:
        """Let the caller hear it, and say so in the message that a target rings."""
        self.ready = False
        attach = master.exchange.message(
            "chan.attach",
            (("id", master.id), ("source", self.source), ("single", word(True))),
        )
        for name, value in self._attach.items():
            attach.set(name, value)
        attach.user_data = master
        attached = await master.exchange.dispatch(attach)
        attach.user_data = None
        if attached:
            self.on = True
            message.name = self._renamed or message.name
            for name, value in self._changes.items():
                message.set(name, value)
        if self._result:
            message.set(self._result, word(attached))
        if last or self.force:
            # What was given for it serves once.
            self._attach = {}
            self._changes = {} if attached else self._changes


def _taken(params: dict[str, str], prefix: str, *, also: str = "") -> dict[str, str]:
    """Take the parameters with a prefix out of others, and return them without it."""
    names = [name for name in params if name.startswith(prefix) or name == also]
    return {name.removeprefix(prefix): params.pop(name) for name in names}
