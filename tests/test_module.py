"""Modules as users write them, on the embedded engine and against lines typed by hand."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from itertools import pairwise
from typing import Any

import pytest

from tests.elsewhere import engine_elsewhere
from tests.far import Far, opener_to
from yateway.call import Call
from yateway.engine import Engine
from yateway.engine.caller import Caller
from yateway.errors import (
    ConfigError,
    ConnectionLost,
    InstallRefused,
    LocalProtocolError,
)
from yateway.message import Message
from yateway.module import Module, default_engine
from yateway.resync import Resync
from yateway.routing import Route


def router() -> Module:
    """Return the module of the README."""
    module = Module("router")

    @module.handler("call.route", priority=50)
    async def route(message: Message) -> str | None:
        if message.get("called") != "123":
            return None
        message["param1"] = "value1"
        return "sip/sip:test@127.0.0.1"

    return module


async def test_123_is_routed() -> None:
    """The example of the README holds."""
    async with Engine(router()) as engine:
        answer = await engine.dispatch("call.route", called="123")
        declined = await engine.dispatch("call.route", called="9", retvalue="keep")
    assert answer.processed
    assert answer.retvalue == "sip/sip:test@127.0.0.1"
    assert answer["param1"] == "value1"
    assert answer["handlers"] == "cdrbuild:50,router:50"
    assert (declined.processed, declined.retvalue) == (False, "keep")


async def test_the_set_up_is_what_the_protocol_asks_for() -> None:
    """Connect comes first, then settings, then installs and watches, in one write."""
    module = router()
    module.watcher("call.answered")(print)
    module.watcher("call.answered")(print)
    module.watcher("")(print)
    far = Far()
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    assert await accepted == [
        "%%>connect:global",
        "%%>setlocal:bufsize:65536",
        "%%>setlocal:trackparam:router",
        "%%>setlocal:debugname:router",
        "%%>setlocal:maxqueue:256",
        "%%>setlocal:timeout:",
        "%%>setlocal:runid:",
        "%%>install:50:call.route",
        "%%>watch:call.answered",
        "%%>watch:",
    ]
    far.close()
    await module.detach()


async def test_a_filter_goes_to_the_engine_when_all_handlers_share_it() -> None:
    """The engine filters by exact match, and only what all handlers want."""
    module = Module("filters")
    for filter in (("called", "1:2"), ("called", "1:2")):
        module.handler("call.route", filter=filter)(print)
    module.handler("call.execute", filter=("callto", "a"))(print)
    module.handler("call.execute", filter=("callto", "b"))(print)
    far = Far()
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    assert (await accepted)[-2:] == [
        "%%>install:100:call.route:called:1%z2",
        "%%>install:100:call.execute",
    ]
    far.close()
    await module.detach()


async def test_a_priority_means_what_yate_means_by_it() -> None:
    """Handlers at 50 and 150 are asked before and after what sits at 100 between them."""
    module = Module("sandwich")
    order: list[str] = []
    for priority in (150, 50, 150):

        @module.handler("call.route", priority)
        def note(message: Message, priority: int = priority) -> None:
            order.append(str(priority))

    async with Engine(module) as engine:

        def regexroute(message: Message) -> bool:
            order.append("regexroute")
            return False

        engine.install("call.route", regexroute, 100)
        answer = await engine.dispatch("call.route")
        assert order == ["50", "regexroute", "150", "150"]
        # The engine's own modules leave their names too.
        assert answer["handlers"] == "cdrbuild:50,sandwich:50,sandwich:150"


async def test_standard_input_and_output_take_one_priority_for_a_name() -> None:
    """There can be no second connection: the handlers are named, and nothing runs wrongly."""
    module = Module("script")
    module.handler("call.route", 50)(print)
    module.handler("call.route", 150)(print)
    far = Far()
    far.near.single = True
    with pytest.raises(ConfigError, match=r"50 .* 150 .* attach over TCP or UNIX"):
        await module.attach(opener_to(far))


async def test_serving_over_them_is_refused_before_they_are_taken() -> None:
    """Nothing was read or redirected by then."""
    module = Module("script")
    module.handler("call.route", 50)(print)
    module.handler("call.route", 150)(print)
    with pytest.raises(ConfigError, match=r"50 .* 150 .* attach over TCP or UNIX"):
        await module.serve("stdio:")


async def test_a_script_does_not_connect_and_ends_with_its_input() -> None:
    """Yate knows the role of a script; when its input ends, so does the script (C6)."""
    module = router()
    far = Far()
    far.near.single = True
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    assert (await accepted)[0] == "%%>setlocal:bufsize:65536"
    far.close()
    await module.detach()


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("1000", 0.8), ("2500", 2.0), ("100000", 2.0), ("0", 2.0)]
)
async def test_the_engines_timeout_bounds_the_deadline(timeout: str, seconds: float) -> None:
    """A hanging handler is cut at 2.0 s, or at 80 % of the engine's timeout (guarantee A3)."""
    module = Module("hanging")

    @module.handler("call.route")
    async def hang(message: Message) -> None:
        await asyncio.sleep(1000)

    async with Engine(module) as engine:
        await module.setlocal("timeout", timeout)
        engine.install("call.route", lambda message: True, 200)
        started = asyncio.get_running_loop().time()
        assert (await engine.dispatch("call.route")).processed
        assert asyncio.get_running_loop().time() - started == pytest.approx(seconds, abs=0.01)


