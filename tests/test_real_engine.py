"""Modules on the real engine: what the embedded one promises has to be true there first."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.real_engine import real_engine
from yateway.errors import ConnectionLost, LocalProtocolError
from yateway.message import Message
from yateway.module import Module
from yateway.transport import opener_of

pytestmark = [pytest.mark.yate, pytest.mark.real_clock]

ARTICLE = Path(__file__).parents[1] / "examples" / "article.py"
ROUTE = "sip/sip:test@127.0.0.1"


@asynccontextmanager
async def attached(module: Module, url: str) -> AsyncIterator[Module]:
    """Attach a module to an engine while the block lasts."""
    await module.attach(opener_of(url))
    try:
        yield module
    finally:
        await module.detach()


async def route_123(asker: Module, *, patience: float = 15.0) -> Message:
    """Ask for a route to 123 until somebody has one."""
    async with asyncio.timeout(patience):
        while not (answer := await asker.dispatch("call.route", called="123")).processed:
            await asyncio.sleep(0.05)
    return answer


@asynccontextmanager
async def article(engine: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the article's module as a program while the block lasts; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "yateway", "run", str(ARTICLE), "--engine", engine),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_the_article_over_a_socket(kind: str) -> None:
    """123 is routed, and after a kill and a restart of the engine it is routed again."""
    async with real_engine() as engine:
        url = engine.tcp if kind == "tcp" else engine.unix
        async with article(url):
            for life in range(2):
                if life:
                    await engine.kill()
                    await engine.start()
                async with attached(Module("asker"), engine.unix) as asker:
                    answer = await route_123(asker)
                    assert (answer.retvalue, answer["param1"]) == (ROUTE, "value1")
                    assert answer["handlers"] == "article:100"
                    declined = await asker.dispatch(Message("call.route", retvalue="keep"))
                    assert (declined.processed, declined.retvalue) == (False, "keep")


async def test_the_article_as_a_script() -> None:
    """Started by the engine from [scripts] it speaks over its standard input and output."""
    with ARTICLE.open() as file:
        source = f"#!{sys.executable}\nprint('a stray line', flush=True)\n{file.read()}"
    async with real_engine() as placed:
        folder = placed.log.parent
        script = folder / "article.py"
        script.write_text(source)
        script.chmod(0o755)
        conf = folder / "extmodule.conf"
        conf.write_text(f"{conf.read_text()}\n[scripts]\n{script}=\n")
        await placed.kill()
        await placed.start()
        async with attached(Module("asker"), placed.unix) as asker:
            answer = await route_123(asker)
            assert (answer.retvalue, answer["param1"]) == (ROUTE, "value1")


TEXTS = [
    "",
    " blanks ",
    "%",
    "%%z:=%}",
    "line\nbreak\r\ttab\x01\x1f\x7f",
    "Žofia ☎ 漢字",
    "caf\udce9 \udcff\udc80",
    "=",
    "true",
    "a" * 6000,
]


async def test_every_text_survives_the_way_through_the_engine() -> None:
    """What one module sends another gets, and back: our codec agrees with the engine's (B2)."""
    chance = random.Random(2)
    alphabet = [chr(code) for code in range(1, 0x180)] + ["\udc80", "\udcff", "☎", "\U0001f4de"]

    def text() -> str:
        return "".join(chance.choices(alphabet, k=chance.randrange(20)))

    seen: dict[str, dict[str, str]] = {}
    echo = Module("echo")

    @echo.handler("test.echo")
    def answer(message: Message) -> str:
        seen[message["n"]] = dict(message)
        for name in list(message):
            if name not in ("n", "handlers"):
                message[name.upper() + "!"] = message[name]
        return message.retvalue + "\n:%back"

    async def one(asker: Module, number: int) -> None:
        params = {f"{text().replace('=', '')}.{number}": text() for _ in range(4)}
        params |= {"n": str(number), "fixed": TEXTS[number % len(TEXTS)]}
        retvalue = text()
        answer = await asker.dispatch(Message("test.echo", params, retvalue=retvalue))
        sent = seen.pop(str(number))
        del sent["handlers"]
        assert sent == params
        assert answer.retvalue == retvalue + "\n:%back"
        for name, value in params.items():
            if name != "n":
                assert answer[name.upper() + "!"] == value

    async with (
        real_engine() as engine,
        attached(echo, engine.unix),
        attached(Module("asker"), engine.tcp) as asker,
    ):
        for batch in range(100):
            await asyncio.gather(*(one(asker, batch * 100 + n) for n in range(100)))


