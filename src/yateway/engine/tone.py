"""Tones: `tone/dial` and the others, as a source of sound and as a channel that is called.

It must not play files. A tone has no end, unless it was asked for as a digit or once only. Its
samples are made only when somebody looks at them, a recorder for example.
"""

from __future__ import annotations

import array
import math
import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from .attaching import attach, execute_out, lay, route_out
from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver, Report
from .endpoints import Endpoint, Exchange, flag
from .g711 import Law
from .media import BLOCK_BYTES, DataEnd, Source

__all__ = ["Tone", "ToneSource"]

RATE: Final = 8000
LOUDNESS: Final = 5000
#: Tones that the real engine has ready are louder than what it computes, and only about as high as
#: they are called: so many periods in so many samples (tonegen.cpp).
LOUDER: Final = 10_000
PERIODS: Final = {"~425": (1, 19), "~950": (2, 17), "~1400": (2, 11), "~1800": (2, 9)}
#: The digital milliwatt of ITU-T G.711, of 1000 Hz.
MILLIWATT: Final = Law.MU.decode(bytes.fromhex("9e8b8b9e1e0b0b1e"))
#: Samples of a key's tone, and of the silence before and after it.
KEY: Final = 960
KEY_GAP: Final = 320

#: Frequencies and samples, one after the other, then all over again. "a*b" is one modulated by the
#: other, "a+b" both at once, "~a" one of those that are ready, and nothing is silence.
TONES: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "dial": (("~425", 8000),),
    "busy": (("~425", 4000), ("", 4000)),
    "ring": (("~425", 8000), ("", 32000)),
    "specdial": (("~425", 7600), ("", 400)),
    "congestion": (("~425", 2000), ("", 2000)),
    "outoforder": (("~425", 800), ("", 800)) * 3 + (("~425", 1600), ("", 1600)),
    "info": (
        *(("~950", 2640), ("", 240), ("~1400", 2640), ("", 240), ("~1800", 2640), ("", 8000)),
    ),
    "milliwatt": (("~1000", 8000),),
    "silence": (("", 8000),),
    "noise": (("", 2000),),
    "probe/0": (("2000+125", 8000),),
    "probe/1": (("2000*125", 8000),),
    "probe/2": (("2000*1000", 8000),),
    "cotv": (("2010", 8000),),
    "cots": (("1780", 8000),),
}
ALIASES: Final = {
    **{"dt": "dial", "bs": "busy", "rt": "ring", "sd": "specdial", "cg": "congestion"},
    **{"oo": "outoforder", "in": "info", "mw": "milliwatt", "cn": "noise", "probe": "probe/0"},
    **{"co1": "cotv", "co2": "cots"},
}
#: Those that can only be laid over or put in place of other sound.
CALL_WAITING: Final = (("", 160), ("~425", 800), ("", 800), ("~425", 800), ("", 160))
_ROWS: Final = (697, 770, 852, 941)
_COLUMNS: Final = (1209, 1336, 1477, 1633)
_KEYS: Final = {
    key: f"{column}+{row}"
    for row, keys in zip(_ROWS, ("123a", "456b", "789c", "*0#d"), strict=True)
    for column, key in zip(_COLUMNS, keys, strict=True)
}


def _key(key: str) -> tuple[tuple[str, int], ...]:
    return (("", KEY_GAP), (_KEYS.get(key, ""), KEY))


@lru_cache(maxsize=64)
def _samples(parts: tuple[tuple[str, int], ...]) -> bytes:
    """Return one round of a tone."""
    samples = array.array("h")
    for frequencies, count in parts:
        if frequencies.startswith("~"):
            period = _ready(frequencies)
            samples.extend(period[i % len(period)] for i in range(count))
            continue
        modulated = "*" in frequencies
        waves = [2 * math.pi * int(f) / RATE for f in frequencies.replace("*", "+").split("+") if f]
        for i in range(count):
            if modulated:
                value = math.sin(i * waves[0]) * (1 + 0.5 * math.sin(i * waves[1]))
            else:
                value = sum(math.sin(i * wave) for wave in waves)
            samples.append(int(value * LOUDNESS))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _ready(name: str) -> Sequence[int]:
    """Return the samples that are repeated for a tone that is ready."""
    if name not in PERIODS:
        return struct.unpack("<8h", MILLIWATT)
    periods, count = PERIODS[name]
    return [int(LOUDER * math.sin(2 * math.pi * periods * i / count)) for i in range(1, count + 1)]


