"""Files of sound: what they contain, how long they last, what is written, and who is told."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from yateway import Message
from yateway.engine import Engine
from yateway.engine.g711 import Law
from yateway.engine.sim import Leg

SECOND = struct.pack("<8000h", *range(8000))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("second.slin").write_bytes(SECOND)


def contents(name: str) -> bytes:
    return Path(name).read_bytes()


def put(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)


def to_called(message: Message) -> bool:
    message.retvalue = message["called"]
    return True


async def until_hung_up(leg: Leg) -> None:
    await leg.until(lambda: leg.hung_up)


class Call:
    """Two telephones in a call, and what chan.notify tells."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.told: list[tuple[str, str, str, float]] = []
        self.caller: Leg
        self.called: Leg

    async def start(self) -> None:
        def route(message: Message) -> bool:
            message.retvalue = "sim/2"
            return True

        def note(message: Message) -> bool:
            now = round(asyncio.get_running_loop().time(), 3)
            values = (message.get("id", ""), message["targetid"], message.get("reason", "-"))
            self.told.append((*values, now))
            return False

        self.engine.install("call.route", route)
        self.engine.install("chan.notify", note)
        self.caller = await self.engine.call("2")
        self.called = await self.engine.next_call()
        self.called.pick_up()
        await self.caller.until(lambda: self.caller.answered)

    async def attach(self, leg: Leg, **params: str | int | float) -> Message:
        own: dict[str, str | int | float] = {"id": leg.id, "message": "chan.attach", "single": True}
        return await self.engine.dispatch("chan.masquerade", {**own, **params})


async def test_a_prompt_lasts_as_long_as_its_data() -> None:
    """A second is fifty blocks, the last of which begins after 980 ms."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        answer = await call.attach(call.called, source="wave/play/second.slin", notify="n/1")
        assert answer.processed
        assert "source" not in answer
        assert call.caller.hears == "wave/play/second.slin"
        await asyncio.sleep(2)
        assert call.told == [(call.called.id, "n/1", "eof", 0.98)]
        assert call.caller.hears == ""
        call.caller.hang_up()


async def test_what_is_played_is_recorded() -> None:
    """Byte by byte; the file is complete once somebody else takes its place."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.caller, consumer="wave/record/out.slin")
        await call.attach(call.called, source="wave/play/second.slin")
        await asyncio.sleep(2)
        assert contents("out.slin") == SECOND
        await call.attach(call.caller, consumer="wave/record/out.slin", append=True)
        await call.attach(call.called, source="wave/play/second.slin")
        await asyncio.sleep(2)
        call.caller.hang_up()
        await asyncio.sleep(0)
    assert contents("out.slin") == SECOND * 2


async def test_a_recorder_writes_every_second() -> None:
    """Whoever looks at the file while it grows is not far behind."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.caller, consumer="wave/record/out.slin")
        await call.attach(call.called, source="wave/play/second.slin", autorepeat=True)
        await asyncio.sleep(3.5)
        assert len(contents("out.slin")) == 48000  # three times fifty blocks
        call.caller.hang_up()


async def test_a_recorder_stops_at_its_length() -> None:
    """At the end of the block that reaches it."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.caller, consumer="wave/record/o.slin", maxlen=1000, notify="n/2")
        await call.attach(call.called, source="wave/play/second.slin")
        await asyncio.sleep(0.5)
        assert call.told == [(call.caller.id, "n/2", "maxlen", 0.06)]
        assert contents("o.slin") == SECOND[:1280]
        call.caller.hang_up()


@pytest.mark.parametrize(("suffix", "law"), [(".alaw", Law.A), (".mulaw", Law.MU)])
async def test_g711_files(suffix: str, law: Law) -> None:
    """Half as many bytes for the same time, there and back."""
    put(f"in{suffix}", law.encode(SECOND))
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.caller, consumer=f"wave/record/out{suffix}")
        await call.attach(call.called, source=f"wave/play/in{suffix}", notify="n/1")
        await asyncio.sleep(2)
        assert call.told[0][3] == 0.98
        call.caller.hang_up()
        await asyncio.sleep(0)
    assert contents(f"out{suffix}") == contents(f"in{suffix}")


async def test_au_files_have_a_header() -> None:
    """It is written, with the size of the data at the end, and skipped when played."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.caller, consumer="wave/record/a.au")
        await call.attach(call.called, source="wave/play/second.slin")
        await asyncio.sleep(2)
        await call.attach(call.caller, consumer="wave/record/b.slin")
        header = struct.unpack(">6I8s", contents("a.au")[:32])
        assert header == (0x2E736E64, 32, 16000, 3, 8000, 1, b"By YATE\0")
        await call.attach(call.called, source="wave/play/a.au")
        await asyncio.sleep(2)
        call.caller.hang_up()
        await asyncio.sleep(0)
    assert contents("b.slin") == SECOND


async def test_a_wav_header_is_sound() -> None:
    """As with the real engine, which does not know this format."""
    put("in.wav", b"RIFF" + bytes(316))
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.caller, consumer="wave/record/out.slin")
        await call.attach(call.called, source="wave/play/in.wav", notify="n/1")
        await asyncio.sleep(1)
        assert call.told[0][3] == 0.0
        call.caller.hang_up()
        await asyncio.sleep(0)
    assert contents("out.slin") == b"RIFF" + bytes(316)


async def test_a_missing_file_is_told_without_a_reason() -> None:
    """The message is processed all the same."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        answer = await call.attach(call.called, source="wave/play/no.slin", notify="n/1")
        assert answer.processed
        await asyncio.sleep(1)
        assert call.told == [("", "n/1", "-", 0.0)]
        call.caller.hang_up()


