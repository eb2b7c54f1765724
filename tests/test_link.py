"""One live attachment, with the engine's lines typed by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.far import Far
from yateway.errors import (
    ConnectionLost,
    DispatchTimeout,
    LocalProtocolError,
    RemoteProtocolError,
)
from yateway.link import ANSWERS_LIMIT, BATCH, Link
from yateway.memory import SOCKET_ROOM
from yateway.message import Message
from yateway.wire.frames import Install, Installed, Output, SetLocal, SetLocalDone, Watch


class Attached:
    """A link with its far end, and what it was told."""

    def __init__(self) -> None:
        self.far = Far()
        self.requests: asyncio.Queue[Message] = asyncio.Queue()
        self.notifications: asyncio.Queue[Message] = asyncio.Queue()
        self.link = Link(
            self.far.near,
            lambda link, message: self.requests.put_nowait(message),
            self.notifications.put_nowait,
        )

    async def request(self, *lines: str) -> Message:
        """Let the engine ask and return the request as it came."""
        self.far.say(*lines)
        return await self.requests.get()


@asynccontextmanager
async def attached() -> AsyncIterator[Attached]:
    """Run a link while the block lasts."""
    it = Attached()
    running = asyncio.create_task(it.link.run())
    try:
        yield it
    finally:
        it.link.abort()
        await running


async def test_a_link_is_settled_when_no_command_waits_for_its_reply() -> None:
    async with attached() as it:
        settled = [it.link.settled]
        waiter = it.link.command(Watch("a"))
        settled.append(it.link.settled)
        it.far.say("%%<watch:a:true")
        await waiter
        settled.append(it.link.settled)
    assert settled == [True, False, True]


async def test_a_request_is_handed_on_and_its_answer_carries_only_changes() -> None:
    """An answer holds the parameters that were set and nothing else."""
    async with attached() as it:
        message = await it.request("%%>message:0x1.1:1700000000:call.route::called=123:caller=7")
        assert (message.name, message["called"], message.time) == ("call.route", "123", 1700000000)
        assert message.id in it.link.requests
        assert len(it.link.requests) == 1
        message["param1"] = "value1"
        message.retvalue = "sip/sip:a@b"
        it.link.finish(message, processed=True)
        assert await it.far.hear() == ["%%<message:0x1.1:true::sip/sip%za@b:param1=value1"]
        assert message.id not in it.link.requests


async def test_answers_of_one_read_go_out_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of requests costs one write."""
    far = Far()
    writes: list[bytes] = []
    monkeypatch.setattr(far.near, "write", writes.append)
    link = Link(far.near, lambda link, message: link.finish(message, processed=False), print)
    running = asyncio.create_task(link.run())
    far.say(*(f"%%>message:{number}:1:a::" for number in range(100)))
    far.close()
    await running
    assert len(writes) == 1
    assert writes[0].count(b"\n") == 100


async def test_an_impossible_answer_becomes_a_plain_false() -> None:
    """What no line can carry is reported, and the engine gets `false` at once."""
    async with attached() as it:
        for bad in ({"a=b": "x"}, {"x": "\0"}, {"x": "y" * 9000}, {"x": "\ud800"}, {"": "x"}):
            message = await it.request("%%>message:7:1:call.route:keep:a=1")
            for name, value in bad.items():
                message[name] = value
            with pytest.raises(LocalProtocolError):
                it.link.finish(message, processed=True)
            assert await it.far.hear() == ["%%<message:7:false:"]


async def test_a_second_answer_is_refused_and_not_sent() -> None:
    """The ledger allows one answer."""
    async with attached() as it:
        message = await it.request("%%>message:7:1:a::")
        it.link.finish(message, processed=True)
        with pytest.raises(LocalProtocolError, match="not open"):
            it.link.finish(message, processed=True)
        it.far.say("%%>message:8:1:a::")
        assert await it.far.hear() == ["%%<message:7:true:"]


async def test_notifications_are_handed_on() -> None:
    """A watched message comes with what became of it."""
    async with attached() as it:
        it.far.say("%%<message::true:call.answered:x:id=sip/1")
        told = await it.notifications.get()
        assert (told.processed, told.name, told.retvalue, dict(told)) == (
            True,
            "call.answered",
            "x",
            {"id": "sip/1"},
        )


async def test_commands_get_their_replies() -> None:
    """Several commands may be under way; each gets its own reply."""
    async with attached() as it:
        install = it.link.command(Install("call.route", 50))
        setting = it.link.command(SetLocal("timeout", "5000"))
        assert await it.far.hear(2) == ["%%>install:50:call.route", "%%>setlocal:timeout:5000"]
        it.far.say("%%<install:50:call.route:true", "%%<setlocal:timeout:5000:true")
        assert await install == Installed(50, "call.route", success=True)
        assert await setting == SetLocalDone("timeout", "5000", success=True)


