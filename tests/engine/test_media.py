"""Sources, consumers, and the ends that join them, on the virtual clock."""

from __future__ import annotations

import asyncio

from yateway.engine.media import BLOCK, BLOCK_BYTES, Consumer, DataEnd, Source


class Numbered(Source):
    """Each block consists of its own number."""

    def __init__(self, length: int | None = None) -> None:
        super().__init__("numbers", length)
        self.end: list[tuple[str, float]] = []
        self.made = 0

    def blocks(self, first: int, last: int) -> bytes:
        self.made += last - first
        return b"".join(bytes([number % 256]) * BLOCK_BYTES for number in range(first, last))

    def ended(self) -> None:
        self.end.append(("ended", round(asyncio.get_running_loop().time(), 3)))

    def replaced(self) -> None:
        self.end.append(("replaced", round(asyncio.get_running_loop().time(), 3)))


class Noting(Consumer):
    """Remembers the numbers, and when they came."""

    def __init__(self, needs: int | None = None, *, deaf: bool = False) -> None:
        super().__init__()
        self.needs = needs
        self.deaf = deaf
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.counted = 0
        self.was_dropped = False

    def consume(self, data: bytes, blocks: int) -> None:
        self.numbers += data[::BLOCK_BYTES]
        self.counted += blocks
        self.times.append(round(asyncio.get_running_loop().time(), 3))

    def dropped(self) -> None:
        self.was_dropped = True


def joined(source: Source, consumer: Consumer) -> tuple[DataEnd, DataEnd]:
    one, other = DataEnd(), DataEnd()
    one.set_source(source)
    other.set_consumer(consumer)
    one.connect(other)
    return one, other


async def test_a_source_ends_with_its_last_block() -> None:
    """The first block goes out at once, so ten blocks end after nine times 20 ms."""
    source, consumer = Numbered(10), Noting()
    joined(source, consumer)
    await asyncio.sleep(1)
    assert source.end == [("ended", 0.18)]
    assert consumer.numbers == list(range(10))


async def test_a_source_without_data_ends_at_once() -> None:
    """Its end is told, though nothing was heard."""
    source, consumer = Numbered(0), Noting()
    joined(source, consumer)
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    assert source.end == [("ended", 0.0)]
    assert consumer.numbers == []


async def test_a_source_waits_for_its_first_consumer() -> None:
    """And then goes on even if nobody listens any more."""
    source, consumer = Numbered(10), Noting()
    end = DataEnd()
    end.set_source(source)
    await asyncio.sleep(5)
    assert source.end == []
    end.set_call_record(consumer)
    await asyncio.sleep(0.05)
    end.set_call_record(None)
    assert consumer.numbers == [0, 1, 2]
    assert consumer.was_dropped
    await asyncio.sleep(1)
    assert source.end == [("ended", 5.18)]


async def test_a_consumer_is_served_when_it_needs() -> None:
    """One who needs every block gets each in its time; others all at once."""
    source, live, lazy = Numbered(6), Noting(1), Noting()
    one, _ = joined(source, live)
    one.set_call_record(lazy)
    await asyncio.sleep(1)
    assert live.times == [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    assert live.numbers == lazy.numbers == list(range(6))


async def test_what_is_late_is_handed_over_at_once() -> None:
    """Two blocks for one who wants to be served by two."""
    consumer = Noting(2)
    joined(Numbered(), consumer)
    await asyncio.sleep(0.07)
    assert consumer.times == [0.02, 0.06]
    assert consumer.numbers == [0, 1, 2, 3]


async def test_nothing_is_made_for_the_deaf() -> None:
    """They learn how much it was."""
    source, consumer = Numbered(50), Noting(deaf=True)
    joined(source, consumer)
    await asyncio.sleep(2)
    assert (source.made, consumer.counted, consumer.numbers) == (0, 50, [])


async def test_a_source_that_nobody_has_is_replaced_at_its_next_block() -> None:
    """What was due until then is heard, and no more."""
    source, consumer = Numbered(), Noting()
    one, _ = joined(source, consumer)
    await asyncio.sleep(0.05)
    one.set_source(None)
    assert consumer.numbers == [0, 1, 2]
    await asyncio.sleep(1)
    assert source.end == [("replaced", 0.06)]


async def test_a_source_that_never_began_is_replaced_soon() -> None:
    """One that waits for a consumer looks every 5 ms."""
    source, end = Numbered(), DataEnd()
    end.set_source(source)
    end.set_source(None)
    await asyncio.sleep(1)
    assert source.end == [("replaced", 0.005)]


async def test_an_override_covers_until_it_ends() -> None:
    """What is covered goes on unheard."""
    below, above, consumer = Numbered(), Numbered(5), Noting()
    joined(below, consumer)
    await asyncio.sleep(2 * BLOCK)
    consumer.cover(above)
    assert consumer.heard is above
    await asyncio.sleep(0.2)
    assert consumer.heard is below
    assert above.end == [("ended", 0.12)]
    consumer.listen(None)
    assert consumer.numbers == [0, 1, 2, *range(5), *range(7, 13)]


async def test_a_replacement_lasts_until_the_next_source() -> None:
    """And is let go then."""
    first, second, third, consumer = Numbered(), Numbered(), Numbered(), Noting()
    one, _ = joined(first, consumer)
    consumer.replace(second)
    assert consumer.heard is second
    one.set_source(third)
    assert consumer.heard is third
    await asyncio.sleep(1)
    assert [end for end, _ in second.end] == ["replaced"]


async def test_ends_leave_those_they_were_joined_to() -> None:
    """Nobody hears two."""
    source, consumer, other = Numbered(), Noting(), DataEnd()
    one, two = joined(source, consumer)
    other.connect(two)
    assert (one.peer, consumer.heard) == (None, None)
    one.connect(two)
    assert (other.peer, consumer.heard) == (None, source)


async def test_an_end_that_closes_lets_go_of_all() -> None:
    """Its records too."""
    source, consumer, record, peer_record = Numbered(), Noting(), Noting(), Noting()
    one, two = joined(source, consumer)
    one.set_call_record(record)
    two.set_peer_record(peer_record)
    one.close()
    two.close()
    assert [c.was_dropped for c in (consumer, record, peer_record)] == [True] * 3
    assert (one.source, two.consumer) == (None, None)
    await asyncio.sleep(1)
    assert source.end == [("replaced", 0.02)]


async def test_an_end_lets_go_of_what_it_has_only() -> None:
    """What was replaced before is not cleared again."""
    first, second, end = Numbered(), Numbered(), DataEnd()
    end.set_source(first)
    end.set_source(second)
    end.clear(first)
    kept = end.source
    end.clear(second)
    assert (kept, end.source) == (second, None)
    for setter in (end.set_consumer, end.set_call_record, end.set_peer_record):
        consumer = Noting()
        setter(consumer)
        end.clear(consumer)
        assert consumer.was_dropped
