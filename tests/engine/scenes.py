"""Scenes of calls: what modules do in each, for the real engine and for the embedded one.

It must not say what the engine answers: that is in the recordings.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yateway.engine import Recording

if TYPE_CHECKING:
    from tests.engine.record_scenes import Scene

__all__ = ["SCENES", "load", "prepare", "scene"]

Play = Callable[["Scene"], Awaitable[None]]
SCRIPTS = Path(__file__).parent.parent / "data" / "scripts"
#: By name: what modules do, and the notes that say how the engine is configured for it.
SCENES: dict[str, tuple[Play, tuple[str, ...]]] = {}


def scene(*, workers: int = 1, extmodule: str = "") -> Callable[[Play], Play]:
    """Enter a scene into the list.

    Args:
        workers: how many messages of its queue the engine takes at a time. With one it has no
            choice between several orders. A scene in which a module sends messages while a request
            waits for it needs two.
        extmodule: settings of extmodule.conf [general], separated by blanks.
    """
    notes = [f"yate.conf [general] minworkers={workers} maxworkers={workers}"]
    if extmodule:
        notes.append(f"extmodule.conf [general] {extmodule}")

    def enter(play: Play) -> Play:
        SCENES[play.__name__] = play, tuple(notes)
        return play

    return enter


def prepare(folder: Path) -> None:
    """Put the files there that scenes name: relative to the engine's folder."""
    (folder / "short.slin").write_bytes(bytes(8000))  # half a second
    (folder / "long.slin").write_bytes(bytes(160000))  # ten seconds
    (folder / "short.gsm").write_bytes(bytes(range(33)) * 25)  # half a second
    (folder / "short.g722").write_bytes(bytes(4000))
    (folder / "scripts").mkdir()
    for script in SCRIPTS.glob("*.py"):
        copy = folder / "scripts" / script.name
        # This Python without its packages: it starts sooner.
        copy.write_text(script.read_text().replace("/usr/bin/env python3", f"{sys.executable} -S"))
        copy.chmod(script.stat().st_mode)


def load(file: Path) -> Recording:
    """Read a recording; the script that was somewhere else when it was made is among ours."""
    ours = str(SCRIPTS / "ivr_probe.sh")
    return Recording(
        [
            replace(entry, line=entry.line.replace("/srv/lab/ivr_probe.sh", ours))
            for entry in Recording.from_file(file).entries
        ]
    )


PAIR = "%%>message:pair:0:call.execute::callto=dumb/far:caller=100:target=200:direct=dumb/near"
QUIET = ("%%>setlocal:selfwatch:true", "%%>watch:")


