"""A conference room of Yate's module conference: who is in it, mute, put out.

It must not move anybody there: `Call.conference` does. The room tells what happens in it by
chan.notify, to the notify id that its first member gave (engine.md part 3, 5.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from .errors import shown
from .message import Message, Value

__all__ = ["Conference"]


class Conference:
    """A room, as seen by the module that made it.

    Attributes:
        room: its name.
        notify: the id by which it tells us what happens.
        members: the channels in it, by the channel of the room ("conf/1") that each is connected
            to: "sip/46", or empty for one that came without us.
    """

    def __init__(self, room: str, dispatch: Callable[..., Awaitable[Message]]) -> None:
        self.room = room
        self.notify = ""
        self.members: dict[str, str] = {}
        self._dispatch = dispatch
        self._changed = asyncio.Event()
        self._entering = 0
        # The engine's threads may tell that a channel has left before they tell that it came.
        self._gone: set[str] = set()

    def __repr__(self) -> str:
        return f"<Conference {shown(self.room)} members={sorted(self.members)}>"

    def __len__(self) -> int:
        return len(self.members)

    @property
    def persons(self) -> list[str]:
        """The channels of the persons in it, in the order in which they came."""
        return [person for person in self.members.values() if person]

    async def changed(self) -> None:
        """Wait until somebody comes or leaves."""
        self._changed.clear()
        await self._changed.wait()

    async def mute(self, member: str, muted: bool = True) -> bool:
        """Let the others not hear a member, or hear them again; tell whether that was done.

        Args:
            member: the room's channel or the person's.
        """
        # The room's channels take chan.control whatever they reply (conference.cpp).
        return await self._control(member, mute=muted)

    async def kick(self, member: str, reason: str = "kicked") -> bool:
        """Put a member out; tell whether there was one.

        Args:
            member: the room's channel or the person's.
        """
        channel = self._channel(member)
        if channel is None:
            return False
        answer = await self._dispatch("call.drop", {"id": channel, "reason": reason})
        return answer.processed

    async def _control(self, member: str, **params: Value) -> bool:
        channel = self._channel(member)
        if channel is None:
            return False
        await self._dispatch("chan.control", {"targetid": channel, **params})
        return True

    def _channel(self, member: str) -> str | None:
        if member in self.members:
            return member
        return next((room for room, person in self.members.items() if person == member), None)

    # What the switchboard tells

    @property
    def deserted(self) -> bool:
        """Whether nobody is in it or about to come."""
        return not self.members and not self._entering

    @contextmanager
    def entering(self) -> Iterator[None]:
        """Somebody is about to come while the block runs."""
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    def notified(self, message: Message) -> None:
        """Take note of what happens in the room."""
        channel = message.get("id", "")
        match message.get("event"):
            case "joined":
                if channel not in self._gone:
                    self.members.setdefault(channel, "")
            case "left":
                self.members.pop(channel, None)
                self._gone.add(channel)
            case _:
                return
        self._changed.set()

    def joined(self, channel: str, person: str) -> None:
        """Take note of whose channel of the room it is; we know from moving them there."""
        if channel not in self._gone:
            self.members[channel] = person
        self._changed.set()
