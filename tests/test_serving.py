"""Requests and their one answer, whatever a handler does (guarantees A1 to A5, A7 to A10, D1)."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.far import Far
from yateway.errors import LocalProtocolError
from yateway.handlers import Handler, HandlerFunction
from yateway.link import Link
from yateway.message import Message
from yateway.routing import Continue, Reject, Route
from yateway.serving import Counters, Server


class Served:
    """A link whose requests go to some handlers, and the far end that asks."""

    def __init__(self, handlers: tuple[Handler, ...], in_flight: int) -> None:
        self.far = Far()
        self.fatal: list[BaseException] = []
        self.server = Server(2.0, in_flight, Counters(), self.fatal.append)
        self.link = Link(
            self.far.near,
            lambda link, message: self.server.serve(link, message, handlers),
            lambda message: None,
        )
        self._ids = 0

    def ask(self, params: str = "", retvalue: str = "keep") -> None:
        """Let the engine ask."""
        self._ids += 1
        self.far.say(f"%%>message:{self._ids}:1:call.route:{retvalue}{params}")

    async def answer(self, params: str = "") -> str:
        """Let the engine ask, and return the answer without its id."""
        self.ask(params)
        (line,) = await self.far.hear()
        return line.removeprefix(f"%%<message:{self._ids}:")


@asynccontextmanager
async def served(
    *functions: HandlerFunction, in_flight: int = 64, deadline: float | None = None
) -> AsyncIterator[Served]:
    """Serve requests with handlers while the block lasts, and see that all were answered."""
    handlers = tuple(Handler("call.route", f, deadline=deadline) for f in functions)
    it = Served(handlers, in_flight)
    running = asyncio.create_task(it.link.run())
    try:
        yield it
        assert it.link.requests == set()
    finally:
        await it.server.close()
        it.link.abort()
        await running


def sync(value: object) -> HandlerFunction:
    """Return a handler that returns a value."""
    return lambda message: value  # type: ignore[return-value]


def coroutine(value: object) -> HandlerFunction:
    """Return a coroutine handler that suspends once and returns a value."""

    async def handler(message: Message) -> object:
        await asyncio.sleep(0)
        return value

    return handler  # type: ignore[return-value]


VERDICTS = [
    (None, "false:"),
    (False, "false:"),
    (True, "true:"),
    ("sip/a", "true::sip/a"),
    ("", "true::"),
    (Route("sip/a", x=1), "true::sip/a:x=1"),
    (Reject("busy"), "true::-:error=busy"),
    (Continue(x="1"), "false::keep:x=1"),
]


@pytest.mark.parametrize("make", [sync, coroutine])
@pytest.mark.parametrize(("value", "answer"), VERDICTS)
async def test_what_a_handler_returns(
    make: Callable[[object], HandlerFunction], value: object, answer: str
) -> None:
    """Each verdict has its answer, for plain and coroutine handlers alike."""
    async with served(make(value)) as it:
        assert await it.answer() == answer


@pytest.mark.parametrize("make", [sync, coroutine])
@pytest.mark.parametrize("value", [1, 0, 1.5, [], {}, object(), b"x", Message])
async def test_what_a_handler_must_not_return(
    make: Callable[[object], HandlerFunction], value: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad verdict is reported with the handler's name and place, and the engine gets `false`."""
    with caplog.at_level(logging.ERROR, "yateway"):
        async with served(make(value)) as it:
            assert await it.answer() == "false:"
    assert "test_serving.py:" in caplog.text
    assert "a handler cannot return" in caplog.text


ERRORS: list[BaseException] = [
    Exception("x"),
    ValueError("two\nlines"),
    KeyError("called"),
    TypeError(),
    OSError(5, "disk"),
    AssertionError(),
    RuntimeError("\x1b[31m"),
    StopIteration(),
    StopAsyncIteration(),
    GeneratorExit(),
    asyncio.CancelledError(),
    asyncio.InvalidStateError(),
    TimeoutError(),
    RecursionError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "bad"),
    LookupError(),
    IndexError(),
    AttributeError("x"),
    NameError("x"),
    ImportError("x"),
    ZeroDivisionError(),
    OverflowError(),
    EOFError(),
    BufferError(),
    ConnectionResetError(),
    NotImplementedError(),
    LocalProtocolError("x"),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
    BaseExceptionGroup("several", [asyncio.CancelledError()]),
    type("Own", (BaseException,), {})("own"),
]


