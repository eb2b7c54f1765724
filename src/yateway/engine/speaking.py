"""Who speaks in a conference: how loud each is, and when the room's owner is told.

It must not mix or know channels. It follows the real engine (conference.cpp), whose mixer works as
soon as one ear has enough waiting, and looks then at who speaks: nobody is told anything while
nobody sends sound, and who falls silent by sending none still counts as speaking. The owner is told
when the speakers change, but not more often than each `interval`, and each 5 s while they do not.
"""

from __future__ import annotations

import array
import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from .media import BLOCK_BYTES

if TYPE_CHECKING:
    from .mixing import Ear

__all__ = ["INTERVAL", "MOST", "USUAL", "Loudness", "Speakers", "level"]

#: How many speakers are told at the most, and where no number is given.
MOST: Final = 8
USUAL: Final = 3
#: Milliseconds between two notifications, and the least of them where there is a limit at all.
INTERVAL: Final = 3000
LEAST_INTERVAL: Final = 1000
#: Seconds until the same speakers are told again.
AGAIN: Final = 5.0

# Bytes of sound that make an ear ask for mixing, and that may wait.
_ENOUGH: Final = 480
_ROOM: Final = 960
# Squares of samples: what counts as silence, and how far above the noise speech is that begins,
# and that goes on.
_SILENCE: Final = 256
_BEGINS: Final = 32768
_GOES_ON: Final = 16384
_SQUARE_MOST: Final = 32767 * 32767
# How much a new sample counts, in thousandths.
_SHARE: Final = 5


class Loudness:
    """How loud somebody is, as squares of samples.

    Args:
        smart: it is measured.

    Attributes:
        smart: as above.
        energy, noise, envelope: of late, at the quietest, and smoothed.
        speaks: it is speech, or noise that has just begun.
    """

    def __init__(self, *, smart: bool) -> None:
        self.smart = smart
        self.energy = self.noise = self.envelope = _SILENCE
        self.speaks = False

    def hear(self, data: bytes) -> None:
        """Measure a piece of sound."""
        samples = array.array("h")
        samples.frombytes(data[: len(data) & ~1])
        if sys.byteorder == "big":
            samples.byteswap()
        energy, least = self.energy, _SQUARE_MOST
        for sample in samples:
            energy = (energy * (1000 - _SHARE) + sample * sample * _SHARE) // 1000
            least = min(least, energy)
        self.energy = energy
        # A little above the least; it rises slowly where that is too low.
        least += least >> 5
        self.noise = least if self.noise > least else self.noise + 1 + (self.noise >> 7)
        self.noise = max(self.noise, _SILENCE)
        if energy > self.envelope:
            self.envelope = (self.envelope * 7 + energy) >> 3
        else:
            self.envelope = (self.envelope * 15 + energy) >> 4
        margin = _GOES_ON if self.speaks else _BEGINS
        self.speaks = self.envelope >> 1 > self.noise + margin

    def miss(self, samples: int) -> None:
        """Grow quiet, for sound that should have come and did not."""
        for _ in range(samples):
            self.energy = self.energy * (1000 - _SHARE) // 1000

    @property
    def signal(self) -> bool:
        """Whether there is more than noise."""
        return self.energy >= self.noise


class Speakers:
    """Those who speak in a room.

    Args:
        most: how many of them are told.
        interval: milliseconds between two notifications; 0 and less for no limit.
        tell: takes who speaks with how loud they are, the loudest first, and whether they are
            others than those told before.
    """

    def __init__(
        self, most: int, interval: int, tell: Callable[[Sequence[tuple[Ear, int]], bool], None]
    ) -> None:
        self._most = most
        self._interval = max(interval, LEAST_INTERVAL) / 1000 if interval > 0 else 0.0
        self._tell = tell
        #: Bytes that wait to be mixed, and whose speech counts.
        self._waiting: dict[Ear, int] = {}
        self._persons: set[Ear] = set()
        self._told: list[Ear] = []
        self._not_before = self._again = 0.0

    def add(self, ear: Ear, *, person: bool) -> None:
        """Look at what comes to an ear, and tell of it if it is a person's."""
        self._waiting[ear] = 0
        if person:
            self._persons.add(ear)
        ear.watch(partial(self._heard, ear))

    def remove(self, ear: Ear) -> None:
        """Look at it no more."""
        self._waiting.pop(ear, None)
        self._persons.discard(ear)

    def _heard(self, ear: Ear, data: bytes) -> None:
        if ear.loudness.smart:
            ear.loudness.hear(data)
        self._waiting[ear] = min(self._waiting[ear] + len(data), _ROOM)
        if self._waiting[ear] >= _ENOUGH:
            self._mix()

    def _mix(self) -> None:
        """Take from all as much as each of them has, and from those who have too much some more."""
        least, most = min(self._waiting.values()), max(self._waiting.values())
        blocks = max(least // BLOCK_BYTES, -(-(most + _ENOUGH - _ROOM) // BLOCK_BYTES))
        if blocks <= 0:
            return
        speaking = self._loudest()
        taken = blocks * BLOCK_BYTES
        for ear, waiting in self._waiting.items():
            self._waiting[ear] = max(0, waiting - taken)
            if waiting < taken and ear.loudness.smart:
                ear.loudness.miss((taken - waiting) // 2)
        self._notify(speaking)

    def _loudest(self) -> list[tuple[Ear, int]]:
        speaking = [
            (ear, level(ear.loudness.envelope))
            for ear in self._waiting
            if ear in self._persons and ear.speaks
        ]
        speaking.sort(key=lambda one: -one[1])
        return speaking[: self._most]

    def _notify(self, speaking: Sequence[tuple[Ear, int]]) -> None:
        now = asyncio.get_running_loop().time()
        ears = [ear for ear, _ in speaking]
        if now < self._not_before or (ears == self._told and not (ears and now >= self._again)):
            return
        changed = set(ears) != set(self._told)
        self._told = ears
        self._again = now + AGAIN
        self._not_before = now + self._interval
        self._tell(speaking, changed)


def level(square: int) -> int:
    """Return how loud a square is, about as a logarithm."""
    return max(0, square.bit_length() - 1)
