"""Runs the code of calls: one task each, which ends with its call.

It must not know how a call comes about. Code that goes on after its call gets a while to clean up;
then it is cancelled, and code that keeps even that to itself is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from .call import Call
from .errors import CallEnded, YatewayError, shown
from .handlers import label
from .log import debug_traceback, logger, told
from .message import Message
from .scope import Scope, is_only

__all__ = ["CLEAN_UP", "CallFunction", "Running"]

CallFunction: TypeAlias = Callable[[Call], Coroutine[Any, Any, object]]

#: Seconds that the code of a call may run on after the call's end.
CLEAN_UP: Final = 10.0

# These end the process.
_FATAL = (KeyboardInterrupt, SystemExit)


class Running:
    """The calls whose code runs, each with its task.

    Args:
        spawn: runs work beside everything else.
    """

    def __init__(self, spawn: Callable[..., asyncio.Task[object]]) -> None:
        self._spawn = spawn
        self._tasks: dict[Call, asyncio.Task[object]] = {}

    def __repr__(self) -> str:
        return f"<Running {len(self)}>"

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, call: Call, function: CallFunction) -> asyncio.Task[object]:
        """Run what is for a call."""
        self._tasks[call] = task = self._spawn(self._run(call, function))
        task.set_name(f"call {call.id} {label(function)}")
        task.add_done_callback(lambda _: self._tasks.pop(call))
        return task

    def ended(self, call: Call) -> None:
        """Take note that a call is over; its code may clean up for a while."""
        if task := self._tasks.get(call):
            self._later(task, self._hurry, call, task)

    async def finish(self, patience: float) -> None:
        """Wait until all code has ended; what takes longer is cancelled, and given up at last."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks.values()), timeout=patience)
        for task in tuple(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks.values()), timeout=CLEAN_UP)
        for call in self._tasks:
            _abandon(call)

    async def _run(self, call: Call, function: CallFunction) -> None:
        if call not in call.board.calls:
            return  # it was over before its code began: there is nothing to clean up either
        task = asyncio.current_task()
        assert task is not None
        scope = call.scope = Scope(function(call))
        failed = False
        try:
            await scope
        except BaseException as error:
            if isinstance(error, _FATAL) or (
                isinstance(error, asyncio.CancelledError) and task.cancelling() > 0
            ):
                raise
            # Its own end is the usual end of a call's code; that of another is a failure.
            if not (call.ended and is_only(error, CallEnded)):
                failed = True
                secrets = Message("call.execute", call.params).secrets()
                text = told(error, secrets)
                logger.error("call %s failed in %s: %s", shown(call.id), label(function), text)
                debug_traceback(error, secrets)
        finally:
            call.scope = None
            if call.leg and not call.ended:
                # Whoever was not answered is told so: 500 and 480 in SIP, where it would be 487.
                unanswered = "failure" if failed else "noanswer"
                await _leave(call, "hangup" if call.answered else unanswered)

    def _hurry(self, call: Call, task: asyncio.Task[object]) -> None:
        logger.error(
            "%s still runs %g s after the end of its call: it is cancelled",
            task.get_name(),
            CLEAN_UP,
        )
        task.cancel()
        self._later(task, self._give_up, call, task)

    def _give_up(self, call: Call, task: asyncio.Task[object]) -> None:
        logger.error(
            "%s still runs %g s after it was cancelled: it is given up", task.get_name(), CLEAN_UP
        )
        _abandon(call)

    def _later(self, task: asyncio.Task[object], what: Callable[..., None], *about: object) -> None:
        timer = asyncio.get_running_loop().call_later(CLEAN_UP, what, *about)
        task.add_done_callback(lambda _: timer.cancel())


def _abandon(call: Call) -> None:
    if isinstance(call.scope, Scope):
        call.scope.abandon()


async def _leave(call: Call, reason: str) -> None:
    """Hang up a call whose code has ended."""
    try:
        await call.hangup(reason)
    except (YatewayError, TimeoutError) as error:
        logger.warning("call %s could not be hung up: %s", shown(call.id), told(error))