@pytest.mark.parametrize("suspending", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_handler_that_raises_counts_as_declined(
    error: BaseException, suspending: bool
) -> None:
    """Thirty kinds of errors: `false`, with parameters and return value untouched (A2)."""

    def spoil(message: Message) -> None:
        message["a"] = "spoiled"
        message["new"] = "spoiled"
        message.retvalue = "spoiled"
        raise error

    async def spoil_later(message: Message) -> None:
        await asyncio.sleep(0)
        spoil(message)

    async with served(spoil_later if suspending else spoil) as it:
        assert await it.answer(":a=1") == "false:"
        assert it.fatal == []


@pytest.mark.parametrize("suspending", [False, True])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
async def test_what_ends_the_process_is_answered_first(
    error: BaseException, suspending: bool
) -> None:
    """The engine gets its `false` before the error goes on its way (A7)."""

    def die(message: Message) -> None:
        message["a"] = "spoiled"
        raise error

    async def die_later(message: Message) -> None:
        await asyncio.sleep(0)
        die(message)

    async with served(die_later if suspending else die) as it:
        assert await it.answer(":a=1") == "false:"
        assert it.fatal == [error]


async def test_what_ends_the_process_in_a_later_handler_is_answered_too() -> None:
    """A plain handler behind a coroutine handler is guarded in the same way."""

    def die(message: Message) -> None:
        raise SystemExit

    async with served(coroutine(None), die) as it:
        assert await it.answer() == "false:"
        assert len(it.fatal) == 1


@pytest.mark.parametrize("suspending", [False, True])
async def test_what_ends_the_process_does_so_whatever_is_to_be_answered(suspending: bool) -> None:
    """Also when an earlier handler has left what cannot be sent."""

    def spoil(message: Message) -> None:
        message["a"] = "x\0"

    async def die(message: Message) -> None:
        if suspending:
            await asyncio.sleep(0)
        raise SystemExit

    async with served(spoil, die) as it:
        assert await it.answer() == "false:"
        assert len(it.fatal) == 1


async def test_what_ends_the_process_answers_nobody_elses_request() -> None:
    """The id of a request that was answered early may be another's by now."""

    async def answer_and_die(message: Message) -> str:
        if "early" in message:
            await message.answer(True)
            await asyncio.sleep(0.1)
            raise SystemExit
        await asyncio.sleep(0.2)
        return "second"

    async with served(answer_and_die) as it:
        it.far.say("%%>message:7:1:call.route:keep:early=yes")
        assert await it.far.hear() == ["%%<message:7:true:"]
        it.far.say("%%>message:7:1:call.route:keep")
        assert await it.far.hear() == ["%%<message:7:true::second"]
        assert len(it.fatal) == 1


@pytest.mark.parametrize("value", [7, None, [], b"x"])
@pytest.mark.parametrize("then", ["return", "raise", "hang"])
async def test_a_name_or_return_value_that_is_no_text_costs_its_own_request_only(
    value: Any, then: str
) -> None:
    """It cannot be sent, and whatever is told of it does not fail."""

    async def spoil(message: Message) -> bool:
        if "name" in message:
            message.name = value
        else:
            message.name, message.retvalue = "user.auth", value
        if then == "raise":
            raise ValueError
        if then == "hang":
            await asyncio.sleep(30)
        return True

    async with served(spoil) as it:
        answers = {await it.answer(":name=1"), await it.answer()}
        # What is empty leaves a name or a return value alone.
        assert answers <= ({"false:", "true:"} if then == "return" and not value else {"false:"})
        assert it.server.in_flight == 0


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_request_that_a_later_handler_has_answered_is_held_no_more(goes_on: bool) -> None:
    """Those behind it are not asked: nobody waits for what they say."""
    asked: list[Message] = []

    def answers(message: Message) -> Awaitable[None] | None:
        # As a task that begins eagerly does.
        with pytest.raises(StopIteration):
            message.answer(True, retvalue="done").send(None)
        return asyncio.sleep(1) if goes_on else None

    async def last(message: Message) -> None:
        asked.append(message)
        await asyncio.sleep(1)

    async with served(coroutine(None), answers, last) as it:
        assert await it.answer() == "true::done"
        await asyncio.sleep(0.1)
        assert it.server.in_flight == 0
        assert len(it.server.tasks) == goes_on
        await asyncio.sleep(2)
        assert asked == []


async def hang(message: Message) -> None:
    """Never return."""
    message["a"] = "spoiled"
    await asyncio.get_running_loop().create_future()


async def test_a_handler_that_hangs_is_cut_at_its_deadline() -> None:
    """`false` goes out after 2.0 s, and the task is cancelled (A3)."""
    cancelled = asyncio.Event()

    async def waits(message: Message) -> None:
        try:
            await hang(message)
        finally:
            cancelled.set()

    async with served(waits) as it:
        started = asyncio.get_running_loop().time()
        assert await it.answer(":a=1") == "false:"
        assert asyncio.get_running_loop().time() - started == pytest.approx(2.0)
        await cancelled.wait()
        assert it.server.counters.expired == 1


@pytest.mark.parametrize(
    ("deadline", "limit", "expected"), [(0.5, 8, 0.5), (5.0, 8, 5.0), (30, 8, 8), (None, 0.8, 0.8)]
)
async def test_no_deadline_is_later_than_the_engine_allows(
    deadline: float | None, limit: float, expected: float
) -> None:
    """A handler's own deadline holds, up to 80 % of the engine's timeout."""
    async with served(hang, deadline=deadline) as it:
        it.server.limit = limit
        started = asyncio.get_running_loop().time()
        assert await it.answer() == "false:"
        assert asyncio.get_running_loop().time() - started == pytest.approx(expected)


async def test_a_handler_that_swallows_its_cancellation_gives_no_second_answer() -> None:
    """Work that ends after its deadline is dropped (A10)."""

    async def stubborn(message: Message) -> str:
        try:
            await hang(message)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
        return "late"

    async with served(stubborn) as it:
        assert await it.answer() == "false:"
        await asyncio.sleep(1)
        assert await it.answer() == "false:"
        await asyncio.sleep(1)
        it.far.close()


async def test_ten_thousand_races_with_the_deadline_give_one_answer_each() -> None:
    """Handlers that end just before, at, and just after their deadline (A1, A10)."""
    chance = random.Random(1)

    async def racing(message: Message) -> bool:
        await asyncio.sleep(2.0 + chance.choice((-1e-6, 0.0, 1e-6)))
        return True

    count = 10_000
    async with served(racing, in_flight=count) as it:
        for _ in range(count):
            it.ask()
        answers = await it.far.hear(count)
        await asyncio.sleep(5)
        ids = [answer.split(":")[1] for answer in answers]
        assert sorted(ids, key=int) == [str(n) for n in range(1, count + 1)]
        assert it.far.heard == []
        assert 0 < it.server.counters.expired < count


def bad_verdict(message: Message) -> object:
    """Return what no handler may."""
    return object()


def impossible(message: Message) -> object:
    """Write what no line can carry."""
    message["a=b"] = "\0"
    return True


def fail(message: Message) -> object:
    """Raise."""
    raise ExceptionGroup("several", [ValueError(), KeyError()])


async def fail_later(message: Message) -> object:
    """Suspend, then raise."""
    await asyncio.sleep(0.01)
    return fail(message)


async def cancel_oneself(message: Message) -> object:
    """Cancel the task that serves the request."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return True


async def answer_then_fail(message: Message) -> object:
    """Answer early, then raise."""
    await message.answer(True)
    return fail(message)


FAULTS = [bad_verdict, impossible, fail, fail_later, cancel_oneself, answer_then_fail, hang]


async def test_each_request_gets_exactly_one_answer() -> None:
    """Of ten thousand, a fifth meets a handler at fault, and a fifth lines at fault (A1)."""
    chance = random.Random(3)
    count = 10_000

    def handle(message: Message) -> object:
        if chance.random() < 0.2:
            return chance.choice(FAULTS)(message)
        return coroutine(True)(message) if chance.random() < 0.5 else "sip/a"

    async with served(handle, in_flight=count) as it:  # type: ignore[arg-type]
        for number in range(1, count + 1):
            broken = "%?" if chance.random() < 0.2 else ""
            it.far.say(f"%%>message:{number}:1:call.route::a={broken}")
            if number % 500 == 0:
                it.far.say("nonsense", "%%<message:9:true:x:", "%%<install:1:x:true")
                await asyncio.sleep(chance.random())
        answers = await it.far.hear(count)
        await asyncio.sleep(10)
        assert sorted(int(line.split(":")[1]) for line in answers) == list(range(1, count + 1))
        assert it.far.heard == []
        counters = it.server.counters
        assert min(counters.failed, counters.expired, it.link.faults) > 100


async def test_a_handler_cancelled_at_any_point_is_answered() -> None:
    """Whoever cancels the task, at whatever await, the engine gets `false` (A5)."""
    points = 6
    for point in range(points + 1):
        tasks: list[asyncio.Task[object]] = []

        async def steps(message: Message, tasks: list[asyncio.Task[object]] = tasks) -> bool:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            for _ in range(points):
                await asyncio.sleep(1e-3)
            return True

        async with served(steps) as it:
            if point == 0:
                # Between the first step, taken at once, and the first step of its task.
                it.link._process(b"%%>message:1:1:call.route:\n")
                next(iter(it.server._held)).task.cancel()
            else:
                it.ask()
                await asyncio.sleep(1e-3 * point - 5e-4)
                tasks[0].cancel()
            assert await it.far.hear() == ["%%<message:1:false:"]


async def test_handlers_are_asked_in_order_and_see_what_the_earlier_ones_set() -> None:
    """A decline still sends what was set; the first that processes ends it."""
    asked: list[str] = []

    def first(message: Message) -> None:
        asked.append("first")
        message["x"] = "1"

    async def second(message: Message) -> None:
        asked.append(f"second sees {message['x']}")
        message["y"] = "2"

    def third(message: Message) -> str:
        asked.append(f"third sees {message['y']}")
        return "done"

    async with served(first, second, third, sync("never")) as it:
        assert await it.answer() == "true::done:x=1:y=2"
    assert asked == ["first", "second sees 1", "third sees 2"]


@pytest.mark.parametrize("failing", [sync(7), coroutine(7), hang])
async def test_a_failed_handler_takes_only_its_own_changes_with_it(
    failing: HandlerFunction,
) -> None:
    """What earlier handlers set stays, and the next is asked unless the time is up."""

    def first(message: Message) -> None:
        message["x"] = "1"

    async with served(first, failing) as it:
        assert await it.answer(":a=1") == "false::keep:x=1"


async def test_a_failed_handler_lets_the_next_one_answer() -> None:
    """One bug does not take the other handlers' calls."""
    async with served(sync(7), coroutine(7), sync("sip/a")) as it:
        assert await it.answer() == "true::sip/a"
        assert it.server.counters.failed == 2


async def test_a_filter_is_checked_here_when_the_engine_does_not() -> None:
    """A handler whose filter does not match is not asked; absent counts as empty."""
    it = Served(
        (
            Handler("call.route", sync("a"), filter=("called", "1")),
            Handler("call.route", sync("b"), filter=("called", "")),
        ),
        64,
    )
    running = asyncio.create_task(it.link.run())
    assert await it.answer(":called=1") == "true::a"
    assert await it.answer(":called=2") == "false:"
    assert await it.answer() == "true::b"
    it.link.abort()
    await running


async def test_nobody_to_ask_is_answered_false() -> None:
    """A request that nothing was installed for is declined."""
    async with served() as it:
        assert await it.answer() == "false:"


async def test_an_answer_that_no_line_can_carry_names_the_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The engine gets a plain `false`, the log the handler and the parameter (A9)."""

    def bad(message: Message) -> bool:
        message["a=b"] = "x"
        return True

    with caplog.at_level(logging.ERROR, "yateway"):
        async with served(bad) as it:
            assert await it.answer() == "false:"
    assert "bad (test_serving.py:" in caplog.text
    assert "'a=b'" in caplog.text


async def test_answering_early_frees_the_engine_and_the_work_goes_on() -> None:
    """Ack, then work: the deadline is over with the answer; a second answer is an error."""
    done: list[str] = []

    async def works(message: Message) -> str:
        await message.answer(True, retvalue="at once", x=1)
        await asyncio.sleep(60)
        with pytest.raises(LocalProtocolError, match="already"):
            await message.answer()
        done.append("worked")
        return "dropped"

    async with served(works, in_flight=1) as it:
        assert await it.answer() == "true::at once:x=1"
        assert it.server.in_flight == 0
        await asyncio.sleep(61)
        assert done == ["worked"]
        it.ask()
        assert await it.far.hear() == ["%%<message:2:true::at once:x=1"]


@pytest.mark.parametrize("suspend", [False, True])
async def test_a_second_early_answer_is_an_error(suspend: bool) -> None:
    """Before the handler has suspended and after; what it returns then is dropped."""
    asked: list[str] = []

    async def answers_twice(message: Message) -> str:
        if suspend:
            await asyncio.sleep(0)
        await message.answer(False, x=1)
        with pytest.raises(LocalProtocolError, match="already"):
            await message.answer()
        return "dropped"

    def next_one(message: Message) -> None:
        asked.append("next")

    async with served(answers_twice, next_one) as it:
        assert await it.answer() == "false::keep:x=1"
        await asyncio.sleep(1)
        assert it.far.heard == []
    assert asked == []


@pytest.mark.parametrize("suspend", [False, True])
async def test_who_fails_after_an_early_answer_has_answered(suspend: bool) -> None:
    """Nobody else is asked, and no second answer goes out."""

    async def fails(message: Message) -> None:
        await message.answer(True)
        if suspend:
            await asyncio.sleep(0)
        raise ValueError

    async with served(fails, sync("sip/a")) as it:
        assert await it.answer() == "true:"
        await asyncio.sleep(1)
        assert it.far.heard == []
        assert it.server.counters.failed == 1


async def test_beyond_the_bound_requests_are_declined_unasked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The 65th request that would be held is shed at once, with one warning (D1)."""
    with caplog.at_level(logging.WARNING, "yateway"):
        async with served(hang) as it:
            for _ in range(70):
                it.ask()
            answers = await it.far.hear(6)
            assert asyncio.get_running_loop().time() < 0.005
            assert answers == [f"%%<message:{n}:true::-:error=congestion" for n in range(65, 71)]
            assert it.server.in_flight == 64
            assert it.server.counters.shed == 6
            await it.far.hear(64)
    assert caplog.text.count("answered unasked") == 1


async def test_what_is_no_call_is_declined_when_it_is_shed() -> None:
    """And what an earlier handler has set stays, as with any decline (D1)."""

    def first(message: Message) -> None:
        message["first"] = "x"

    async with served(first, hang, in_flight=0) as it:
        it.far.say("%%>message:1:1:user.register:keep:x=1")
        assert await it.far.hear() == ["%%<message:1:false::keep:first=x"]
        assert await it.answer() == "true::-:first=x:error=congestion"
        assert it.server.counters.shed == 2


async def test_what_is_shed_has_changed_nothing() -> None:
    """Not even what a plain function did before it returned a coroutine."""

    def spoil_and_hang(message: Message) -> Awaitable[None]:
        message["a"] = "spoiled"
        message.name, message.retvalue = "other", "spoiled"
        return hang(message)

    async with served(spoil_and_hang, in_flight=0) as it:
        it.far.say("%%>message:1:1:user.register:keep:x=1")
        assert await it.far.hear() == ["%%<message:1:false:"]


@pytest.mark.parametrize("kind", ["lambda", "object", "future", "awaitable"])
async def test_whatever_suspends_is_bounded(kind: str) -> None:
    """A function that returns a coroutine, a callable object, a future: all hold a request (D1)."""

    class Hanging:
        async def __call__(self, message: Message) -> None:
            await hang(message)

    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[None]] = []

    def future(message: Message) -> asyncio.Future[None]:
        futures.append(loop.create_future())
        return futures[-1]

    class Waiting:
        def __await__(self) -> Generator[Any, None, None]:
            return loop.create_future().__await__()

    handlers: dict[str, HandlerFunction] = {
        "lambda": lambda message: asyncio.sleep(100, result=None),
        "object": Hanging(),
        "future": future,
        "awaitable": lambda message: Waiting(),
    }
    async with served(handlers[kind], in_flight=1) as it:
        it.ask()
        it.ask()
        assert await it.far.hear() == ["%%<message:2:true::-:error=congestion"]
        assert it.server.counters.shed == 1
        await it.far.hear()
    assert all(future.cancelled() for future in futures)


