"""Who speaks, told by hand-made sound; the levels themselves were recorded on the real engine."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

import pytest

from yateway.engine.mixing import Ear, Mixer
from yateway.engine.speaking import AGAIN, Loudness, Speakers, level


def block(value: int, samples: int = 160) -> bytes:
    """Return sound that is loud in one sample as in the other."""
    return struct.pack("<h", value) * samples


class Told:
    """Four ears of a room, and what its owner is told."""

    def __init__(self, most: int = 2, interval: int = 1000) -> None:
        mixer = Mixer()
        self.ears = [Ear(mixer) for _ in range(4)]
        self.news: list[tuple[list[int], bool]] = []
        self.levels: list[int] = []
        self.speakers = Speakers(most, interval, self._tell)
        for number, ear in enumerate(self.ears):
            self.speakers.add(ear, person=number != 3)

    def _tell(self, speaking: Sequence[tuple[Ear, int]], changed: bool) -> None:
        self.news.append(([self.ears.index(ear) for ear, _ in speaking], changed))
        self.levels = [loudness for _, loudness in speaking]

    async def say(self, seconds: float, *values: int) -> None:
        """Let the ears hear sound, by their order, for a while."""
        for _ in range(round(seconds / 0.02)):
            for ear, value in zip(self.ears, values, strict=False):
                ear.consume(block(value), 1)
            await asyncio.sleep(0.02)


async def test_speakers_are_told_when_they_change() -> None:
    """The loudest first, no more than are wanted, and never one that is no person."""
    told = Told()
    await told.say(0.5, 0, 0, 0, 9000)
    assert told.news == []
    await told.say(1.5, 2000, 0, 0, 9000)
    assert told.news == [([0], True)]
    await told.say(1.5, 2000, 8000, 1000, 9000)
    assert told.news[1:] == [([1, 0], True)]
    assert told.levels == sorted(told.levels, reverse=True)
    # In another order they are told again, but are no others.
    await told.say(1.5, 16000, 2000, 0, 9000)
    assert told.news[2:] == [([0, 1], False)]
    await told.say(5, 0, 0, 0, 9000)
    assert told.news[-1] == ([], True)


async def test_those_who_go_on_are_told_again() -> None:
    """Each few seconds, and nobody ever while nobody speaks."""
    told = Told(interval=0)
    await told.say(AGAIN * 2 + 1, 5000)
    assert told.news == [([0], True), ([0], False), ([0], False)]
    await told.say(AGAIN, 0)
    assert told.news[3:] == [([], True)]
    await told.say(AGAIN * 2, 0)
    assert len(told.news) == 4


@pytest.mark.parametrize(("interval", "least"), [(-1, 0.0), (0, 0.0), (1, 1.0), (3000, 3.0)])
async def test_news_come_no_more_often_than_wanted(interval: int, least: float) -> None:
    told = Told(interval=interval)
    await told.say(0.2, 5000)
    assert told.news == [([0], True)]
    await told.say(max(0.3, least - 0.2), 5000, 5000)
    assert (len(told.news) == 1) is (least > 0)
    await told.say(0.2, 5000, 5000)
    assert told.news[1:] == [([0, 1], True)]


async def test_who_is_muted_or_not_measured_does_not_speak() -> None:
    told = Told(interval=0)
    told.ears[1].loudness.smart = False
    await told.say(0.5, 5000, 5000)
    assert told.news == [([0], True)]
    told.ears[0].muted = True
    assert not told.ears[0].signal
    await told.say(0.5, 5000, 5000)
    assert told.news[1:] == [([], True)]


async def test_who_sends_nothing_more_still_counts() -> None:
    """As on the real engine; who leaves does not."""
    told = Told(interval=0)
    await told.say(1, 5000, 0)
    told.news.clear()
    energy = told.ears[0].loudness.energy
    await told.say(AGAIN + 1)
    assert told.news == []
    told.ears[1].consume(block(0), 1)
    assert told.news == [([0], False)]
    for _ in range(50):
        told.ears[1].consume(block(0), 1)
    assert told.ears[0].loudness.energy < energy / 1000
    told.speakers.remove(told.ears[0])
    told.speakers.remove(told.ears[3])
    told.news.clear()
    for _ in range(2):
        told.ears[1].consume(block(0), 1)
    assert told.news == [([], True)]


async def test_an_ear_is_not_deaf_while_it_is_watched() -> None:
    mixer = Mixer()
    ear = Ear(mixer)
    before = ear.deaf
    heard: list[bytes] = []
    ear.watch(heard.append)
    assert (before, ear.deaf, ear.needs) == (True, False, 1)
    ear.consume(b"ab", 1)
    assert heard == [b"ab"]


def test_loudness() -> None:
    """Fast up, slow down; the noise is the least of late, and never less than silence."""
    loudness, speaks = Loudness(smart=True), list[bool]()
    assert (level(loudness.energy), level(loudness.noise), loudness.signal) == (8, 8, True)
    for _ in range(100):
        loudness.hear(block(-3000))
    assert level(loudness.energy) == level(loudness.envelope) == level(3000 * 3000 - 1000)
    speaks.append(loudness.speaks)
    assert loudness.noise < 2000
    for _ in range(200):
        loudness.hear(block(0))
    speaks.append(loudness.speaks)
    assert speaks == [True, False]
    assert (loudness.noise, loudness.signal) == (256, False)
    loudness.hear(block(1, 1) + b"x")  # half a sample is none
    loudness.miss(10_000)
    assert level(loudness.energy) == 0
