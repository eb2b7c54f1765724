"""Calls that we make: `async with module.originate(target) as call`.

It must not know what is said in the call. The engine makes a leg of ours call the target
(engine.md part 3, 5.5). When the block is left the call is dropped, unless its person was moved to
somebody else; when the call ends, the block ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .call import Call
from .errors import CallEnded, YatewayError, shown
from .log import logger, told
from .message import Message, Value
from .moving import refused
from .routing import Fork, Route
from .scope import Interruption, is_only

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["Origination"]


class Origination:
    """A call to be made, and the block in which it lives.

    Args:
        target: where to, as a handler of call.route may return it.
        timeout: seconds that it may ring; None does not wait for the answer, so that the block
            begins as soon as the engine has accepted the call.
        params: further parameters of the call.
    """

    def __init__(
        self,
        board: Switchboard,
        target: str | Route | Fork,
        timeout: float | None,
        params: Mapping[str, Value],
    ) -> None:
        self._board = board
        self._target = Route(target) if isinstance(target, str) else target
        self._timeout = timeout
        self._params = params
        self._call: Call | None = None
        self._block: _Block | None = None

    async def __aenter__(self) -> Call:
        call = self._call = await self._place()
        try:
            if self._timeout is not None:
                await call.wait_answered(self._timeout)
            if call.ended:
                raise call.failure(call.reason)
        except BaseException:
            await self._leave(call)
            raise
        self._block = call.scope = _Block()
        return call

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        call, block = self._call, self._block
        assert call is not None
        assert block is not None
        call.scope = None
        interrupted = block.leave()
        await self._leave(call)
        if error is None:
            return False
        # The end of its call is the end of the block, and nobody else's business.
        return (interrupted and is_only(error, asyncio.CancelledError)) or (
            isinstance(error, CallEnded) and error.id == call.id
        )

    async def _place(self) -> Call:
        """Let the engine make the call.

        Raises:
            CallFailed: it did not.
        """
        route = Message("call.execute")
        self._target.apply(route)
        params = {**route, **self._params}
        # The leg passes on the caller and little else, and only what is named here (dumbchan.cpp);
        # without a called number it would not call at all.
        called = params.pop("called", "") or route.retvalue
        answer = await self._execute(
            {
                **{"callto": self._board.target, "direct": route.retvalue, "target": called},
                **{"copyparams": ",".join(params), **params},
            }
        )
        if not (answer.processed and "id" in answer):
            raise refused(f"the call to {shown(route.retvalue)} failed", route.retvalue, answer)
        call = Call(
            *(self._board, answer.get("peerid", ""), answer["id"]),
            {**answer, "callto": route.retvalue, "called": str(called)},
            outgoing=True,
        )
        self._board.calls.add(call)
        self._board.catch_up(call)
        return call

    async def _execute(self, params: Mapping[str, Value]) -> Message:
        executing = asyncio.ensure_future(self._board.dispatch("call.execute", params))
        try:
            return await asyncio.shield(executing)
        except asyncio.CancelledError:
            # The engine is making the call by now, and tells only then which one it is.
            self._board.spawn(self._undo(executing))
            raise

    async def _undo(self, executing: asyncio.Future[Message]) -> None:
        try:
            leg = (await executing).get("id")
            if leg:
                await self._board.drop_channel(leg, "cancelled")
        except YatewayError as error:
            logger.warning("a call that is not wanted any more may be made: %s", told(error))

    async def _leave(self, call: Call) -> None:
        """Drop the call, unless it is over or the person is with somebody else."""
        if call.leg and not call.ended:
            try:
                await call.hangup()
            except YatewayError as error:
                logger.warning("a call could not be hung up: %s", told(error))


class _Block:
    """The code inside of the `async with`, whose task is cancelled when the call ends."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._interrupted = False

    def interrupt(self, error: Interruption, /) -> None:
        if self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    def encloses(self, task: asyncio.Task[Any] | None, /) -> bool:
        return task is not None and task is self._task

    def leave(self) -> bool:
        """Take the cancellation back; tell whether it was the only one."""
        task, self._task = self._task, None
        return task is not None and self._interrupted and task.uncancel() == 0