async def test_plain_handlers_are_asked_even_when_many_are_held() -> None:
    """A handler that does not suspend holds nothing and is never shed."""
    async with served(sync("sip/a"), in_flight=0) as it:
        assert await it.answer() == "true::sip/a"


async def test_a_request_held_for_long_names_its_handler(caplog: pytest.LogCaptureFixture) -> None:
    """More than 250 ms are counted, and warned of once in ten seconds."""

    async def slow(message: Message) -> bool:
        await asyncio.sleep(0.3)
        return True

    with caplog.at_level(logging.WARNING, "yateway"):
        async with served(slow) as it:
            for _ in range(3):
                assert await it.answer() == "true:"
            assert it.server.counters.slow == 3
    assert caplog.text.count("slow (test_serving.py:") == 1


async def test_requests_of_a_lost_link_are_given_up() -> None:
    """Nobody waits for the answer: the work is cancelled."""
    ended = asyncio.Event()

    async def waits(message: Message) -> None:
        try:
            await hang(message)
        finally:
            ended.set()

    async with served(waits) as it:
        it.ask()
        await asyncio.sleep(0.1)
        it.far.close()
        await asyncio.sleep(0.1)
        it.server.abandon()
        await asyncio.wait_for(ended.wait(), 0.1)
        await asyncio.wait_for(it.server.finish(), 0.1)


