"""Programs written with python-yate run unmodified on the embedded engine as on the real one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
from yate.asyncio import YateAsync
from yate.protocol import Message, MessageRequest

from tests.real_engine import real_engine
from yateway.engine import Engine

pytestmark = pytest.mark.real_clock

Main: TypeAlias = Callable[[Any], Awaitable[None]]

#: Seconds that a client may take.
PATIENCE = 12.0
#: The real engine's modules that calls need.
CALL_MODULES = ("dumbchan", "tonegen", "wavefile")
#: A second of sound, and the shorter time of prompts.
SECOND = 16000
PROMPT = b"\x10\x20" * (SECOND // 20)

IVR = """\
#!{python}
import asyncio
from yate.ivr import YateIVR
from yate.protocol import MessageRequest

def note(text):
    with open({notes!r}, "a") as file:
        print(text, file=file)

def note_soon(text):
    asyncio.get_running_loop().call_soon(note, text)  # when it waits for digits

async def main(ivr):
    note("called " + ivr.call_params["called"])
    await ivr.play_soundfile({prompt!r}, complete=True)
    note_soon("prompt over")
    note("symbols " + await ivr.read_dtmf_symbols(2, 5))
    note_soon("more digits")
    note("until " + await ivr.read_dtmf_until("#", 5))
    await ivr.record_audio_wait({recording!r}, 0.2)
    await ivr.play_soundfile({prompt!r}, repeat=True)
    note(str(await ivr.wait_channel_event(5)))
    answer = await ivr.tone("dial")
    note(answer.name)
    await asyncio.sleep(10)

ivr = YateIVR()
ivr.register_hangup_handler(lambda: note("hung up"))
ivr.run(main)
"""


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[tuple[str, str]]:
    async with Engine(listen=["tcp://127.0.0.1:0", f"unix://{folder}/yate.sock"]) as engine:
        tcp, unix = engine.urls
        yield tcp, unix


@asynccontextmanager
async def real(_folder: Path) -> AsyncIterator[tuple[str, str]]:
    async with real_engine(modules=CALL_MODULES) as engine:
        yield engine.tcp, engine.unix


Start: TypeAlias = Callable[[Path], contextlib.AbstractAsyncContextManager[tuple[str, str]]]


@pytest.fixture(
    params=[
        pytest.param(embedded, id="embedded"),
        pytest.param(real, id="real", marks=pytest.mark.yate),
    ]
)
def start(request: pytest.FixtureRequest) -> Start:
    """How to start an engine: the same tests on both."""
    chosen: Start = request.param
    return chosen


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="yateway-") as name:
        yield Path(name)


def over_tcp(url: str) -> Any:
    parts = urlsplit(url)
    return YateAsync(parts.hostname, parts.port)


def over_unix(url: str) -> Any:
    return YateAsync(sockpath=urlsplit(url).path)


async def run(client: Any, main: Main) -> None:
    """Run a program as its author does: `run` has an event loop of its own."""

    async def bounded(client: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            await main(client)

    await asyncio.to_thread(client.run, bounded)


async def ask(client: Any, name: str, /, **params: str) -> Any:
    return await client.send_message_async(MessageRequest(name, params))


class Watcher:
    """Keeps what a client's watches tell it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._news = asyncio.Event()

    def __call__(self, message: Any) -> None:
        self.seen.append(message)
        self._news.set()

    async def wait(self, name: str, **params: str) -> Any:
        """Wait for a message that has these parameters."""
        while True:
            for message in self.seen:
                if message.name == name and params.items() <= message.params.items():
                    return message
            self._news.clear()
            await self._news.wait()


async def watching(client: Any, *names: str) -> Watcher:
    watcher = Watcher()
    for name in names:
        assert await client.register_watch_handler_async(name, watcher)
    return watcher


# Messages


