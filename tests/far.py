"""The far end of a connection, typed by hand: for tests in which every line counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from yateway.memory import memory_pair
from yateway.transport import Transport


class Far:
    """What the engine would be: says lines, hears lines, and replies to a module's set-up."""

    def __init__(self) -> None:
        self.near, self._end = memory_pair("memory:test")
        self._rest = b""
        self.heard: list[str] = []

    def say(self, *lines: str) -> None:
        """Send lines to the module."""
        text = "".join(f"{line}\n" for line in lines)
        self._end.write(text.encode("utf-8", "surrogateescape"))

    def say_bytes(self, data: bytes) -> None:
        """Send bytes to the module."""
        self._end.write(data)

    async def hear(self, count: int = 1) -> list[str]:
        """Return the next lines of the module; fewer when it closes."""
        while len(self.heard) < count and (data := await self._end.receive()):
            *complete, self._rest = (self._rest + data).split(b"\n")
            self.heard += [line.decode("utf-8", "surrogateescape") for line in complete]
        lines, self.heard = self.heard[:count], self.heard[count:]
        return lines

    async def hear_all(self) -> list[str]:
        """Return every line until the module closes."""
        return await self.hear(2**31)

    def close(self) -> None:
        """Close the connection."""
        self._end.abort()

    async def accept(self, *, timeout: str = "10000", refuse: str | None = None) -> list[str]:
        """Reply to a module's set-up as an engine does, and return its lines.

        Args:
            timeout: the engine's timeout in milliseconds.
            refuse: the name of a message whose install or watch is refused.
        """
        # The module sends its whole set-up in one write.
        setup = await self.hear()
        setup, self.heard = setup + self.heard, []
        for line in setup:
            keyword, _, rest = line.partition(":")
            if keyword == "%%>setlocal":
                name, _, value = rest.partition(":")
                self.say(f"%%<setlocal:{name}:{value or timeout}:true")
            elif keyword in ("%%>install", "%%>watch"):
                *head, name = rest.split(":")[:2] if keyword == "%%>install" else [rest]
                success = "false" if name == refuse else "true"
                self.say(":".join([f"%%<{keyword[3:]}", *head, name, success]))
        return setup


def opener_to(*ends: Far) -> Callable[[], Awaitable[Transport]]:
    """Return an opener whose connections lead to these far ends, one after the other."""
    waiting = list(ends)

    async def opener() -> Transport:
        if not waiting:
            raise ConnectionRefusedError("nobody listens any more")
        return waiting.pop(0).near

    return opener