async def test_the_end_waits_for_answers_but_not_for_the_stubborn() -> None:
    """`close` cancels, and leaves behind what refuses to go."""

    async def stubborn(message: Message) -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                continue

    async with served(stubborn) as it:
        assert await it.answer() == "false:"
        started = asyncio.get_running_loop().time()
        await it.server.close()
        assert asyncio.get_running_loop().time() - started == pytest.approx(0.5)
        await it.server.close()
        await it.server.close()


@pytest.mark.parametrize("abandoned", [False, True])
async def test_what_nobody_waits_for_is_held_until_its_deadline_at_most(abandoned: bool) -> None:
    """Nor does a handler that refuses to be cancelled keep its place, and with it the end (D1)."""
    cancelled = 0

    async def stubborn(message: Message) -> None:
        nonlocal cancelled
        for _ in range(2 + abandoned):
            try:
                await asyncio.sleep(9000)
            except asyncio.CancelledError:
                cancelled += 1

    async with served(stubborn) as it:
        it.ask()
        await asyncio.sleep(0.1)
        it.far.close()
        await asyncio.sleep(0.1)
        if abandoned:
            it.server.abandon()
        await asyncio.wait_for(it.server.finish(), 2)
        assert it.server.in_flight == 0
        await asyncio.sleep(1)
        assert cancelled == 1 + abandoned
        assert it.server.counters.expired == 0


