"""The switchboard: which calls are ours, what happens to them, and whose code runs.

It must not know what is said to a caller. It is told of every message that the module watches for
calls and finds the call concerned by its channels, so that the calls of others cost one look-up.

A call is ours when call.execute leads to a leg of ours with the parameters `yateway=<module>` and
`call=<name>`, as `Module.take` or a rule of regexroute sets them: nothing has to be remembered
between routing and execution.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from .absence import Absence
from .call import Call
from .campaign import Campaign
from .conference import Conference
from .errors import ConfigError, ConnectionLost, shown
from .handlers import Handler, label
from .line import Line
from .link import Link
from .log import logger
from .message import Message, Value
from .moving import cause_of
from .originating import Origination
from .orphans import ALIVE, INSTANCE, Orphans
from .prompts import Prompts
from .registry import Calls, whole
from .resync import Resync
from .routing import Fork, Reject, Route
from .running import CallFunction, Running
from .script import Script

__all__ = ["Messenger", "Switchboard"]

_T = TypeVar("_T")

#: Events of unknown channels that are kept for the case that one turns out to be ours: the engine's
#: threads may tell of a call's end before they tell of its beginning.
EARLY: Final = 256
#: The parameter that marks the channels of persons who are to come back to us.
KEPT: Final = "yateway.kept"
#: Before the modules that act upon the end of a call, such as a queue.
KEEP_PRIORITY: Final = 20

_ENDS = ("chan.disconnected", "chan.hangup")


class Messenger(Protocol):
    """What the switchboard needs of a module."""

    @property
    def name(self) -> str: ...

    async def dispatch(self, message: str, params: Mapping[str, Value], /) -> Message: ...

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]: ...

    def stop(self) -> None: ...


class Switchboard:
    """The calls of one module.

    Args:
        messenger: sends messages and runs tasks.
        prompts: which files may be played and recorded.
        max_calls: further calls are refused as congestion; None for no limit.
        patience: seconds that calls may go on when the module is to end.

    Attributes:
        calls: those that are alive.
        conferences: those that one of them is in, by room.
        functions: what runs for a call, by the name of the kind of call.
        target: where to route to for a leg of ours.
        linked: not set while nobody knows what has become of the calls, LOST_LIMIT at most.
    """

    def __init__(
        self,
        messenger: Messenger,
        prompts: Prompts,
        max_calls: int | None = None,
        patience: float = 0.0,
    ) -> None:
        self._messenger = messenger
        self._max_calls = max_calls
        self._patience = patience
        self.prompts = prompts
        self.calls = Calls()
        self.functions: dict[str, CallFunction] = {}
        # The address of our legs shows in the engine's status whose they are.
        self.family = re.sub("[^A-Za-z0-9_-]", "-", messenger.name) + "."
        self.address = self.family + secrets.token_hex(4)
        self.target = f"dumb/{self.address}"
        self._numbers = itertools.count(1)
        self._notified: dict[str, Callable[[Message], object]] = {}
        self.conferences: dict[str, Conference] = {}
        self._early: deque[Message] = deque(maxlen=EARLY)
        self._running = Running(self.spawn)
        self.campaigns: set[Campaign[Any]] = set()
        self._closing = False
        self._absence = Absence(self.calls, self.address)
        self.linked = self._absence.linked
        self._script = Script(f"yateway/{self.address}")
        self._orphans = Orphans(self.address, self._knows, self.dispatch, self.spawn)

    def __repr__(self) -> str:
        return f"<Switchboard {self.address} calls={len(self.calls)}>"

    # Taking calls

    def register(self, name: str, function: CallFunction) -> None:
        """Say what runs for calls of a kind.

        Raises:
            ConfigError: that is said already.
        """
        if name in self.functions:
            raise ConfigError(
                f"there are two functions for calls named {shown(name)}:"
                f" {label(self.functions[name])} and {label(function)}"
            )
        self.functions[name] = function

    def take(self, name: str, params: Mapping[str, Value]) -> Route | Reject:
        """Return the route that brings a call to us; a rejection when there are too many.

        Raises:
            ConfigError: nothing was registered under this name.
        """
        if name not in self.functions:
            raise ConfigError(
                f"there is no function for calls named {shown(name)}:"
                f" register it with @module.call({shown(name)})"
            )
        if self.full:
            return Reject("congestion")
        return Route(self.target, **{"yateway": self._messenger.name, "call": name, **params})

    @property
    def full(self) -> bool:
        """Whether no further call is taken."""
        full = self._max_calls is not None and len(self.calls) >= self._max_calls
        return full or self._closing

    # What happens

    def told(self, message: Message) -> None:
        """Take note of a message that the module watches for calls."""
        match message.name:
            case "call.execute":
                self._executed(message)
            case "chan.notify":
                if handle := self._notified.get(message.get("targetid", "")):
                    handle(message)
            case "chan.replaced":
                self._replaced(message)
            case _:
                call = self._concerned(message)
                if call is not None:
                    self._tell(call, message)
                elif message.get("id", "").startswith("dumb/") or message.get(
                    "targetid", ""
                ).startswith("dumb/"):
                    self._early.append(message)

    def _concerned(self, message: Message) -> Call | None:
        call = self.calls.get(message.get("id", ""))
        if call is None and message.name.startswith("call."):
            # The answer of whoever our person, or our leg, calls; keys and ends are their own.
            call = self.calls.get(message.get("targetid", ""))
        return call

    def _tell(self, call: Call, message: Message) -> None:
        call.told(message)
        if message.name in _ENDS:
            self._channel_ended(call, message)

    def _channel_ended(self, call: Call, message: Message) -> None:
        cause = cause_of(message)
        if message["id"] == call.leg:
            over = call.leg_lost()
        elif message.name == "chan.disconnected":
            # Our person's peer has gone: the person may be connected to somebody else now.
            over = False
        else:
            # Of a call that nobody answered our leg is told a reason that is the same for all
            # protocols (engine.md 5.5); it follows.
            over = call.answered or not (call.outgoing and call.leg)
            call.cause = cause
        if over:
            call.end(message.get("reason") or "hangup", cause or call.cause)

    def _replaced(self, message: Message) -> None:
        for old, new in _pairs(message):
            for channel in (old, message.get("peerid", "")):
                if (call := self.calls.get(channel)) is not None:
                    call.replaced(old, new)

    def _executed(self, message: Message) -> None:
        if message.get("callto") == self.target and message.processed:
            call = self.calls.get(message.get("id", ""))
            if call is not None and not call.leg:
                call.returned(message.get("targetid", ""))
                return
        if not self._ours(message):
            return
        leg, name = message.get("targetid", ""), message.get("call", "")
        if not message.processed or not leg.startswith("dumb/"):
            logger.error(
                "call %s did not reach us: is Yate's module dumbchan loaded?",
                shown(message.get("id", "")),
            )
            return
        function = self.functions.get(name)
        if function is None or self.full:
            if function is None:
                logger.error("a call was routed to %s, which nobody serves", shown(name))
            reason = "congestion" if function else "failure"
            self.spawn(self.drop_channel(leg, reason))
            return
        self.start(Call(self, message.get("id", ""), leg, message), function)

    def _ours(self, message: Message) -> bool:
        driver, _, address = message.get("callto", "").partition("/")
        if driver != "dumb" or message.get("yateway") != self._messenger.name:
            return False
        # Two modules of one name may run; a rule of regexroute names neither.
        return address == self.address or not address.startswith(self.family)

    def start(self, call: Call, function: CallFunction) -> asyncio.Task[object]:
        """Take up a call and run the code that is for it."""
        call.billid = call.billid or call.params.get("billid", "")
        self.calls.add(call)
        task = self._running.start(call, function)
        self.catch_up(call)
        return task

    def catch_up(self, call: Call) -> None:
        """Tell a new call what came before it was known."""
        early, self._early = self._early, deque(maxlen=EARLY)
        for message in early:
            if self._concerned(message) is call:
                self._tell(call, message)
            else:
                self._early.append(message)

    def ended(self, line: Line) -> None:
        """Take note that a call is over; its code may clean up for a while."""
        call = whole(line)
        self.calls.remove(call)
        self._absence.ended(call)
        self._running.ended(call)

    # What calls ask for

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run work beside everything else; a failure is logged."""
        return self._messenger.spawn(work)

    async def dispatch(self, name: str, params: Mapping[str, Value]) -> Message:
        """Dispatch a message as the module does."""
        try:
            return await self._messenger.dispatch(name, params)
        except ConnectionLost:
            # Code that tries again at once must not keep the module from attaching again.
            await asyncio.sleep(0)
            raise

    async def act(self, channel: str, name: str, params: Mapping[str, Value]) -> Message | None:
        """Dispatch a message in the name of a channel; None if there is no such channel.

        The engine looks the channel up and goes on under the message's own name; where the name in
        the answer is still chan.masquerade, nobody knew the channel (engine.md 5.1).
        """
        if self._script.called and channel == self._script.leg:
            return await self.dispatch(name, {"id": channel, **params})
        try:
            answer = await self.dispatch(
                "chan.masquerade", {"id": channel, "message": name, **params}
            )
        except ConnectionLost:
            if self._script.called:
                return None  # moved away, the person takes our channel with them, and that the link
            raise
        return None if answer.name == "chan.masquerade" else answer

    async def drop(self, call: Line, reason: str) -> bool:
        """Hang up a call; tell whether there was one."""
        return await self.drop_channel(call.id or call.leg, reason)

    async def drop_channel(self, channel: str, reason: str) -> bool:
        """Hang up a channel; tell whether there was one."""
        # Without an id this would drop every call of the exchange (engine.md 5.1).
        assert channel
        return (await self.dispatch("call.drop", {"id": channel, "reason": reason})).processed

    async def keep(self, call: Line) -> None:
        """Let the engine ask us before it hangs up this person because of somebody else.

        The mark stands in every message about the channel from now on, and our handler of
        chan.disconnected is asked only where it does (Channel.cpp, setChanParams).
        """
        self._script.needs_attachment("take somebody back")
        await self.dispatch(
            "chan.control",
            {"targetid": call.id, "chanparams-prefix": "set.", f"set.{KEPT}": self.address},
        )

    def abandoned(self, message: Message) -> bool:
        """Handle chan.disconnected of a channel that bears our mark.

        The dispatch goes on under the name that the answer gives it, so that this very message
        connects the channel to a leg of ours. A message of our own could do that as well, but it
        would need a second worker of the engine while this one holds the first (engine.md Y10).
        """
        call = self.calls.get(message.get("id", ""))
        if call is not None and call.abandoned(message):
            message.name = "call.execute"
            message["callto"] = self.target
        return False

    def expect(self, notified: Callable[[Message], object]) -> str:
        """Return a new notify id; each chan.notify that comes for it is told."""
        notify = f"{self.address}/{next(self._numbers)}"
        self._notified[notify] = notified
        return notify

    def forget(self, notify: str) -> None:
        """Expect nothing more for a notify id."""
        self._notified.pop(notify, None)

    @contextmanager
    def entering(self, room: str) -> Iterator[Conference]:
        """Give the conference of that name, which all our calls share, to enter it in the block."""
        conference = self.conferences.get(room)
        if conference is None:
            conference = self.conferences[room] = Conference(room, self.dispatch)
            conference.notify = self.expect(partial(self._in_room, conference))
        try:
            with conference.entering():
                yield conference
        finally:
            self._close_if_deserted(conference)

    def _in_room(self, conference: Conference, message: Message) -> None:
        if message.get("event") == "dtmf":
            # The room has made its own message of the key (conference.cpp, alterMsg).
            if (call := self.calls.get(message.get("peerid", ""))) is not None:
                call.told(Message("chan.dtmf", message))
            return
        conference.notified(message)
        if message.get("event") in ("left", "destroyed"):
            self._close_if_deserted(conference)

    def _close_if_deserted(self, conference: Conference) -> None:
        # A room that is made anew while the end of the old one is told has members by then.
        if conference.deserted and self.conferences.get(conference.room) is conference:
            del self.conferences[conference.room]
            self.forget(conference.notify)

    def originate(
        self, target: str | Route | Fork, *, timeout: float | None, **params: Value
    ) -> Origination:
        """Return a call to be made, see `Module.originate`."""
        self._script.needs_attachment("make calls")
        return Origination(self, target, timeout, params)

    def handlers(self) -> list[Handler]:
        """Return what the module has to install for the calls."""
        return [
            Handler("chan.disconnected", self.abandoned, KEEP_PRIORITY, (KEPT, self.address)),
            Handler(ALIVE, lambda _: True, filter=(INSTANCE, self.address)),
        ]

    def _knows(self, channel: str) -> bool:
        return self.calls.get(channel) is not None

    # When the engine is away

    def attached(self) -> None:
        """Take note that the module is attached."""
        if not self._script.called:
            self._orphans.search()
        elif question := self._script.ready():
            self._begin(*question)

    async def called(self, link: Link) -> bool:
        """Tell whether the engine has started us for one call, over standard input and output."""
        return await self._script.find_out(link)

    def asked(self, link: Link, message: Message) -> None:
        """Take the call that we were started for."""
        if question := self._script.asked(link, message):
            self._begin(*question)

    def _begin(self, link: Link, message: Message) -> None:
        function = self._script.choose(message, self.functions)
        if function is None:
            self._script.refuse(link, message)
            self._messenger.stop()
            return
        call = Call(self, message.get("id", ""), self._script.leg, message)
        self._script.accept(link, message)
        self.start(call, function).add_done_callback(lambda _: self._messenger.stop())

    def link_lost(self) -> None:
        """Take note that the module is not attached: what happens now is not told."""
        self._orphans.stop()
        # What they belong to is not told any more, and another engine counts from 1 again.
        self._early.clear()
        if self._script.called:
            for call in self.calls:
                call.end("hangup")
        self._absence.begins()

    def engine_lost(self) -> None:
        """End all calls: there is no engine any more that could have them."""
        self._absence.engine_lost()

    def resynced(self, resync: Resync) -> None:
        """End the calls that did not survive while the module was not attached."""
        self._absence.resynced(resync)

    # The end

    async def drain(self) -> None:
        """Take no more calls, and wait until those that there are have ended.

        Calls that last longer than the module's patience are hung up.
        """
        self._closing = True
        await asyncio.gather(
            self._running.finish(self._patience),
            *(campaign.finish(self._patience) for campaign in self.campaigns),
        )

    def close(self) -> None:
        """Forget everything: the module is not attached any more."""
        self.engine_lost()
        self._closing = False
        self.conferences.clear()
        self._notified.clear()
        self._early.clear()


def _pairs(message: Message) -> list[tuple[str, str]]:
    """Return old and new ids of chan.replaced: `id` and `newid`, or `id.1`, `newid.1` and so on."""
    suffixes = ("", *(f".{n}" for n in range(1, 100) if f"id.{n}" in message))
    pairs = ((message.get(f"id{s}", ""), message.get(f"newid{s}", "")) for s in suffixes)
    return [(old, new) for old, new in pairs if old and new]