async def test_a_handler_answers_what_its_filter_lets_through(start: Start, folder: Path) -> None:
    """A filtered handler is asked, answers with return value and parameters, and can be removed."""
    answers: list[Any] = []

    def route(message: Any) -> bool:
        message.return_value = "tone/dial"
        message.params["note"] = message.params["note"].upper()
        return True

    async def main(client: Any) -> None:
        assert await client.set_local_async("reenter", "true")
        assert await client.register_message_handler_async("call.route", route, 50, "called", "1")
        for called in "1", "2":
            answers.append(await ask(client, "call.route", called=called, note="a:b%c=\n\u00fc"))
        client.unregister_message_handler("call.route")
        answers.append(await ask(client, "call.route", called="1", note="x"))
        assert not client._message_handlers

    async with start(folder) as (tcp, _):
        await run(over_tcp(tcp), main)
    assert [(a.processed, a.return_value, a.params["note"]) for a in answers] == [
        (True, "tone/dial", "A:B%C=\n\u00dc"),
        (False, "", "a:b%c=\n\u00fc"),
        (False, "", "x"),
    ]


async def test_a_second_handler_of_a_name_is_refused(start: Start, folder: Path) -> None:
    """The engine's refusal reaches the program, and the first handler stays."""

    async def main(client: Any) -> None:
        def yes(_message: Any) -> bool:
            return True

        assert await client.set_local_async("reenter", "true")
        assert await client.register_message_handler_async("my.own", yes)
        assert not await client.register_message_handler_async("my.own", yes, 10)
        assert (await ask(client, "my.own")).processed

    async with start(folder) as (_, unix):
        await run(over_unix(unix), main)


async def test_a_handler_may_answer_later(start: Start, folder: Path) -> None:
    """A handler that returns None keeps the message until `answer_message`."""

    async def main(client: Any) -> None:
        def later(message: Any) -> None:
            message.params["late"] = "yes"
            loop = asyncio.get_running_loop()
            loop.call_later(0.05, client.answer_message, message, True)

        assert await client.set_local_async("reenter", "true")
        assert await client.register_message_handler_async("my.own", later)
        answer = await ask(client, "my.own")
        assert (answer.processed, answer.params["late"]) == (True, "yes")

    async with start(folder) as (tcp, _):
        await run(over_tcp(tcp), main)


async def test_a_watch_is_told_what_became_of_a_message(start: Start, folder: Path) -> None:
    """One program watches what another dispatches, until it unwatches."""

    async def main(client: Any) -> None:
        other = over_unix(unix)
        await other.setup_for_unix(other.sockpath)
        reading = asyncio.create_task(other.message_processing_loop())
        watcher = await watching(client, "my.event", "my.end")
        assert not await client.register_watch_handler_async("my.end", watcher)
        other.send_message(MessageRequest("my.event", {"n": "1"}, "value"), fire_and_forget=True)
        message = await watcher.wait("my.event", n="1")
        assert (message.processed, message.return_value) == (False, "value")
        client.unregister_watch_handler("my.event")
        while "my.event" in client._watch_handlers:
            await asyncio.sleep(0.005)
        for name in "my.event", "my.end":
            other.send_message(MessageRequest(name, {}), fire_and_forget=True)
        await watcher.wait("my.end")
        assert [message.name for message in watcher.seen] == ["my.event", "my.end"]
        other.writer.close()
        await reading

    async with start(folder) as (tcp, unix):
        await run(over_tcp(tcp), main)


async def test_local_settings_are_set_and_read(start: Start, folder: Path) -> None:
    """Settings are read, changed and refused; a refusal brings the value that stays."""
    read: dict[str, str] = {}

    async def main(client: Any) -> None:
        for name in "bufsize", "timeout", "engine.version", "nosuch":
            read[name] = await client.get_local_async(name)
        assert await client.set_local_async("timeout", "2000")
        assert not await client.set_local_async("engine.version", "0")
        assert not await client.set_local_async("nosuch", "1")
        read["new timeout"] = client.get_local("timeout")

    async with start(folder) as (tcp, _):
        await run(over_tcp(tcp), main)
    assert read.pop("engine.version")
    assert read == {"bufsize": "8192", "timeout": "10000", "nosuch": "", "new timeout": "2000"}


async def test_the_buffer_grows_for_a_long_message(start: Start, folder: Path) -> None:
    """A message too long for the engine's buffer goes through once the program asked for more."""
    text = "long:" * 6000

    async def main(client: Any) -> None:
        await client.activate_automatic_bufsize()
        assert (await ask(client, "my.own", text=text)).params["text"] == text
        assert int(client.get_local("bufsize")) > len(text)

    async with start(folder) as (tcp, _):
        await run(over_tcp(tcp), main)


