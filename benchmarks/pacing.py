"""A peer that plays the engine with steady traffic: so many requests a second, each answer timed.

It must not wait for answers: a subject that is slow gets no fewer requests for it. It spins on a
core of its own, since no timer is as fine as the pauses between its requests.

Run as `python -m benchmarks.pacing PARAMS RATE SECONDS`. It prints the port it listens on, then
"measuring" when the warm-up is over, then the microseconds of an answer as JSON.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import time

from .load import IDS, PATIENCE, REQUEST, WARM_UP, Load, check, params_of, serve

#: Seconds of a slice, see `percentiles`.
SLICE = 0.05


class Pacing:
    """One subject under steady traffic.

    Args:
        peer: the subject's connection, which is set up.
        requests: what to send, again from the first one after the last; the ids are 0 and up. No
            more may ever be open.
        rate: how many of them a second.
    """

    def __init__(self, peer: socket.socket, requests: list[bytes], rate: float) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._requests = requests
        self._rate = rate
        self._sent = [0.0] * len(requests)
        self._asked = 0
        self._unsent = b""
        self._rest = b""
        self._taken: list[float] = []

    def run(self, warm_up: float, seconds: float) -> list[float]:
        """Return the seconds from each request to its answer, without those of the warm-up."""
        total, warm = int(self._rate * (warm_up + seconds)), int(self._rate * warm_up)
        begun = time.perf_counter()
        give_up = begun + warm_up + seconds + PATIENCE
        measuring = False
        while len(self._taken) < total:
            now = time.perf_counter()
            self._ask(min(int((now - begun) * self._rate), total), now)
            self._take()
            if not measuring and len(self._taken) >= warm:
                measuring = True
                print("measuring", flush=True)
            if now > give_up:
                raise SystemExit(f"{total - len(self._taken)} of {total} requests got no answer")
        return self._taken[warm:]

    def _ask(self, due: int, now: float) -> None:
        """Send all that are due and were not sent yet."""
        if due > self._asked:
            places = [number % len(self._requests) for number in range(self._asked, due)]
            for place in places:
                self._sent[place] = now
            self._unsent += b"".join([self._requests[place] for place in places])
            self._asked = due
        if self._unsent:
            # That the subject is gone is said where its answers are read.
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                self._unsent = self._unsent[self._peer.send(self._unsent) :]

    def _take(self) -> None:
        """Take the time of what has come."""
        try:
            data = self._peer.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        now = time.perf_counter()
        if not data:
            raise SystemExit("the subject went away")
        if self._asked - len(self._taken) > len(self._requests):
            raise SystemExit(f"{self._rate:.0f} a second are more than the subject can handle")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._taken.append(now - self._sent[number_of(line)])
        check(*lines[:1])


def number_of(answer: bytes) -> int:
    """Return the number at the end of an answer's id."""
    return int(answer.split(b":", 2)[1].rpartition(b".")[2])


def percentiles(taken: list[float], slice: int) -> dict[str, float]:
    """Return what half of the answers take at most, and 99 of 100, in microseconds.

    Args:
        taken: the seconds of each answer, in the order in which they came.
        slice: of so many answers one after the other the 99 % are taken too; the median over all
            slices is the usual one. A machine that stands still for some milliseconds a few times a
            second, as virtual ones do, moves the 99 % of the whole run, but not this.
    """
    slices = [taken[place : place + slice] for place in range(0, len(taken) - slice + 1, slice)]
    percents = statistics.quantiles(taken, n=100)
    usual = statistics.median(statistics.quantiles(some, n=100)[98] for some in slices)
    return {"p50": percents[49] * 1e6, "p99": percents[98] * 1e6, "usual p99": usual * 1e6}


def main() -> None:
    """Serve one subject."""
    params, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])

    def work(peer: socket.socket) -> dict[str, float]:
        Load(peer, seconds).set_up()
        text = params_of(params)
        requests = [REQUEST.format(id=id, params=text).encode() for id in range(IDS)]
        taken = Pacing(peer, requests, rate).run(WARM_UP, seconds)
        return {"messages": len(taken)} | percentiles(taken, int(rate * SLICE))

    serve(work)


if __name__ == "__main__":
    main()
