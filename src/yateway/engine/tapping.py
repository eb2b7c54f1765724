"""Records a module's side of its connections, whatever engine they lead to.

It must not change what passes: a tapped transport reads and writes as the one it stands for.
"""

from __future__ import annotations

from ..transport import Opener, Transport
from .recording import Recording, Tap

__all__ = ["tapped"]


def tapped(opener: Opener, recording: Recording) -> Opener:
    """Return an opener whose connections are those of `opener` and are recorded.

    Args:
        recording: takes the lines; connections are called m1, m2, ...
    """
    count = 0

    async def open_tapped() -> Transport:
        nonlocal count
        transport = await opener()
        count += 1
        return _Tapped(transport, recording.tap(f"m{count}"))

    return open_tapped


class _Tapped(Transport):
    def __init__(self, transport: Transport, tap: Tap) -> None:
        self.name = transport.name
        self.single = transport.single
        self._transport = transport
        self._tap = tap
        self._rest = {"A": b"", "E": b""}
        self._ended = False
        tap("A", event=f"connect {self.name}")

    async def receive(self) -> bytes:
        data = await self._transport.receive()
        if data:
            self._take("E", data)
        elif not self._ended:
            self._ended = True
            self._tap("E", event="closed")
        return data

    def write(self, data: bytes) -> None:
        self._take("A", data)
        self._transport.write(data)

    async def drain(self) -> None:
        await self._transport.drain()

    @property
    def full(self) -> bool:
        return self._transport.full

    @property
    def waiting(self) -> int:
        return self._transport.waiting

    async def close(self) -> None:
        await self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def reset(self) -> None:
        self._transport.reset()

    def _take(self, direction: str, data: bytes) -> None:
        *lines, self._rest[direction] = (self._rest[direction] + data).split(b"\n")
        for line in lines:
            self._tap(direction, line)