@scene()
async def dumb_pair(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a", "%%>setlocal:trackparam:a")
    await s.ask("a", PAIR)
    await asyncio.sleep(0.1)
    for n, line in enumerate(
        (
            "chan.masquerade::id=dumb/2:message=call.ringing:targetid=dumb/1",
            "chan.masquerade::id=dumb/2:message=call.progress:targetid=dumb/1",
            "chan.masquerade::id=dumb/2:message=call.answered:targetid=dumb/1",
            "call.answered::id=dumb/2:targetid=dumb/1",
            "call.ringing::id=dumb/2:targetid=dumb/1",
            "chan.masquerade::id=dumb/2:message=chan.dtmf:text=5:targetid=dumb/1",
            "chan.masquerade::id=dumb/2:message=chan.dtmf:text=6:detected=rfc2833:targetid=dumb/1",
            "chan.masquerade::id=dumb/2:message=chan.dtmf:text=6:detected=inband:targetid=dumb/1",
            "chan.dtmf::id=dumb/1:targetid=dumb/2:text=7",
            "chan.text::id=dumb/1:targetid=dumb/2:text=hello",
            "chan.locate::id=dumb/1",
            "chan.locate::id=dumb/99",
            "chan.locate::id=",
            "chan.masquerade::id=dumb/99:message=x.y",
            "chan.masquerade::id=dumb/1:message=x.y:a=b",
            "chan.masquerade::id=dumb/1:a=b",
            "chan.masquerade::id=dumb/1:message=x.y:complete_minimal=true",
            "chan.masquerade::id=dumb/1:message=x.y:billid=other:status=mine",
            "chan.control::targetid=dumb/1:foo=bar",
            "call.drop::id=dumb/99",
            "call.update::id=dumb/1:targetid=dumb/2",
            "call.drop::id=dumb/2:reason=bye",
            "chan.locate::id=dumb/1",
        )
    ):
        await s.ask("a", f"%%>message:{n}:0:{line}")
        await asyncio.sleep(0.03)
    await asyncio.sleep(0.3)


@scene()
async def dumb_route(s: Scene) -> None:
    names = ("call.execute", "call.route", "chan.startup", "chan.hangup", "chan.connected")
    await s.open("w", *(f"%%>watch:{name}" for name in names), "%%>watch:chan.disconnected")
    await s.open("r", "%%>install:50:call.route")
    await s.open("a")

    async def routed(id_: str, line: str, *answers: str) -> None:
        s.say("a", f"%%>message:{id_}:0:call.execute::callto=dumb/x:{line}")
        for answer in answers:
            found = await s.hear("r", r"%%>message:([^:]*):")
            s.say("r", f"%%<message:{found[1]}:{answer}")
        await s.hear("a", f"%%<message:{id_}:")
        await asyncio.sleep(0.15)

    await routed("plain", "target=200", "true::dumb/one")
    await routed(
        "params",
        "target=201:caller=7:callername=Me:maxcall=30000:timeout=60000"
        ":foo=1:bar=2:copyparams=foo,bar,none",
        "true::dumb/two:autoring=no:late=3",
    )
    await routed("answer", "target=202", "true::dumb/three:autoanswer=true")
    await routed("ring", "target=203", "true::dumb/four:autoring=true:targetid=other/1")
    await routed("progress", "target=208", "true::dumb/four:autoring=no:autoprogress=true")
    await routed("busy", "target=204", "true::-:error=busy")
    await routed("declined", "target=205", "false:")
    await routed("nowhere", "target=206", "true::nowhere/5:reason=why:error=what")
    await routed("empty", "target=207", "true::")
    await routed("stop", "target=209:stop_call=true", "true::dumb/five")
    await routed("notarget", "caller=1")
    await routed("tone", "target=210", "true::tone/dial")
    await asyncio.sleep(0.2)
    for leg in range(1, 18):
        await s.ask("a", f"%%>message:drop{leg}:0:call.drop::id=dumb/{leg}:reason=enough")
        await asyncio.sleep(0.03)
    await asyncio.sleep(0.3)


@scene()
async def chan_connect(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", PAIR)
    await s.ask("a", PAIR)
    await asyncio.sleep(0.1)
    for n, line in enumerate(
        (
            "chan.connect::id=dumb/1:targetid=dumb/3:reason=bridged",
            "chan.connect::id=dumb/1:targetid=dumb/99",
            "chan.connect::id=dumb/99:targetid=dumb/1",
            "chan.connect::id=dumb/1:targetid=dumb/1",
            "chan.connect::id=dumb/1:targetid=dumb/3",
            "chan.locate::id=dumb/1",
            "chan.masquerade::id=dumb/1:message=call.execute:callto=dumb/moved",
            "chan.locate::id=dumb/1",
            "chan.masquerade::id=dumb/1:message=call.execute:callto=tone/busy",
            "chan.masquerade::id=dumb/1:message=call.execute:callto=wave/play/short.slin:reason=r",
        )
    ):
        await s.ask("a", f"%%>message:{n}:0:{line}")
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.9)
    await s.ask("a", PAIR)
    await s.ask(
        "a",
        "%%>message:12:0:chan.masquerade::id=dumb/6:message=call.execute"
        ":callto=wave/record/out.slin:maxlen=3200:source=tone/dial",
    )
    await asyncio.sleep(0.5)
    await s.ask("a", "%%>message:13:0:call.drop::id=dumb")
    await asyncio.sleep(0.3)


@scene()
async def drop_all(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.disconnected", "%%>watch:chan.hangup")
    await s.open("a")
    drops = ("", "id=:reason=empty", "id=dumb:reason=module", "id=misc", "id=tone", "id=dumb/")
    for n, what in enumerate((*drops, "reason=all")):
        await s.ask("a", PAIR)
        await asyncio.sleep(0.1)
        await s.ask("a", f"%%>message:{n}:0:call.drop::{what}")
        await asyncio.sleep(0.2)


@scene()
async def attach(s: Scene) -> None:
    await s.open("w", *(f"%%>watch:{name}" for name in ("chan.notify", "chan.attach")))
    await s.open("a")
    await s.ask("a", PAIR)

    async def attach(n: int, line: str, id_: str = "dumb/1", wait: float = 0.1) -> None:
        await s.ask("a", f"%%>message:{n}:0:chan.masquerade::id={id_}:message=chan.attach:{line}")
        await asyncio.sleep(wait)

    await attach(1, "source=wave/play/short.slin:notify=n/1:single=true", wait=0.8)
    await attach(2, "consumer=wave/record/a.slin:notify=n/2:maxlen=4800:single=true", "dumb/2")
    await attach(3, "source=wave/play/short.slin:notify=n/3:single=true", wait=0.8)
    await attach(4, "source=wave/play/long.slin:notify=n/4", wait=0.3)
    await attach(5, "source=wave/play/short.slin:notify=n/5", wait=0.3)
    await attach(6, "source=wave/play/missing.slin:notify=n/6:single=true")
    await attach(7, "source=wave/play/-:notify=n/7:single=true")
    await attach(8, "source=tone/dial:single=true")
    await attach(9, "source=tone/nosuch:single=true")
    await attach(10, "source=tone/DIAL :single=true")
    await attach(11, "source=tone/busy:consumer=wave/record/b.slin:notify=n/11:single=true")
    await attach(12, "source=nosuch/x:single=true")
    await attach(13, "override=tone/dial:single=true")
    await attach(14, "override=tone/dial:single=true", "dumb/2")
    await attach(15, "replace=tone/425:single=true")
    await attach(16, "consumer=wave/record/:notify=n/16")
    await attach(17, "consumer=wave/record/no/such/folder.slin:notify=n/17:single=true")
    await attach(18, "source=wave/record/x:single=true")
    await attach(
        19, "source=wave/play/short.slin:autorepeat=true:notify=n/19:single=true", wait=1.3
    )
    await attach(20, "source=-:single=true")
    await attach(21, "source=wave/play/short.slin:notify_source=n/21s:notify=n/21:single=true")
    await attach(22, "override=wave/play/short.slin:notify=n/22:single=true", wait=0.8)
    await attach(23, "foo=bar")
    await attach(24, "source=wave/play/long.slin:notify=n/24")
    await attach(25, "consumer=wave/record/c.slin:notify=n/25:maxlen=1600", "dumb/2")
    await s.ask("a", "%%>message:plain:0:chan.attach::source=tone/dial:single=true")
    await s.ask("a", "%%>message:plain2:0:chan.attach::source=wave/play/short.slin:id=dumb/1")
    await s.ask("a", "%%>message:bye:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


@scene()
async def drop_while_playing(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", PAIR)
    await s.ask(
        "a",
        "%%>message:1:0:chan.masquerade::id=dumb/1:message=chan.attach"
        ":source=wave/play/long.slin:notify=n/1:single=true",
    )
    await s.ask(
        "a",
        "%%>message:2:0:chan.masquerade::id=dumb/2:message=chan.attach"
        ":consumer=wave/record/a.slin:notify=n/2:single=true",
    )
    await asyncio.sleep(0.3)
    await s.ask("a", "%%>message:3:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.5)
    # A leg that is connected to nothing that consumes.
    await s.ask("a", PAIR)
    await s.ask(
        "a",
        "%%>message:4:0:chan.masquerade::id=dumb/3:message=chan.attach"
        ":source=wave/play/short.slin:notify=n/4:single=true",
    )
    await asyncio.sleep(1.0)
    await s.ask("a", "%%>message:5:0:call.drop::id=dumb/4")
    await asyncio.sleep(0.5)


@scene(workers=2)
async def rescue(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("r", "%%>install:50:chan.disconnected")
    await s.open("a")
    await s.ask("a", PAIR)
    s.say("a", "%%>message:1:0:call.drop::id=dumb/2:reason=busy")
    found = await s.hear("r", r"%%>message:([^:]*):")
    await asyncio.sleep(0.1)
    s.say("r", f"%%>message:{found[1]}:0:call.execute::id=dumb/1:callto=tone/info")
    await s.hear("r", r"%%<message:")
    await asyncio.sleep(0.1)
    s.say("r", "%%>message::0:call.progress::targetid=dumb/1")
    await asyncio.sleep(0.05)
    s.say("r", f"%%<message:{found[1]}:true:chan.disconnected:")
    await asyncio.sleep(0.2)
    await s.ask("a", "%%>message:2:0:chan.locate::id=dumb/1")
    s.say("a", "%%>message:3:0:call.drop::id=tone/1")
    found = await s.hear("r", r"%%>message:([^:]*):")
    await asyncio.sleep(0.1)
    s.say("r", f"%%<message:{found[1]}:true:chan.disconnected:")
    await asyncio.sleep(0.3)


@scene()
async def cdr(s: Scene) -> None:
    await s.open("w", "%%>watch:call.cdr")
    await s.open("a")
    await s.ask("a", PAIR)
    await asyncio.sleep(0.2)
    await s.ask(
        "a", "%%>message:1:0:chan.masquerade::id=dumb/2:message=call.ringing:targetid=dumb/1"
    )
    await asyncio.sleep(0.2)
    await s.ask(
        "a", "%%>message:2:0:chan.masquerade::id=dumb/2:message=call.answered:targetid=dumb/1"
    )
    await asyncio.sleep(0.2)
    await s.ask("a", "%%>message:3:0:call.update::id=dumb/2:operation=cdrbuild:calledfull=123")
    await s.ask("a", "%%>message:4:0:call.update::id=dumb/2:operation=other")
    await s.ask("a", "%%>message:5:0:call.drop::id=dumb/2:reason=bye")
    await asyncio.sleep(0.3)
    await s.ask(
        "a",
        "%%>message:6:0:call.execute::callto=dumb/:caller=100:target=5:direct=no/5:cdrtrack=false",
    )
    await s.ask("a", "%%>message:7:0:call.answered::id=own/1:caller=5:status=answered")
    await s.ask("a", "%%>message:8:0:call.drop::id=cdrbuild/own/1")
    await s.ask("a", "%%>message:9:0:chan.hangup::id=own/2:reason=x")
    await s.ask("a", "%%>message:10:0:chan.startup::id=own/2:caller=5")
    await asyncio.sleep(0.3)


@scene()
async def status(s: Scene) -> None:
    await s.open("a")
    n = 0

    async def ask(line: str) -> None:
        nonlocal n
        n += 1
        await s.ask("a", f"%%>message:{n}:0:{line}")

    for module in ("dumb", "tone", "wave", "conf", "callfork", "cdrbuild", "pbx", "nosuch"):
        await ask(f"engine.status::module={module}")
    await s.ask("a", PAIR)
    for module in ("dumb", "cdrbuild", "dumb/1", "dumb/2", "dumb/9"):
        await ask(f"engine.status::module={module}")
    await ask("engine.status::module=dumb:details=false")
    await ask("engine.command::partline=status:partword=du")
    await ask("engine.command::partline=drop:partword=du:complete=channels")


@scene(workers=8)
async def operators(s: Scene) -> None:
    await s.open("a")
    await s.open("b")
    await s.ask("a", PAIR)
    await s.ask("a", join(1, "room"))
    n = 0

    async def ask(line: str) -> None:
        nonlocal n
        n += 1
        await s.ask("a", f"%%>message:{n}:0:engine.{line}")

    for typed in ("", "help", "status dispatcher", "module", "events", "events clear"):
        await ask(f"command::partline={typed}:partword=m")
        await ask(f"command::partline={typed}:partword=e")
    for typed in ("module", "external", "external stop", "external stop u1", "external foo"):
        await ask(f"command::partial={typed} :partline={typed}")
    for typed, start in (
        *(("status", "d"), ("status", "e"), ("status", "cdr"), ("debug", "cd"), ("debug", "du")),
        *(("drop", "dumb"), ("drop", "dumb/"), ("drop", "conf/"), ("drop", "conf/r")),
        *(("status", "dumb/2"), ("reload", "du"), ("external stop", "u"), ("external stop", "x")),
        *(("dispatcher", "trace"), ("dispatcher trace_msg_time", "o"), ("nosuch", "x")),
    ):
        await ask(f"command::partline={typed}:partword={start}")
        await ask(f"command::partline={typed}:partword={start}:complete=channels")
    await ask("command::partial=")
    await ask("command::partword=ext:complete=command")
    for line in ("external", "external info", "external stop", "external start", "external stop x"):
        await ask(f"command::line={line}")
    for line in ("external start u1", "nosuch", "status", "control conf/9 mute=true", "control x"):
        await ask(f"command::line={line}")
    await ask("command::line=control conf/1 mute=true")
    await ask("status::module=external")
    await ask("command::line=external nosuch.sh")
    await ask("command::line=external stop u1 elsewhere")
    await ask("help::line=external")
    await ask("help::line=nosuch")
    # The first of that name is the one that asks.
    s.say("b", "%%>message:end:0:engine.command::line=external stop u1")
    await s.hear("b", "%%<message:end:")
    await asyncio.sleep(0.1)
    s.say("b", "%%>message:end2:0:engine.command::line=external stop u1")
    await asyncio.sleep(0.3)


@scene()
async def channel_link(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("ch", role="channel")
    await s.ask("ch", "%%>message:1:0:call.execute::callto=dumb/one:caller=1:called=2")
    await s.ask("ch", "%%>message:2:0:chan.attach::source=tone/dial:single=true")
    await s.ask("ch", "%%>message:3:0:call.execute::callto=dumb/two")
    await asyncio.sleep(0.1)
    s.say("ch", "%%>setlocal:id:bot/1")
    await s.hear("ch", "%%<setlocal")
    s.say("ch", "%%>setlocal:disconnected:true")
    await s.hear("ch", "%%<setlocal")
    await s.ask("ch", "%%>message:4:0:call.execute::callto=dumb/three")
    await asyncio.sleep(0.1)
    await s.ask("ch", "%%>message:5:0:chan.locate::id=bot/1")
    await s.close("ch")
    await asyncio.sleep(0.3)
    await s.open("ch2", role="channel")
    await s.ask("ch2", "%%>message:1:0:call.execute::callto=nowhere/one")
    await asyncio.sleep(0.2)


def fork(target: str, more: str = "") -> str:
    """Return a call to several."""
    names = ",".join(part.partition("=")[0] for part in more.split(":") if part)
    return (
        f"%%>message:fork:0:call.execute::callto=dumb/caller:caller=100:target=200"
        f":direct=fork {target}:copyparams={names}{more}"
    )


@scene()
async def fork_answered(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", fork("dumb/a dumb/b dumb/c"))
    await asyncio.sleep(0.1)
    for n, line in enumerate(
        (
            "chan.masquerade::id=dumb/2:message=call.ringing:targetid=fork/1/1",
            "chan.masquerade::id=dumb/3:message=call.ringing:targetid=fork/1/2",
            "chan.locate::id=fork/1",
            "chan.locate::id=fork/1/2",
            "chan.locate::id=fork/1/9",
            "chan.masquerade::id=fork/1/2:message=x.y",
            "chan.masquerade::id=dumb/4:message=call.progress:targetid=fork/1/3",
            "chan.dtmf::id=dumb/1:peerid=fork/1:targetid=fork/1:text=5",
            "engine.status::module=callfork",
            "chan.masquerade::id=dumb/3:message=call.answered:targetid=fork/1/2",
            "chan.masquerade::id=dumb/2:message=call.answered:targetid=fork/1/1",
            "chan.locate::id=dumb/1",
            "call.drop::id=dumb/1:reason=bye",
        )
    ):
        await s.ask("a", f"%%>message:{n}:0:{line}")
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.2)


@scene()
async def fork_groups(s: Scene) -> None:
    await s.open(
        "w",
        *(f"%%>watch:{name}" for name in ("chan.disconnected", "chan.hangup", "chan.replaced")),
        *(f"%%>watch:{name}" for name in ("call.execute", "chan.startup", "call.answered")),
    )
    await s.open("a")
    await s.ask("a", fork("dumb/a | dumb/b no/c dumb/d"))
    await asyncio.sleep(0.1)
    for n, line in enumerate(
        (
            "call.drop::id=dumb/2:reason=busy",
            "call.drop::id=dumb/3:reason=rejected",
            "call.drop::id=dumb/4:reason=noanswer",
        )
    ):
        await s.ask("a", f"%%>message:{n}:0:{line}")
        await asyncio.sleep(0.1)
    await s.ask("a", fork("no/a | no/b"))
    await asyncio.sleep(0.1)
    await s.ask("a", fork("dumb/a |next=200 dumb/b |drop=300 dumb/c"))
    await asyncio.sleep(3.2)
    await s.ask("a", "%%>message:drop:0:call.drop::id=dumb/6:reason=bye")
    await asyncio.sleep(0.2)


@scene()
async def fork_listed(s: Scene) -> None:
    await s.open("w", "%%>watch:call.execute", "%%>watch:chan.hangup", "%%>watch:chan.replaced")
    await s.open("a")
    more = (
        ":callto.1=dumb/a:callto.1.fork.calltype=persistent:callto.1.called=11:callto.2=|"
        ":callto.3=dumb/b:callto.3.foo=bar:callto.4=dumb/c:callto.4.fork.calltype=auxiliar"
    )
    call = fork("", more).replace("direct=fork :", "direct=fork:")
    await s.ask("a", call)
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:1:0:call.drop::id=dumb/2:reason=busy")
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:2:0:call.drop::id=dumb/3:reason=busy")
    await asyncio.sleep(0.3)
    await s.ask("a", call)
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:3:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.1)
    await s.ask("a", fork("dumb/a dumb/b", ":fork.stop=busy"))
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:4:0:call.drop::id=dumb/8:reason=busy")
    await s.ask("a", "%%>message:5:0:engine.status::module=dumb")
    await asyncio.sleep(0.3)


def join(n: int, room: str, more: str = "") -> str:
    """Return a call into a conference."""
    names = ",".join(part.partition("=")[0] for part in more.split(":") if part)
    return (
        f"%%>message:join{n}:0:call.execute::callto=dumb/u{n}:caller=10{n}:target=200"
        f":direct=conf/{room}:copyparams={names}{more}"
    )


@scene()
async def conference(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", join(1, "room", ":notify=cf/1:lonely=true:maxusers=3"))
    await asyncio.sleep(0.1)
    await s.ask("a", join(2, "room", ":notify=cf/2"))
    await asyncio.sleep(0.1)
    for n, line in enumerate(
        (
            "engine.status::module=conf/room",
            "engine.status::module=conf/1",
            "engine.status::module=conf",
            "chan.control::targetid=conf/1:mute=true",
            "chan.control::targetid=conf/1:mute=maybe",
            "chan.control::targetid=conf/9:mute=true",
            "chan.dtmf::id=dumb/1:targetid=conf/1:text=5",
            "chan.locate::id=conf/1",
            "chan.locate::id=conf/room",
            "call.drop::id=conf/2:reason=kicked",
            "call.drop::id=dumb/1:reason=bye",
        )
    ):
        await s.ask("a", f"%%>message:{n}:0:{line}")
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.2)


@scene()
async def conference_rooms(s: Scene) -> None:
    await s.open(
        "w",
        *(f"%%>watch:{name}" for name in ("chan.notify", "chan.disconnected", "chan.hangup")),
        "%%>watch:call.execute",
    )
    await s.open("a")
    await s.ask("a", join(1, "x", ":existing=true:notify=cf/0"))
    await asyncio.sleep(0.05)
    await s.ask("a", join(1, "", ":notify=cf/1"))
    await asyncio.sleep(0.05)
    await s.ask("a", join(2, "x-1"))
    await asyncio.sleep(0.05)
    await s.ask("a", join(3, "small", ":notify=cf/2:maxusers=1"))
    await asyncio.sleep(0.05)
    await s.ask("a", join(4, "small"))
    await asyncio.sleep(0.05)
    await s.ask("a", join(5, "small", ":utility=true"))
    await asyncio.sleep(0.05)
    await s.ask("a", "%%>message:1:0:call.drop::id=conf/small:reason=closed")
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:2:0:call.drop::id=conf/1:reason=left")
    await asyncio.sleep(0.1)
    await s.ask("a", PAIR)
    await s.ask("a", "%%>message:loc:0:chan.locate::id=dumb/8")
    await s.ask(
        "a",
        "%%>message:3:0:chan.masquerade::id=dumb/8:message=call.conference:room=conf/both"
        ":notify=cf/3",
    )
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:6:0:call.drop::id=dumb/8:reason=bye")
    await asyncio.sleep(0.3)


@scene()
async def conference_recorded(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.notify", "%%>watch:chan.disconnected", "%%>watch:call.execute")
    await s.open("a")
    await s.ask("a", join(1, "rec", ":lonely=true"))
    await s.ask("a", "%%>message:1:0:call.conference::room=conf/rec:record=wave/record/c.slin")
    await asyncio.sleep(0.2)
    await s.ask("a", "%%>message:2:0:call.conference::room=conf/rec:record=-")
    await s.ask("a", "%%>message:3:0:call.conference::room=conf/rec:confowner=dumb/9")
    await s.ask("a", "%%>message:4:0:call.conference::room=conf/no:record=-")
    await s.ask("a", "%%>message:5:0:engine.status::module=conf/rec")
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:6:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.2)


@scene()
async def conference_speakers(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.notify")
    await s.open("a")

    async def say(n: int, source: str, seconds: float) -> None:
        attach = f"chan.masquerade::id=dumb/{n}:message=chan.attach:source={source}"
        await s.ask("a", f"%%>message:{n}:0:{attach}")
        await asyncio.sleep(seconds)

    await s.ask("a", join(1, "talk", ":notify=cf/1:lonely=true:speakers=2:interval=1000"))
    await asyncio.sleep(0.1)
    await s.ask("a", join(2, "talk"))
    await asyncio.sleep(0.1)
    await s.ask("a", join(3, "talk", ":smart=false"))
    await s.ask("a", join(4, "talk", ":utility=true"))
    await asyncio.sleep(0.1)
    # What speaks of itself does not count, nor what is no person.
    await say(3, "tone/milliwatt", 0.5)
    await say(4, "tone/milliwatt", 0.5)
    # One who talks, and goes on.
    await say(1, "tone/milliwatt", 6.5)
    # One more, and who is muted talks no more.
    await say(2, "tone/dial", 1.5)
    await s.ask("a", "%%>message:5:0:chan.control::targetid=conf/1:mute=true")
    await asyncio.sleep(1.5)
    await s.ask("a", "%%>message:6:0:chan.control::targetid=conf/1:mute=false:smart=false")
    await asyncio.sleep(1.2)
    await s.ask("a", "%%>message:7:0:chan.control::targetid=conf/1:smart=true")
    await asyncio.sleep(1.2)
    for n in (1, 2, 3):
        await s.ask("a", f"%%>message:8{n}:0:engine.status::module=conf/{n}")
    # Silence that is heard ends it; nothing at all would not.
    await say(2, "wave/play/long.slin", 1.5)
    await s.ask("a", "%%>message:9:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(1.2)
    await s.ask("a", "%%>message:10:0:call.drop::id=conf/talk:reason=closed")
    await asyncio.sleep(0.2)


@scene()
async def limits(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.disconnected", "%%>watch:chan.hangup")
    await s.open("a")
    await s.ask("a", PAIR + ":maxcall=500:copyparams=maxcall")
    await asyncio.sleep(2.5)
    await s.ask("a", PAIR + ":timeout=500:copyparams=timeout")
    await asyncio.sleep(2.5)
