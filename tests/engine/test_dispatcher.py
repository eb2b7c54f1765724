"""Whom the dispatcher asks, in which order, and whom it tells."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from yateway.engine.dispatcher import Dispatcher, EngineMessage, Handler
from yateway.engine.workers import Limits
from yateway.errors import ConnectionLost
from yateway.wire.frames import Answer


def message(name: str = "t.x", *, broadcast: bool = False, **params: str) -> EngineMessage:
    """Return a message."""
    return EngineMessage(name, params.items(), time=1, broadcast=broadcast)


class Watching:
    """Watches messages of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[tuple[str, bool]] = []

    def watches(self, name: str) -> bool:
        return name == self.name

    async def notify(self, message: EngineMessage, processed: bool) -> None:
        self.told.append((message.name, processed))


class Scene:
    """A dispatcher, and handlers that note when they are asked."""

    def __init__(self) -> None:
        self.changes = 0
        self.dispatcher = Dispatcher("handlers", self._changed, Limits(least=4))
        self.asked: list[str] = []

    def _changed(self) -> None:
        self.changes += 1

    def add(
        self,
        label: str,
        priority: int = 100,
        name: str = "t.x",
        *,
        processed: bool = False,
        act: Callable[[EngineMessage], object] = lambda message: None,
        track: str = "",
        wanted: tuple[str, str] = ("", ""),
    ) -> Handler:
        """Install a handler."""

        async def receive(message: EngineMessage) -> bool:
            self.asked.append(label)
            act(message)
            return processed

        handler = Handler(
            name, priority, receive, track=track, filter_name=wanted[0], filter_value=wanted[1]
        )
        self.dispatcher.install(handler)
        return handler


async def test_handlers_are_asked_by_ascending_priority() -> None:
    """A negative priority is a very large one."""
    scene = Scene()
    for priority in (100, -5, 20, 0, 2**31 - 2):
        scene.add(str(priority), priority)
    assert not await scene.dispatcher.dispatch(message())
    assert scene.asked == ["0", "20", "100", str(2**31 - 2), "-5"]


async def test_of_equal_priorities_the_last_one_installed_is_asked_first() -> None:
    """As in every recording of the real engine that shows it."""
    scene = Scene()
    for label in "abc":
        scene.add(label)
    await scene.dispatcher.dispatch(message())
    assert scene.asked == ["c", "b", "a"]


async def test_true_ends_it() -> None:
    """Later handlers are not asked."""
    scene = Scene()
    scene.add("first", 10, processed=True)
    scene.add("second", 20)
    assert await scene.dispatcher.dispatch(message())
    assert scene.asked == ["first"]


async def test_a_broadcast_goes_to_all() -> None:
    """It is processed if anybody processed it."""
    scene = Scene()
    scene.add("first", 10, processed=True)
    scene.add("second", 20)
    assert await scene.dispatcher.dispatch(message(broadcast=True))
    assert scene.asked == ["first", "second"]


async def test_a_renamed_message_goes_on_under_its_new_name() -> None:
    """Upwards from the priority reached."""
    scene = Scene()
    scene.add("a50", 50, "t.a", act=lambda m: m.apply(Answer("", False, "t.b")))
    scene.add("a60", 60, "t.a")
    scene.add("b40", 40, "t.b")
    scene.add("b70", 70, "t.b")
    await scene.dispatcher.dispatch(message("t.a"))
    assert scene.asked == ["a50", "b70"]


async def test_a_handler_without_a_name_sees_everything() -> None:
    """In its place among the others."""
    scene = Scene()
    scene.add("late", 90)
    scene.add("all", 50, "")
    scene.add("early", 10)
    await scene.dispatcher.dispatch(message())
    await scene.dispatcher.dispatch(message("other"))
    assert scene.asked == ["early", "all", "late", "all"]


@pytest.mark.parametrize(
    ("wanted", "params", "asked"),
    [
        (("k", "v"), {"k": "v"}, True),
        (("k", "v"), {"k": "vv"}, False),
        (("k", "v"), {}, False),
        (("k", ""), {}, True),
        (("k", ""), {"k": ""}, True),
        (("k", ""), {"k": "x"}, False),
        (("k", "^v.*$"), {"k": "vv"}, False),
        (("", "v"), {}, True),
    ],
)
async def test_filters_match_exactly(
    wanted: tuple[str, str], params: dict[str, str], asked: bool
) -> None:
    """A missing parameter counts as an empty one, and there are no patterns."""
    scene = Scene()
    scene.add("it", wanted=wanted)
    await scene.dispatcher.dispatch(EngineMessage("t.x", params.items(), time=1))
    assert bool(scene.asked) is asked


async def test_handlers_leave_their_track() -> None:
    """Before they are asked, after what is there already; one without a track leaves none."""
    scene = Scene()
    scene.add("a", 10, track="one")
    scene.add("b", 20)
    scene.add("c", -1, track="two")
    it = message(p="1")
    await scene.dispatcher.dispatch(it)
    assert it.params == {"p": "1", "handlers": "one:10,two:4294967295"}


async def test_tracking_can_be_switched_off() -> None:
    """An engine without a trackparam keeps no tracks."""
    dispatcher = Dispatcher("", lambda: None)

    async def receive(message: EngineMessage) -> bool:
        return True

    dispatcher.install(Handler("t.x", 1, receive, track="one"))
    it = message()
    assert await dispatcher.dispatch(it)
    assert it.params == {}


