"""Where a call goes: to another target and back, to another call, into a conference.

It must not play or listen. Whoever is moved keeps their channel and so their `Call`; our own leg is
gone while they are elsewhere (engine.md part 3, 5.6). `dial` brings them back: the engine asks us
about chan.disconnected of such a channel, and only of such, before it would hang up, and the answer
turns that message into the call.execute that connects the person to a new leg of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from .conference import Conference
from .errors import CallFailed, shown
from .line import Line
from .message import Message, Value
from .routing import Fork, Route

__all__ = ["Dialled", "MovingLine", "cause_of", "refused"]

#: Seconds for which a target may ring.
RING = 30.0


@dataclass(frozen=True, slots=True)
class Dialled:
    """What became of `Call.dial`, once the person is back.

    Attributes:
        answered: somebody talked to the person.
        reason: why that ended, as Yate says it: "busy", "noanswer"; "timeout" for our own limit.
        cause: the SIP status that came with it, None if there was none.
    """

    answered: bool
    reason: str
    cause: int | None = None


class _Away:
    """A person who is connected elsewhere and is to come back."""

    def __init__(self) -> None:
        self.answered = False
        self.returning = False
        self.dialled = Dialled(False, "timeout")
        self.back: asyncio.Future[Dialled] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def talk(self) -> None:
        """Take note that somebody talks to the person: there is no limit to that."""
        self.answered = True
        if self.timer is not None:
            self.timer.cancel()

    def give_up(self) -> None:
        """Let them ring no longer; whoever waits for `back` takes the person back."""
        if not (self.returning or self.back.done()):
            self.returning = True
            self.back.set_result(self.dialled)


class MovingLine(Line):
    """A call whose person can be connected elsewhere."""

    _away: _Away | None = None

    async def transfer(
        self,
        target: str | Route | Fork,
        *,
        attended: bool = False,
        timeout: float = RING,
        **params: Value,
    ) -> None:
        """Connect the person to a target for good; the call goes on without us.

        Args:
            target: where to, as a handler of call.route may return it.
            attended: call the target first, and connect the two when it answers; until then the
                person stays with us and hears what is playing.
            timeout: seconds that the target may ring when it is called first.
            params: further parameters of the call.

        Raises:
            CallFailed: the engine could not do it, or the target did not answer; the person is
                still with us.
            CallEnded: the call is over.
        """
        if not attended:
            await self._execute(target, params)
            return
        caller = params.pop("caller", self.caller)
        async with self.board.originate(target, caller=caller, timeout=timeout, **params) as other:
            await self.join(other)
            return
        raise other.failure(other.reason)  # it was over before the two were connected

    async def dial(
        self, target: str | Route | Fork, *, timeout: float = RING, **params: Value
    ) -> Dialled:
        """Connect the person to a target, and take them back when that is over.

        This is how a busy line leads to a voicemail, or a survey follows a talk.

        Args:
            target: where to, as a handler of call.route may return it.
            timeout: seconds that it may ring.
            params: further parameters of the call.

        Raises:
            CallFailed: the engine could not take them back.
            CallEnded: the person has hung up.
        """
        await self.check()
        await self.board.keep(self)
        self._away = away = _Away()
        loop = asyncio.get_running_loop()
        away.timer = loop.call_later(timeout, away.give_up)
        try:
            await self._execute(target, params)
            dialled = await self.outcome(away.back)
            if self.leg:
                await self._came_back()
            return dialled
        except CallFailed as failed:
            return Dialled(False, failed.reason, failed.cause)
        finally:
            away.timer.cancel()
            self._away = None
            if not (self.leg or self.ended):
                await self.take_back()

    async def take_back(self) -> None:
        """Take a person who was moved back to us; whom they were connected to is hung up.

        Raises:
            CallFailed: the engine could not do it.
            CallEnded: the call is over.
        """
        await self.check()
        if not self.leg:
            answer = await self._execute(self.board.target, {})
            self.returned(answer["peerid"])
            await self._came_back()

    @property
    def dialling(self) -> bool:
        """Whether `dial` calls somebody for the person and nobody has answered yet.

        So it is the call to be picked up: `await mine.join(theirs)`, whose `dial` then returns when
        that talk is over.
        """
        return self._away is not None and not (self._away.answered or self._away.returning)

    async def join(self, other: MovingLine) -> None:
        """Connect the persons of two calls with each other; both calls go on without us.

        A call that is not answered yet is answered by that.

        Raises:
            CallFailed: the engine could not do it.
            CallEnded: one of them is over.
        """
        await self.check()
        await other.check()
        with _Move(self), _Move(other):
            answer = await self.board.dispatch(
                "chan.connect", {"id": self.id, "targetid": other.id, "reason": "bridged"}
            )
            if not answer.processed:
                raise self._not_moved(other.id, answer)
            self._left(other.id)
            other._left(self.id)
        await self._met(other)
        await other._met(self)

    async def conference(self, room: str, **params: Value) -> Conference:
        """Move the person into a conference; it is made when they are the first there.

        Args:
            room: its name.
            params: further parameters of module conference, for example `maxusers`.

        Raises:
            CallFailed: the engine could not do it, for example because the room is full.
            CallEnded: the call is over.
        """
        with self.board.entering(room) as conference:
            # `lonely`: whoever is alone there stays; without, the engine would hang up.
            settings: dict[str, Value] = {"lonely": True, "notify": conference.notify, **params}
            answer = await self._execute(f"conf/{room}", settings)
            conference.joined(answer.get("peerid", ""), self.id)
        return conference

    # What the switchboard tells

    def told(self, message: Message) -> None:
        super().told(message)
        # Told by the person's own channel it says nothing of the one that was called.
        if message.name == "call.answered" and message.get("id") != self.id and self._away:
            self.peer = message.get("id", self.peer)
            self._away.talk()

    def abandoned(self, message: Message) -> bool:
        """Take note that the person's peer has gone, before the engine hangs up.

        Args:
            message: the request chan.disconnected.

        Returns:
            Whether the person is to come back to us.
        """
        away = self._away
        if away is None or away.returning:
            return False
        away.returning = True
        reason = message.get("reason", "hangup")
        away.dialled = Dialled(away.answered, reason, cause_of(message))
        return True

    def returned(self, leg: str) -> None:
        """Take note that the person is back with us, on this leg."""
        self.leg = self.peer = leg
        self.board.calls.track(self, leg)
        away = self._away
        if away is not None and not away.back.done():
            away.back.set_result(away.dialled)

    def leg_lost(self) -> bool:
        """Take note that our leg is gone; tell whether the call is over with it."""
        if not self.moving:
            return bool(self.leg)
        self.board.calls.untrack(self.leg)
        self.leg = ""
        return False

    def replaced(self, old: str, new: str) -> None:
        """Take note that a channel has another id, of a fork whose one leg was answered."""
        if self.id == old:
            self.board.calls.untrack(old)
            self.id = new
            self.board.calls.track(self, new)
        if self.peer == old:
            self.peer = new

    # Inside

    async def _came_back(self) -> None:
        """Do what there is to do for a person who is back with us; nothing of itself."""

    async def _execute(self, target: str | Route | Fork, params: Mapping[str, Value]) -> Message:
        """Let the person's channel call a target.

        Raises:
            CallFailed: the engine could not do it.
            CallEnded: the call is over.
        """
        await self.check()
        route = Message("call.execute")
        verdict = Route(target) if isinstance(target, str) else target
        verdict.apply(route)
        with _Move(self):
            answer = await self.board.act(
                self.id, "call.execute", {"callto": route.retvalue, **route, **params}
            )
            if answer is None:
                self.end("gone")
                raise self.error()
            if not answer.processed:
                raise self._not_moved(route.retvalue, answer)
            self._left(answer.get("peerid", ""))
        return answer

    async def _met(self, other: MovingLine) -> None:
        """Take note that the person talks to that of another call, and tell an unanswered one."""
        if self._away is not None:
            self._away.talk()
        if not (self.answered or self.ended):
            await self.board.act(other.id, "call.answered", {"targetid": self.id})
            self.status = "answered"

    def _left(self, peer: str) -> None:
        if self.leg:
            self.board.calls.untrack(self.leg)
            self.leg = ""
        self.peer = peer

    def _not_moved(self, target: str, answer: Message) -> CallFailed:
        text = f"call {shown(self.id)} could not be connected to {shown(target)}"
        return refused(text, target, answer)


def refused(text: str, target: str, answer: Message) -> CallFailed:
    """Return the error for what the engine did not connect, with the reason that it gave."""
    reason = answer.get("error") or answer.get("reason") or "noconn"
    return CallFailed(f"{text}: {shown(reason)}", target=target, reason=reason)


def cause_of(message: Message) -> int | None:
    """Return the SIP status of failure that a message about a channel's end carries, if any.

    One of a usual end stands there too, or that of an earlier answer: 200 after a talk, 180 when
    the caller gives up while it rings.
    """
    cause = message.get("cause_sip", "")
    return int(cause) if cause.isdecimal() and int(cause) >= 300 else None


class _Move:
    """While a call is moved, the end of our leg is not the end of the call."""

    def __init__(self, line: MovingLine) -> None:
        self._line = line

    def __enter__(self) -> None:
        self._line.moving = True

    def __exit__(self, *_: object) -> None:
        self._line.moving = False