async def test_the_end_of_the_engine_reaches_the_program(start: Start, folder: Path) -> None:
    """The termination handler is called when the engine closes the connection."""
    terminated = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def main(client: Any) -> None:
        client.set_termination_handler(lambda: loop.call_soon_threadsafe(terminated.set))
        client.writer.write(b"%%>quit\n")
        while not terminated.is_set():
            await asyncio.sleep(0.01)

    async with start(folder) as (tcp, _):
        await run(over_tcp(tcp), main)


# Calls


async def originate(client: Any, folder: Path, **params: str) -> str:
    """Let a leg call, let it hear, and return its id."""
    answer = await ask(client, "call.execute", callto="dumb/", **params)
    assert answer.processed, answer.params
    leg: str = answer.params["id"]
    heard = str(folder / "heard.slin")
    answer = await ask(
        client, "chan.masquerade", message="chan.attach", id=leg, consumer=f"wave/record/{heard}"
    )
    assert answer.name == "chan.attach"
    return leg


async def test_a_call_goes_from_its_start_to_its_end(start: Start, folder: Path) -> None:
    """A program starts a call, has it answered, plays, sends a digit, and drops it."""
    (folder / "prompt.slin").write_bytes(PROMPT)

    async def main(client: Any) -> None:
        assert await client.set_local_async("selfwatch", "true")
        names = ("call.answered", "chan.notify", "chan.dtmf", "chan.hangup")
        watcher = await watching(client, *names)
        answer = await ask(client, "call.execute", callto="dumb/", target="1", direct="dumb/2")
        caller, called = answer.params["id"], answer.params["targetid"]
        assert (caller, called) == ("dumb/1", "dumb/2")
        await ask(client, "chan.masquerade", message="call.answered", id=called)
        answered = await watcher.wait("call.answered", id=called)
        assert answered.params["peerid"] == caller
        await ask(
            client,
            "chan.masquerade",
            message="chan.attach",
            id=called,
            consumer=f"wave/record/{folder}/heard.slin",
        )
        await ask(
            client,
            "chan.masquerade",
            message="chan.attach",
            id=caller,
            source=f"wave/play/{folder}/prompt.slin",
            notify="prompt",
        )
        await watcher.wait("chan.notify", targetid="prompt", reason="eof")
        await ask(client, "chan.masquerade", message="chan.dtmf", id=called, text="5")
        assert (await watcher.wait("chan.dtmf", id=called)).params["text"] == "5"
        client.send_message(MessageRequest("call.drop", {"id": caller}), fire_and_forget=True)
        for leg in caller, called:
            await watcher.wait("chan.hangup", id=leg)

    async with start(folder) as (tcp, _):
        await run(over_tcp(tcp), main)
    # The last block of a file is never heard.
    assert len(PROMPT) - 640 <= (folder / "heard.slin").stat().st_size <= SECOND


class Request:
    """What the call generator's web server hands to it."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    async def post(self) -> dict[str, str]:
        return self._fields


@contextmanager
def without_web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the call generator with a stand-in for the web server that it wants."""

    class AppRunner:
        def __init__(self, _app: object) -> None:
            self.ready = asyncio.Event()

        async def setup(self) -> None:
            self.ready.set()

        cleanup = setup

    class TCPSite:
        def __init__(self, *_where: object) -> None:
            pass

        async def start(self) -> None:
            pass

    web = types.SimpleNamespace(
        Application=lambda: types.SimpleNamespace(add_routes=lambda _routes: None),
        AppRunner=AppRunner,
        TCPSite=TCPSite,
        Response=lambda text, status=200: (status, text),
        post=lambda *_route: None,
    )
    aiohttp = types.ModuleType("aiohttp")
    vars(aiohttp)["web"] = web
    monkeypatch.setitem(sys.modules, "aiohttp", aiohttp)
    from yate import callgen

    try:
        yield callgen
    finally:
        monkeypatch.delitem(sys.modules, "yate.callgen")


