"""What cannot be recorded or played is a value, and the call goes on (guarantee E8)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.calls import ivr
from yateway import Call
from yateway.engine.caller import Caller
from yateway.sound import Playback, Recorded, RecordingEnd
from yateway.testing import EngineForTests


async def test_what_cannot_be_recorded_does_not_end_the_call(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """A folder in the file's place, and one that is not there."""
    got: list[Recorded] = []

    async def code(call: Call) -> None:
        await call.answer()
        for name in ("taken.slin", "nowhere/x.slin", "good.slin"):
            got.append(await call.record(name, limit=1, beep=False))
        assert await call.play("thanks.slin") is Playback.EOF

    (tmp_path / "taken.slin").mkdir()
    module = ivr(tmp_path, code)
    await engine.attach(module)
    await caller.dial("100")
    await caller.answered()
    caller.say(tmp_path / "menu.slin")
    await caller.hears("thanks")
    await caller.hung_up()
    await asyncio.sleep(1)
    ends = [recorded.end for recorded in got]
    assert ends == [RecordingEnd.FAILED, RecordingEnd.FAILED, RecordingEnd.LIMIT]
    assert not any(got[:2])
    assert not module._board._notified


async def test_sounds_that_cannot_be_had_leave_nothing_behind(
    engine: EngineForTests, caller: Caller, tmp_path: Path
) -> None:
    """Also where the request itself fails: the link is down."""

    async def code(call: Call) -> None:
        await call.answer()
        assert await call.play("nothing.slin") is Playback.MISSING
        sound = await call.start("menu.slin")
        assert repr(sound).endswith("playing>")
        await sound.stop()
        await sound.stop()
        assert await sound.done() is Playback.REPLACED
        assert not sound.playing
        again = await call.start("menu.slin", repeat=True)
        call.spawn(call.hangup())
        assert await again.done() is Playback.HANGUP

    module = ivr(tmp_path, code)
    await engine.attach(module)
    await caller.dial("100")
    await caller.hung_up()
    await asyncio.sleep(1)
    assert not module._board._notified
