"""Tones: their names, their samples, and legs that play them."""

from __future__ import annotations

import asyncio
import struct

import pytest

from yateway import Message
from yateway.engine import Engine
from yateway.engine.tone import PERIODS, RATE, ToneSource, _ready


def samples(source: ToneSource, blocks: int) -> tuple[int, ...]:
    return struct.unpack(f"<{blocks * 160}h", source.blocks(0, blocks))


def test_tones_that_are_ready() -> None:
    """As the real engine has them, but for what it has rounded by hand."""
    assert list(_ready("~1000")) == [*(8828, 20860, 20860, 8828), *(-8828, -20860, -20860, -8828)]
    assert list(_ready("~425"))[:6] == [3246, 6142, 8371, 9694, 9965, 9157]
    for name, (periods, count) in PERIODS.items():
        samples = list(_ready(name))
        assert len(samples) == count
        assert samples[-1] == sum(samples) == 0
        assert abs(RATE * periods / count - int(name[1:])) < 55


@pytest.mark.parametrize(
    ("name", "tone"), [("dial", "dial"), (" DIAL ", "dial"), ("bs", "busy"), ("probe", "probe/0")]
)
async def test_named_tones(name: str, tone: str) -> None:
    """Case and blanks around do not matter; there are short names."""
    source = ToneSource.named(name)
    assert source is not None
    assert source.name == f"tone/{tone}"
    assert source.length is None


@pytest.mark.parametrize("name", ["", "nosuch", "425", "dtmf/1", "callwaiting"])
async def test_what_is_no_named_tone(name: str) -> None:
    """Frequencies, digits and call waiting can be laid over only."""
    assert ToneSource.named(name) is None


@pytest.mark.parametrize(
    ("description", "length"),
    [
        ("dial", None),
        ("callwaiting", None),
        ("cw", None),
        ("dtmf/5", None),
        ("5", None),
        ("425", None),
        ("350+440", None),
        ("15*2100/500", None),
        ("*0/200", None),
        ("!425/500", 25),
        ("!0/200", 10),
        ("dtmfstr/12", (3 * 320 + 2 * 960) // 160),
    ],
)
async def test_what_can_be_laid_over(description: str, length: int | None) -> None:
    """What begins with `!`, and digits, come once; times are rounded up to 20 ms."""
    source = ToneSource.once(description)
    assert source is not None
    assert source.length == length


@pytest.mark.parametrize("description", ["nosuch", "dtmfstr/", "", "1+2+3", "x+y", "+"])
async def test_what_cannot_be_laid_over(description: str) -> None:
    """Garbage is no tone."""
    assert ToneSource.once(description) is None


async def test_busy_is_half_a_second_of_sound_and_of_silence() -> None:
    """And all over again, from any block on."""
    source = ToneSource.named("busy")
    assert source is not None
    heard = samples(source, 50)
    assert max(heard[:4000]) > 4500
    assert not any(heard[4000:])
    assert source.blocks(50, 53) == source.blocks(0, 3)


async def test_frequencies_can_be_added_and_modulated() -> None:
    """A sum may be twice as loud, a modulated one half as loud again."""
    plain, both, modulated = (ToneSource.once(d) for d in ("425", "350+440", "2000*125"))
    assert plain is not None
    assert both is not None
    assert modulated is not None
    assert max(samples(plain, 10)) <= 5000 < max(samples(modulated, 10)) <= 7500
    assert 9000 < max(samples(both, 50)) <= 10000


async def test_a_tone_can_be_called() -> None:
    """The leg is incoming, has an address, and no message tells of its start or end."""
    async with Engine() as engine:
        seen: list[str] = []

        def route(message: Message) -> bool:
            message.retvalue = "tone/Dial"
            return True

        def note(message: Message) -> bool:
            seen.append(message["id"])
            return False

        engine.install("call.route", route)
        engine.install("chan.hangup", note)
        leg = await engine.call("1")
        await leg.until(lambda: leg.answered)
        assert leg.hears == "tone/dial"
        assert leg.peer is not None
        assert leg.peer.id == "tone/1"
        status = await engine.dispatch("engine.status", module="tone/1")
        assert ",address=dial," in status.retvalue
        leg.hang_up()
        await asyncio.sleep(0.1)
        assert seen == ["sim/1"]


async def test_a_tone_can_call() -> None:
    """To `direct`, or where routing says."""
    async with Engine() as engine:
        answer = await engine.dispatch("call.execute", callto="tone/ring", direct="sim/5")
        assert (answer.processed, answer["id"]) == (True, "tone/1")
        phone = await engine.next_call()
        assert phone.hears == "tone/ring"
        assert not (await engine.dispatch("call.execute", callto="tone/ring")).processed
        routed: list[dict[str, str]] = []

        def route(message: Message) -> bool:
            routed.append(dict(message))
            message.retvalue = "sim/6"
            return True

        engine.install("call.route", route)
        assert (await engine.dispatch("call.execute", callto="tone/ring", target="6")).processed
        assert routed[0]["caller"] == "tone/ring"
        assert routed[0]["cdrtrack"] == "false"
        phone.hang_up()
