"""Scripts that are called: their lines, their fds 3 and 4, and how they and their calls end."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from yateway import Message
from yateway.engine import Engine
from yateway.engine.external import _ScriptSource
from yateway.engine.media import Consumer
from yateway.testing import VirtualClockLoop

pytestmark = pytest.mark.real_clock

ACCEPT = """\
import os, sys, time
def request():
    return sys.stdin.readline().split(":")
def say(line):
    print(line, flush=True)
fields = request()
"""


def script(folder: Path, text: str) -> Path:
    """Write a script that has read its call.execute into `fields`."""
    path = folder / "script.py"
    path.write_text(f"#!{sys.executable}\n{ACCEPT}{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Lines:
    """Routes all calls to a script, and takes what it tells by the message `told`."""

    def __init__(self, engine: Engine, target: str) -> None:
        self.told: list[dict[str, str]] = []
        self.news = asyncio.Event()

        def route(message: Message) -> bool:
            message.retvalue = target
            return True

        def take(message: Message) -> bool:
            self.told.append(dict(message))
            self.news.set()
            return True

        engine.install("call.route", route)
        engine.install("told", take)

    async def hear(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()


async def test_a_script_answers_a_call_and_ends_with_it(tmp_path: Path) -> None:
    """What it sends after it accepted the call is about the connected call."""
    path = script(
        tmp_path,
        """
say(f"%%<message:{fields[1]}:true:::targetid=scr/1")
say("%%>setlocal:id:scr/1")
say("%%>setlocal:disconnected:true")
say("%%>install:50:chan.disconnected:id:scr/1")
say("%%>message:1:0:chan.attach::source=tone/dial:single=true")
say("%%>message::0:call.answered::id=scr/1:targetid=sim/1")
for line in sys.stdin:
    if ":chan.disconnected::" in line:
        say("%%>message::0:told::line=" + line.split("::", 1)[1].strip().replace(":", "%z"))
""",
    )
    async with Engine() as engine:
        lines = Lines(engine, f"external/nodata/{path} 42")
        leg = await engine.call("1", "2")
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.answered and leg.hears == "tone/dial")
        assert leg.peer is not None
        assert leg.peer.id == "scr/1"
        assert not (await engine.dispatch("chan.locate", id="scr/1")).processed
        leg.hang_up("enough")
        await lines.hear(1)
        assert lines.told[0]["line"] == (f"id=scr/1:module=external:address={path}:reason=enough")


async def test_the_end_of_a_script_hangs_up(tmp_path: Path) -> None:
    """With the reason that it gave."""
    path = script(
        tmp_path,
        """
say(f"%%<message:{fields[1]}:true::")
say("%%>setlocal:reason:lunch")
sys.stdin.readline()
""",
    )
    async with Engine() as engine:
        Lines(engine, f"external/nodata/{path}")
        leg = await engine.call("1")
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.hung_up)
        assert leg.reason == "lunch"


@pytest.mark.parametrize("kind", ["nodata", "playrec", "nosuch"])
async def test_a_call_that_is_not_accepted(tmp_path: Path, kind: str) -> None:
    """A script that declines, none at all, and an unknown method."""
    path = script(tmp_path, 'say(f"%%<message:{fields[1]}:false:")\nsys.stdin.readline()\n')
    async with Engine() as engine:
        for target in (path, tmp_path / "missing"):
            answer = await engine.dispatch(
                "call.execute", callto="dumb/", target="1", direct=f"external/{kind}/{target}"
            )
            assert not answer.processed


async def test_a_script_without_a_channel_is_only_asked(tmp_path: Path) -> None:
    """It changes where the call goes, and stays."""
    path = script(
        tmp_path,
        """
say(f"%%<message:{fields[1]}:false:::callto=tone/busy")
say("%%>message:1:0:told::module=" + fields[-1].strip())
sys.stdin.read()
""",
    )
    (tmp_path / "extmodule.conf").write_text("[general]\npriority=50\n")
    async with Engine(conf=tmp_path) as engine:
        lines = Lines(engine, f"external/nochan/{path}")
        leg = await engine.call("1")
        await lines.hear(1)
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.hears == "tone/busy")
        leg.hang_up()


async def test_sound_goes_both_ways(tmp_path: Path) -> None:
    """Linear, on fd 3 what the caller says, on fd 4 what the script says; both at its pace."""
    (tmp_path / "speech.slin").write_bytes(b"ab" * 160 * 10)
    path = script(
        tmp_path,
        """
say(f"%%<message:{fields[1]}:true::")
os.write(4, b"xy" * 160 * 10)
heard = b""
while len(heard) < 3200:
    heard += os.read(3, 320)
