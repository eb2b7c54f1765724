"""What all drivers have in common: a table of channels, and the messages that find them in it.

It must not know what a driver's channels do. Which messages a driver handles, and at which
priority, is the real engine's choice; masquerade, locate, drop and execute are the ones that the
calls of a module go through (engine.md 5.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from .channels import Channel
from .dispatcher import EngineMessage, Handler
from .endpoints import Endpoint, Exchange, flag, word

__all__ = ["Driver", "Receive", "Report", "ticked"]

Receive: TypeAlias = Callable[[EngineMessage], Awaitable[bool]]

#: Seconds after which changes in a driver are told, at the next full second.
UPDATE_DELAY: Final = 5
#: Characters that a status line cannot hold as they are, and those it replaces beside them.
_ESCAPED: Final = frozenset(",;|")
_UNWANTED: Final = frozenset(" +?&")


async def _tick(message: EngineMessage) -> bool:
    return False


def ticked(part: str) -> Handler:
    """Return the handler by which a part shows up in the ticks of engine.timer."""
    return Handler("engine.timer", 90, _tick, track=part, passive=True)


def escape_address(text: str) -> str:
    """Escape what would break a status line, as a URI would."""
    return "".join(
        f"%{ord(char):02x}" if char in _ESCAPED or char in _UNWANTED or char == "%" else char
        for char in text
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What engine.status says about one part of the engine.

    Attributes:
        name: of the part.
        kind: its type.
        columns: of the details, empty where it does not say.
        counters: as `name=value`, with commas between.
        details: one for each channel, as `id=status|address|peer`.
    """

    name: str
    kind: str
    columns: str = ""
    counters: str = ""
    details: tuple[str, ...] = ()


