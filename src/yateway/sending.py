"""What a module says to its engine: messages, settings, lines of its log.

It must not know handlers. `Module` is a `Sender` that also listens.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import ConnectionLost, LocalProtocolError, shown
from .lifespan import SENDER, Life, Plan, set_local
from .link import Link
from .message import Message, Value
from .wire.frames import Debug, Output

__all__ = ["DISPATCH_TIMEOUT", "Sender"]

#: Seconds that `dispatch` waits for the engine. Messages such as call.execute may pass through
#: several handlers with 10 s each.
DISPATCH_TIMEOUT = 60.0
#: Characters of log text that go into one line: with four bytes each they fit the largest bufsize.
OUTPUT_CHARACTERS = 16_000

# Control characters as they stand in a log line; a line break in a text from a caller could
# otherwise forge a line, or in `%%>output:` even be a command (engine.md Y3).
_VISIBLE = {code: ascii(chr(code))[1:-1] for code in (*range(0x20), 0x7F)}


class Sender:
    """Sends what is asked for over the module's first link, while it is attached.

    Attributes:
        name: of the module.
    """

    def __init__(self, name: str, plan: Plan, dispatch_timeout: float | None) -> None:
        self.name = name
        self._plan = plan
        self._dispatch_timeout = dispatch_timeout
        self._life: Life | None = None

    @property
    def attached(self) -> bool:
        """Whether there is a link that is set up."""
        primary = self._life.primary if self._life is not None else None
        return primary is not None and primary.usable

    def _alive(self) -> tuple[Life, Link]:
        life = self._life
        if life is None or (primary := life.primary) is None:
            raise ConnectionLost(f"module {self.name} is not attached to an engine")
        return life, primary

    async def dispatch(
        self,
        message: str | Message,
        params: Mapping[str, Value | None] | None = None,
        /,
        **more: Value | None,
    ) -> Message:
        """Send a message and wait until the engine's handlers are done with it.

        Args:
            message: the message, or its name.
            params: parameters, where their names are no Python identifiers ("callto.1").
            more: further parameters; every keyword is one. None leaves a parameter out.

        Limit the time with `asyncio.timeout`, or for all with the module's `dispatch_timeout`.

        Returns:
            The message as the handlers left it, with `processed` and `retvalue`.

        Raises:
            ConnectionLost: not attached, or the link ended first. Nothing is sent again.
            DispatchTimeout: no answer in time.
            LocalProtocolError: the message cannot be sent.
        """
        life, link = self._alive()
        made = _made(message, params, more)
        if not self._plan.reaches_further_connection(made.name):
            return await link.dispatch(made, self._dispatch_timeout)
        # The engine keeps our messages from our own handlers by connection (`reenter`). Where a
        # further priority sits on a further connection, this mark does the same.
        made[SENDER] = life.sender
        answer = await link.dispatch(made, self._dispatch_timeout)
        answer.pop(SENDER, None)
        return answer

    async def enqueue(
        self,
        message: str | Message,
        params: Mapping[str, Value | None] | None = None,
        /,
        **more: Value | None,
    ) -> None:
        """Send a message without waiting for its handlers; the engine sends no answer.

        The arguments are those of `dispatch`. The engine offers the message to our own handlers
        too: without an id it does not know the sender (engine.md part 1).

        Raises:
            ConnectionLost: not attached.
            LocalProtocolError: the message cannot be sent.
        """
        await self._alive()[1].send(_made(message, params, more).to_request())

    async def drop_all_calls(self, driver: str = "", *, reason: str = "dropped") -> None:
        """Hang up every call of the engine, or every channel of one driver.

        `dispatch` and `enqueue` refuse a `call.drop` that would do this, since it is hardly ever
        meant: an id that is empty or missing is enough (engine.md part 5, 11).

        Args:
            driver: a driver's name, for example "sip"; empty for all.
            reason: what the calls are told.

        Raises:
            ConnectionLost, DispatchTimeout: as `dispatch`.
        """
        message = Message("call.drop", {"id": driver} if driver else {}, reason=reason)
        await self._alive()[1].dispatch(message, self._dispatch_timeout)

    async def setlocal(self, name: str, value: Value) -> str:
        """Change a setting of our connections; it is set again after a reconnect.

        Returns:
            The value as the engine took it (it clamps numbers).

        Raises:
            ConfigError: the engine does not know the setting, or it is read only.
            ConnectionLost: not attached.
        """
        life, primary = self._alive()
        text = Message("", {name: value})[name]
        taken = await set_local(primary, name, text)
        self._plan.settings[name] = text
        await life.setting_changed(name, text, taken)
        return taken

    async def getlocal(self, name: str) -> str:
        """Ask for a setting of the connection or the engine, for example "engine.version".

        Raises:
            ConfigError: the engine does not know it.
            ConnectionLost: not attached.
        """
        return await set_local(self._alive()[1], name, "")

    async def output(self, text: str) -> None:
        """Write a line into the engine's log; line breaks and control characters are escaped.

        A text too long for one line goes into several.

        Raises:
            ConnectionLost: not attached.
        """
        _, link = self._alive()
        for piece in _pieces(text):
            await link.send(Output(piece))

    async def debug(self, level: int, text: str) -> None:
        """Write a line into the engine's debug log, at a level of 1 (tests) to 10 (everything).

        Raises:
            ConnectionLost: not attached.
        """
        _, link = self._alive()
        for piece in _pieces(text):
            await link.send(Debug(level, piece))


def _made(
    message: str | Message,
    params: Mapping[str, Value | None] | None,
    more: dict[str, Value | None],
) -> Message:
    given = {**params, **more} if params else more
    if isinstance(message, str):
        message = Message.sent(message, given)
    else:
        for name, value in given.items():
            if value is not None:
                message[name] = value
    if message.name == "call.drop" and "/" not in message.get("id", ""):
        raise LocalProtocolError(
            f"call.drop with the id {shown(message.get('id', ''))} would hang up every call: give"
            " the id of a channel, as in sip/1, or use drop_all_calls",
            field="id",
        )
    return message


def _pieces(text: str) -> list[str]:
    visible = text.translate(_VISIBLE)
    return [
        visible[start : start + OUTPUT_CHARACTERS]
        for start in range(0, len(visible), OUTPUT_CHARACTERS)
    ]
