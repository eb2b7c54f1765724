"""A campaign: many numbers are called, so many at once and so many a second, and again if need be.

It must not know how a call is made: `originate` does that. What became of each number comes as a
value, in the order in which that is known; nothing that one call does ends the campaign.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypeVar

from .call import Call
from .errors import CallFailed, ConfigError, YatewayError, shown
from .log import debug_traceback, logger, told
from .message import Value
from .routing import Fork, Route, safe_target
from .running import CLEAN_UP

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["RETRY", "Campaign", "Outcome"]

_R = TypeVar("_R")

Target: TypeAlias = str | Callable[[str], str | Route | Fork]

#: After how many seconds a number is called again, by the reason for which it was not answered.
RETRY: Final[Mapping[str, float]] = {
    "busy": 60.0,
    "noanswer": 300.0,
    "timeout": 300.0,
    "congestion": 30.0,
    "lost": 30.0,
}


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_R]):
    """What became of a number; true if it was answered.

    Attributes:
        number: as given.
        attempts: how often it was called.
        reason: "answered", or why not, as `CallFailed` tells it; "lost" when the engine could not
            be asked, "failed" when our own code failed, which the log tells.
        cause: the SIP status that came with that, None if there was none.
        result: what the code returned; None when the other side hung up first.
    """

    number: str
    attempts: int
    reason: str
    cause: int | None = None
    result: _R | None = None

    def __bool__(self) -> bool:
        return self.reason == "answered"


class Campaign(Generic[_R]):
    """Calls numbers, in the order given; see `Module.campaign`."""

    def __init__(
        self,
        board: Switchboard,
        numbers: Iterable[str],
        target: Target,
        talk: Callable[[Call], Coroutine[Any, Any, _R]],
        *,
        concurrency: int,
        rate: float,
        tries: int,
        retry: Mapping[str, float],
        timeout: float,
        params: Mapping[str, Value],
    ) -> None:
        if concurrency < 1 or rate <= 0 or tries < 1:
            raise ConfigError(
                f"a campaign of {concurrency} calls at once, {rate} a second and {tries} tries"
                " calls nobody: give at least one, and a rate above 0"
            )
        self._board = board
        self._numbers = iter(numbers)
        self._target = target
        self._talk = talk
        self._concurrency = concurrency
        self._pause = 1 / rate
        self._tries = tries
        self._retry = retry
        self._timeout = timeout
        self._params = params
        self._first: str | None = None
        self._again: list[tuple[float, int, str, int]] = []
        self._order = itertools.count()
        self._active: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._outcomes: asyncio.Queue[Outcome[_R] | None] = asyncio.Queue()
        self._closed = False
        self._running: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Campaign active={len(self._active)} to be called again={len(self._again)}>"

    async def __aenter__(self) -> Self:
        self._running = self._board.spawn(self._run())
        self._board.campaigns.add(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.finish(0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[_R]:
        outcome = await self._outcomes.get()
        if outcome is None:
            self._outcomes.put_nowait(None)
            raise StopAsyncIteration
        return outcome

    def close(self) -> None:
        """Call nobody any more; the calls that there are go on."""
        self._closed = True
        self._changed.set()

    async def finish(self, patience: float) -> None:
        """Call nobody any more, and hang up the calls that last longer than so many seconds."""
        self.close()
        self._board.campaigns.discard(self)
        if self._active and patience > 0:
            await asyncio.wait(self._active, timeout=patience)
        tasks = [*self._active, *filter(None, [self._running])]
        for task in self._active:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLEAN_UP)

    # Inside

    async def _run(self) -> None:
        time = asyncio.get_running_loop().time
        earliest = time()
        try:
            while not self._closed:
                due = max(self._due(time()), earliest)
                if due == math.inf and not self._active:
                    return
                if due <= time():
                    number, attempt = self._next(time())
                    task = self._board.spawn(self._attempt(number, attempt))
                    self._active.add(task)
                    task.add_done_callback(self._done)
                    earliest = time() + self._pause
                else:
                    await self._change(due)
            while self._active:
                await self._change(math.inf)
        finally:
            self._outcomes.put_nowait(None)

    def _due(self, now: float) -> float:
        """Return when the next call is due; infinity if that depends on those that there are."""
        if len(self._active) >= self._concurrency:
            return math.inf
        if self._first is None:
            self._first = next(self._numbers, None)
        if self._first is not None:
            return now
        return self._again[0][0] if self._again else math.inf

    def _next(self, now: float) -> tuple[str, int]:
        """Return whom to call, and how often that was done before."""
        if self._again and self._again[0][0] <= now:
            _, _, number, attempt = heapq.heappop(self._again)
            return number, attempt
        assert self._first is not None
        number, self._first = self._first, None
        return number, 0

    async def _change(self, until: float) -> None:
        """Wait until a call has ended, or for a time."""
        self._changed.clear()
        try:
            async with asyncio.timeout_at(None if until == math.inf else until):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _done(self, task: asyncio.Task[None]) -> None:
        self._active.discard(task)
        self._changed.set()

    async def _attempt(self, number: str, before: int) -> None:
        outcome = await self._call(number, before + 1)
        delay = self._retry.get(outcome.reason)
        if delay is None or self._closed or outcome.attempts >= self._tries:
            self._outcomes.put_nowait(outcome)
        else:
            due = asyncio.get_running_loop().time() + delay
            heapq.heappush(self._again, (due, next(self._order), number, outcome.attempts))

    async def _call(self, number: str, attempt: int) -> Outcome[_R]:
        result: _R | None = None
        try:
            target = self._target
            to = safe_target(target, number) if isinstance(target, str) else target(number)
            params = {"called": number, **self._params}
            async with self._board.originate(to, timeout=self._timeout, **params) as call:
                result = await self._talk(call)
            return Outcome(number, attempt, "answered", None, result)
        except CallFailed as failed:
            return Outcome(number, attempt, failed.reason, failed.cause)
        except YatewayError as error:
            logger.warning("the call to %s was lost: %s", shown(number), told(error))
            return Outcome(number, attempt, "lost")
        except Exception as error:
            logger.error("the call to %s failed: %s", shown(number), told(error))
            debug_traceback(error)
            return Outcome(number, attempt, "failed")
