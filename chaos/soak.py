"""`make soak`: a module under load for long, and what it costs: memory, descriptors, tasks, time.

    make soak MESSAGES=10000000

It fails on slope: when memory grows by more than 1 MiB in a million messages after warming up
(guarantee D3), when descriptors or tasks do, or a request has no answer. Times it prints only: they
say as much about the machine. The load is this process, a peer without limits that plays the
engine; the module is a child of it.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.load import params_of, reply_to
from tests.elsewhere import engine_elsewhere
from yateway.wire.frames import Answer
from yateway.wire.params import decode_params
from yateway.wire.reading import from_module

from .children import resident

__all__ = ["Load", "Sample", "slope", "soak"]

OUTSTANDING = 256
INTERVALS = 20
#: Of the intervals, what is taken for warming up.
WARMING_UP = 0.5
#: Messages a second when times are measured (guarantee D7), and how many.
PACE, PACED = 2000, 2000
#: Growth allowed, in bytes for each message: 1 MiB in a million (guarantee D3).
GROWTH = 2**20 / 1_000_000
#: Bytes that come and go; a run too short to grow by more tells nothing.
NOISE = 256 * 1024
#: What tracing costs: with it, a tenth of the messages have to do.
TRACED = 10
#: MiB by which a module may grow that is stuck; the 64 requests that it holds fit many times.
STUCK_GROWTH = 8.0

#: Of a hundred requests: most are routed at once, some by a coroutine, some fail, some are told of.
MIX = ("route",) * 80 + ("later",) * 10 + ("fails",) * 5 + ("told",) * 5


@dataclass(frozen=True, slots=True)
class Sample:
    """What one interval showed.

    Attributes:
        messages: so far.
        rate: messages a second in this interval.
        memory: resident bytes, or traced ones.
        p50, p99: milliseconds at 2,000 messages a second.
        pause: the longest garbage collection so far, in milliseconds.
    """

    messages: int
    rate: float
    memory: int
    descriptors: int
    tasks: int
    p50: float
    p99: float
    shed: int
    expired: int
    pause: float


class Load:
    """The engine's side of a connection to the module, by hand and with blocking sockets.

    Args:
        peer: the connection, which the module has opened.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._rest = b""
        self._sent = 0
        text = params_of(8)
        chance = random.Random(1)
        self._kinds = chance.choices(MIX, k=10_000)
        self._text = text.encode()

    def set_up(self, installs: int) -> None:
        """Reply to the module's set-up, until so many installs and watches came."""
        while installs:
            for line in self._lines():
                installs -= line.startswith((b"%%>install", b"%%>watch"))
                self._peer.sendall(reply_to(line))

    def _lines(self) -> list[bytes]:
        data = self._peer.recv(1 << 18)
        if not data:
            raise SystemExit("the module went away")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def _next(self) -> bytes:
        """Return the next request; what is told of before it needs no answer."""
        told = b""
        while (kind := self._kinds[self._sent % len(self._kinds)]) == "told":
            self._sent += 1
            told += b"%%<message::true:soak.told:" + self._text + b"\n"
        self._sent += 1
        id_ = str(self._sent).encode()
        return told + b"%%>message:" + id_ + b":1:soak." + kind.encode() + b":" + self._text + b"\n"

    def pump(self, count: int) -> float:
        """Send at least so many messages as fast as they are answered; return the seconds."""
        begun, end = time.perf_counter(), self._sent + count
        waiting = OUTSTANDING
        self._peer.sendall(b"".join(self._next() for _ in range(waiting)))
        while waiting:
            answered = sum(line.startswith(b"%%<message:") for line in self._lines())
            waiting -= answered
            if self._sent < end:
                self._peer.sendall(b"".join(self._next() for _ in range(answered)))
                waiting += answered
        return time.perf_counter() - begun

    def paced(self, count: int) -> list[float]:
        """Send so many at a steady pace; return how long they took, in milliseconds, sorted."""
        sent: dict[bytes, float] = {}
        taken: list[float] = []
        begun, number = time.perf_counter(), 0
        self._peer.settimeout(1 / PACE / 2)
        while len(taken) < count:
            while number < count and time.perf_counter() >= begun + number / PACE:
                request = self._next()
                sent[str(self._sent).encode()] = time.perf_counter()
                self._peer.sendall(request)
                number += 1
            try:
                lines = self._lines()
            except TimeoutError:
                continue
            now = time.perf_counter()
            taken += [
                (now - sent.pop(line.split(b":", 2)[1])) * 1000
                for line in lines
                if line.startswith(b"%%<message:")
            ]
        self._peer.settimeout(None)
        return sorted(taken)

    def ask(self) -> dict[str, float]:
        """Ask the module how it is."""
        self._peer.sendall(b"%%>message:how:1:soak.how:\n")
        while True:
            for line in self._lines():
                frame = from_module(line)
                if isinstance(frame, Answer) and frame.id == "how":
                    return {name: float(value or 0) for name, value in decode_params(frame.params)}

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._sent

    def push(self, count: int) -> float:
        """Send so many messages to a module that answers at most a few of them.

        Returns:
            The longest time for which a write of 64 KiB waited, in seconds.
        """
        worst = 0.0
        piece = b"".join(self._next() for _ in range(2**16 // len(self._next())))
        size = piece.count(b"\n")
        for _ in range(count // size):
            begun = time.perf_counter()
            self._peer.sendall(piece)
            worst = max(worst, time.perf_counter() - begun)
            while select.select([self._peer], [], [], 0)[0]:
                self._lines()
        return worst


@contextmanager
def child(what: str, installs: int, *arguments: str) -> Iterator[tuple[Load, int]]:
    """Run the module of `chaos.children`, and yield the load on it and its process' number."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "chaos.children", what, url, *arguments]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                load = Load(peer)
                load.set_up(installs)
                yield load, process.pid
            process.terminate()


def soak(
    messages: int, *, traced: bool = False, intervals: int = INTERVALS, paced: int = PACED
) -> list[Sample]:
    """Put so many messages to a module, and return what each interval showed.

    Args:
        traced: trace what the module allocates, and take that for its memory.
        intervals: into which the messages are parted.
        paced: after each, so many more at a steady pace.
    """
    samples: list[Sample] = []
    with child("soak", 5, *(["traced"] if traced else [])) as (load, pid):
        for _ in range(intervals):
            before = load.sent
            seconds = load.pump(messages // intervals)
            rate = (load.sent - before) / seconds
            times = load.paced(paced)
            how = load.ask()
            samples.append(
                Sample(
                    messages=load.sent,
                    rate=rate,
                    memory=int(how["traced"]) if traced else resident(pid),
                    descriptors=len(os.listdir(f"/proc/{pid}/fd")),
                    tasks=int(how["tasks"]),
                    p50=times[len(times) // 2],
                    p99=times[len(times) * 99 // 100],
                    shed=int(how["shed"]),
                    expired=int(how["expired"]),
                    pause=how["pause"],
                )
            )
            show(samples[-1])
    return samples


def slope(samples: list[Sample]) -> float:
    """Return by how many bytes memory grows with each message, after warming up."""
    settled = samples[int(len(samples) * WARMING_UP) :]
    return statistics.linear_regression(
        [sample.messages for sample in settled], [sample.memory for sample in settled]
    ).slope


HEADINGS = ("messages", "a second", "MiB", "fds", "tasks", "p50 ms", "p99 ms", "shed", "expired")


def show(sample: Sample) -> None:
    """Print one interval."""
    print(
        f"{sample.messages:12,d}{sample.rate:11,.0f}{sample.memory / 2**20:11.2f}"
        f"{sample.descriptors:11d}{sample.tasks:11d}{sample.p50:11.2f}{sample.p99:11.2f}"
        f"{sample.shed:11d}{sample.expired:11d}{sample.pause:11.2f}",
        flush=True,
    )


def faults(samples: list[Sample], what: str) -> list[str]:
    """Return what has grown."""
    grown = slope(samples)
    settled = samples[int(len(samples) * WARMING_UP) :]
    print(f"{what} memory grows by {grown * 1_000_000 / 2**20:+.3f} MiB in a million messages\n")
    whole = grown * (settled[-1].messages - settled[0].messages)
    found = []
    if grown > GROWTH and whole > NOISE:
        found.append(f"{what} memory grows by {grown:.2f} bytes a message")
    for name in ("descriptors", "tasks"):
        first, last = getattr(settled[0], name), getattr(settled[-1], name)
        found += [f"{name} grow from {first} to {last}"] if last > first else []
    expired = samples[-1].expired
    return found + ([f"{expired} requests expired"] if expired else [])


def stuck(messages: int) -> list[str]:
    """Push messages at a module all of whose handlers and watchers hang (guarantee C5)."""
    with child("stuck", 2) as (load, pid):
        load.push(messages // 10)
        before = resident(pid)
        worst = load.push(messages)
        grown = (resident(pid) - before) / 2**20
    print(
        f"all handlers hang: {messages:,} messages later the engine has waited for"
        f" {worst * 1000:.1f} ms at most to write, the module has grown by {grown:.2f} MiB"
    )
    return [f"a stuck module grew by {grown:.1f} MiB"] if grown > STUCK_GROWTH else []


def links(count: int = 200) -> float:
    """Return what a link costs in the module's process, in KiB of resident memory."""
    with engine_elsewhere() as url:
        command = [sys.executable, "-m", "chaos.children", "links", url, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout) / count / 1024


def main() -> int:
    """Soak; 0 when nothing grows."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--messages", type=int, default=1_000_000)
    arguments = parser.parse_args()
    headings = "".join(f"{heading:>11}" for heading in (*HEADINGS[1:], "gc ms"))
    print(f"{HEADINGS[0]:>12}{headings}")
    found = faults(soak(arguments.messages), "resident")
    found += faults(soak(arguments.messages // TRACED, traced=True), "traced")
    found += stuck(arguments.messages // 2)
    print(f"a link costs {links():.0f} KiB of resident memory")
    print("\n".join(found) or "nothing grows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
