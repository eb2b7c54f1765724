"""When a link is tried again, and that nothing is left of those that failed."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.far import Far, opener_to
from yateway.errors import ConfigError, ConnectionLost, InstallRefused, LocalProtocolError
from yateway.link import Link
from yateway.message import Message
from yateway.reconnect import Attachment, Backoff
from yateway.transport import Opener, Transport
from yateway.wire.frames import SetLocal


def longest(low: float, high: float) -> float:
    """Stand in for chance: the latest that it could choose."""
    assert low == 0.0
    return high


# --- Delays ------------------------------------------------------------------------------------


def test_delays_grow_from_one_second_to_ten() -> None:
    """The first is at most 1 s, the n-th after it at most min(10, 0.5 * 2^n) s."""
    backoff = Backoff(longest)
    assert [backoff.next() for _ in range(8)] == [1, 1, 2, 4, 8, 10, 10, 10]
    backoff.attempts = 100_000
    assert backoff.next() == 10


def test_delays_start_anew_after_a_success() -> None:
    """Reset forgets all attempts."""
    backoff = Backoff(longest)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert [backoff.next() for _ in range(3)] == [1, 1, 2]


def test_delays_are_spread_over_all_they_may_be() -> None:
    """Full jitter: from nothing to the longest, evenly, and each module differently."""
    random.seed(1)
    delays = [Backoff().next() for _ in range(4000)]
    assert min(delays) >= 0
    assert max(delays) <= 1
    quarters = [sum(n / 4 <= delay < (n + 1) / 4 for delay in delays) for n in range(4)]
    assert all(900 < count < 1100 for count in quarters)


@pytest.mark.parametrize("seed", range(5))
def test_a_fleet_does_not_come_back_all_at_once(seed: int) -> None:
    """A thousand modules whose engine is away for a minute come back soon but spread (C3).

    After the first five seconds at most 35 % of them try in any one second, and 99 % are back
    within 10 s of the engine's return.
    """
    dice = random.Random(seed)
    away = 60.0
    attempts: dict[int, int] = {}
    back: list[float] = []
    for _ in range(1000):
        backoff, now = Backoff(dice.uniform), 0.0
        while now < away:
            now += backoff.next()
            attempts[int(now)] = attempts.get(int(now), 0) + 1
        back.append(now - away)
    after_five = [count for second, count in attempts.items() if second >= 5]
    assert len(after_five) >= 60
    assert max(after_five) <= 350
    assert sorted(back)[989] <= 10.0


# --- Attachments -------------------------------------------------------------------------------


async def ask(link: Link) -> None:
    """Set up a link as a module does: by a command that the engine has to confirm."""
    await link.command(SetLocal("timeout"))


def confirm(far: Far) -> None:
    far.say("%%<setlocal:timeout:10000:true")


class Kept:
    """An attachment on the longest delays, and what it told."""

    def __init__(self, opener: Opener, setup: Callable[[Link], Awaitable[None]] = ask) -> None:
        self.events: list[tuple[str, float]] = []
        self.requests: list[Message] = []
        self.notifications: list[Message] = []
        self.attachment = Attachment(
            opener,
            setup,
            lambda link, message: self.requests.append(message),
            self.notifications.append,
            self.up,
            self.down,
        )
        self.attachment._backoff = Backoff(longest)

    def up(self) -> None:
        assert self.attachment.link is not None
        assert self.attachment.ready.is_set()
        self.note("up")

    def down(self) -> None:
        assert self.attachment.link is None
        assert not self.attachment.ready.is_set()
        self.note("down")

    def note(self, what: str) -> None:
        self.events.append((what, asyncio.get_running_loop().time()))

    @property
    def link(self) -> Link:
        assert self.attachment.link is not None
        return self.attachment.link


@asynccontextmanager
async def kept(
    opener: Opener, setup: Callable[[Link], Awaitable[None]] = ask
) -> AsyncIterator[Kept]:
    """Keep an attachment while the block lasts."""
    it = Kept(opener, setup)
    running = asyncio.create_task(it.attachment.run())
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Network:
    """Opens connections as the test says, and notes when."""

    def __init__(self, *outcomes: Far | BaseException | None) -> None:
        self._outcomes = list(outcomes)
        self.times: list[float] = []
        self.given_up = 0

    async def open(self) -> Transport:
        """Return the next connection or fail; None never answers. Then nobody listens."""
        self.times.append(asyncio.get_running_loop().time())
        outcome = self._outcomes.pop(0) if self._outcomes else ConnectionRefusedError("refused")
        if isinstance(outcome, Far):
            return outcome.near
        if outcome is not None:
            raise outcome
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1
        raise AssertionError


async def test_a_first_connect_that_fails_is_tried_again() -> None:
    """A module may be started before its engine."""
    far = Far()
    refused, unreachable = ConnectionRefusedError("refused"), OSError(101, "unreachable")
    network = Network(refused, unreachable, refused, far)
    async with kept(network.open) as it:
        assert await far.hear() == ["%%>setlocal:timeout:"]
        assert not it.attachment.ready.is_set()
        confirm(far)
        await it.attachment.ready.wait()
        assert network.times == [0, 1, 2, 4]
        assert it.events == [("up", 4)]
        assert it.link.name == "memory:test"
    assert it.events == [("up", 4), ("down", 4)]
    assert await far.hear_all() == []


async def test_failed_attempts_are_told_in_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    """What the system said is escaped; how long one waits is told too."""
    network = Network(OSError(111, "refused\n\x1b[31m"), None)
    with caplog.at_level(logging.INFO, "yateway"):
        async with kept(network.open):
            await asyncio.sleep(6.5)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", r"cannot connect: '[Errno 111] refused\n\x1b[31m'"),
        ("INFO", "next attempt in 1.00 s"),
        ("WARNING", "cannot connect: 'no answer in time'"),
        ("INFO", "next attempt in 1.00 s"),
    ]


async def test_a_black_hole_costs_five_seconds() -> None:
    """A connection that neither stands nor fails is given up after 5 s (guarantee C7)."""
    network = Network(None, None)
    async with kept(network.open) as it:
        await asyncio.sleep(4.9)
        assert network.given_up == 0
        await asyncio.sleep(0.2)
        assert network.given_up == 1
        await asyncio.sleep(20)
        assert network.times[:3] == [0, 6, 12]
        assert network.given_up == 2
    assert it.events == []


async def test_an_engine_that_says_nothing_costs_five_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection on which the set-up is not confirmed is closed after 5 s (guarantee C7)."""
    silent, far = Far(), Far()
    network = Network(silent, far)
    async with kept(network.open) as it:
        waiting = asyncio.create_task(silent.hear_all())
        await asyncio.sleep(4.9)
        assert not waiting.done()
        await asyncio.sleep(0.2)
        assert waiting.done()
        assert await waiting == ["%%>setlocal:timeout:"]
        assert "cannot attach to memory:test: 'no answer in time'" in caplog.text
        await far.hear()
        assert network.times == [0, 6]
        assert it.events == []
        confirm(far)
        await it.attachment.ready.wait()


