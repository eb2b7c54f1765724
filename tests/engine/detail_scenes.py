"""Scenes of what modules meet more rarely: in forks, at the engine's end, in files and records.

It must not say what the engine answers: that is in the recordings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.engine.flow_scenes import ask_all, masquerade
from tests.engine.scenes import PAIR, SCENES, fork, scene

if TYPE_CHECKING:
    from tests.engine.record_scenes import Scene

__all__ = ["SCENES"]

RING = "chan.masquerade::id=dumb/{}:message=call.ringing:targetid={}"


@scene()
async def fork_exec(s: Scene) -> None:
    await s.open("w", "%%>watch:")
    await s.open("a")
    # The second target takes the caller over when the first has hung up.
    await s.ask("a", fork("dumb/a |exec no/b dumb/c dumb/d"))
    await asyncio.sleep(0.1)
    await ask_all(s, "call.drop::id=dumb/2:reason=busy", "chan.locate::id=dumb/1")
    await ask_all(s, "call.drop::id=dumb/1:reason=bye")
    # At once.
    await s.ask("a", fork("|exec dumb/a"))
    await asyncio.sleep(0.1)
    await ask_all(s, "call.drop::id=dumb/4:reason=bye")
    # In vain.
    await s.ask("a", fork("dumb/a |exec no/b"))
    await asyncio.sleep(0.1)
    await ask_all(s, "call.drop::id=dumb/7:reason=busy")
    await asyncio.sleep(0.2)


@scene()
async def fork_chanmsgs(s: Scene) -> None:
    names = ("chan.startup", "chan.disconnected", "chan.hangup", "chan.replaced")
    await s.open("w", *(f"%%>watch:{name}" for name in names))
    await s.open("a")
    tells = ":fork.chanmsgs=true:callername=Me"
    await s.ask("a", fork("dumb/a dumb/b", tells))
    await asyncio.sleep(0.1)
    await ask_all(s, "call.drop::id=dumb/2:reason=busy", "call.drop::id=dumb/3:reason=busy")
    await s.ask("a", fork("dumb/a", tells))
    await asyncio.sleep(0.1)
    await ask_all(s, "call.drop::id=dumb/4:reason=bye")
    await s.ask("a", fork("dumb/a", ":pbxoper=x"))
    await asyncio.sleep(0.1)
    answered = "chan.masquerade::id=dumb/7:message=call.answered:targetid=fork/3/1"
    await ask_all(s, answered, "call.drop::id=dumb/6:reason=bye")
    await s.ask("a", fork("no/a", tells))
    await asyncio.sleep(0.2)


@scene()
async def fork_fake(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.attach", "%%>watch:call.ringing", "%%>watch:call.progress")
    await s.open("a")
    fake = (
        ":fork.fake=tone/ring:fork.fake.lang=en:autorepeat=true:fork.fake_msg_param.earlymedia=true"
        ":fork.fake_result_param=faked"
    )
    await s.ask("a", fork("dumb/a dumb/b", fake))
    await asyncio.sleep(0.1)
    await ask_all(s, RING.format(2, "fork/1/1"), RING.format(2, "fork/1/1"))
    await ask_all(s, RING.format(3, "fork/1/2"), "call.drop::id=dumb/1:reason=bye")
    # Renamed, by a target that has sound itself.
    await s.ask("a", fork("dumb/a dumb/b", ":fork.fake=tone/ring:fork.fakemessage=call.progress"))
    await asyncio.sleep(0.1)
    await s.ask("a", masquerade("0", "dumb/5", "chan.attach", ":source=tone/busy:single=true"))
    await ask_all(s, RING.format(5, "fork/2/1"), RING.format(6, "fork/2/2"))
    await ask_all(s, "call.drop::id=dumb/5:reason=busy", RING.format(6, "fork/2/2"))
    await ask_all(s, "call.drop::id=dumb/4:reason=bye")
    # Forced, at one message only; and what cannot be played.
    forced = ":fork.fake=tone/ring:fork.fake_force=call.progress:fork.fake_result_param=faked"
    await s.ask("a", fork("dumb/a", forced))
    await asyncio.sleep(0.1)
    progress = RING.format(8, "fork/3/1").replace("ringing", "progress")
    await ask_all(s, RING.format(8, "fork/3/1"), progress, progress)
    await ask_all(s, "call.drop::id=dumb/7:reason=bye")
    await s.ask("a", fork("dumb/a", ":fork.fake=nosuch/x:fork.fake_result_param=faked"))
    await asyncio.sleep(0.1)
    await ask_all(s, RING.format(10, "fork/4/1"), "call.drop::id=dumb/9:reason=bye")
    await asyncio.sleep(0.2)


@scene()
async def tone_detectors(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.attach")
    await s.open("a")
    for n, (target, detect) in enumerate(
        (
            ("dumb/b", "tonedetect_out=true"),
            ("dumb/b", "tonedetect_in=yes"),
            ("tone/dial", "tonedetect_out=tone/dtmf:tonedetect_in=mine/x"),
            ("wave/record/-", "tonedetect_out=on"),
            ("conf/room", "tonedetect_out=t"),
            ("dumb/b", "tonedetect_out=false:tonedetect_in="),
        )
    ):
        names = ",".join(part.partition("=")[0] for part in detect.split(":"))
        await s.ask(
            "a",
            f"%%>message:{n}:0:call.execute::callto=dumb/a:target=2:direct={target}:{detect}"
            f":copyparams={names}",
        )
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)


@scene()
async def module_updates(s: Scene) -> None:
    await s.open("w", "%%>watch:module.update", "%%>watch:engine.timer")
    await s.open("a")
    await s.ask("a", PAIR)
    await asyncio.sleep(7.0)
    await s.ask("a", PAIR.replace("dumb/near", "tone/dial"))
    await s.ask("a", "%%>message:1:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(7.0)


@scene()
async def wave_formats(s: Scene) -> None:
    await s.open("w", "%%>watch:chan.notify")
    await s.open("a")
    await s.ask("a", PAIR)

    async def attach(n: int, leg: str, what: str, wait: float) -> None:
        more = f":{what}:notify=n/{n}:single=true"
        await s.ask("a", masquerade(str(n), leg, "chan.attach", more))
        await asyncio.sleep(wait)

    # To a recorder of the same format.
    await attach(1, "dumb/2", "consumer=wave/record/a.gsm", 0.05)
    await attach(2, "dumb/1", "source=wave/play/short.gsm", 0.8)
    await attach(3, "dumb/2", "consumer=wave/record/a.gsm:maxlen=330", 0.05)
    await attach(4, "dumb/1", "source=wave/play/short.gsm", 0.8)
    await attach(5, "dumb/2", "consumer=wave/record/a.g722", 0.05)
    await attach(6, "dumb/1", "source=wave/play/short.g722", 0.8)
    # To others: nobody hears it, and it does not end.
    await attach(7, "dumb/1", "source=wave/play/short.gsm", 0.8)
    await attach(8, "dumb/2", "consumer=wave/record/a.slin:maxlen=1600", 0.8)
    await attach(9, "dumb/1", "source=wave/play/short.slin", 0.8)
    await attach(10, "dumb/2", "consumer=wave/record/a.gsm:maxlen=330", 0.05)
    await attach(11, "dumb/1", "source=wave/play/short.slin", 0.8)
    # G.711 is translated.
    await attach(12, "dumb/2", "consumer=wave/record/a.mulaw:maxlen=1600", 0.05)
    await attach(13, "dumb/1", "source=wave/play/short.slin", 0.8)
    await attach(14, "dumb/2", "consumer=wave/record/a.slin:maxlen=3200", 0.05)
    await attach(15, "dumb/1", "source=wave/play/a.mulaw", 0.8)
    await s.ask("a", "%%>message:bye:0:call.drop::id=dumb/1:reason=bye")
    await asyncio.sleep(0.3)