@pytest.mark.parametrize("suspend", [False, True])
async def test_who_is_cancelled_ends_the_request(suspend: bool) -> None:
    """At the first step and later: `false`, what it changed is taken back, nobody else is asked."""

    async def gives_up(message: Message) -> None:
        message["a"] = "spoiled"
        if suspend:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def answers_and_gives_up(message: Message) -> None:
        await message.answer(True)
        raise asyncio.CancelledError

    async with served(gives_up, sync("never")) as it:
        assert await it.answer() == "false:"
    async with served(answers_and_gives_up, sync("never")) as it:
        assert await it.answer() == "true:"
        await asyncio.sleep(1)
        assert it.far.heard == []


async def test_closing_the_loop_is_no_failure_of_a_handler() -> None:
    """What is closed while it waits is not asked what to do next."""
    asked: list[str] = []

    def next_one(message: Message) -> None:
        asked.append("next")

    async with served(hang, next_one) as it:
        it.ask()
        await asyncio.sleep(0.1)
        (task,) = it.server.tasks
        driver: Any = task.get_coro()
        driver.close()
        assert await it.far.hear() == ["%%<message:1:false:"]
        assert it.server.counters.failed == 0
        task.cancel()
        await asyncio.wait([task])
        assert isinstance(task.exception(), RuntimeError)
    assert asked == []


