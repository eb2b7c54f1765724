"""The calls that are alive, to be found by channel, by bill id, by caller.

It must not change a call: it is told of channels that come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .call import Call
    from .line import Line

__all__ = ["Calls", "whole"]


class Calls:
    """The live calls of a module; iterates over them in the order in which they began."""

    def __init__(self) -> None:
        self._calls: dict[Line, None] = {}
        self._channels: dict[str, Line] = {}

    def __repr__(self) -> str:
        return f"<Calls {len(self)}>"

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter([whole(line) for line in self._calls])

    def __contains__(self, call: object) -> bool:
        return call in self._calls

    def get(self, channel: str) -> Call | None:
        """Return the call of a channel, the person's or our leg, None if it is none of ours."""
        line = self._channels.get(channel)
        return None if line is None else whole(line)

    def of_bill(self, billid: str) -> list[Call]:
        """Return the calls with a bill id; several when one of them was made for another."""
        return [call for call in self if call.billid == billid]

    def of_caller(self, caller: str) -> list[Call]:
        """Return the calls of a caller's number."""
        return [call for call in self if call.caller == caller]

    # What the switchboard tells

    def add(self, call: Line) -> None:
        """Take up a call, by all the channels that it has."""
        self._calls[call] = None
        for channel in (call.id, call.leg):
            self.track(call, channel)

    def remove(self, call: Line) -> None:
        """Forget a call."""
        self._calls.pop(call, None)
        for channel in (call.id, call.leg):
            if self._channels.get(channel) is call:
                del self._channels[channel]

    def track(self, call: Line, channel: str) -> None:
        """Take note of one more channel of a call."""
        if channel:
            self._channels[channel] = call

    def untrack(self, channel: str) -> None:
        """Forget a channel."""
        self._channels.pop(channel, None)


def whole(line: Line) -> Call:
    """Return a line as the call that it is.

    There is no other kind: the classes below `Call` only divide what it can do.
    """
    return cast("Call", line)