async def test_replaced_is_told_at_the_next_block() -> None:
    """Without the channel."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.called, source="wave/play/second.slin", notify="n/1")
        await asyncio.sleep(0.05)
        await call.attach(call.called, source="wave/play/-", notify="n/2")
        await asyncio.sleep(1)
        assert call.told == [("", "n/1", "replaced", 0.06)]
        call.caller.hang_up()
        await asyncio.sleep(1)
        assert call.told[1][:3] == ("", "n/2", "replaced")


async def test_what_is_laid_over_ends_by_itself() -> None:
    """It covers what the peer says."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.called, source="tone/ring")
        answer = await call.attach(call.caller, override="wave/play/second.slin", notify="n/1")
        assert answer.processed
        assert call.caller.hears == "wave/play/second.slin"
        await asyncio.sleep(2)
        assert call.caller.hears == "tone/ring"
        assert call.told == [("", "n/1", "eof", 0.98)]
        await call.attach(call.caller, replace="tone/busy")
        assert call.caller.hears == "tone/busy"
        await call.attach(call.caller, replace="-")
        assert call.caller.hears == "tone/ring"
        call.caller.hang_up()


async def test_what_is_not_for_files() -> None:
    """Other methods, no channel, and nobody who listens."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        for params in (
            {"source": "wave/record/x"},
            {"consumer": "wave/play/x"},
            {"source": "wave/play/"},
            {"foo": "bar"},
        ):
            assert not (await call.attach(call.called, **params)).processed
        mixed = await call.attach(call.called, source="wave/play/second.slin", consumer="no/x")
        assert not mixed.processed
        assert "source" not in mixed
        direct = await engine.dispatch("chan.attach", source="wave/play/second.slin", single=True)
        assert not direct.processed
        call.caller.hang_up()


async def test_both_directions_are_recorded_from_one_leg() -> None:
    """By chan.record; `-` ends it."""
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        answer = await engine.dispatch(
            "chan.masquerade",
            id=call.caller.id,
            message="chan.record",
            call="wave/record/own.slin",
            peer="wave/record/other.slin",
        )
        assert answer.processed
        call.caller.say("second.slin")
        await call.attach(call.called, source="tone/silence")
        await asyncio.sleep(2)
        ended = await engine.dispatch(
            "chan.masquerade", id=call.caller.id, message="chan.record", call="-", peer="-"
        )
        assert ended.processed
        assert contents("own.slin") == SECOND
        assert len(contents("other.slin")) == 101 * 320
        call.caller.hang_up()


async def test_a_file_can_be_called() -> None:
    """Its end hangs up, and so does a full recording; a missing one at once."""
    async with Engine() as engine:
        engine.install("call.route", to_called)
        for target, seconds in (
            ("wave/play/second.slin", 0.98),
            ("wave/play/no.slin", 0.0),
        ):
            began = asyncio.get_running_loop().time()
            leg = await engine.call(target)
            await until_hung_up(leg)
            assert round(asyncio.get_running_loop().time() - began, 3) == seconds
            assert leg.reason == "eof"
        leg = await engine.call("wave/record/out.slin", "", maxlen=320)
        leg.say("second.slin")
        await leg.until(lambda: leg.hung_up)
        assert contents("out.slin") == SECOND[:320]
        for target in ("wave/nosuch/x", "wave/play"):
            leg = await engine.call(target)
            await until_hung_up(leg)
            assert leg.reason == "noconn"


async def test_a_file_can_call() -> None:
    """And is asked for its state."""
    async with Engine() as engine:
        answer = await engine.dispatch(
            "call.execute", callto="wave/play/second.slin", direct="sim/5"
        )
        assert (answer.processed, answer["id"]) == (True, "wave/1")
        phone = await engine.next_call()
        assert phone.hears == "wave/play/second.slin"
        status = await engine.dispatch("engine.status", module="wave")
        assert ";play=1,record=0,routed=0,routing=0,total=1,chans=1;wave/1=" in status.retvalue
        await phone.until(lambda: phone.hung_up)
        assert not (await engine.dispatch("call.execute", callto="wave/play/second.slin")).processed


@pytest.mark.parametrize(("suffix", "block"), [("gsm", 33), ("g722", 160), ("g729", 20)])
async def test_what_is_not_translated_reaches_recorders_of_its_kind(
    suffix: str, block: int
) -> None:
    """Byte by byte, in blocks of 20 ms; a recorder of something else hears nothing."""
    sound = bytes(range(block)) * 50
    put(f"prompt.{suffix}", sound)
    async with Engine() as engine:
        call = Call(engine)
        await call.start()
        await call.attach(call.called, consumer=f"wave/record/same.{suffix}")
        await call.attach(call.caller, source=f"wave/play/prompt.{suffix}", notify="n/1")
        await asyncio.sleep(2)
        await call.attach(call.called, consumer="wave/record/other.slin")
        await call.attach(call.caller, source=f"wave/play/prompt.{suffix}", notify="n/2")
        await asyncio.sleep(10)
        await call.attach(call.caller, source="wave/play/second.slin", notify="n/3")
        await asyncio.sleep(2)
        await call.attach(call.called, consumer=f"wave/record/same2.{suffix}")
        await call.attach(call.caller, source="wave/play/second.slin", notify="n/4")
        await asyncio.sleep(10)
        call.caller.hang_up()
        await until_hung_up(call.called)
    assert contents(f"same.{suffix}") == sound
    assert contents("other.slin") == SECOND
    assert contents(f"same2.{suffix}") == b""
    reasons = [told[1:3] for told in call.told if told[1] != "n/4"]
    assert reasons == [("n/1", "eof"), ("n/2", "replaced"), ("n/3", "eof")]