async def test_declining_changes_nothing() -> None:
    """Ten thousand declined messages come back as they went, return value and all (A8)."""
    silent = Module("silent")
    silent.handler("test.decline")(lambda message: None)

    @silent.handler("test.decline", 120)
    async def decline(message: Message) -> bool:
        message.get("p")
        return False

    async def one(asker: Module, number: int) -> None:
        sent = Message(
            "test.decline", p=number, q=TEXTS[number % len(TEXTS)], retvalue=f"r{number}"
        )
        answer = await asker.dispatch(sent)
        assert answer.pop("handlers") == "silent:100,silent:120"
        assert (dict(answer), answer.retvalue) == (dict(sent), sent.retvalue)

    async with (
        real_engine() as engine,
        attached(silent, engine.unix),
        attached(Module("asker"), engine.unix) as asker,
    ):
        for batch in range(100):
            await asyncio.gather(*(one(asker, batch * 100 + n) for n in range(100)))


async def timed(asker: Module, name: str, **params: str) -> tuple[Message, float]:
    """Dispatch and return the answer and how long it took, in seconds."""
    started = asyncio.get_running_loop().time()
    answer = await asker.dispatch(name, **params)
    return answer, asyncio.get_running_loop().time() - started


BAD: dict[str, Callable[[Message], object]] = {
    "NUL": lambda message: message.update(x="\0"),
    "equals": lambda message: message.update({"a=b": "x"}),
    "long": lambda message: message.update(x="y" * 70_000),
    "surrogate": lambda message: message.update(x="\ud800"),
    "verdict": lambda message: 1,
    "error": lambda message: message["absent"],
}


async def test_no_bug_of_a_handler_holds_the_engine() -> None:
    """What cannot be sent, returned or found becomes `false` in no time (A2, A9)."""
    bad = Module("bad")

    @bad.handler("test.bad")
    def handle(message: Message) -> bool:
        return BAD[message["how"]](message)  # type: ignore[return-value]

    async with (
        real_engine() as engine,
        attached(bad, engine.unix),
        attached(Module("asker"), engine.unix) as asker,
    ):
        for how in BAD:
            answer, seconds = await timed(asker, "test.bad", how=how)
            assert not answer.processed
            assert dict(answer) == {"how": how, "handlers": "bad:100"}
            # The engine would wait 10 s; a twentieth is far off any noise.
            assert seconds < 0.5
        assert bad.counters.failed == len(BAD)


async def line_of(asker: Module, length: int) -> None:
    """Send a message whose line has exactly this length in bytes."""
    empty = len(Message("test.long", x="", time=1).to_request().text()) + len("12")
    answer = await asker.dispatch(Message("test.long", x="y" * (length - empty), time=1))
    assert len(answer["x"]) == length - empty


async def test_no_line_of_ours_closes_the_connection() -> None:
    """The longest lines pass, one byte more is refused here and not by the engine (B7)."""
    module = Module("long")
    lost: list[str] = []
    module.on_disconnected(lambda: lost.append("lost"))
    async with real_engine() as engine, attached(module, engine.unix):
        for bufsize in (65536, 8192, 2048):
            await module.setlocal("bufsize", bufsize)
            # Ids have two digits from here on, as `line_of` counts.
            while len(str((await module.dispatch("test.id")).id)) < 2:
                pass
            for less in (3, 2):
                await line_of(module, bufsize - less)
            with pytest.raises(LocalProtocolError, match=f"limit of {bufsize - 2}"):
                await line_of(module, bufsize - 1)
        assert module.attached
        assert lost == []


ATTACKS = [
    "%%>install:0:engine.halt",
    "%%>install:0:user.auth:",
    "%%>quit",
    "%%>setlocal:timeout:1",
    "%%>message:1:0:test.attacked::",
]