async def test_a_command_that_the_engine_cannot_read_fails() -> None:
    """`Error in:` reaches the caller."""
    async with attached() as it:
        reply = it.link.command(SetLocal("x", "y"))
        it.far.say("Error in: %%>setlocal:x:y")
        with pytest.raises(LocalProtocolError, match="could not read"):
            await reply


async def test_dispatch_returns_the_answered_message() -> None:
    """The answer keeps the time of the question."""
    async with attached() as it:
        asked = asyncio.create_task(
            it.link.dispatch(Message("call.route", called="1:2", time=5), timeout=None)
        )
        assert await it.far.hear() == ["%%>message:1:5:call.route::called=1%z2"]
        it.far.say("%%<message:1:true:call.route:sip/1:called=1%z2:handlers=a%z1")
        answer = await asked
        assert (answer.processed, answer.retvalue, answer.time) == (True, "sip/1", 5)
        assert answer["called"] == "1:2"


async def test_dispatch_that_is_not_answered_times_out_and_a_late_answer_is_dropped() -> None:
    """A late answer harms nobody (python-yate's read loop dies of it)."""
    async with attached() as it:
        with pytest.raises(DispatchTimeout) as caught:
            await it.link.dispatch(Message("call.route"), timeout=3)
        assert (caught.value.name, caught.value.seconds) == ("call.route", 3)
        await it.far.hear()
        it.far.say("%%<message:1:true:call.route:late")
        again = asyncio.create_task(it.link.dispatch(Message("call.route"), timeout=3))
        await it.far.hear()
        it.far.say("%%<message:2:false:call.route:")
        assert not (await again).processed


async def test_a_dispatch_may_be_cancelled_in_the_turn_in_which_its_time_is_up() -> None:
    """The timer finds a wait that has ended, and leaves it so."""
    faults: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: faults.append(context))
    async with attached() as it:
        due = loop.time() + 0.03
        asked = asyncio.create_task(it.link.dispatch(Message("a"), timeout=0.03))
        # So little before it that the loop calls both in one turn.
        loop.call_at(due - 1e-10, asked.cancel)
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert not faults


async def test_a_dispatch_that_is_cancelled_leaves_the_link_usable() -> None:
    """The cancelled waiter's answer is dropped."""
    async with attached() as it:
        asked = asyncio.create_task(it.link.dispatch(Message("a"), timeout=None))
        await it.far.hear()
        asked.cancel()
        it.far.say("%%<message:1:true:a:")
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.sleep(0)
        assert it.link.faults == 0


async def test_a_timeout_inside_of_the_wait_is_not_mistaken_for_ours() -> None:
    """An outer `asyncio.timeout` stays a TimeoutError of its own."""
    async with attached() as it:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1):
                await it.link.dispatch(Message("a"), timeout=60)
        assert not isinstance(caught.value, DispatchTimeout)


async def test_an_answer_that_cannot_be_read_fails_its_waiter() -> None:
    """The id of the answer tells who waits."""
    async with attached() as it:
        asked = asyncio.create_task(it.link.dispatch(Message("a"), timeout=None))
        await it.far.hear()
        it.far.say("%%<message:1:true:a::p=%!")
        with pytest.raises(RemoteProtocolError):
            await asked


async def test_everything_that_waits_fails_when_the_link_ends() -> None:
    """Commands and dispatches get ConnectionLost at once, and so does whatever comes after."""
    async with attached() as it:
        command = it.link.command(SetLocal("x", "y"))
        asked = asyncio.create_task(it.link.dispatch(Message("a"), timeout=None))
        await it.far.hear(2)
        it.far.close()
        with pytest.raises(ConnectionLost):
            await command
        with pytest.raises(ConnectionLost):
            await asked
        with pytest.raises(ConnectionLost):
            await it.link.dispatch(Message("a"), timeout=None)
        with pytest.raises(ConnectionLost):
            await it.link.send(Output("x"))
        with pytest.raises(ConnectionLost):
            it.link.command(SetLocal("x"))


async def test_a_half_line_at_the_end_is_no_event() -> None:
    """What was cut by the end of the stream is dropped."""
    async with attached() as it:
        it.far.say_bytes(b"%%>message:1:1:a")
        it.far.close()
        await asyncio.sleep(0.1)
        assert it.requests.empty()


async def test_an_unreadable_request_is_answered_false() -> None:
    """A request whose id can be read frees the engine's thread at once (guarantee A6)."""
    async with attached() as it:
        it.far.say("%%>message:77:1:call.route::p=%a")
        assert await it.far.hear() == ["%%<message:77:false:"]
        assert it.link.faults == 1
        assert it.requests.empty()


