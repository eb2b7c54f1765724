"""The examples do what they say, and none of the article's own faults survives."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.far import Far, opener_to
from yateway.cli.run import load
from yateway.engine import Engine
from yateway.message import Message
from yateway.module import Module

EXAMPLES = Path(__file__).parents[1] / "examples"
ROUTE = "sip/sip:test@127.0.0.1"


@pytest.fixture
def article(monkeypatch: pytest.MonkeyPatch) -> Module:
    """The article's module, freshly loaded."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return load(str(EXAMPLES / "article.py"))


async def test_the_article_routes_123_and_nothing_else(article: Module) -> None:
    """123 goes to the test account with param1; the rest is left to others, untouched."""
    async with Engine(article) as engine:
        routed = await engine.dispatch("call.route", called="123")
        assert (routed.processed, routed.retvalue, routed["param1"]) == (True, ROUTE, "value1")
        other = await engine.dispatch("call.route", called="9", retvalue="keep")
        assert (other.processed, other.retvalue) == (False, "keep")
        executed = await engine.dispatch("call.execute", callto=ROUTE)
        assert not executed.processed
        assert executed["handlers"].endswith(",article:200")


async def test_the_article_asks_for_a_route_whenever_it_is_connected(article: Module) -> None:
    """The message of the article is sent after each connect, also after a reconnect."""
    asked: list[str] = []
    engine = Engine(article)

    def note(message: Message) -> bool:
        asked.append(message["target"])
        return False

    engine.install("call.route", note)
    async with engine:
        await asyncio.sleep(0.1)
        engine.drop()
        await asyncio.sleep(2)
    assert asked == ["sip:test@127.0.0.1"] * 2


AWKWARD = "50% a=b=c: %%z %e\ttab caf\udce9 ☎"


async def test_the_faults_of_the_article_are_gone(article: Module) -> None:
    """`%` went out as `%e`, `%%` broke the reading, values split at `=`, 123 answered twice."""
    far = Far()
    accepted = asyncio.create_task(far.accept())
    await article.attach(opener_to(far))
    await accepted
    await far.hear()
    far.say("%%>message:1:1:call.route::called=123:callername=50%% a=b%z", "%%>setlocal:x:")
    far.say("%%>message:2:1:call.route::called=9")
    # One answer to the first request, and the next line is that to the second.
    assert await far.hear(2) == [
        "%%<message:1:true::sip/sip%ztest@127.0.0.1:param1=value1",
        "%%<message:2:false:",
    ]
    asking = asyncio.create_task(article.dispatch(Message("test.it", x=AWKWARD, time=1)))
    (line,) = await far.hear()
    assert line == "%%>message:2:1:test.it::x=50%% a=b=c%z %%%%z %%e%Itab caf\udce9 ☎"
    far.say("%%<message:2:true:test.it::x=50%% a=b=c%z %%%%z %%e%Itab caf\udce9 ☎")
    assert (await asking)["x"] == AWKWARD
    far.close()
    await article.detach()


def test_the_article_is_about_thirty_lines() -> None:
    """Short enough to print."""
    assert len((EXAMPLES / "article.py").read_text().splitlines()) <= 36


@pytest.mark.real_clock
async def test_the_article_runs_on_twisteds_reactor() -> None:
    """It attaches, routes, comes back after a cut, and leaves in good order on SIGTERM."""
    async with Engine(listen=["tcp://127.0.0.1:0"]) as engine:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLES / "twisted_reactor.py"), engine.urls[0]
        )
        try:
            for _ in range(2):
                async with asyncio.timeout(20):
                    while not engine.handles("call.route"):
                        await asyncio.sleep(0.02)
                assert (await engine.dispatch("call.route", called="123")).retvalue == ROUTE
                engine.drop()
                await asyncio.sleep(0.1)
            async with asyncio.timeout(20):
                while not engine.handles("call.route"):
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            if process.returncode is None:
                process.kill()
        assert not engine.handles("call.route")
