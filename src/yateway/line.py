"""One telephone call as the engine sees it: whose channels they are, what is sent, how it ends.

It must not play or listen: that is `call.py`. A line has up to three ids (engine.md part 3, 5.0):
`id`, the channel of the person; `leg`, our own channel, by which we act while the person is with
us; and `peer`, whoever the person is connected to. Events come from the switchboard in their order,
and all that waits for one fails with `CallEnded` when the call ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import CallEnded, CallFailed, LocalProtocolError, shown
from .message import Message, Value
from .routing import Reject
from .scope import Interruption
from .sound import Playback, Sound

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["EVENTS", "Interruptible", "Line"]

#: The messages about a call that are watched, and that `wait_for` can wait for.
EVENTS = (
    "call.execute",
    "call.progress",
    "call.ringing",
    "call.answered",
    "chan.dtmf",
    "chan.notify",
    "chan.replaced",
    "chan.disconnected",
    "chan.hangup",
)
#: Seconds that the engine may take to tell that a call which it has dropped is over.
HANGUP_TIMEOUT = 5.0

_KEYS = frozenset("0123456789*#ABCD")
_STATUS = {
    "call.progress": "progressing",
    "call.ringing": "ringing",
    "call.answered": "answered",
}

_T = TypeVar("_T")
_E = TypeVar("_E", bound=CallEnded)


class Interruptible(Protocol):
    """Code that ends with a call: a coroutine, or the block of an `async with`."""

    def interrupt(self, error: Interruption, /) -> None:
        """End what the code waits for."""

    def encloses(self, task: asyncio.Task[Any] | None, /) -> bool:
        """Tell whether it is this task that runs the code."""


class Line:
    """A call between a person and code of ours.

    Attributes:
        id: the channel of the person, for example "sip/46".
        leg: our own channel, for example "dumb/36"; empty while the person is not with us.
        peer: the channel that the person is connected to; our leg unless the call was moved.
        params: the parameters of the call, as routing left them.
        caller, called: the numbers.
        billid: the engine's id of the call over all its legs.
        outgoing: we made the call.
        status: "incoming" or "outgoing", then "progressing", "ringing", "answered", "ended".
        reason: why the call ended, as Yate says it; empty until then.
        cause: the SIP status that came with that, None if there was none.
    """

    def __init__(
        self,
        board: Switchboard,
        id: str,
        leg: str,
        params: Mapping[str, str],
        *,
        outgoing: bool = False,
    ) -> None:
        self.board = board
        self.id = id
        self.leg = self.peer = leg
        self.params = dict(params)
        self.caller = params.get("caller", "")
        self.called = params.get("called", "")
        self.billid = params.get("billid", "")
        self.outgoing = outgoing
        self.status = "outgoing" if outgoing else "incoming"
        self.reason = ""
        self.cause: int | None = None
        self.scope: Interruptible | None = None
        self.moving = False
        self.sounds: set[Sound] = set()
        self._over = asyncio.Event()
        self._awaited: dict[asyncio.Future[Any], asyncio.Task[Any] | None] = {}
        self._listening: list[tuple[str, Callable[[Message], bool], asyncio.Future[Message]]] = []
        self._children: set[asyncio.Task[Any]] = set()
        self._leaving: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        numbers = f"{shown(self.caller)} to {shown(self.called)}"
        return f"<{type(self).__name__} {self.id} from {numbers}: {self.status}>"

    @property
    def answered(self) -> bool:
        """Whether the call is answered and not over."""
        return self.status == "answered"

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self.status == "ended"

    # Signalling

    async def answer(self) -> None:
        """Answer the call; harmless when it is answered already.

        Raises:
            CallEnded: it is over.
        """
        await self.check()
        if not self.answered:
            await self._signal("call.answered")

    async def ring(self) -> None:
        """Tell the caller that it rings.

        Raises:
            CallEnded: the call is over.
        """
        await self._signal("call.ringing")

    async def progress(self) -> None:
        """Let the caller hear us before the call is answered (early media).

        Raises:
            CallEnded: the call is over.
        """
        # Without the parameter SIP opens no sound for a leg that has none yet (ysipchan.cpp).
        await self._signal("call.progress", earlymedia=True)

    async def _signal(self, name: str, **params: Value) -> None:
        # In the name of our leg: a plain message would leave its status behind (engine.md 5.4).
        await self.send(name, targetid=self.id, **params)
        if not self.answered:
            self.status = _STATUS[name]

    async def reject(self, cause: str = "rejected") -> None:
        """Refuse a call that is not answered; it is over when this returns.

        Args:
            cause: one of `yateway.routing.CAUSES`, which tells the SIP status of each.

        Raises:
            ValueError: the cause is unknown to Yate.
            LocalProtocolError: the call is answered.
            CallEnded: it is over already.
        """
        Reject(cause)
        if self.answered:
            raise LocalProtocolError("an answered call cannot be rejected: use hangup()")
        await self.hangup(cause)

    async def hangup(self, reason: str = "hangup") -> None:
        """Hang up; the call is over when this returns, and the code that asked for it goes on.

        Args:
            reason: as Yate's drivers know them, for example "busy".

        Raises:
            CallEnded: it is over already.
            ConnectionLost: the engine could not be told.
        """
        await self.check()
        task = asyncio.current_task()
        assert task is not None
        self._leaving.add(task)
        try:
            if await self.board.drop(self, reason):
                async with asyncio.timeout(HANGUP_TIMEOUT):
                    await self._over.wait()
        except TimeoutError:
            pass  # dropped all the same
        finally:
            self.end(reason)
            self._leaving.discard(task)

    async def send_dtmf(self, digits: str) -> bool:
        """Send keys to the person's telephone.

        Args:
            digits: of 0-9, *, # and A-D.

        Returns:
            Whether they could be sent: SIP has no way for keys until its answer is acknowledged,
            or where the telephone takes none.

        Raises:
            ValueError: there is something else in it, or nothing.
            CallEnded: the call is over.
        """
        await self.check()
        if not digits or set(digits) - _KEYS:
            raise ValueError(f"{shown(digits)} are no keys: use 0-9, *, # and A-D")
        answer = await self.board.dispatch(
            "chan.dtmf", {"id": self.leg or self.peer, "targetid": self.id, "text": digits}
        )
        return answer.processed

    async def send(
        self, name: str, params: Mapping[str, Value] | None = None, /, **more: Value
    ) -> Message:
        """Dispatch a message in the name of our leg, for example chan.attach.

        Raises:
            LocalProtocolError: we have no leg: the call was moved.
            CallEnded: the call is over.
            ConnectionLost, DispatchTimeout: as `Module.dispatch`.
        """
        await self.check()
        if not self.leg:
            raise LocalProtocolError(
                f"{shown(self.id)} is connected to {shown(self.peer)}: take_back() first"
            )
        answer = await self.board.act(self.leg, name, {**(params or {}), **more})
        if answer is None:
            # What told us that the leg has gone is still on its way, or was missed.
            self.end("gone")
            raise self.error()
        return answer

    # Waiting

    async def wait_answered(self, timeout: float | None = None) -> None:
        """Wait until a call that we made is answered.

        Args:
            timeout: seconds, None to wait as long as it rings.

        Raises:
            CallFailed: it ended unanswered, or was not answered in time; then it is dropped.
            CallEnded: it was over before.
        """
        if self.answered:
            return
        try:
            await self.wait_for("call.answered", timeout=timeout)
        except TimeoutError:
            await self.hangup("noanswer")
            raise self.failure("timeout") from None
        except CallEnded:
            raise self.failure(self.reason) from None

    async def wait_for(
        self,
        name: str,
        accept: Callable[[Message], bool] = lambda _: True,
        *,
        timeout: float | None = None,
    ) -> Message:
        """Wait for the next message about this call.

        Args:
            name: one of `line.EVENTS`.
            accept: picks one of them.
            timeout: seconds, None to wait as long as the call lasts.

        Raises:
            ValueError: messages of this name are not watched.
            TimeoutError: none came in time.
            CallEnded: the call is over.
        """
        if name not in EVENTS:
            raise ValueError(f"{shown(name)} is not watched for calls: use {', '.join(EVENTS)}")
        await self.check()
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        entry = (name, accept, future)
        self._listening.append(entry)
        try:
            async with asyncio.timeout(timeout):
                return await self.outcome(future)
        finally:
            self._listening.remove(entry)

    async def wait_ended(self) -> str:
        """Wait until the call is over, and return why.

        The code that owns the call is not told this way: it is interrupted by `CallEnded`.
        """
        await self._over.wait()
        return self.reason

    async def outcome(self, future: asyncio.Future[_T]) -> _T:
        """Wait for a future, but not longer than the call lasts.

        Raises:
            CallEnded: the call is over.
        """
        await self.check()
        self._awaited[future] = asyncio.current_task()
        try:
            return await future
        finally:
            del self._awaited[future]

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run work beside the call's own code; it is cancelled when the call ends.

        Raises:
            CallEnded: it is over.
        """
        if self.ended:
            work.close()
            raise self.error()
        task = self.board.spawn(work)
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    # What the switchboard tells

    def told(self, message: Message) -> None:
        """Take note of a message about this call, after its dispatch."""
        if (status := _STATUS.get(message.name)) and not self.answered:
            self.status = status
        for name, accept, future in tuple(self._listening):
            if name == message.name and not future.done() and accept(message):
                future.set_result(message)

    def end(self, reason: str, cause: int | None = None) -> None:
        """Take note that the call is over, and end what waits for it."""
        if self.ended:
            return
        self.status = "ended"
        self.reason = reason
        self.cause = cause
        self._over.set()
        # Who asks for the end or finds it out goes on; code that waits for the call has its error.
        ending = {asyncio.current_task(), *self._leaving}
        told = ending.copy()
        for future, task in self._awaited.items():
            if not future.done():
                future.set_exception(self.error())
                told.add(task)
        for sound in tuple(self.sounds):
            sound.settle(Playback.HANGUP)
        for child in self._children - ending:
            child.cancel()
        scope = self.scope
        if scope is not None and not any(scope.encloses(task) for task in told):
            scope.interrupt(self.interruption())
        self.board.ended(self)

    def error(self) -> CallEnded:
        """Return the error that says that the call is over."""
        return self._as(CallEnded)

    def interruption(self) -> Interruption:
        """Return the error that interrupts code with the end of the call."""
        return self._as(Interruption)

    def _as(self, kind: type[_E]) -> _E:
        return kind(
            f"call {shown(self.id or self.leg)} is over: {shown(self.reason)}",
            id=self.id,
            reason=self.reason,
            cause=self.cause,
        )

    def failure(self, reason: str) -> CallFailed:
        """Return the error that says that a call of ours was not answered."""
        target = self.params.get("callto", "") or self.called
        return CallFailed(
            f"the call to {shown(target)} failed: {shown(reason)}",
            target=target,
            reason=reason,
            cause=self.cause,
        )

    async def check(self) -> None:
        """Make sure that the call is not over; while the link is away, wait until that is known.

        Raises:
            CallEnded: it is.
        """
        if not self.ended:
            await self.board.linked.wait()
        if self.ended:
            # Code that does not want to know, and asks again and again, must not stop the others.
            await asyncio.sleep(0)
            raise self.error()
