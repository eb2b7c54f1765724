"""A-law and mu-law against values of the recommendation, and against each other."""

from __future__ import annotations

import struct

import pytest

from yateway.engine.g711 import Law, swapped


def linear(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


@pytest.mark.parametrize(
    ("law", "byte", "sample"),
    [
        (Law.MU, 0xFF, 0),
        (Law.MU, 0x7F, 0),
        (Law.MU, 0x80, 32124),
        (Law.MU, 0x00, -32124),
        (Law.A, 0xD5, 8),
        (Law.A, 0x55, -8),
        (Law.A, 0xAA, 32256),
        (Law.A, 0x2A, -32256),
    ],
)
def test_extremes(law: Law, byte: int, sample: int) -> None:
    """Silence and the loudest samples."""
    assert law.decode(bytes([byte])) == linear(sample)


@pytest.mark.parametrize("law", Law)
def test_each_byte_survives(law: Law) -> None:
    """Decoded and encoded again, it means the same."""
    every = bytes(range(256))
    assert law.decode(law.encode(law.decode(every))) == law.decode(every)


@pytest.mark.parametrize("law", Law)
def test_the_error_is_small(law: Law) -> None:
    """Less than the step of the segment: a sixteenth of the sample."""
    for sample in range(-32000, 32000, 97):
        (back,) = struct.unpack("<h", law.decode(law.encode(linear(sample))))
        assert abs(back - sample) <= max(16, abs(sample) // 16)


def test_an_odd_byte_is_left_out() -> None:
    """There is no half of a sample."""
    assert Law.A.encode(linear(0) + b"x") == Law.A.encode(linear(0))


def test_bytes_are_exchanged() -> None:
    """Twice is once too often."""
    assert swapped(b"abcd") == b"badc"
    assert swapped(swapped(b"abcd")) == b"abcd"