async def test_watchers_are_told_and_do_not_answer() -> None:
    """A watcher sees what became of a message; the empty name sees all."""
    module = Module("watching")
    told: list[str] = []

    @module.watcher("test.done")
    def done(message: Message) -> None:
        told.append(f"done {message['id']} {message.processed}")

    @module.watcher("")
    async def everything(message: Message) -> None:
        told.append(message.name)

    async with Engine(module) as engine:
        await engine.dispatch("test.done", id="sip/1")
        await engine.dispatch("test.other", id="sip/1")
        await asyncio.sleep(0.01)
    assert told[0] == "done sip/1 False"
    assert told[1:] == ["test.done", "test.other"]


async def test_uninstall_removes_a_handler_for_good() -> None:
    """It is gone from the engine, and does not come back with a reconnect."""
    module = router()
    async with Engine(module) as engine:
        await module.uninstall("call.route")
        await module.uninstall("call.route")
        assert not (await engine.dispatch("call.route", called="123")).processed
        engine.drop()
        await asyncio.sleep(2)
        assert not (await engine.dispatch("call.route", called="123")).processed
    await module.uninstall("call.route")


async def test_hooks_run_in_their_order() -> None:
    """start before the connection, connected after the install, stop at the end."""
    module = router()
    events: list[str] = []

    @module.on_start
    def start() -> None:
        events.append(f"start {module.attached}")

    @module.on_connected
    async def connected() -> None:
        answer = await module.dispatch("test.it")
        events.append(f"connected {module.attached} {answer.processed}")

    @module.on_disconnected
    def disconnected() -> None:
        events.append(f"disconnected {module.attached}")

    @module.on_resync
    def resync(missed: Resync) -> None:
        events.append(f"resync new={missed.new_engine}")

    @module.on_stop
    async def stop() -> None:
        events.append(f"stop {module.attached}")

    async with Engine(module) as engine:
        engine.install("test.it", lambda message: True)
        await asyncio.sleep(0.1)
        engine.drop()
        await asyncio.sleep(2)
    assert events == [
        "start False",
        "connected True True",
        "disconnected False",
        "connected True True",
        "resync new=False",
        "disconnected False",
        "stop False",
    ]


async def test_a_refused_handler_or_watcher_is_an_error_with_its_name() -> None:
    """InstallRefused names the message (guarantee C9)."""
    for refuse in ("call.route", "call.answered"):
        module = router()
        module.watcher("call.answered")(print)
        far = Far()
        accepted = asyncio.create_task(far.accept(refuse=refuse))
        with pytest.raises(InstallRefused) as caught:
            await module.attach(opener_to(far))
        await accepted
        assert caught.value.name == refuse
        assert not module.attached