class ToneSource(Source):
    """A tone.

    Args:
        name: what it is called.
        parts: frequencies and samples.
        rounds: how often they come; 0 for ever.
    """

    def __init__(self, name: str, parts: tuple[tuple[str, int], ...], rounds: int = 0) -> None:
        samples = sum(count for _, count in parts)
        length = -(-samples * rounds * 2 // BLOCK_BYTES) if rounds else None
        super().__init__(f"tone/{name}", length)
        self._parts = parts

    def blocks(self, first: int, last: int) -> bytes:
        sound = _samples(self._parts)
        begin, size = first * BLOCK_BYTES % len(sound), (last - first) * BLOCK_BYTES
        return (sound * ((begin + size) // len(sound) + 1))[begin : begin + size]

    @classmethod
    def named(cls, name: str) -> ToneSource | None:
        """Return the tone of that name, None if there is none."""
        name = name.strip().lower()
        name = ALIASES.get(name, name)
        return cls(name, TONES[name]) if name in TONES else None

    @classmethod
    def once(cls, description: str) -> ToneSource | None:
        """Return what can be laid over or put in place of other sound.

        Args:
            description: a tone's name; `dtmfstr/123`; `dtmf/5`; or `425`, `350+440`, with an
                optional `!` before it for once and `/500` behind it for so many milliseconds.
        """
        text = description.strip().lower()
        text = text.removeprefix("*")
        if tone := cls.named(text):
            return tone
        if text in ("callwaiting", "cw"):
            return cls("callwaiting", CALL_WAITING)
        if text.startswith("dtmfstr/") and len(text) > len("dtmfstr/"):
            keys = text.removeprefix("dtmfstr/")
            parts = (*(part for key in keys for part in _key(key)), ("", KEY_GAP))
            return cls(text, parts, 1)
        key = text.removeprefix("dtmf/")
        if key in _KEYS:
            return cls(f"dtmf/{key}", (*_key(key), ("", KEY_GAP)))
        return cls._free(text)

    @classmethod
    def _free(cls, text: str) -> ToneSource | None:
        frequencies, _, duration = text.removeprefix("!").partition("/")
        parts = frequencies.replace("*", "+").split("+")
        if not (1 <= len(parts) <= 2 and all(part.isdecimal() for part in parts)):
            return None
        if "0" in parts:
            frequencies = ""
        samples = -(-int(duration) // 20) * 160 if duration.isdecimal() else RATE
        return cls(text, ((frequencies, samples),), 1 if text.startswith("!") else 0)


class Tone(Driver):
    """The driver of tones."""

    can_stop = True

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, "tone", minimal=True)

    def install(self) -> None:
        super().install()
        self.handle("chan.attach", 100, self._attach)

    def report(self) -> Report:
        # The real one counts tones that play; they are shared there, and never told apart here.
        return Report(self.name, self.kind, "", f"tones=0,chans={len(self.channels)}")

    # As a source

    async def _attach(self, message: EngineMessage) -> bool:
        wanted = {
            name: value.removeprefix(self.prefix)
            for name in ("source", "override", "replace")
            if (value := message.params.get(name, "")).startswith(self.prefix)
            and value != self.prefix
        }
        end = message.user_data
        if not wanted or not isinstance(end, Endpoint):
            return False
        data = end.open_data()
        done = [self._put(message, data, *item) for item in wanted.items()]
        return flag(message, "single") and all(done)

    def _put(self, message: EngineMessage, data: DataEnd, name: str, tone: str) -> bool:
        consumer = data.consumer
        source = ToneSource.named(tone) if name == "source" else ToneSource.once(tone)
        if source is None or (name != "source" and consumer is None):
            return False
        if name == "source":
            data.set_source(source)
        elif consumer is not None:
            lay(consumer, source, over=name == "override")
        message.delete(name)
        return True

    # As a channel

    async def execute(self, message: EngineMessage, target: str) -> bool:
        if isinstance(message.user_data, Endpoint):
            return await self._called(message, message.user_data, target)
        return await self._call(message, target)

    async def _new(self, message: EngineMessage, target: str) -> Channel:
        leg = Channel(self)
        source = ToneSource.named(target)
        if source is not None:
            leg.open_data().set_source(source)
            leg.address = source.name.removeprefix(self.prefix)
        leg.start()
        if consumer := message.params.get("consumer"):
            await attach(leg, "consumer", consumer)
        return leg

    async def _called(self, message: EngineMessage, caller: Endpoint, target: str) -> bool:
        leg = await self._new(message, target)
        leg.keep_params(message.params, "chanparams-prefix")
        connected = caller.connect(leg, message.params.get("reason"))
        if connected:
            await leg.detect_tones(message, "tonedetect_out")
            message.set("peerid", leg.id)
        leg.release()
        return connected

    async def _call(self, message: EngineMessage, target: str) -> bool:
        call = await route_out(self, message, target)
        if call is None:
            return False
        leg = await self._new(message, target)
        return await execute_out(call, message, leg)
