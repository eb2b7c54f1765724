"""How sound goes from sources to consumers, in blocks of 20 ms, by the clock of the event loop.

It must not know channels or messages. Sound is linear, 16 bits little-endian at 8 kHz, as inside
the real engine; a source in another format hands it over so. No block is moved before somebody
needs it: a source keeps count of the blocks that are due and hands over many at once, when one of
its consumers wants to be served, when its data end, and before anybody joins or leaves. So ten
seconds of a prompt cost one timer, and still each byte is there at the moment it is looked at.
"""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["BLOCK", "BLOCK_BYTES", "Consumer", "DataEnd", "Source"]

#: Seconds of a block, and its bytes: 160 samples.
BLOCK: Final = 0.020
BLOCK_BYTES: Final = 320


class Source:
    """Where sound comes from.

    Args:
        length: blocks until the end of the data; None for a source without an end.

    Attributes:
        name: what it is, for people.
        length: as above; fixed once it has started.
        format: of its sound where that is not linear; only consumers of the same format hear it.
    """

    format = ""

    def __init__(self, name: str, length: int | None = None) -> None:
        self.name = name
        self.length = length
        self._loop = asyncio.get_running_loop()
        self._consumers: list[Consumer] = []
        self._holders = 0
        self._began: float | None = None
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!a} of {self._sent} blocks so far>"

    # For subclasses

    def blocks(self, first: int, last: int) -> bytes:
        """Return the sound of the blocks from `first` up to but not including `last`."""
        raise NotImplementedError

    def ended(self) -> None:
        """Take note that all data were handed over."""

    def replaced(self) -> None:
        """Take note that nobody wants the sound any more, before its end."""

    # Who has it

    def hold(self) -> None:
        """One more end or consumer has this source."""
        self._holders += 1

    def release(self) -> None:
        """One less has it; without any it stops, at its next block as the real one's thread."""
        self._holders -= 1
        if self._holders == 0 and not self._over:
            self._over = True
            self._cancel()
            # A thread that plays looks after its block, one that waits for a consumer each 5 ms.
            delay = 0.005
            if self._began is not None:
                delay = max(0.0, self._began + self._due() * BLOCK - self._loop.time())
            self._timer = self._loop.call_later(delay, self.replaced)

    def attach(self, consumer: Consumer) -> None:
        """Hand the sound to this consumer too, from now on; the first one starts the source."""
        now = self._loop.time()
        if self._began is None and not self._over:
            self._began = now
        if now != self._began:
            self._sync()  # else all who come in this moment hear the first block
        self._consumers.append(consumer)
        self._arm()

    def detach(self, consumer: Consumer) -> None:
        """Hand over what is due, and then no more."""
        if consumer in self._consumers:
            self._sync()
        if consumer in self._consumers:  # it may have left when it was served
            self._consumers.remove(consumer)
            self._arm()

    def rearm(self) -> None:
        """A consumer has changed its mind about when to be served."""
        self._sync()
        self._arm()

    # The clock

    def _due(self) -> int:
        """Return how many blocks should have been handed over by now."""
        if self._began is None:
            return 0
        # The first block goes out at once; floats must not make a block late by a nanosecond.
        due = int((self._loop.time() - self._began) / BLOCK + 1e-6) + 1
        return due if self.length is None else min(due, self.length)

    def _sync(self) -> None:
        first, last = self._sent, self._due()
        if self._over or last <= first:
            return
        self._sent = last
        listeners = [c for c in self._consumers if c.hears(self)]
        data = b"" if all(c.deaf for c in listeners) else self.blocks(first, last)
        for consumer in listeners:
            consumer.consume(data, last - first)

    def _arm(self) -> None:
        self._cancel()
        if self._over or self._began is None:
            return
        needs = [c.needs for c in self._consumers if c.needs is not None]
        target = self._sent + max(1, min(needs)) if needs else None
        if self.length is not None:
            target = self.length if target is None else min(target, self.length)
        if target is not None:
            when = self._began + max(0, target - 1) * BLOCK
            self._timer = self._loop.call_at(when, self._tick)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        self._sync()
        if not self._over and self.length is not None and self._sent >= self.length:
            self._over = True
            self._cancel()
            for consumer in tuple(self._consumers):
                consumer.source_ended(self)
            self.ended()
        elif not self._over:
            self._arm()