async def test_a_request_without_a_readable_id_closes_the_link_once_a_second() -> None:
    """Closing frees the engine, but costs all handlers: it is bounded (guarantee A6)."""
    async with attached() as it:
        it.far.say("%%>message:7%a:1:call.route:")
        assert await it.far.hear_all() == []


async def test_a_second_unaddressable_request_within_a_second_is_only_counted() -> None:
    """Whoever repeats the fault does not get a connection per line."""
    far = Far()
    first = Attached()
    close_limit = first.link._close_limit
    assert close_limit.allow()
    link = Link(far.near, lambda link, message: None, print, close_limit=close_limit)
    running = asyncio.create_task(link.run())
    far.say("%%>message:7%a:1:call.route:")
    asked = link.command(SetLocal("timeout"))
    await far.hear()
    far.say("%%<setlocal:timeout:10000:true")
    assert await asked == SetLocalDone("timeout", "10000", success=True)
    assert link.faults == 1
    link.abort()
    await running


async def test_a_line_that_is_too_long_always_closes_the_link() -> None:
    """What came behind it is lost, and nobody could answer it: closing frees the engine (A1)."""
    async with attached() as it:
        it.link._close_limit.allow()
        it.far.say(f"%%>message:1:1:a::x={'y' * 2**20}", "%%>message:2:1:a::")
        while it.link.usable:
            await asyncio.sleep(0)


async def test_unknown_lines_are_logged_in_moderation_and_never_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ten thousand strange lines cost one line of log and no byte to the engine."""
    async with attached() as it:
        with caplog.at_level(logging.WARNING, "yateway"):
            it.far.say(*["hello\x1b[31m"] * 10_000)
            asked = it.link.command(SetLocal("timeout"))
            assert await it.far.hear() == ["%%>setlocal:timeout:"]
            it.far.say("%%<setlocal:timeout:1:true")
            await asked
        assert it.link.faults == 10_000
        assert len(caplog.records) == 1
        assert "\x1b" not in caplog.text


async def test_quit_waits_for_the_engine_and_takes_its_closing_for_a_yes() -> None:
    """`%%<quit` may be lost in the closing."""
    async with attached() as it:
        leaving = asyncio.create_task(it.link.quit())
        assert await it.far.hear() == ["%%>quit"]
        it.far.say("%%<quit")
        await leaving
    async with attached() as it:
        leaving = asyncio.create_task(it.link.quit())
        await it.far.hear()
        it.far.close()
        await leaving


async def test_it_tells_what_it_is() -> None:
    """The text form shows where it leads and what is open."""
    async with attached() as it:
        assert it.link.name == "memory:test"
        assert not it.link.single
        assert it.link.usable
        assert repr(it.link) == (
            "<Link memory:test <Connection OPEN requests=0 dispatched=0 commands=0>>"
        )


# --- What waits to be written (guarantee D2) ---------------------------------------------------

LONG = "x" * 60_000


async def test_our_own_messages_wait_and_answers_do_not() -> None:
    """An engine that reads nothing holds up senders at little more than its socket's room."""
    async with attached() as it:
        await it.link.send(SetLocal("bufsize", "65536"))
        sending = [
            asyncio.create_task(it.link.dispatch(Message("t.x", v=LONG), None)) for _ in range(500)
        ]
        await asyncio.sleep(1)
        waiting = it.far.near.waiting
        assert waiting < SOCKET_ROOM + 3 * BATCH
        # The request comes in, and its answer goes out before all messages that wait.
        message = await it.request("%%>message:7:1:call.route:")
        it.link.finish(message, processed=True)
        await asyncio.sleep(0)
        sent = await it.far.hear(1 + waiting // len(LONG) + 1)
        assert sent[-1] == "%%<message:7:true:"
        # As it reads on, everything arrives, in its order.
        ids = [
            line.split(":")[1] for line in (*sent[1:-1], *await it.far.hear(501 - len(sent) + 1))
        ]
        assert ids == [str(number) for number in range(1, 501)]
        it.far.close()
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ConnectionLost}


async def test_an_engine_that_takes_no_answers_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """It asks and asks, and reads nothing: more than 16 MiB are not kept for it (F13)."""
    far = Far()

    def answer(link: Link, message: Message) -> None:
        message["v"] = LONG
        link.finish(message, processed=True)

    link = Link(far.near, answer, print)
    await link.send(SetLocal("bufsize", "65536"))
    running = asyncio.create_task(link.run())
    asked = 0
    most = 0
    while not running.done():
        asked += 1
        assert asked < 1000
        far.say(f"%%>message:{asked}:1:call.route:")
        await asyncio.sleep(0.001)
        most = max(most, far.near.waiting)
    assert ANSWERS_LIMIT - len(LONG) < most <= ANSWERS_LIMIT + 2 * len(LONG)
    assert "memory:test reads nothing of 16 MiB, dropped" in caplog.text
    await running