async def test_a_suspended_request_leaves_nothing_for_the_collector() -> None:
    """Message, handler and task are gone with the answer."""

    async def once(message: Message) -> bool:
        await asyncio.sleep(0)
        kept.append(message)
        return True

    kept: list[Message] = []
    gc.collect()
    async with served(once) as it:
        assert await it.answer() == "true:"
        await asyncio.sleep(0.1)
        gc.disable()
        try:
            kept.clear()
            await asyncio.sleep(0.1)
            assert not [o for o in gc.get_objects() if type(o).__name__ == "_Pending"]
        finally:
            gc.enable()


async def test_the_end_comes_with_the_last_answer() -> None:
    """Of several that are held, whether they answer, fail or are cut at their deadline."""

    async def slow(message: Message) -> bool:
        await asyncio.sleep(float(message["s"]))
        return True

    async with served(slow) as it:
        for seconds in ("1", "0.5", "9"):
            it.ask(f":s={seconds}")
        await asyncio.sleep(0.1)
        started = asyncio.get_running_loop().time()
        await it.server.finish()
        assert asyncio.get_running_loop().time() - started == pytest.approx(1.9)
        assert len(await it.far.hear(3)) == 3
        await it.server.finish()


async def test_an_awaitable_that_is_no_coroutine_is_awaited() -> None:
    """A plain function may return a future; it is bounded all the same."""

    def future(message: Message) -> Awaitable[bool]:
        return asyncio.get_running_loop().create_future()

    async with served(future) as it:
        assert await it.answer() == "false:"
        assert it.server.counters.expired == 1


