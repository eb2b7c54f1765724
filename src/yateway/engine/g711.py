"""G.711: sound of 8 bits a sample, A-law and mu-law, to and from linear 16 bits little-endian.

It must not know files or channels. The rules are those of ITU-T G.711.
"""

from __future__ import annotations

import array
import enum
import sys
from functools import lru_cache

__all__ = ["Law", "swapped"]


class Law(enum.Enum):
    """How 16 bits become 8."""

    A = "alaw"
    MU = "mulaw"

    def decode(self, data: bytes) -> bytes:
        """Return linear sound."""
        table = _decoding(self)
        return _to_bytes(array.array("h", [table[byte] for byte in data]))

    def encode(self, data: bytes) -> bytes:
        """Return linear sound in this law; an odd byte at the end is left out."""
        samples = array.array("h")
        samples.frombytes(data[: len(data) & ~1])
        if sys.byteorder == "big":
            samples.byteswap()
        table = _encoding(self)
        return bytes(table[(sample + 32768) >> 2] for sample in samples)


def swapped(data: bytes) -> bytes:
    """Return sound with the two bytes of each sample exchanged."""
    samples = array.array("h")
    samples.frombytes(data[: len(data) & ~1])
    samples.byteswap()
    return samples.tobytes()


def _to_bytes(samples: array.array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


@lru_cache
def _decoding(law: Law) -> tuple[int, ...]:
    """Return the linear value of each byte."""
    return tuple((_mu_value if law is Law.MU else _a_value)(byte) for byte in range(256))


def _mu_value(byte: int) -> int:
    byte ^= 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def _a_value(byte: int) -> int:
    byte ^= 0x55
    segment, magnitude = (byte & 0x70) >> 4, ((byte & 0x0F) << 4) + 8
    if segment:
        magnitude = magnitude + 0x100 << segment - 1
    return magnitude if byte & 0x80 else -magnitude


@lru_cache
def _encoding(law: Law) -> bytes:
    """Return the nearest byte for each value, in steps of four from the least on."""
    values = sorted((value, byte) for byte, value in enumerate(_decoding(law)))
    nearest = bytearray()
    place = 0
    for value in range(-32768, 32768, 4):
        while place + 1 < len(values) and abs(values[place + 1][0] - value) <= abs(
            values[place][0] - value
        ):
            place += 1
        nearest.append(values[place][1])
    return bytes(nearest)