class Driver:
    """One kind of channel.

    Args:
        exchange: where it works.
        name: of the driver; its channels' ids begin with it.
        minimal: digits, texts, ringing and answers are none of its business.

    Attributes:
        channels: by their ids.
        prefix: what their ids begin with.
        total: how many there were.
        routing: calls that are being routed; `routed`: those that were.
    """

    #: The driver's type, by which it can be dropped and asked for its status.
    kind = "misc"
    #: It looks at `stop_call` itself where nobody calls; else such a call is refused.
    can_stop = False
    #: Where it is asked about digits and texts.
    tone_priority = 100

    def __init__(self, exchange: Exchange, name: str, *, minimal: bool = False) -> None:
        self.exchange = exchange
        self.name = name
        self.prefix = f"{name}/"
        self.channels: dict[str, Channel] = {}
        self.total = 0
        self.routing = 0
        self.routed = 0
        self._minimal = minimal
        self._ids = 0
        self._update: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} channels={len(self.channels)}>"

    def install(self) -> None:
        """Begin to handle messages."""
        relays: list[tuple[str, int, Receive]] = [
            ("chan.masquerade", 10, self._masquerade),
            ("chan.locate", 40, self._locate),
            ("call.drop", 60, self._drop),
            ("call.execute", 90, self._execute),
            ("chan.control", 90, self._control),
        ]
        if not self._minimal:
            relays += [
                ("chan.dtmf", self.tone_priority, self._tone),
                ("chan.text", self.tone_priority, self._text),
                ("call.ringing", 100, self._ringing),
                ("call.answered", 100, self._answered),
            ]
        for name, priority, receive in relays:
            self.handle(name, priority, receive)
        self.exchange.dispatcher.install(ticked(self.name), own=True)

    def handle(self, name: str, priority: int, receive: Receive) -> None:
        """Handle one more kind of message."""
        self.exchange.dispatcher.install(
            Handler(name, priority, receive, track=self.name), own=True
        )

    # The table

    def new_id(self) -> str:
        """Return the id of one more channel."""
        self._ids += 1
        return f"{self.prefix}{self._ids}"

    def add(self, channel: Channel) -> None:
        """Enter a channel."""
        self.channels[channel.id] = channel
        self.total += 1
        self._changed()

    def remove(self, channel: Channel) -> None:
        """Forget a channel."""
        self.channels.pop(channel.id, None)
        self._changed()

    def _changed(self) -> None:
        """Tell in a while how many channels there are, as the real engine does at its ticks."""
        if self._update is None and self.exchange.wants("module.update"):
            wait = UPDATE_DELAY + 1.0 - (self.exchange.clock() + UPDATE_DELAY) % 1.0
            self._update = asyncio.get_running_loop().call_later(wait, self._tell_update)

    def _tell_update(self) -> None:
        self._update = None
        counts = (
            *(("module", self.name), ("routed", str(self.routed)), ("routing", str(self.routing))),
            *(("total", str(self.total)), ("chans", str(len(self.channels)))),
        )
        self.exchange.enqueue(self.exchange.message("module.update", counts))

    def close(self) -> None:
        """End with the run: close all files."""
        if self._update is not None:
            self._update.cancel()
        for channel in tuple(self.channels.values()):
            if channel.data is not None:
                channel.data.close()

    def drop_all(self, message: EngineMessage) -> None:
        """Drop all channels of the driver."""
        for channel in tuple(self.channels.values()):
            if channel.id in self.channels:  # a peer may have taken it along
                channel.hold()
                channel.drop(message, message.params.get("reason"))
                channel.release()

    # For subclasses

    async def execute(self, message: EngineMessage, target: str) -> bool:
        """Take call.execute for this driver.

        Args:
            message: it; its user data is the calling end, if there is one.
            target: what follows the driver's name in `callto`.

        Returns:
            Whether the call is connected.
        """
        return False

    def report(self) -> Report:
        """Return what engine.status says about the driver."""
        return Report(
            self.name,
            self.kind,
            "Status|Address|Peer",
            f"routed={self.routed},routing={self.routing},total={self.total}"
            f",chans={len(self.channels)}",
            tuple(
                f"{c.id}={c.status}|{escape_address(c.address)}|{c.peer.id if c.peer else ''}"
                for c in self.channels.values()
            ),
        )

    def places(self) -> Iterable[str]:
        """Return the ids of what is no channel but may be dropped."""
        return ()

    def named_report(self, id: str) -> str | None:
        """Return what engine.status says about something that is no channel, if it is there."""
        return None

    def channel_report(self, channel: Channel) -> str:
        """Return what engine.status says about one channel."""
        peer = f",peerid={channel.peer.id}" if channel.peer else ""
        limits = "".join(
            f",{name}={channel.remaining(reason)}"
            for name, reason in (
                ("timeout", "timeout"),
                ("maxcall", "noanswer"),
                ("maxpdd", "postdialdelay"),
            )
            if channel.remaining(reason)
        )
        return (
            f"name={channel.id},type=channel;module={self.name}{peer},status={channel.status}"
            f",direction={channel.direction},answered={word(channel.answered)}"
            f",targetid={channel.target_id},address={channel.address},billid={channel.billid}"
            f"{limits}\r\n"
        )

    # Messages

    def _named(self, message: EngineMessage, name: str = "id") -> Channel | None:
        return self.channels.get(message.params.get(name, ""))

    def _meant(self, message: EngineMessage) -> Channel | None:
        """Return the channel that a message is for: its peer, or else its target."""
        id_ = message.params.get("peerid", "")
        if not id_.startswith(self.prefix):
            id_ = message.params.get("targetid", "")
        return self.channels.get(id_)

    async def _masquerade(self, message: EngineMessage) -> bool:
        channel = self._named(message)
        if channel is None:
            return False
        message.name = message.params.get("message", "")
        message.delete("message")
        message.user_data = channel
        if channel.masquerade(message):
            return True
        channel.complete(message, minimal=flag(message, "complete_minimal"))
        return False

    async def _locate(self, message: EngineMessage) -> bool:
        channel = self._named(message)
        if channel is None:
            return False
        message.user_data = channel
        channel.complete_if_asked(message)
        return True

    async def _drop(self, message: EngineMessage) -> bool:
        id_ = message.params.get("id", "")
        if id_ in ("", self.name, self.kind):
            self.drop_all(message)
            return id_ == self.name
        channel = self.channels.get(id_)
        if channel is None:
            return False
        channel.hold()
        channel.drop(message, message.params.get("reason"))
        channel.release()
        return True

    async def _execute(self, message: EngineMessage) -> bool:
        target = message.params.get("callto", "")
        if self.exchange.halting or not target.startswith(self.prefix):
            return False
        called = isinstance(message.user_data, Endpoint)
        if flag(message, "stop_call") and (called or not self.can_stop):
            message.set("error", "stopped_call")
            return False
        return await self.execute(message, target.removeprefix(self.prefix))

    async def _control(self, message: EngineMessage) -> bool:
        channel = self._meant(message)
        return channel is not None and channel.control(message)

    async def _tone(self, message: EngineMessage) -> bool:
        channel = self._meant(message)
        return channel is not None and channel.tone(message, message.params.get("text", ""))

    async def _text(self, message: EngineMessage) -> bool:
        channel = self._meant(message)
        return channel is not None and channel.text(message, message.params.get("text", ""))

    async def _ringing(self, message: EngineMessage) -> bool:
        channel = self._waiting(message)
        return channel is not None and channel.ringing(message)

    async def _answered(self, message: EngineMessage) -> bool:
        channel = self._waiting(message)
        return channel is not None and channel.answer(message)

    def _waiting(self, message: EngineMessage) -> Channel | None:
        """Return the meant channel if it is one that waits for an answer."""
        channel = self._meant(message)
        if channel is None or channel.outgoing or channel.answered:
            return None
        return channel
