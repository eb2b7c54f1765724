"""A module as the script of one call: the same coroutine, over a channel of its own."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.calls import SECOND, ivr
from tests.far import Far
from tests.real_engine import real_engine
from yateway import Call, LocalProtocolError, Message, Module
from yateway.engine import Engine
from yateway.engine.caller import Caller
from yateway.script import Script
from yateway.transport import Transport, opener_of

# Of one who is moved the end may come before the answer.
ENDED = ("1001 ended hangup", "1001 ended gone")

TEXT = '''\
#!{python}
"""Asks for two digits."""

import asyncio
import sys

from yateway import Call, CallEnded, Message, Module

module = Module("pin", sounds="{folder}", recordings="{folder}")


@module.handler("call.route", priority=1)
def not_installed(message: Message) -> str:
    return "nowhere/1"


@module.call("other")
async def other(call: Call) -> None:
    await call.reject("busy")


@module.call("ask")
async def ask(call: Call) -> None:
    try:
        await call.answer()
        digits = await call.collect(2, prompt="menu.slin", first=2)
        await call.record("message.slin", limit=0.3)
        await call.play("thanks.slin")
        await call.transfer({{"**": "tone/busy"}}[digits.text])
        await asyncio.sleep(60)
    except CallEnded as end:
        print(f"ended: {{end.reason}}", file=sys.stderr, flush=True)
        raise
    finally:
        with open("{folder}/ended", "w") as file:
            file.write(f"{{call.caller}} {{call.status}} {{call.reason}}")


module.run()
'''


def script(folder: Path) -> Path:
    """Write the script and its sounds."""
    for name in ("menu", "thanks"):
        (folder / f"{name}.slin").write_bytes(SECOND[:4000])
    path = folder / "pin.py"
    path.write_text(TEXT.format(python=sys.executable, folder=folder))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@asynccontextmanager
async def engine_with(target: str) -> AsyncIterator[tuple[Engine, Caller]]:
    """Run an engine that routes all calls to a target."""

    def route(message: Message) -> bool:
        message.retvalue = target
        return True

    async with Engine() as engine:
        engine.install("call.route", route)
        yield engine, Caller(engine, "1001", limit=20)


async def text_of(file: Path) -> str:
    """Return what is in a file, as soon as there is something."""

    def read() -> str:
        return file.read_text() if file.exists() else ""

    async with asyncio.timeout(20):
        while not (text := read()):
            await asyncio.sleep(0.01)
    return text


@pytest.mark.real_clock
async def test_a_script_drives_one_call(tmp_path: Path) -> None:
    async with engine_with(f"external/nodata/{script(tmp_path)} ask") as (_, caller):
        await caller.dial("100")
        await caller.answered()
        await caller.hears("menu")
        caller.press("**")
        await caller.hears("milliwatt")
        await caller.hears("thanks")
        await caller.hears("tone/busy")
        assert (tmp_path / "message.slin").exists()
        assert await text_of(tmp_path / "ended") in ENDED
        assert not caller.leg.hung_up


@pytest.mark.real_clock
async def test_a_hang_up_ends_the_script(tmp_path: Path) -> None:
    """Its code sees the end of the call and may clean up."""
    async with engine_with(f"external/nodata/{script(tmp_path)} ask") as (_, caller):
        await caller.dial("100")
        await caller.hears("menu")
        caller.hang_up()
        assert await text_of(tmp_path / "ended") in ENDED


@pytest.mark.real_clock
@pytest.mark.parametrize(("call", "reason"), [(" other", "busy"), (" nothing", "")])
async def test_its_argument_says_which_function_runs(
    tmp_path: Path, call: str, reason: str
) -> None:
    """Of several; a call that is for none of them goes on to whoever comes next."""
    async with engine_with(f"external/nodata/{script(tmp_path)}{call}") as (_, caller):
        await caller.dial("100")
        await caller.rejected(reason)
        assert not (tmp_path / "ended").exists()


def test_choosing(caplog: pytest.LogCaptureFixture) -> None:
    def one() -> None: ...
    def two() -> None: ...

    def execute(argument: str, **params: str) -> Message:
        return Message("call.execute", {"callto": f"external/nodata/x.py{argument}", **params})

    choose = Script("x/1").choose
    both = {"one": one, "two": two}
    assert choose(execute(" two "), both) is two
    assert choose(execute(" two", call="one"), both) is one
    assert choose(execute(" Ann"), {"one": one}) is one
    assert choose(execute(""), both) is None
    assert choose(execute("", call="three"), {"one": one}) is None
    assert choose(execute(""), {}) is None
    assert "the call is for 'three', and there are only: 'one' (" in caplog.text
    assert "and there are only: none" in caplog.text


class Single:
    """A far end that says it is standard input and output."""

    def __init__(self) -> None:
        self.far = Far()
        self.far.near.single = True

    async def open(self) -> Transport:
        return self.far.near


async def test_line_by_line(tmp_path: Path) -> None:
    """What an engine hears: nothing is installed, and no message precedes the answer."""
    got: list[object] = []

    async def code(call: Call) -> None:
        got.append((call.id, call.leg, call.caller))
        for ask in (call.dial("sip/1"), call.transfer("sip/1", attended=True)):
            with pytest.raises(LocalProtocolError, match="run the module by itself"):
                await ask
        await call.answer()

    module = ivr(tmp_path, code)
    single = Single()
    far = single.far
    execute = "%%>message:77:1:call.execute::id=sip/10:caller=5:callto=external/nodata/x"
    serving = asyncio.create_task(module.serve(single.open))
    # The question may be there before we know what we are.
    far.say(execute)
    leg = f"yateway/{module._board.address}"
    assert await far.hear() == [f"%%>setlocal:id:{leg}"]
    far.say(f"%%<setlocal:id:{leg}:true")
    assert await far.hear() == ["%%>setlocal:disconnected:true"]
    far.say("%%<setlocal:disconnected:true:true")
    setup = await far.accept()
    assert {line.partition(":")[0] for line in setup} == {"%%>setlocal", "%%>watch"}
    answer, signal = await far.hear(2)
    assert answer == f"%%<message:77:true:::targetid={leg}"
    assert got == [("sip/10", leg, "5")]
    assert signal.endswith(f":call.answered::id={leg}:targetid=sip/10")
    number = signal.split(":")[1]
    far.say(f"%%<message:{number}:true:call.answered::id={leg}")
    (drop,) = await far.hear()
    assert ":call.drop::id=sip/10:reason=hangup" in drop
    far.say(f"%%<message:{drop.split(':')[1]}:true:call.drop::id=sip/10")
    far.say("%%<message::false:chan.hangup::id=sip/10:reason=hangup")
    assert await far.hear() == ["%%>quit"]
    far.close()
    await serving


async def test_one_that_the_engine_started_for_all_calls(tmp_path: Path) -> None:
    """Standard input and output too, but it has no channel: it is a module like any other."""
    module = ivr(tmp_path, Call.answer)
    single = Single()
    serving = asyncio.create_task(module.serve(single.open))
    (line,) = await single.far.hear()
    assert line.startswith("%%>setlocal:id:")
    single.far.say(f"%%<setlocal:id:{line.rpartition(':')[2]}:false")
    setup = await single.far.accept()
    assert "%%>install:100:call.route:called:100" in setup
    assert "%%>watch:chan.dtmf" in setup
    single.far.say("%%>message:7:1:call.route::called=100")
    lines = await single.far.hear(2)
    assert any(line.startswith("%%<message:7:true::dumb/ivr.") for line in lines)
    single.far.close()
    await serving


async def test_a_module_without_calls_does_not_ask() -> None:
    module = Module("m")
    single = Single()
    serving = asyncio.create_task(module.serve(single.open))
    setup = await single.far.accept()
    assert not any("setlocal:id" in line for line in setup)
    single.far.close()
    await serving


@pytest.mark.yate
@pytest.mark.real_clock
async def test_a_real_engine_calls_the_script(tmp_path: Path) -> None:
    """By the name of one function; the caller is a leg of another module, who presses keys."""
    path = script(tmp_path)
    told: asyncio.Queue[Message] = asyncio.Queue()
    module = Module("caller")
    for name in ("call.answered", "chan.hangup"):
        module.watcher(name)(told.put_nowait)
    async with real_engine("", ("dumbchan", "wavefile", "tonegen", "pbx")) as engine:
        await module.attach(opener_of(engine.unix))
        try:
            for ending in ("transfer", "hang up"):
                (tmp_path / "ended").unlink(missing_ok=True)
                made = await module.dispatch(
                    "call.execute",
                    {"callto": "dumb/", "target": "100", "caller": "1001"},
                    direct=f"external/nodata/{path} ask",
                )
                leg = made["id"]
                # A file ends only for somebody who hears it.
                heard = {"consumer": f"wave/record/{tmp_path}/heard.slin"}
                await module.dispatch("chan.masquerade", heard, id=leg, message="chan.attach")
                async with asyncio.timeout(15):
                    assert (await told.get())["targetid"] == leg
                await asyncio.sleep(0.3)
                if ending == "transfer":
                    for _ in range(2):
                        key = {"id": leg, "message": "chan.dtmf", "text": "*"}
                        await module.dispatch("chan.masquerade", key)
                    assert await text_of(tmp_path / "ended") in ENDED
                    assert (tmp_path / "message.slin").exists()
                    located = await module.dispatch("chan.locate", id=leg)
                    assert located.processed
                assert (await module.dispatch("call.drop", id=leg)).processed
                async with asyncio.timeout(15):
                    while (await told.get())["id"] != leg:
                        pass
                assert await text_of(tmp_path / "ended") in ENDED
        finally:
            await module.detach()