async def test_no_text_becomes_a_command() -> None:
    """Line breaks of all kinds in log lines, names and values stay text (Y3, F1, F2)."""
    module = Module("attacked")
    attacked: list[str] = []
    module.handler("test.attacked")(lambda message: attacked.append("attacked"))
    async with (
        real_engine() as engine,
        attached(Module("asker"), engine.unix) as asker,
        attached(module, engine.unix),
    ):
        for line_break in (
            "\n",
            "\r\n",
            "\r",
            "\0",
            "\n\0\n",
            "\v",
            "\f",
            "\x1c",
            "\x85",
            "\u2028",
        ):
            for attack in ATTACKS:
                text = f"x{line_break}{attack}{line_break}"
                await module.output(text)
                await module.debug(5, text)
                for name, value in (("value", text), (text, "value")):
                    try:
                        await module.dispatch("test.nobody", {name: value})
                    except LocalProtocolError:
                        assert "\0" in text
        assert await module.getlocal("timeout") == "10000"
        answer, seconds = await timed(asker, "engine.halt.not")
        assert "handlers" not in answer
        assert seconds < 0.5
        assert attacked == []
        assert module.attached


async def test_what_waits_gets_an_error_when_the_engine_is_killed() -> None:
    """Fifty dispatches in flight all fail with ConnectionLost, and the module comes back (C2)."""
    holder = Module("holder", max_in_flight=100, deadline=5)

    @holder.handler("test.hold")
    async def hold(message: Message) -> None:
        await asyncio.sleep(60)

    async with (
        real_engine() as engine,
        attached(holder, engine.unix),
        attached(Module("asker"), engine.tcp) as asker,
    ):
        waiting = [asyncio.create_task(asker.dispatch("test.hold")) for _ in range(50)]
        async with asyncio.timeout(5):
            while not holder.counters.served:
                await asyncio.sleep(0.01)
        await engine.kill()
        async with asyncio.timeout(1):
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, ConnectionLost) for result in results)
        await engine.start()
        async with asyncio.timeout(15):
            while not (asker.attached and holder.attached):
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_closing_on_purpose_frees_the_engine_at_once(kind: str) -> None:
    """Also when more has come than was read: the engine must not read an error (A6)."""
    async with real_engine() as engine, attached(Module("asker"), engine.unix) as asker:
        url = engine.tcp if kind == "tcp" else engine.unix
        transport = await opener_of(url)()
        transport.write(b"%%>connect:global\n%%>install:100:test.hold\n")
        assert b"true" in await transport.receive()
        first = asyncio.create_task(asker.dispatch("test.hold"))
        assert await transport.receive()
        second = asyncio.create_task(asker.dispatch("test.hold"))
        for _ in range(5):
            await asyncio.sleep(0)  # until it is written
        # The loop stands still, and so the second request stays unread.
        time.sleep(0.2)  # noqa: ASYNC251
        transport.abort()
        async with asyncio.timeout(2):  # the engine's own timeout is 10 s
            await asyncio.gather(first, second)
        await transport.close()


async def test_priorities_mean_what_yate_means_by_them() -> None:
    """One module before and after another's handler; own messages come to nobody's own handlers."""
    sandwich, between = Module("sandwich"), Module("between")
    order: list[str] = []
    for priority in (150, 50):
        note = order.append
        sandwich.handler("test.order", priority)(lambda _, p=priority, note=note: note(f"{p}"))
    between.handler("test.order", 100)(lambda message: order.append("between"))
    async with (
        real_engine() as engine,
        attached(sandwich, engine.unix),
        attached(between, engine.tcp),
        attached(Module("asker"), engine.unix) as asker,
    ):
        for sender, expected in (
            (asker, ["50", "between", "150"]),
            (between, ["50", "150"]),
            (sandwich, ["between"]),
        ):
            answer = await sender.dispatch("test.order")
            # The engine notes a handler before it looks whose message it is.
            assert answer["handlers"] == "sandwich:50,between:100,sandwich:150"
            assert order == expected
            order.clear()


async def test_an_end_in_good_order_leaves_nothing_open() -> None:
    """Requests that are open at the end are answered before the module quits (A12)."""
    leaving = Module("leaving")

    @leaving.handler("test.leave")
    async def slow(message: Message) -> str:
        await asyncio.sleep(0.5)
        return "answered"

    async with real_engine() as engine, attached(Module("asker"), engine.unix) as asker:
        async with attached(leaving, engine.unix):
            waiting = [asyncio.create_task(asker.dispatch("test.leave")) for _ in range(3)]
            async with asyncio.timeout(5):
                while leaving.counters.served < 3:
                    await asyncio.sleep(0.01)
        assert [answer.retvalue for answer in await asyncio.gather(*waiting)] == ["answered"] * 3
        assert not (await asker.dispatch("test.leave")).processed
