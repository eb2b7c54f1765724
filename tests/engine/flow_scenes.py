"""More scenes of calls: what call flows are made of, and scripts.

It must not say what the engine answers: that is in the recordings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.engine.scenes import PAIR, SCENES, join, scene

if TYPE_CHECKING:
    from tests.engine.record_scenes import Scene

__all__ = ["SCENES"]


def call(target: str, more: str = "") -> str:
    """Return a call from our own leg, dumb/1 when it is the first one, to a target."""
    return (
        f"%%>message:call:0:call.execute::callto=dumb/caller:caller=100:target=200"
        f":direct={target}{more}"
    )


def masquerade(id_: str, leg: str, message: str, more: str = "") -> str:
    """Return a message in the name of a leg."""
    return f"%%>message:{id_}:0:chan.masquerade::id={leg}:message={message}{more}"


async def ask_all(s: Scene, *lines: str, pause: float = 0.1) -> None:
    """Send messages one after the other, and see what comes of each."""
    for n, line in enumerate(lines):
        await s.ask("a", f"%%>message:{n}:0:{line}")
        await asyncio.sleep(pause)


# Scripts


@scene(extmodule="scripts_dir=scripts")
async def script_ivr(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", call("external/nodata/ivr.py welcome"))
    await s.hear("w", "told::line=.*chan.attach")
    # Without an ear the file would not be played.
    ear = ":consumer=wave/record/heard.slin:single=true"
    await s.ask("a", masquerade("0", "dumb/1", "chan.attach", ear))
    await s.hear("w", "told::line=chan.notify.*eof")
    await asyncio.sleep(0.1)
    press = ":targetid=scr/1:text="
    await s.ask("a", masquerade("1", "dumb/1", "chan.dtmf", f"{press}5"))
    await asyncio.sleep(0.1)
    await s.ask("a", masquerade("2", "dumb/1", "chan.dtmf", ":targetid=other:text=6"))
    await s.ask("a", "%%>message:3:0:chan.locate::id=scr/1")
    await s.ask("a", "%%>message:4:0:chan.masquerade::id=scr/1:message=chan.attach")
    await s.ask("a", masquerade("5", "dumb/1", "chan.dtmf", f"{press}9"))
    await s.hear("w", "chan.hangup::id=dumb/1")
    await asyncio.sleep(0.2)


@scene(extmodule="scripts_dir=scripts")
async def script_hung_up(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", call("external/nodata/ivr.py"))
    await s.hear("w", "told::line=.*chan.attach")
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:1:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


@scene(extmodule="scripts_dir=scripts priority=50")
async def script_without_channel(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", call("external/nochan/move.py"))
    await asyncio.sleep(0.2)
    await s.ask("a", "%%>message:1:0:call.drop::id=dumb/1:reason=bye")
    await s.hear("w", "told::line=chan.hangup")
    await asyncio.sleep(0.2)


@scene(extmodule="scripts_dir=scripts")
async def script_asked_too_late(s: Scene) -> None:
    await s.open("w", "%%>watch:call.execute", "%%>watch:chan.hangup")
    await s.open("a")
    await s.ask("a", call("external/nochan/move.py"))
    await asyncio.sleep(0.2)


@scene(extmodule="scripts_dir=scripts")
async def script_speaks(s: Scene) -> None:
    await s.open("w", "%%>watch:told", "%%>watch:chan.notify", "%%>watch:call.execute")
    await s.open("a")
    await s.ask("a", call("external/play/sound.py 160000 say"))
    record = ":consumer=wave/record/said.slin:notify=n/1:maxlen=3200:single=true"
    await s.ask("a", masquerade("1", "dumb/1", "chan.attach", record))
    await s.hear("w", "chan.notify::.*maxlen")
    await s.ask("a", "%%>message:2:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


@scene(extmodule="scripts_dir=scripts")
async def script_listens(s: Scene) -> None:
    await s.open("w", "%%>watch:told", "%%>watch:chan.notify", "%%>watch:call.execute")
    await s.open("a")
    await s.ask("a", call("external/record/sound.py 3200 hear"))
    speak = ":source=wave/play/long.slin:notify=n/1:single=true"
    await s.ask("a", masquerade("1", "dumb/1", "chan.attach", speak))
    await s.hear("w", "told::line=heard")
    await s.ask("a", "%%>message:2:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


@scene(extmodule="scripts_dir=scripts")
async def script_echoes(s: Scene) -> None:
    await s.open("w", "%%>watch:told", "%%>watch:chan.notify", "%%>watch:call.execute")
    await s.open("a")
    await s.ask("a", call("external/playrec/sound.py 3200 both"))
    speak = ":source=wave/play/short.slin:consumer=wave/record/echo.slin:maxlen=1600:notify=n/1"
    await s.ask("a", masquerade("1", "dumb/1", "chan.attach", f"{speak}:single=true"))
    await s.hear("w", "told::line=speaks")
    await s.hear("w", "chan.notify::.*eof")
    await s.ask("a", "%%>message:2:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


@scene(extmodule="scripts_dir=scripts")
async def script_refuses(s: Scene) -> None:
    await s.open("w", "%%>watch:call.execute", "%%>watch:chan.hangup", "%%>watch:told")
    await s.open("a")
    for target in (
        "nodata/refuse.py declines",
        "nodata/refuse.py ends",
        "playrec/refuse.py ends",
        "nodata/missing.py",
        "nodata/telling.py",
        "nosuch/refuse.py ends",
        "nodata/",
        "nodata",
    ):
        await s.ask("a", call(f"external/{target}"))
        await asyncio.sleep(0.1)
    # Nobody is connected, so the script has no call.
    await s.ask("a", "%%>message:own:0:call.execute::callto=external/nodata/refuse.py declines")
    await asyncio.sleep(0.2)


# Digits


@scene(workers=2)
async def waiting_digit(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.dtmf", "%%>watch:chan.attach", "%%>watch:chan.notify")
    await s.open("r", "%%>install:50:chan.dtmf")
    await s.open("a")
    await s.ask("a", PAIR)
    ear = ":consumer=wave/record/heard.slin:single=true"
    await s.ask("a", masquerade("ear", "dumb/2", "chan.attach", ear))
    s.say("a", masquerade("1", "dumb/1", "chan.dtmf", ":text=1"))
    found = await s.hear("r", r"%%>message:([^:]*):")
    attach = "chan.attach::source=wave/play/short.slin:notify=n/1:single=true"
    s.say("r", f"%%>message:{found[1]}:0:{attach}")
    await s.hear("r", "%%<message:")
    s.say("r", f"%%>message:own:0:{attach}")
    await s.hear("r", "%%<message:own")
    s.say("r", f"%%<message:{found[1]}:true:")
    await s.hear("a", "%%<message:1:")
    await s.hear("w", "chan.notify::.*eof")
    await asyncio.sleep(0.1)


@scene()
async def digits(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.dtmf")
    await s.open("a")
    await s.ask("a", PAIR)
    await ask_all(
        s,
        "chan.dtmf::id=dumb/1:targetid=dumb/2:text=123#",
        "chan.dtmf::id=dumb/1:targetid=dumb/99:text=1",
        "chan.dtmf::id=dumb/1:peerid=dumb/2:text=1",
        "chan.masquerade::id=dumb/1:message=chan.dtmf:text=12",
        "chan.masquerade::id=dumb/1:message=chan.dtmf:text=3:detected=rfc2833",
        "chan.masquerade::id=dumb/1:message=chan.dtmf:text=3:detected=inband",
        "chan.masquerade::id=dumb/1:message=chan.dtmf:text=3:detected=rfc2833",
        "chan.masquerade::id=dumb/2:message=chan.dtmf:text=4:sequence=7",
        "chan.masquerade::id=dumb/2:message=chan.dtmf:text=5",
        "chan.masquerade::id=dumb/2:message=chan.dtmf",
        "chan.masquerade::id=dumb/2:message=chan.dtmf:text=",
        "call.drop::id=dumb/1:reason=bye",
        "chan.masquerade::id=dumb/1:message=chan.dtmf:text=1",
    )


@scene()
async def overlapped(s: Scene) -> None:
    await s.open("w", "%%>watch:call.route", "%%>watch:call.execute", "%%>watch:chan.dtmf")
    await s.open("r", "%%>install:50:call.route")
    await s.open("a")
    await s.ask("a", PAIR)
    for called, answer in (("4", "false:::error=incomplete"), ("42", "true::tone/busy:extra=1")):
        route = f"call.route::id=dumb/1:caller=100:called={called}:overlapped=yes"
        s.say("a", f"%%>message:route{called}:0:{route}")
        found = await s.hear("r", r"%%>message:([^:]*):")
        s.say("r", f"%%<message:{found[1]}:{answer}")
        await s.hear("a", f"%%<message:route{called}:")
    move = ":callto=tone/busy:extra=1:complete_minimal=true"
    await s.ask("a", masquerade("move", "dumb/1", "call.execute", move))
    await asyncio.sleep(0.1)
    await s.ask("a", masquerade("rest", "dumb/1", "chan.dtmf", ":text=7"))
    await asyncio.sleep(0.2)


# Outcomes of calls that we make


@scene()
async def outcomes(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    for n, reason in enumerate(("busy", "noanswer", "reason=rejected:error=forbidden", "")):
        more = reason if "=" in reason else f"reason={reason}" if reason else ""
        await s.ask("a", PAIR)
        await s.ask("a", f"%%>message:{n}:0:call.drop::id=dumb/{2 * n + 2}:{more}")
        await asyncio.sleep(0.1)
    await s.ask("a", PAIR)
    await ask_all(
        s,
        "chan.masquerade::id=dumb/10:message=call.ringing:targetid=dumb/9",
        "chan.masquerade::id=dumb/10:message=call.answered:targetid=dumb/9",
        "call.drop::id=dumb/10:reason=bye",
    )


@scene()
async def failures(s: Scene) -> None:
    await s.open("w", "%%>watch:call.execute", "%%>watch:chan.hangup", "%%>watch:chan.startup")
    await s.open("a")
    await ask_all(
        s,
        "call.execute::callto=dumb/:caller=1",
        "call.execute::callto=dumb/:caller=1:target=",
        "call.execute::callto=dumb/:caller=1:target=2:direct=nowhere/x",
        "call.execute::callto=dumb/:caller=1:target=2:direct=tone/nosuch",
        "call.execute::callto=dumb/:caller=1:target=2:direct=wave/play/missing.slin",
        "call.execute::callto=dumb/:caller=1:target=2:direct=wave/nosuch/x",
        "call.execute::callto=dumb/:caller=1:target=2:direct=dumb",
        "call.execute::callto=nowhere/x:caller=1",
        "call.execute::caller=1",
        "call.execute::callto=tone/dial:caller=1",
        "call.execute::callto=wave/play/short.slin",
        "call.execute::callto=conf/room",
    )
    await asyncio.sleep(0.7)


# Changing a live call


@scene()
async def moved(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", PAIR)
    await ask_all(
        s,
        "chan.masquerade::id=dumb/1:message=call.execute:callto=conf/room1:lonely=true:notify=cf/1",
        "chan.locate::id=dumb/2",
        "chan.masquerade::id=dumb/1:message=call.execute:callto=nowhere/x",
        "chan.masquerade::id=dumb/1:message=call.execute:callto=dumb/",
        "chan.masquerade::id=dumb/3:message=call.answered:targetid=dumb/1",
        "chan.masquerade::id=dumb/1:message=call.execute:callto=tone/ring",
        "chan.masquerade::id=dumb/1:message=call.execute:callto=tone/dial:reason=moved",
        "call.drop::id=dumb/1:reason=bye",
        pause=0.15,
    )


@scene()
async def bridged(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", PAIR)
    await s.ask("a", PAIR)
    await ask_all(
        s,
        "chan.masquerade::id=dumb/2:message=call.answered:targetid=dumb/1",
        "chan.masquerade::id=dumb/4:message=call.answered:targetid=dumb/3",
        "chan.connect::id=dumb/1:targetid=dumb/3:reason=bridged",
        "engine.status::module=dumb/1",
        "chan.locate::id=dumb/2",
        "call.drop::id=dumb/3:reason=bye",
        pause=0.15,
    )


@scene()
async def three_way(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    await s.ask("a", PAIR)
    await ask_all(
        s,
        "chan.masquerade::id=dumb/2:message=call.answered:targetid=dumb/1",
        "chan.masquerade::id=dumb/1:message=call.conference:room=conf/r2:notify=cf/1",
        "engine.status::module=conf/r2",
        pause=0.15,
    )
    await s.ask("a", join(3, "r2"))
    await asyncio.sleep(0.15)
    await s.ask("a", "%%>message:4:0:call.drop::id=dumb/3:reason=left")
    await asyncio.sleep(0.15)
    await s.ask("a", "%%>message:5:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


@scene()
async def queue(s: Scene) -> None:
    names = ("call.answered", "chan.connected", "chan.disconnected", "chan.hangup")
    await s.open("w", *(f"%%>watch:{name}" for name in names))
    await s.open("r", "%%>install:50:call.answered")
    await s.open("a")
    await s.ask("a", PAIR)  # the caller is dumb/1
    await s.ask("a", masquerade("music", "dumb/1", "call.execute", ":callto=tone/ring"))
    await s.ask("a", PAIR)  # our leg to the agent is dumb/3, the agent dumb/4
    s.say("a", masquerade("up", "dumb/4", "call.answered", ":targetid=dumb/3"))
    found = await s.hear("r", r"%%>message:([^:]*):")
    s.say("r", f"%%<message:{found[1]}:false:::targetid=dumb/1")
    await s.hear("a", "%%<message:up:")
    await asyncio.sleep(0.1)
    await s.ask("a", "%%>message:there:0:chan.locate::id=dumb/1")
    await s.ask("a", "%%>message:join:0:chan.connect::id=dumb/4:targetid=dumb/1")
    await asyncio.sleep(0.2)
    await s.ask("a", "%%>message:end:0:call.drop::id=dumb/4:reason=bye")
    await asyncio.sleep(0.2)


# When the far end leaves


@scene(workers=2)
async def rescued_by_leg(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.disconnected", "%%>watch:chan.hangup", "%%>watch:call.execute")
    await s.open("r", "%%>install:50:chan.disconnected:id:dumb/1")
    await s.open("a")
    await s.ask("a", PAIR)
    s.say("a", "%%>message:1:0:call.drop::id=dumb/2:reason=busy")
    found = await s.hear("r", r"%%>message:([^:]*):")
    await asyncio.sleep(0.1)
    await s.ask("a", masquerade("2", "dumb/1", "call.execute", ":callto=dumb/"))
    s.say("r", f"%%<message:{found[1]}:true:chan.disconnected:")
    await asyncio.sleep(0.2)
    await s.ask("a", "%%>message:3:0:engine.status::module=dumb/1")
    await asyncio.sleep(0.1)


@scene()
async def renamed_disconnect(s: Scene) -> None:
    names = ("chan.disconnected", "chan.hangup", "chan.notify")
    await s.open("w", *(f"%%>watch:{name}" for name in names))
    await s.open("r", "%%>install:50:chan.disconnected")
    await s.open("a")
    await s.ask("a", PAIR)
    s.say("a", "%%>message:1:0:call.drop::id=dumb/2:reason=noanswer")
    found = await s.hear("r", r"%%>message:([^:]*):")
    await asyncio.sleep(0.1)
    s.say("r", f"%%<message:{found[1]}:false:chan.hangup::notify=queue/1:queue=sales")
    await asyncio.sleep(0.2)


# Files


@scene()
async def recorded(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.notify", "%%>watch:chan.hangup")
    await s.open("a")
    await s.ask("a", PAIR)

    async def attach(n: int, what: str, wait: float = 0.1) -> None:
        line = masquerade(str(n), "dumb/1", "chan.attach", f":{what}:notify=n/{n}:single=true")
        await s.ask("a", line)
        await asyncio.sleep(wait)

    await s.ask("a", masquerade("tone", "dumb/2", "chan.attach", ":source=tone/dial"))
    await attach(1, "consumer=wave/record/a.au:maxlen=2000", wait=0.4)
    await attach(2, "consumer=wave/record/b.wav:maxlen=2000", wait=0.4)
    await attach(3, "consumer=wave/record/c.alaw:maxlen=800", wait=0.4)
    await attach(4, "consumer=wave/record/d.slin:maxlen=-1", wait=0.3)
    await attach(5, "consumer=wave/record/-", wait=0.2)
    await attach(6, "consumer=wave/record/-:maxlen=1600", wait=0.4)
    await attach(7, "consumer=wave/record/e.slin:maxlen=999999", wait=0.2)
    await attach(8, "consumer=wave/play/short.slin")
    await attach(9, "consumer=")
    await s.ask("a", masquerade("a", "dumb/2", "chan.attach", ":source=wave/play/a.au:notify=p/1"))
    await asyncio.sleep(0.5)
    await s.ask(
        "a", masquerade("b", "dumb/2", "chan.attach", ":source=wave/play/c.alaw:notify=p/2")
    )
    await asyncio.sleep(0.5)
    await s.ask("a", "%%>message:bye:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)


# Commands


@scene()
async def commands(s: Scene) -> None:
    await s.open("a")
    await s.ask("a", PAIR)
    await ask_all(
        s,
        "engine.command::line=nosuch",
        "engine.command::line=dumb",
        "engine.command::line=callfork nosuch",
        "engine.command::partline=:partword=sta",
        "engine.command::partline=status:partword=con",
        "engine.command::partline=status overview:partword=du",
        "engine.command::partline=drop:partword=dumb/",
        "engine.command::partline=drop:partword=dumb/1",
        "engine.status::module=dumb/1:details=true",
        "engine.status::module=conf/9",
        pause=0.02,
    )
