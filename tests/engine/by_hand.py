"""A module typed by hand, on the embedded engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

from yateway.engine import Engine
from yateway.transport import Transport

#: A configuration with eight workers from the start: several messages may be held at a time.
EIGHT_WORKERS = Path(__file__).parent.parent / "data" / "conf"


class Hand:
    """Says lines to the engine and hears its lines."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._heard: list[str] = []
        self._rest = b""

    @classmethod
    async def on(cls, engine: Engine, role: str = "global") -> Self:
        """Connect to a listener of that role."""
        return cls(await engine.open(role))

    def say(self, *lines: str) -> None:
        """Send lines in one write."""
        text = "".join(f"{line}\n" for line in lines)
        self.transport.write(text.encode("utf-8", "surrogateescape"))

    async def hear(self, count: int = 1) -> list[str]:
        """Return the next lines; fewer when the engine closes."""
        async with asyncio.timeout(60):
            while len(self._heard) < count and (data := await self.transport.receive()):
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._heard += [line.decode("utf-8", "surrogateescape") for line in lines]
        heard, self._heard = self._heard[:count], self._heard[count:]
        return heard

    async def hear_rest(self) -> list[str]:
        """Return all lines until the engine closes."""
        return await self.hear(2**31)

    async def ask(self, *lines: str) -> list[str]:
        """Say lines and return as many."""
        self.say(*lines)
        return await self.hear(len(lines))

    async def is_quiet(self, seconds: float = 0.5) -> bool:
        """Tell whether nothing comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                return not await self.hear()
        except TimeoutError:
            return True

    async def request(self) -> tuple[str, str]:
        """Return the id of the next request, and what follows its time."""
        (line,) = await self.hear()
        keyword, id_, _, rest = line.split(":", 3)
        assert keyword == "%%>message"
        return id_, rest
