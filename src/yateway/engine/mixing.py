"""Mixes the sound of several who talk: each hears all the others.

It must not know rooms or channels. While nobody looks at the mixed sound, nothing is mixed.
"""

from __future__ import annotations

import array
import asyncio
import sys
from collections.abc import Callable
from typing import Final

from .media import BLOCK, BLOCK_BYTES, Consumer, Source
from .speaking import Loudness

__all__ = ["Ear", "Mixer", "Mouth"]

#: The loudest sample; the least is as far from zero.
LOUDEST: Final = 32767
#: Bytes that may wait to be mixed; what comes beyond is lost.
BUFFER: Final = 3 * BLOCK_BYTES


class Ear(Consumer):
    """What somebody says to the others.

    Args:
        mixer: takes it.
        smart: how loud it is may be measured.

    Attributes:
        muted: nothing that is said counts.
        loudness: how loud it is, as far as somebody watches it.
    """

    def __init__(self, mixer: Mixer, *, smart: bool = True) -> None:
        super().__init__()
        self.muted = False
        self.loudness = Loudness(smart=smart)
        self.buffer = b""
        self._watch: Callable[[bytes], None] | None = None
        self._mixer = mixer
        self.follow()

    @property
    def speaks(self) -> bool:
        """Whether this is somebody who speaks and is heard."""
        return self.loudness.smart and self.loudness.speaks and not self.muted

    @property
    def signal(self) -> bool:
        """Whether there is more than noise to be heard."""
        return self.loudness.signal and not self.muted

    def watch(self, watch: Callable[[bytes], None]) -> None:
        """Let somebody look at all that is said, also while it is not mixed."""
        self._watch = watch
        self.follow()

    def follow(self) -> None:
        """Listen only while somebody looks at the mixed sound, or at this."""
        self.deaf = not (self._mixer.listened or self._watch)
        self.needs = None if self.deaf else 1
        self.buffer = b""
        if self.heard is not None:
            self.heard.rearm()

    def consume(self, data: bytes, blocks: int) -> None:
        if self.muted:
            return
        self.buffer = (self.buffer + data)[-BUFFER:]
        if self._watch is not None:
            self._watch(data)

    def take(self) -> array.array[int]:
        """Return what was said in one block, and silence where there was less."""
        data, self.buffer = self.buffer[:BLOCK_BYTES], self.buffer[BLOCK_BYTES:]
        samples = array.array("h")
        samples.frombytes(data.ljust(BLOCK_BYTES, b"\0"))
        if sys.byteorder == "big":
            samples.byteswap()
        return samples


class Mouth(Source):
    """What the others say.

    Args:
        name: of the source.
        mixer: makes it.
        own: what is left out, for it is this one who says it; None to hear everybody.
    """

    def __init__(self, name: str, mixer: Mixer, own: Ear | None) -> None:
        super().__init__(name)
        self.own = own
        self._mixer = mixer
        self._listeners: list[Consumer] = []

    @property
    def listened(self) -> bool:
        """Whether somebody looks at the sound."""
        return any(not consumer.deaf for consumer in self._listeners)

    def attach(self, consumer: Consumer) -> None:
        self._listeners.append(consumer)
        self._mixer.follow()

    def detach(self, consumer: Consumer) -> None:
        if consumer in self._listeners:
            self._listeners.remove(consumer)
            self._mixer.follow()

    def rearm(self) -> None:
        self._mixer.follow()

    def say(self, data: bytes) -> None:
        """Hand over one block."""
        for consumer in tuple(self._listeners):
            if consumer.hears(self):
                consumer.consume(data, 1)


class Mixer:
    """Mixes, block by block.

    Attributes:
        ears: what is said.
        mouths: what is heard.
        listened: somebody looks at the mixed sound.
    """

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.mouths: list[Mouth] = []
        self.listened = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        """Begin or stop to mix, as somebody looks at the sound or nobody does."""
        listened = any(mouth.listened for mouth in self.mouths)
        if listened == self.listened:
            return
        self.listened = listened
        for ear in self.ears:
            ear.follow()
        if listened:
            # Those who talk have half a block to hand over theirs first.
            self._timer = self._loop.call_later(BLOCK / 2, self._mix, self._loop.time() + BLOCK / 2)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, ear: Ear | None, mouth: Mouth) -> None:
        """Let somebody talk and listen."""
        if ear is not None:
            self.ears.append(ear)
        self.mouths.append(mouth)

    def remove(self, ear: Ear | None, mouth: Mouth) -> None:
        """Somebody leaves."""
        if ear is not None:
            self.ears.remove(ear)
        self.mouths.remove(mouth)
        self.follow()

    def _mix(self, when: float) -> None:
        said = {id(ear): ear.take() for ear in self.ears}
        total = [sum(samples) for samples in zip(*said.values(), strict=True)]
        total = total or [0] * (BLOCK_BYTES // 2)
        for mouth in tuple(self.mouths):
            if mouth.listened:
                own = said.get(id(mouth.own))
                others = total
                if own is not None:
                    others = [all_ - one for all_, one in zip(total, own, strict=True)]
                mouth.say(_block(others))
        if self.listened:
            self._timer = self._loop.call_at(when + BLOCK, self._mix, when + BLOCK)


def _block(samples: list[int]) -> bytes:
    block = array.array("h", [max(-LOUDEST, min(LOUDEST, sample)) for sample in samples])
    if sys.byteorder == "big":
        block.byteswap()
    return block.tobytes()
