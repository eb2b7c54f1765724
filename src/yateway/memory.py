"""A connection without a network: two transports in memory, for tests and the embedded engine.

It must not be faster than a network in what counts: as with a socket, who writes more than the far
end reads has to wait.
"""

from __future__ import annotations

import asyncio

from .transport import Transport

__all__ = ["SOCKET_ROOM", "memory_pair"]

#: Bytes that a socket takes in memory before its writer has to wait, as a UNIX socket of Linux.
SOCKET_ROOM = 212992


class _MemoryTransport(Transport):
    """One end of a pair; what one writes the other receives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.peer: _MemoryTransport = self
        self._received: list[bytes] = []
        self._unread = 0
        self._readable = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False
        self._closed = False

    async def receive(self) -> bytes:
        await self._readable.wait()
        data = b"".join(self._received)
        self._received.clear()
        self._unread = 0
        self._taken.set()
        if not self._ended:
            self._readable.clear()
        return data

    def write(self, data: bytes) -> None:
        if data and not self._closed and not self.peer._closed:
            self.peer._received.append(data)
            self.peer._unread += len(data)
            self.peer._readable.set()

    async def drain(self) -> None:
        await asyncio.sleep(0)
        while self.full:
            self.peer._taken.clear()
            await self.peer._taken.wait()

    @property
    def full(self) -> bool:
        return self.peer._unread > SOCKET_ROOM and not self._ended

    @property
    def waiting(self) -> int:
        return self.peer._unread

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._closed = True
        for end in (self, self.peer):
            end._ended = True
            end._readable.set()
            end._taken.set()


def memory_pair(name: str = "memory:") -> tuple[Transport, Transport]:
    """Return two transports, each the other's far end.

    As with a socket, `drain` waits while the far end leaves more than 208 KiB unread.
    """
    one, other = _MemoryTransport(name), _MemoryTransport(name)
    one.peer, other.peer = other, one
    return one, other