async def test_handlers_that_come_and_go_under_way() -> None:
    """A newcomer behind the present one is asked, one that left is not."""
    scene = Scene()
    leaving = scene.add("leaving", 80)

    def change(message: EngineMessage) -> None:
        scene.dispatcher.uninstall(leaving)
        scene.dispatcher.uninstall(present)
        scene.add("too early", 40)
        scene.add("in time", 60)

    present = scene.add("present", 50, act=change)
    await scene.dispatcher.dispatch(message())
    assert scene.asked == ["present", "in time"]


async def test_watchers_are_told_at_the_end() -> None:
    """By the name the message has by then."""
    scene = Scene()
    old, new = Watching("t.x"), Watching("t.y")
    scene.dispatcher.add_watcher(old)
    scene.dispatcher.add_watcher(new)
    scene.dispatcher.add_watcher(new)
    scene.add("it", processed=True, act=lambda m: m.apply(Answer("", True, "t.y")))
    await scene.dispatcher.dispatch(message())
    # The dispatcher tells everybody; whether it is of interest, a watcher knows itself.
    assert old.told == new.told == [("t.y", True)]
    scene.dispatcher.remove_watcher(old)
    scene.dispatcher.remove_watcher(old)
    await scene.dispatcher.dispatch(message())
    assert (len(old.told), len(new.told)) == (1, 2)


async def test_it_knows_what_is_wanted() -> None:
    """By a handler, by one for all names, or by a watcher; and says when that may have changed."""
    scene = Scene()
    dispatcher = scene.dispatcher
    assert not dispatcher.is_wanted("engine.timer")
    watching = Watching("engine.timer")
    dispatcher.add_watcher(watching)
    assert dispatcher.is_wanted("engine.timer")
    dispatcher.remove_watcher(watching)
    handler = scene.add("it", name="engine.timer")
    assert dispatcher.is_wanted("engine.timer")
    dispatcher.uninstall(handler)
    assert not dispatcher.is_wanted("engine.timer")
    scene.add("all", name="")
    assert dispatcher.is_wanted("engine.timer")
    assert scene.changes == 3


async def test_queued_messages_start_in_their_order_and_do_not_wait_for_each_other() -> None:
    """Each is told its result."""
    scene = Scene()
    gate = asyncio.Event()

    async def hold(message: EngineMessage) -> bool:
        scene.asked.append(message.params["n"])
        if message.params["n"] == "1":
            await gate.wait()
        return True

    scene.dispatcher.install(Handler("t.x", 1, hold))
    done: list[tuple[str, bool]] = []
    for number in ("0", "1", "2"):
        it = message(n=number)

        def note(processed: bool, number: str = number) -> None:
            done.append((number, processed))

        it.done = note
        scene.dispatcher.enqueue(it)
    scene.dispatcher.enqueue(message(n="nobody asks"))
    await asyncio.sleep(1)
    assert scene.asked == ["0", "1", "2", "nobody asks"]
    assert done == [("0", True), ("2", True)]
    gate.set()
    await asyncio.sleep(1)
    assert done[-1] == ("1", True)


async def test_who_fails_in_the_queue_is_reported_and_the_sender_gets_false() -> None:
    """The event loop's exception handler hears of it."""
    scene = Scene()

    def fail(message: EngineMessage) -> None:
        raise ZeroDivisionError

    scene.add("it", act=fail)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["exception"])
    )
    done: list[bool] = []
    it = message()
    it.done = done.append
    scene.dispatcher.enqueue(it)
    await asyncio.sleep(1)
    assert done == [False]
    assert [type(error) for error in reported] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        await scene.dispatcher.dispatch(message())


async def test_a_stopped_dispatcher_answers_nobody() -> None:
    """Neither who waits for a message, nor who enqueued one."""
    scene = Scene()
    gate = asyncio.Event()

    async def hold(message: EngineMessage) -> bool:
        await gate.wait()
        return True

    scene.dispatcher.install(Handler("t.x", 1, hold))
    done: list[bool] = []
    for _ in range(2):
        it = message()
        it.done = done.append
        scene.dispatcher.enqueue(it)
    waiting = asyncio.create_task(scene.dispatcher.dispatch(message()))
    await asyncio.sleep(1)
    scene.dispatcher.stop()
    gate.set()
    with pytest.raises(ConnectionLost):
        await waiting
    await scene.dispatcher.join()
    scene.dispatcher.enqueue(message())
    assert done == []


async def test_a_handler_that_will_not_be_cancelled_ends_in_silence() -> None:
    """Its message is answered to nobody either."""
    dispatcher = Dispatcher("", lambda: None)

    async def hold(message: EngineMessage) -> bool:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return True

    dispatcher.install(Handler("t.x", 1, hold))
    it = message()
    done: list[bool] = []
    it.done = done.append
    dispatcher.enqueue(it)
    await asyncio.sleep(1)
    dispatcher.stop()
    await dispatcher.join()
    assert done == []


def test_a_message_keeps_the_places_of_its_parameters() -> None:
    """A repeated name keeps its first place and its last value; an answer changes and deletes."""
    it = EngineMessage("t.x", [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")], time=7)
    assert it.to_request("id").text() == "%%>message:id:7:t.x::a=3:b=2:c=4"
    it.apply(Answer("", True, "", None, ":n=5:b:a=6"))
    assert it.to_answer("id", True).text() == "%%<message:id:true:t.x::a=6:c=4:n=5"
    it.apply(Answer("", True, "t.y", "ret"))
    it.set("x=y", ":%")
    assert it.to_answer("", False).text() == "%%<message::false:t.y:ret:a=6:c=4:n=5:x%}y=%z%%"
    assert repr(it) == "<EngineMessage 't.y' of 4 parameters>"