async def test_serve_ends_with_a_refused_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is not tried again."""
    module = router()
    far = Far()
    monkeypatch.setattr("yateway.module.opener_of", lambda url, **_: opener_to(far))
    accepted = asyncio.create_task(far.accept(refuse="call.route"))
    with pytest.raises(InstallRefused):
        await module.serve()
    await accepted


async def test_everything_is_restored_after_a_reconnect() -> None:
    """50 handlers, watchers and settings come back each time, 100 times over (guarantee C1)."""
    module = Module("many")
    for number in range(50):
        filter = ("n", str(number)) if number % 2 else None
        module.handler(f"test.{number}", number + 1, filter=filter)(lambda message: True)
    module.watcher("call.answered")(print)
    ends = [Far() for _ in range(101)]
    first = asyncio.create_task(ends[0].accept())
    await module.attach(opener_to(*ends))
    expected = await first
    setting = asyncio.create_task(module.setlocal("timebomb", value=True))
    assert await ends[0].hear() == ["%%>setlocal:timebomb:true"]
    ends[0].say("%%<setlocal:timebomb:true:true")
    await setting
    expected.insert(5, "%%>setlocal:timebomb:true")
    for before, after in pairwise(ends):
        before.close()
        assert await after.accept() == expected
    await asyncio.sleep(0.1)
    assert module.attached
    ends[-1].close()
    await module.detach()


async def test_a_request_that_comes_with_the_last_reply_may_send_messages() -> None:
    """The engine asks as soon as it has installed a handler, in the same breath."""
    module = Module("eager")

    @module.handler("call.route")
    async def route(message: Message) -> str:
        return (await module.dispatch("user.location")).retvalue

    far = Far()
    attaching = asyncio.create_task(module.attach(opener_to(far)))
    setup = await far.hear()
    setup += far.heard
    far.heard.clear()
    far.say(
        *(f"%%<{line[3:]}:true" for line in setup if line.startswith(("%%>set", "%%>install"))),
        "%%>message:7:1:call.route:",
    )
    (sent,) = await far.hear()
    assert sent.endswith(":user.location:")
    await attaching
    far.say(f"%%<message:{sent.split(':')[1]}:true:user.location:sip/1")
    assert await far.hear() == ["%%<message:7:true::sip/1"]
    far.close()
    await module.detach()


async def test_a_request_that_comes_during_a_slow_set_up_is_answered_at_once() -> None:
    """The engine asks about what it has installed, however long the other replies may take."""
    module = router()
    far = Far()
    attaching = asyncio.create_task(module.attach(opener_to(far)))
    setup = [*await far.hear(), *far.heard]
    far.heard.clear()
    *first, last = (f"%%<{line[3:]}:true" for line in setup if line.startswith("%%>set"))
    far.say("%%<install:50:call.route:true", *first, "%%>message:7:1:call.route::called=123")
    (answer,) = await far.hear()
    assert answer.startswith("%%<message:7:true:")
    assert not module.attached
    far.say(last)
    await attaching
    far.close()
    await module.detach()


async def test_a_request_of_a_link_that_is_never_set_up_is_not_served_later() -> None:
    """The engine has let go of it when the link ended; the next link owes it no answer."""
    module = router()
    ends = [Far(), Far()]
    attaching = asyncio.create_task(module.attach(opener_to(*ends)))
    await ends[0].hear()
    ends[0].say("%%>message:7:1:call.route::called=123")
    ends[0].close()
    await ends[1].accept()
    await attaching
    ends[1].say("%%>message:8:1:call.route::called=123")
    (answer,) = await ends[1].hear()
    assert answer.startswith("%%<message:8:")
    ends[1].close()
    await module.detach()


async def test_an_unaddressable_request_closes_at_most_once_a_second_over_all_links() -> None:
    """A link that stands again within the second is kept, whatever comes (guarantee A6)."""
    module = router()
    ends = [Far(), Far()]
    accepted = asyncio.create_task(ends[0].accept())
    await module.attach(opener_to(*ends))
    await accepted
    started = asyncio.get_running_loop().time()
    ends[0].say("%%>message:7%a:1:call.route:")
    await ends[1].accept()
    assert asyncio.get_running_loop().time() - started < 1.0
    ends[1].say("%%>message:7%a:1:call.route:", "%%>message:8:1:call.route:")
    assert await ends[1].hear() == ["%%<message:8:false:"]
    await asyncio.sleep(0.1)
    assert module.attached
    ends[1].close()
    await module.detach()


async def test_what_waits_when_the_engine_dies_fails_and_the_module_comes_back() -> None:
    """A new engine knows nothing of the module until the module has attached again."""
    module = router()
    async with Engine(module) as engine:
        engine.install("slow", lambda message: asyncio.sleep(60, result=True))
        waiting = asyncio.create_task(module.dispatch("slow"))
        await asyncio.sleep(0.1)
        engine.kill()
        with pytest.raises(ConnectionLost):
            await waiting
        await asyncio.sleep(0)
        for call in (module.dispatch, module.enqueue, module.output, module.getlocal):
            with pytest.raises(ConnectionLost, match="not attached"):
                await call("x")
        await engine.start()
        await asyncio.sleep(15)
        assert (await engine.dispatch("call.route", called="123")).processed


async def test_the_end_answers_what_is_open_before_it_quits() -> None:
    """Uninstall, answers, quit, close: 1,000 open requests all get theirs (guarantee A12)."""
    count = 1000
    module = Module("busy", max_in_flight=count)

    @module.handler("call.route")
    async def slow(message: Message) -> bool:
        if message["n"] == "0":
            await asyncio.sleep(1000)
        await asyncio.sleep(1)
        return True

    far = Far()
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    await accepted
    far.say(*(f"%%>message:{n}:1:call.route::n={n}" for n in range(count)))
    await asyncio.sleep(0.5)
    leaving = asyncio.create_task(module.detach())
    assert await far.hear() == ["%%>uninstall:call.route"]
    far.say("%%<uninstall:100:call.route:true")
    answers = await far.hear(count)
    assert sorted(int(answer.split(":")[1]) for answer in answers) == list(range(count))
    assert answers[-1] == "%%<message:0:false:"
    assert await far.hear() == ["%%>quit"]
    far.say("%%<quit")
    started = asyncio.get_running_loop().time()
    await leaving
    assert asyncio.get_running_loop().time() - started < 1


async def test_an_engine_that_says_nothing_does_not_hold_the_end() -> None:
    """Uninstall and quit are waited for a second each, no longer."""
    module = router()
    far = Far()
    accepted = asyncio.create_task(far.accept())
    await module.attach(opener_to(far))
    await accepted
    started = asyncio.get_running_loop().time()
    await module.detach()
    assert asyncio.get_running_loop().time() - started <= 2.5


async def test_what_must_end_the_process_ends_the_module() -> None:
    """The request is answered, then the error goes on its way (guarantee A7)."""
    module = Module("dying")

    @module.handler("call.route")
    def die(message: Message) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with Engine(module) as engine:
            assert not (await engine.dispatch("call.route")).processed
            await asyncio.sleep(0.1)


async def test_spawned_work_is_supervised(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged, what still runs is cancelled at the end, and nothing runs before."""
    module = Module("spawning")
    cancelled = asyncio.Event()

    async def fail() -> None:
        raise ValueError("spawned\nwork")

    async def forever() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.set()

    with pytest.raises(ConnectionLost):
        module.spawn(fail())
    with caplog.at_level(logging.ERROR, "yateway"):
        async with Engine(module):
            module.spawn(fail())
            module.spawn(forever())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert cancelled.is_set()
    assert "spawned work failed: ValueError(" in caplog.text
    assert "spawned\nwork" not in caplog.text