async def test_several_handlers_may_suspend_one_after_the_other() -> None:
    """Each has a deadline of its own, from when it is asked."""

    async def slow(message: Message) -> None:
        await asyncio.sleep(1.5)

    async with served(slow, slow, coroutine("sip/a")) as it:
        assert await it.answer() == "true::sip/a"
        assert it.server.counters.expired == 0


async def quick(message: Message) -> None:
    """Decline without suspending."""


@pytest.mark.parametrize("first", [sync(None), quick, coroutine(None)])
async def test_later_handlers_whether_they_match_decline_or_fail(first: HandlerFunction) -> None:
    """Behind a coroutine, whether it has suspended or not, all is as before one."""
    asked: list[str] = []

    def declines(message: Message) -> None:
        asked.append("declines")
        message["x"] = "1"

    def cancelled(message: Message) -> None:
        message["x"] = "spoiled"
        raise asyncio.CancelledError

    handlers = (
        Handler("call.route", first),
        Handler("call.route", sync("never"), filter=("called", "1")),
        Handler("call.route", declines, filter=("called", "")),
        Handler("call.route", cancelled),
        Handler("call.route", sync("sip/a")),
    )
    it = Served(handlers, 64)
    running = asyncio.create_task(it.link.run())
    assert await it.answer() == "true::sip/a:x=1"
    assert asked == ["declines"]
    assert it.server.counters.failed == 1
    it.link.abort()
    await running