async def test_a_link_that_ends_while_it_is_set_up_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was never up, so that it does not go down."""
    first, far = Far(), Far()
    network = Network(first, far)
    async with kept(network.open) as it:
        await first.hear()
        first.close()
        await far.hear()
        assert network.times == [0, 1]
        assert "cannot attach to memory:test: 'the link memory:test ended'" in caplog.text
        assert it.events == []


async def test_a_lost_link_is_replaced_and_set_up_again() -> None:
    """What waited on the old link has failed, and the set-up is repeated on the new one."""
    first, second = Far(), Far()
    network = Network(first, second)
    async with kept(network.open) as it:
        await first.hear()
        confirm(first)
        await it.attachment.ready.wait()
        old = it.link
        asked = asyncio.create_task(old.dispatch(Message("call.route"), None))
        assert len(await first.hear()) == 1
        await asyncio.sleep(2)
        first.close()
        with pytest.raises(ConnectionLost):
            await asked
        assert await second.hear() == ["%%>setlocal:timeout:"]
        assert it.events == [("up", 0), ("down", 2)]
        confirm(second)
        await it.attachment.ready.wait()
        assert it.link is not old
        assert it.events == [("up", 0), ("down", 2), ("up", 3)]
        with pytest.raises(ConnectionLost):
            await old.dispatch(Message("call.route"), None)
        again = asyncio.create_task(it.link.dispatch(Message("call.route"), None))
        assert len(await second.hear()) == 1
        second.say("%%<message:1:true:call.route:sip/1")
        assert (await again).retvalue == "sip/1"


async def test_requests_and_notifications_of_each_link_are_handed_on() -> None:
    """The callables that an attachment was given serve all its links."""
    first, second = Far(), Far()
    async with kept(opener_to(first, second)) as it:
        for far in (first, second):
            await far.hear()
            confirm(far)
            far.say("%%>message:1:1:call.route::", "%%<message::true:call.answered:")
            await it.attachment.ready.wait()
            await asyncio.sleep(0)
            far.close()
            await asyncio.sleep(1.5)
    assert [message.name for message in it.requests] == ["call.route"] * 2
    assert [message.name for message in it.notifications] == ["call.answered"] * 2


async def test_each_up_has_its_down() -> None:
    """However often the link is lost, up and down take turns."""
    ends = [Far() for _ in range(50)]
    async with kept(opener_to(*ends)) as it:
        for number, far in enumerate(ends):
            await far.hear()
            if number % 5 == 4:
                far.close()
                continue
            confirm(far)
            await it.attachment.ready.wait()
            far.close()
            while it.attachment.ready.is_set():
                await asyncio.sleep(0)
    assert [what for what, _ in it.events] == ["up", "down"] * 40


async def test_delays_start_anew_only_after_a_link_that_lasted() -> None:
    """An engine that accepts and dies within 10 s is not hammered."""
    ends = [Far() for _ in range(5)]
    network = Network(*ends)
    lives = [0.0, 0.0, 9.9, 10.1, 0.0]
    lost: list[float] = []
    async with kept(network.open) as it:
        for far, life in zip(ends, lives, strict=True):
            await far.hear()
            confirm(far)
            await it.attachment.ready.wait()
            await asyncio.sleep(life)
            far.close()
            lost.append(asyncio.get_running_loop().time())
        await asyncio.sleep(2)
    delays = [then - end for end, then in zip(lost, network.times[1:], strict=False)]
    assert delays == pytest.approx([1, 1, 2, 1, 1])


async def test_a_link_that_is_left_is_not_replaced() -> None:
    """When the end of a link is wanted, `run` ends with it."""
    far = Far()
    network = Network(far)
    it = Kept(network.open)
    running = asyncio.create_task(it.attachment.run())
    await far.hear()
    confirm(far)
    await it.attachment.ready.wait()
    it.attachment.leaving = True
    far.close()
    await running
    assert network.times == [0]
    assert it.events == [("up", 0), ("down", 0)]


@pytest.mark.parametrize("confirmed", [True, False])
async def test_the_end_of_a_single_connection_is_the_end(confirmed: bool) -> None:
    """There is no second standard input: `run` returns, whether the link was up or not."""
    far = Far()
    far.near.single = True
    network = Network(far)
    it = Kept(network.open)
    running = asyncio.create_task(it.attachment.run())
    await far.hear()
    if confirmed:
        confirm(far)
        await it.attachment.ready.wait()
    far.close()
    await running
    assert network.times == [0]
    assert it.events == ([("up", 0), ("down", 0)] if confirmed else [])


@pytest.mark.parametrize(
    "error",
    [
        InstallRefused("the engine refused the handler of 'call.route'", name="call.route"),
        ConfigError("the engine has no setting 'x'"),
        LocalProtocolError("the engine could not read '%%>x'"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("at_first", [True, False])
async def test_what_trying_again_cannot_help_ends_it(error: Exception, at_first: bool) -> None:
    """A refused install ends `run` with that error and closes the connection, sooner or later."""
    first, second = Far(), Far()
    links = []

    async def setup(link: Link) -> None:
        links.append(link)
        await ask(link)
        if at_first or len(links) == 2:
            raise error

    network = Network(first, second)
    it = Kept(network.open, setup)
    running = asyncio.create_task(it.attachment.run())
    await first.hear()
    confirm(first)
    last = first
    if not at_first:
        await it.attachment.ready.wait()
        first.close()
        await second.hear()
        confirm(second)
        last = second
    with pytest.raises(type(error)) as caught:
        await running
    assert caught.value is error
    assert await last.hear_all() == []
    assert it.events == ([] if at_first else [("up", 0), ("down", 0)])
    assert it.attachment.link is None


async def test_an_address_that_cannot_be_used_ends_it() -> None:
    """A ConfigError of the opener is not tried again."""
    it = Kept(Network(ConfigError("standard input and output must be pipes")).open)
    with pytest.raises(ConfigError):
        await it.attachment.run()


# --- Cancelling --------------------------------------------------------------------------------


class Cancelled:
    """Awaits what it is given and has it cancelled at one of the places where it waits.

    Args:
        work: what to await.
        place: the number of the place, None for nowhere.
        turns: how many turns of the event loop later.

    Attributes:
        places: how many places there were.
    """

    def __init__(
        self, work: Coroutine[Any, Any, None], place: int | None = None, turns: int = 0
    ) -> None:
        self._work = work
        self._place = place
        self._turns = turns
        self.places = 0

    def __await__(self) -> Generator[Any, Any, None]:
        work = self._work.__await__()
        step: Callable[[], Any] = functools.partial(next, work)
        while True:
            try:
                future = step()
            except StopIteration:
                return
            if self.places == self._place:
                self._cancel_later(asyncio.current_task(), self._turns)
            self.places += 1
            try:
                yield future
                step = functools.partial(next, work)
            except BaseException as error:
                step = functools.partial(work.throw, error)

    def _cancel_later(self, task: asyncio.Task[Any] | None, turns: int) -> None:
        assert task is not None
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._cancel_later, task, turns - 1)
        else:
            loop.call_soon(task.cancel)


async def eventful_life(place: int | None, turns: int) -> int:
    """Let an attachment live through everything, cancel it somewhere; return where it can be.

    It finds nobody, is slow to connect, meets an engine that hangs up and one that says nothing,
    is attached, is lost, and is attached again.
    """
    rude, silent, first, second = ends = [Far() for _ in range(4)]
    network = Network(ConnectionRefusedError("refused"), None, *ends)
    it = Kept(network.open)
    work = Cancelled(it.attachment.run(), place, turns)

    async def keep() -> None:
        await work

    async def be_the_engine() -> None:
        await rude.hear()
        rude.close()
        await silent.hear()
        for far in (first, second):
            await far.hear()
            confirm(far)
            await it.attachment.ready.wait()
            await asyncio.sleep(1)
            if far is first:
                far.close()

    being = asyncio.create_task(be_the_engine())
    running = asyncio.create_task(keep())
    await asyncio.wait((running, being), return_when="FIRST_COMPLETED")
    # No cancelling is swallowed on the way.
    assert running.done() is (place is not None)
    places = work.places
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() - {being} == {asyncio.current_task()}
    being.cancel()
    await asyncio.gather(being, return_exceptions=True)
    assert it.attachment.link is None
    assert not it.attachment.ready.is_set()
    events = [what for what, _ in it.events]
    assert events == ["up", "down"] * (len(events) // 2)
    for far in ends[: max(0, len(network.times) - 2)]:
        # This would wait for ever if our end were still open.
        await far.hear_all()
    return places


async def test_it_can_be_cancelled_anywhere_and_leaves_nothing_behind() -> None:
    """No task, no connection, no half event, wherever the cancelling hits."""
    places = await eventful_life(None, 0)
    assert places > 10
    for place in range(places):
        for turns in range(4):
            await eventful_life(place, turns)