async def test_misuse_is_refused_with_a_remedy() -> None:
    """Names, deadlines, late registration and double attachment."""
    for name in ("", " ", "a\nb", "a:b"):
        with pytest.raises(ConfigError, match="no name for a module"):
            Module(name)
    with pytest.raises(ConfigError, match="more than 0"):
        Module("x", deadline=0)
    module = router()
    with pytest.raises(ConfigError):
        module.handler("")(print)
    with pytest.raises(LocalProtocolError):
        module.watcher("a\nb")
    async with Engine(module) as engine:
        with pytest.raises(ConfigError, match="before the module is attached"):
            module.handler("call.execute")(print)
        with pytest.raises(ConfigError, match="before the module is attached"):
            module.watcher("call.execute")(print)
        with pytest.raises(ConfigError, match="attached already"):
            await module.attach(engine.open)
        with pytest.raises(ConfigError, match="attached already"):
            await module.serve("tcp://127.0.0.1:1")
        assert repr(module) == "<Module 'router' attached>"
    assert repr(module) == "<Module 'router' not attached>"
    module.stop()
    await module.detach()


@pytest.mark.parametrize(
    ("environment", "pipes", "expected"),
    [("unix:///x", True, "unix:///x"), ("", True, "stdio:"), ("", False, "tcp://127.0.0.1:5678")],
)
def test_the_engines_address_when_none_is_given(
    environment: str, pipes: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment first, then the pipes of a script, then the article's address."""
    monkeypatch.setenv("YATEWAY_ENGINE", environment)
    monkeypatch.setattr("yateway.module.started_by_engine", lambda: pipes)
    assert default_engine() == expected


@pytest.mark.real_clock
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, None])
def test_run_ends_in_good_order(how: signal.Signals | None) -> None:
    """SIGTERM, SIGINT and `stop` all end `run` without an error."""
    module = router()
    ended: list[str] = []

    @module.on_connected
    def leave() -> None:
        if how is None:
            module.stop()
        else:
            os.kill(os.getpid(), how)

    module.on_stop(lambda: ended.append("stopped"))
    with engine_elsewhere() as url:
        module.run(url)
    assert ended == ["stopped"]


