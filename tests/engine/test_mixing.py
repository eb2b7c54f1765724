"""The mixer by itself: it works only while somebody looks at what it mixes."""

from __future__ import annotations

import asyncio

from yateway.engine.media import BLOCK_BYTES, Consumer
from yateway.engine.mixing import Ear, Mixer, Mouth


class Noting(Consumer):
    def __init__(self, *, deaf: bool = False) -> None:
        super().__init__()
        self.deaf = deaf
        self.heard_blocks: list[bytes] = []

    def consume(self, data: bytes, blocks: int) -> None:
        self.heard_blocks.append(data)


async def test_it_stops_when_nobody_looks() -> None:
    """And begins again; the deaf do not count."""
    mixer = Mixer()
    ear = Ear(mixer)
    mouth = Mouth("m", mixer, None)
    mixer.add(ear, mouth)
    deaf, hearer = Noting(deaf=True), Noting()
    deaf.listen(mouth)
    assert (mixer.listened, ear.deaf, ear.needs) == (False, True, None)
    hearer.listen(mouth)
    assert (mixer.listened, ear.deaf, ear.needs) == (True, False, 1)
    await asyncio.sleep(0.1)
    assert hearer.heard_blocks == [bytes(BLOCK_BYTES)] * 5
    hearer.listen(None)
    await asyncio.sleep(1)
    assert len(hearer.heard_blocks) == 5
    hearer.listen(mouth)
    mixer.remove(ear, mouth)
    await asyncio.sleep(1)
    assert (mixer.listened, len(hearer.heard_blocks)) == (False, 5)


async def test_what_waits_is_bounded() -> None:
    """Who talks faster than time loses the oldest."""
    ear = Ear(Mixer())
    for number in range(10):
        ear.consume(bytes([number]) * BLOCK_BYTES, 1)
    assert ear.buffer[::BLOCK_BYTES] == bytes([7, 8, 9])
    ear.muted = True
    ear.consume(b"x" * BLOCK_BYTES, 1)
    assert b"x" not in ear.buffer
