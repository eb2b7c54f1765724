"""The ends of calls: who lives, and who is connected to whom."""

from __future__ import annotations

from yateway.engine.endpoints import Endpoint, Exchange
from yateway.engine.run import Run


class End(Endpoint):
    """Notes what happens to it."""

    def __init__(self, exchange: Exchange, id: str) -> None:
        super().__init__(exchange, id)
        self.seen: list[str] = []

    def connected(self, reason: str | None) -> None:
        self.seen.append(f"connected {self.peer.id if self.peer else ''} {reason}")

    def disconnected(self, final: bool, reason: str | None) -> None:
        self.seen.append(f"disconnected {final} {reason}")

    def destroyed(self) -> None:
        super().destroyed()
        self.seen.append("destroyed")


async def test_an_end_lives_as_long_as_somebody_holds_it() -> None:
    """Its peer is enough."""
    run = Run(None, 1, None)
    one, other = End(run.exchange, "one"), End(run.exchange, "other")
    assert one.connect(other, "why")
    other.release()
    assert other.alive
    one.disconnect("bye")
    assert other.seen == ["connected one why", "disconnected False bye", "destroyed"]
    assert one.seen == ["connected other why"]
    assert one.alive
    assert not one.connect(other)
    one.release()
    assert one.seen[-1] == "destroyed"
    assert not one.connect(End(run.exchange, "third"))
    run.kill()


async def test_whoever_connects_leaves_his_peer() -> None:
    """And the new peer his; those who are left hear why, unless they are not to be told."""
    run = Run(None, 1, None)
    ends = [End(run.exchange, name) for name in ("a", "b", "c", "d")]
    a, b, c, d = ends
    a.connect(b)
    c.connect(d)
    assert a.connect(c, "swap")
    assert b.seen[-1] == d.seen[-1] == "disconnected False swap"
    assert (a.peer, c.peer, b.peer, d.peer) == (c, a, None, None)
    assert a.connect(c)
    assert not a.connect(a)
    count = len(c.seen)
    assert a.connect(b, notify=False)
    assert len(c.seen) == count
    run.kill()


async def test_an_end_that_dies_leaves_its_peer() -> None:
    """The peer is told, and the dead one knows that it is the last it hears."""
    run = Run(None, 1, None)
    one, other = End(run.exchange, "one"), End(run.exchange, "other")
    one.connect(other)
    one.release()
    assert one.alive  # its peer holds it
    other.disconnect()
    assert one.seen[-2:] == ["disconnected False None", "destroyed"]
    assert other.alive
    run.kill()