@pytest.mark.parametrize("first", [0.0, 0.02, 1.98])
async def test_a_later_handler_has_its_time_whenever_it_is_asked(first: float) -> None:
    """Also when the time of the one before it was almost up."""

    async def slow(message: Message) -> None:
        if first:
            await asyncio.sleep(first)

    async with served(slow, hang) as it:
        started = asyncio.get_running_loop().time()
        assert await it.answer() == "false:"
        assert asyncio.get_running_loop().time() - started == pytest.approx(first + 2.0)
        assert it.server.counters.expired == 1


async def test_coroutines_that_do_not_suspend_are_done_where_the_request_is_read() -> None:
    """They hold nothing and are never shed, however many requests come at once."""

    async def decline(message: Message) -> None:
        message["x"] = "1"

    async def route(message: Message) -> str:
        return "sip/a"

    async with served(decline, route, in_flight=1) as it:
        for _ in range(100):
            it.ask()
        answers = await it.far.hear(100)
        assert {answer.partition(":true:")[2] for answer in answers} == {":sip/a:x=1"}
        assert it.server.counters.shed == 0
        assert it.server.in_flight == 0


async def test_a_short_deadline_among_long_ones_is_kept() -> None:
    """Timers are made only for what is due soon, and that is made sure of at once."""
    handlers = (
        Handler("call.route", hang, filter=("called", "1")),
        Handler("call.route", hang, filter=("called", "2"), deadline=0.01),
    )
    it = Served(handlers, 64)
    running = asyncio.create_task(it.link.run())
    started = asyncio.get_running_loop().time()
    it.ask(":called=1")
    it.ask(":called=2")
    assert await it.far.hear() == ["%%<message:2:false:"]
    assert asyncio.get_running_loop().time() - started == pytest.approx(0.01)
    assert await it.far.hear() == ["%%<message:1:false:"]
    assert asyncio.get_running_loop().time() - started == pytest.approx(2.0)
    it.link.abort()
    await running


async def test_an_early_answer_needs_no_later_one_in_time() -> None:
    """After it the next handlers are asked all the same, but nobody waits for them."""

    async def early(message: Message) -> None:
        await message.answer(True)
        await asyncio.sleep(1)

    async def late(message: Message) -> str:
        await asyncio.sleep(5)
        return "dropped"

    async with served(early, late) as it:
        assert await it.answer() == "true:"
        await asyncio.sleep(10)
        assert it.far.heard == []
        assert it.server.counters.expired == 0


async def test_what_ends_the_process_after_an_early_answer_gives_no_second_one() -> None:
    """The answer that is out stays the only one."""

    async def answer_and_die(message: Message) -> None:
        await message.answer(True)
        raise SystemExit

    async with served(answer_and_die) as it:
        assert await it.answer() == "true:"
        await asyncio.sleep(0.1)
        assert len(it.fatal) == 1
        assert it.far.heard == []


async def test_a_deadline_after_the_end_of_the_link_means_nothing() -> None:
    """Nobody waits any more; nothing is counted as expired."""
    async with served(hang) as it:
        it.ask()
        await asyncio.sleep(0.1)
        it.far.close()
        await asyncio.sleep(5)
        assert it.server.counters.expired == 0


async def test_a_fault_of_our_own_is_logged_and_the_request_answered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should serving itself fail, the engine still gets its `false`."""
    async with served(coroutine("sip/a")) as it:
        answer = it.server.answer

        def fail_once(*_: object) -> None:
            monkeypatch.setattr(it.server, "answer", answer)
            raise ZeroDivisionError

        monkeypatch.setattr(it.server, "answer", fail_once)
        assert await it.answer() == "false:"
        await asyncio.sleep(0.1)
    assert "a fault of yateway itself: ZeroDivisionError" in caplog.text


async def test_an_id_that_is_too_long_to_answer_harms_nobody() -> None:
    """Only a hostile engine sends one; the next request is served."""
    async with served() as it:
        it.far.say(f"%%>message:{'9' * 70_000}:1:call.route:")
        it.ask()
        assert await it.far.hear() == ["%%<message:1:false:"]
        it.far.close()
        await asyncio.sleep(0.1)
