"""The engine's writing end of a connection: who has to wait while a module does not read.

It must not know what a line means. A module that reads never makes anybody wait. When it stops and
no more fits into its socket, the line that does not fit holds the engine's thread that writes it,
without a limit; if the line is a request, the thread holds the connection's lock meanwhile, and
with it the reader and all others (extmodule.cpp, `received`, `outputLineInternal` and
`MsgWatcher::dispatched`; measured).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..transport import Transport

__all__ = ["Outlet"]

#: Bytes that are written at once; fewer wait for others of the same turn of the loop.
BATCH = 8192


class Outlet:
    """Writes lines to a module.

    Args:
        transport: carries them.

    Attributes:
        lines: how many were written so far.
    """

    def __init__(self, transport: Transport) -> None:
        self.lines = 0
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._batch: list[bytes] = []
        self._size = 0
        self._closed = False
        self._locked = False
        self._unlocked = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._draining: asyncio.Task[None] | None = None

    # The lock

    @property
    def locked(self) -> bool:
        """Tell whether somebody holds the lock."""
        return self._locked

    async def lock(self, limit: float | None) -> bool:
        """Take the lock; return False if others hold it for longer than `limit` seconds."""
        if not await _when(self._unlocked, lambda: not self._locked, limit):
            return False
        self._locked = True
        self._unlocked.clear()
        return True

    def unlock(self) -> None:
        """Give the lock back."""
        self._locked = False
        self._unlocked.set()

    async def pass_lock(self) -> None:
        """Wait until nobody holds the lock, however long."""
        while self._locked:
            await self._unlocked.wait()

    # Lines

    def write(self, line: bytes) -> None:
        """Write a line without waiting; all lines of one turn of the loop go out in one write."""
        if self._closed:
            return
        self.lines += 1
        self._batch.append(line)
        self._size += len(line)
        if self._size >= BATCH:
            self.flush()
        elif len(self._batch) == 1:
            self._loop.call_soon(self.flush)

    async def put(self, line: bytes, limit: float | None) -> bool:
        """Write a line and wait until it is taken.

        Returns:
            False if others have kept the outlet full for `limit` seconds: the line is lost. For
            its own line there is no limit.
        """
        if not await _when(self._room, self._room.is_set, limit):
            return False
        self.write(line)
        await self._room.wait()
        return True

    async def wait_for_room(self) -> None:
        """Wait until everything written is taken."""
        await self._room.wait()

    def flush(self) -> None:
        """Write what waits for other lines."""
        if self._batch:
            self._transport.write(b"".join(self._batch))
            self._batch.clear()
            self._size = 0
            if self._transport.full and self._room.is_set():
                self._room.clear()
                self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        await self._transport.drain()
        self._room.set()

    def close(self) -> None:
        """Write what is left, and nothing more: nobody waits any longer."""
        self.flush()
        self._closed = True
        self._room.set()
        if self._draining is not None:
            self._draining.cancel()


async def _when(event: asyncio.Event, true: Callable[[], bool], limit: float | None) -> bool:
    """Wait until something is true, of which the event tells; return False at the limit."""
    if not true():
        try:
            async with asyncio.timeout(limit):
                while not true():
                    await event.wait()
        except TimeoutError:
            return False
    return True