say("%%>message:1:0:told::heard=" + ("right" if heard == b"ab" * 1600 else "wrong"))
sys.stdin.read()
""",
    )
    async with Engine() as engine:
        lines = Lines(engine, f"external/playrec/{path}")
        leg = await engine.call("1")
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.answered)
        began = asyncio.get_running_loop().time()
        leg.say(str(tmp_path / "speech.slin"))
        own: dict[str, str | int | float] = {"id": leg.id, "message": "chan.attach", "single": True}
        record: dict[str, str | int | float] = {
            "consumer": f"wave/record/{tmp_path}/out.slin",
            "maxlen": 3200,
            "notify": "n",
        }
        await engine.dispatch("chan.masquerade", {**own, **record})
        await lines.hear(1)
        assert lines.told == [{"heard": "right"}]
        assert 0.15 < asyncio.get_running_loop().time() - began < 1
        leg.hang_up()
    recorded = (tmp_path / "out.slin").read_bytes()
    assert recorded
    assert recorded in b"xy" * 1600


async def test_a_listening_script_hears(tmp_path: Path) -> None:
    """`record` has fd 3 only."""
    (tmp_path / "speech.slin").write_bytes(b"ab" * 160)
    path = script(
        tmp_path,
        """
say(f"%%<message:{fields[1]}:true::")
heard = os.read(3, 320)
try:
    os.fstat(4)
    open4 = "open"
except OSError:
    open4 = "closed"
say(f"%%>message:1:0:told::heard={len(heard)}:fd4={open4}")
sys.stdin.read()
""",
    )
    async with Engine() as engine:
        lines = Lines(engine, f"external/record/{path}")
        leg = await engine.call("1")
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.answered)
        leg.say(str(tmp_path / "speech.slin"))
        await lines.hear(1)
        assert lines.told[0]["heard"] == "320"
        leg.hang_up()


async def test_a_script_that_ignores_the_end_is_ended(tmp_path: Path) -> None:
    """By a signal, when the call is over."""
    path = script(
        tmp_path,
        """
say(f"%%<message:{fields[1]}:true::")
while True:
    time.sleep(1)
""",
    )
    async with Engine() as engine:
        Lines(engine, f"external/nodata/{path}")
        leg = await engine.call("1")
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.answered)
        leg.hang_up()


async def test_a_message_just_before_the_acknowledgement_does_not_overtake_it(
    tmp_path: Path,
) -> None:
    """The call is accepted and connected first, although the message was sent first."""
    path = script(
        tmp_path,
        """
# In one write: how long the engine holds the message back is another matter.
say(f"%%>message:T:1:told::targetid=x\\n%%>setlocal:disconnected:true\\n%%<message:{fields[1]}:true::")
sys.stdin.read()
""",
    )
    states: list[str] = []
    async with Engine() as engine:
        lines = Lines(engine, f"external/nodata/{path}")

        def look(message: Message) -> bool:
            states.append(leg.status)
            return False

        engine.install("told", look, 50)
        leg = await engine.call("1")
        await lines.hear(1)
        leg.hang_up()
    assert states == ["answered"]


async def hung_up_after(kind: str, path: Path) -> float:
    """Return the seconds from the answer of a script's call to its end."""
    async with Engine() as engine:
        Lines(engine, f"external/{kind}/{path}")
        loop = asyncio.get_running_loop()
        leg = await engine.call("1")
        async with asyncio.timeout(5):
            await leg.until(lambda: leg.answered)
            began = loop.time()
            await leg.until(lambda: leg.hung_up)
        return loop.time() - began


@pytest.mark.parametrize(("kind", "least"), [("nodata", 0.0), ("play", 0.8)])
async def test_a_call_outlives_the_lines_of_a_script_that_speaks(
    tmp_path: Path, kind: str, least: float
) -> None:
    """By a second while the script's sound may go on; a script without sound ends it at once."""
    path = script(
        tmp_path, 'say(f"%%<message:{fields[1]}:true::")\nos.close(1)\nsys.stdin.read()\n'
    )
    assert least <= await hung_up_after(kind, path) < least + 0.6


async def test_a_call_does_not_outlive_its_script(tmp_path: Path) -> None:
    """Its exit ends the second: the real engine's sleep is interrupted by the signal."""
    path = script(tmp_path, 'say(f"%%<message:{fields[1]}:true::")\nos.close(1)\ntime.sleep(0.1)\n')
    assert await hung_up_after("play", path) < 0.7


def test_sound_after_a_pause_makes_up_for_it() -> None:
    """A script that was silent for a second may say a second at once; then its pace counts."""
    heard: list[tuple[float, int]] = []

    class Ear(Consumer):
        needs = 1

        def consume(self, data: bytes, blocks: int) -> None:
            heard.append((asyncio.get_running_loop().time(), len(data)))

    async def speak() -> None:
        ours, theirs = os.pipe()
        source = _ScriptSource("script", ours)
        Ear().listen(source)
        await asyncio.sleep(1)
        with os.fdopen(theirs, "wb") as mouth:
            mouth.write(bytes(16000 + 1600))
        await asyncio.sleep(1)
        source.release()

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(speak())
    assert sum(count for _, count in heard) == 17600
    assert [round(time, 2) for time, _ in heard[:51]] == [1.0] * 51
    assert [round(time, 2) for time, _ in heard[51:]] == [1.02, 1.04, 1.06, 1.08]