class Consumer:
    """Where sound goes.

    Attributes:
        deaf: it counts blocks and does not look at them, so that none have to be made.
        needs: after how many blocks it wants to be served; None for whenever it suits.
        format: of what it takes, where that is not linear.
    """

    deaf = False
    format = ""
    needs: int | None = None

    def __init__(self) -> None:
        self._source: Source | None = None
        self._override: Source | None = None
        self._borrowed: Source | None = None

    # For subclasses

    def consume(self, data: bytes, blocks: int) -> None:
        """Take sound; `data` may be a little short at the end of a source, or empty if deaf."""

    def dropped(self) -> None:
        """Take note that no end has this consumer any more."""

    # What it hears

    @property
    def heard(self) -> Source | None:
        """The source whose sound arrives: the one laid over, or else the ordinary one."""
        return self._override or self._source

    def source_ended(self, source: Source) -> None:
        """A source has ended: what was laid over the ordinary one is taken away."""
        if source is self._override:
            self.cover(None)

    def hears(self, source: Source) -> bool:
        """Tell whether sound of this source arrives, or is covered by one laid over it."""
        return self.heard is source

    def listen(self, source: Source | None) -> None:
        """Hear another source, or none; what was heard before is let go."""
        before = self._source
        if before is source:
            return
        if before is not None:
            before.detach(self)
            if before is self._borrowed:
                self._borrowed = None
                before.release()
        self._source = source
        if source is not None and source is not self._override and source.format == self.format:
            source.attach(self)

    def cover(self, source: Source | None) -> None:
        """Lay a source over the ordinary one (`override`), or take it away again."""
        before = self._override
        if before is source:
            return
        if self._source is not None:
            self._source.rearm()  # what was due until now was heard, or covered
        if before is not None:
            before.detach(self)
            self._override = None
            before.release()
        if source is not None:
            source.hold()
            self._override = source
            if source.format == self.format:
                source.attach(self)

    def replace(self, source: Source) -> None:
        """Hear this source in place of the ordinary one, which is not told (`replace`)."""
        self.listen(source)
        source.hold()
        self._borrowed = source

    def silence(self) -> None:
        """Let go of everything."""
        self.listen(None)
        self.cover(None)


class DataEnd:
    """One call's end for sound: what it says, and where it puts what the other end says.

    Attributes:
        source: what this end says.
        consumer: takes what the peer says.
        peer: the other end.
        call_record: takes what this end says (`chan.record call=`).
        peer_record: takes what the peer says (`chan.record peer=`).
    """

    def __init__(self) -> None:
        self.source: Source | None = None
        self.consumer: Consumer | None = None
        self.peer: DataEnd | None = None
        self.call_record: Consumer | None = None
        self.peer_record: Consumer | None = None

    def connect(self, peer: DataEnd) -> None:
        """Join two ends; each leaves the one it was joined to before."""
        if peer is self.peer:
            return
        self.disconnect()
        peer.disconnect()
        self.peer, peer.peer = peer, self
        for one, other in ((self, peer), (peer, self)):
            for consumer in (other.consumer, other.peer_record):
                if consumer is not None and one.source is not None:
                    consumer.listen(one.source)

    def disconnect(self) -> None:
        """Leave the peer: nobody hears the other any more."""
        peer = self.peer
        if peer is None:
            return
        self.peer = peer.peer = None
        for one, other in ((self, peer), (peer, self)):
            for consumer in (other.consumer, other.peer_record):
                if consumer is not None and one.source is not None:
                    consumer.listen(None)

    def set_source(self, source: Source | None) -> None:
        """Say something else from now on, or nothing."""
        before = self.source
        if source is before:
            return
        if source is not None:
            source.hold()
        self.source = source
        hearers = [self.call_record]
        if self.peer is not None:
            hearers += [self.peer.consumer, self.peer.peer_record]
        for consumer in hearers:
            if consumer is not None:
                consumer.listen(source)
        if before is not None:
            before.release()

    def set_consumer(self, consumer: Consumer | None) -> None:
        """Put what the peer says somewhere else, or nowhere."""
        before, self.consumer = self.consumer, consumer
        if consumer is not None and self.peer is not None and self.peer.source is not None:
            consumer.listen(self.peer.source)
        _drop(before)

    def set_call_record(self, consumer: Consumer | None) -> None:
        """Record what this end says."""
        before, self.call_record = self.call_record, consumer
        if consumer is not None:
            consumer.listen(self.source)
        _drop(before)

    def set_peer_record(self, consumer: Consumer | None) -> None:
        """Record what the peer says."""
        before, self.peer_record = self.peer_record, consumer
        if consumer is not None and self.peer is not None:
            consumer.listen(self.peer.source)
        _drop(before)

    def clear(self, node: Source | Consumer) -> None:
        """Let go of a source or consumer, if it is still here."""
        if node is self.source:
            self.set_source(None)
        elif node is self.consumer:
            self.set_consumer(None)
        elif node is self.call_record:
            self.set_call_record(None)
        elif node is self.peer_record:
            self.set_peer_record(None)

    def close(self) -> None:
        """Leave the peer and let go of everything."""
        self.disconnect()
        self.set_source(None)
        self.set_consumer(None)
        self.set_call_record(None)
        self.set_peer_record(None)


def _drop(consumer: Consumer | None) -> None:
    if consumer is not None:
        consumer.silence()
        consumer.dropped()