@pytest.mark.real_clock
def test_a_handler_that_blocks_is_named_while_it_blocks(caplog: pytest.LogCaptureFixture) -> None:
    """`run` keeps a watchdog (guarantee A4), which knows the handler's name and place."""
    module = Module("blocking")
    released = threading.Event()

    @module.handler("test.block")
    def block(message: Message) -> None:
        while "block (test_module.py:" not in caplog.text:
            released.wait(0.01)
        module.stop()

    @module.on_connected
    async def ask() -> None:
        await module.setlocal("reenter", value=True)
        await module.dispatch("test.block")

    with engine_elsewhere() as url, caplog.at_level(logging.WARNING, "yateway"):
        module.run(url)
    assert "the event loop is blocked" in caplog.text


@pytest.mark.real_clock
def test_run_does_not_wait_for_what_refuses_to_end() -> None:
    """A task that swallows its cancellation does not keep the process."""
    module = router()
    refused = 0
    tasks: list[asyncio.Task[object]] = []

    async def stubborn() -> None:
        nonlocal refused
        while refused < 5:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                refused += 1

    @module.on_connected
    def leave() -> None:
        tasks.append(module.spawn(stubborn()))
        module.spawn(asyncio.sleep(0)).add_done_callback(lambda task: module.stop())

    with engine_elsewhere() as url:
        module.run(url)
    assert refused == 1
    # Bring it to its end, so that the test leaves nothing behind.
    loop = tasks[0].get_loop()
    for _ in range(4):
        tasks[0].cancel()
        loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(tasks[0])
    loop.close()


async def test_calls_are_taken_made_and_campaigned_for() -> None:
    """A module watches calls once it takes some; what it must not do says so with a remedy."""
    module = Module("caller")
    with pytest.raises(ConfigError, match="calls=True"):
        module.originate("sim/1")
    with pytest.raises(ConfigError, match="calls=True"):
        module.campaign(["1"], "sim/{}", Call.answer)

    @module.call("it")
    async def it(call: Call) -> None:
        await call.answer()

    with pytest.raises(ConfigError, match="async def"):
        module.call("plain")(print)  # type: ignore[type-var]
    module.call("that one")(it)
    with pytest.raises(ConfigError, match="two functions"):
        module.call("it")(it)
    with pytest.raises(ConfigError, match="no function"):
        module.take("that")
    route = module.take("it", language="de")
    assert isinstance(route, Route)
    assert (route.params["yateway"], route.params["call"]) == ("caller", "it")
    async with Engine(module) as engine:
        with pytest.raises(ConfigError, match="before the module is attached"):
            module.call("late")(it)
        someone = Caller(engine)
        answering = asyncio.create_task(answer_twice(someone))
        async with module.originate("sim/300") as call:
            assert module.calls.get(call.id) is call
            assert not module.conferences
        async with module.campaign(["300"], "sim/{}", Call.wait_ended) as outcomes:
            assert [outcome.number async for outcome in outcomes] == ["300"]
        await answering


@pytest.mark.parametrize("settings", [{"calls": True}, {"sounds": "/s"}, {"recordings": "/r"}])
def test_what_makes_a_module_one_that_makes_calls(settings: dict[str, Any]) -> None:
    """Folders to play from and record to are there for calls, and for nothing else."""
    assert Module("other", **settings).originate("sim/1") is not None


async def answer_twice(someone: Caller) -> None:
    """Pick up when called, and the second time hang up."""
    await someone.is_called("300")
    someone.pick_up()
    await someone.hung_up()
    await someone.is_called("300")
    someone.pick_up()
    someone.hang_up()


async def test_a_module_serves_over_whatever_opens_connections() -> None:
    """`serve` takes what `attach` takes, and ends when it is told to."""
    module = router()
    async with Engine() as engine:
        serving = asyncio.create_task(module.serve(engine.open))
        await asyncio.sleep(2)
        assert module.attached
        module.stop()
        await serving
    assert not module.attached