async def test_the_call_generator_makes_a_call(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """python-yate's call generator calls, plays its file after the answer, and drops the call."""
    (folder / "prompt.slin").write_bytes(PROMPT)
    with without_web(monkeypatch) as callgen:
        async with start(folder) as (tcp, unix):
            generator = callgen.YateCallGenerator(urlsplit(tcp).port, [str(folder)])
            client = generator.yate
            # Its own ends the process.
            client.set_termination_handler(lambda: None)

            async def main(callee: Any) -> None:
                assert await callee.set_local_async("selfwatch", "true")
                watcher = await watching(callee, "call.execute", "chan.hangup", "call.answered")

                def route(message: Any) -> bool:
                    message.return_value = "dumb/callee"
                    return True

                assert await callee.register_message_handler_async("call.route", route)
                asyncio.run_coroutine_threadsafe(called(), loop)
                leg = (await watcher.wait("call.execute", callto="dumb/callee")).params["targetid"]
                await ask(
                    callee,
                    "chan.masquerade",
                    message="chan.attach",
                    id=leg,
                    consumer=f"wave/record/{folder}/heard.slin",
                )
                while not replies:  # else the generator does not know the call yet
                    await asyncio.sleep(0.005)
                await ask(callee, "chan.masquerade", message="call.answered", id=leg)
                for other in "dumb/1", "dumb/2":
                    await watcher.wait("chan.hangup", id=other)

            async def called() -> None:
                fields = {"soundfile": "prompt", "delay": "0", "target": "77", "caller": "5"}
                replies.append(await generator.web_call_handler(Request(**fields)))

            loop = asyncio.get_running_loop()
            replies: list[object] = []
            await client.setup_for_tcp(client.host, client.port)
            reading = asyncio.create_task(client.message_processing_loop())
            working = asyncio.create_task(generator.application_main(client))
            try:
                async with asyncio.timeout(PATIENCE):
                    await generator.app_runner.ready.wait()
                    await run(over_unix(unix), main)
                generator.shutdown()
                await working
            finally:
                loop.remove_signal_handler(signal.SIGINT)
                client.writer.close()
                for task in working, reading:
                    task.cancel()
                await asyncio.gather(working, reading, return_exceptions=True)
    assert replies == [(200, "OK :-)")]
    assert generator.active_calls == {}
    assert len(PROMPT) - 640 <= (folder / "heard.slin").stat().st_size <= SECOND


async def test_an_ivr_script_plays_reads_digits_and_records(start: Start, folder: Path) -> None:
    """A script of python-yate's IVR class takes a call as external/nodata until the hang-up."""
    script, notes = folder / "ivr.py", folder / "notes"
    (folder / "prompt.slin").write_bytes(PROMPT)
    script.write_text(
        IVR.format(
            python=sys.executable,
            notes=str(notes),
            prompt=str(folder / "prompt.slin"),
            recording=str(folder / "recorded.slin"),
        )
    )
    script.chmod(0o755)

    async def noted(text: str) -> None:
        while not notes.exists() or text not in notes.read_text().splitlines():
            await asyncio.sleep(0.01)

    async def main(client: Any) -> None:
        watcher = await watching(client, "chan.hangup")
        leg = await originate(
            client, folder, target="5", called="5", direct=f"external/nodata/{script}"
        )

        async def press(text: str) -> Message:
            return await ask(client, "chan.masquerade", message="chan.dtmf", id=leg, text=text)

        await noted("prompt over")
        await press("1")
        assert (await press("2")).processed
        await noted("more digits")
        await press("34#")
        await noted("until 34#")
        await press("9")
        await noted("chan.attach")
        assert (await ask(client, "call.drop", id=leg)).processed
        await watcher.wait("chan.hangup", id=leg)
        await noted("hung up")

    async with start(folder) as (_, unix):
        await run(over_unix(unix), main)
    assert notes.read_text().splitlines() == [
        "called 5",
        "prompt over",
        "symbols 12",
        "more digits",
        "until 34#",
        "ChannelEventType.DTMF",
        "chan.attach",
        "hung up",
    ]
    assert len(PROMPT) - 640 <= (folder / "heard.slin").stat().st_size
    assert (folder / "recorded.slin").exists()
