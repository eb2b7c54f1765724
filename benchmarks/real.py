"""Requests a second through a real engine, next to a bare asyncio client in the same run.

The engine is the limit here. A sender keeps messages outstanding over a connection of its own; what
handles them is a Module, or a client that answers canned, over a UNIX socket or TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import statistics
import sys

from tests.real_engine import RealEngine, real_engine
from yateway import Message, Module
from yateway.transport import opener_of

from .asking import handling, rate
from .subjects import canned_answers

#: What a tuned engine has in its yate.conf, [general].
TUNED = "idlemsec=1\nminworkers=25\nmaxworkers=50\n"
WHO = ("bare", "yateway")
KINDS = ("unix", "tcp")
OUTSTANDING = (16, 128)
#: A parameter of every message, by which connections may share the messages.
SHARDS = 4


async def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return messages a second by who handles, kind of socket and messages outstanding."""
    rates: dict[str, list[float]] = {}
    async with real_engine(general=TUNED) as engine:
        for _ in range(rounds):
            for kind in KINDS:
                for outstanding in OUTSTANDING:
                    for who in (*WHO, "bare, 4 connections"):
                        one = await _one(engine, who, kind, outstanding, seconds)
                        rates.setdefault(f"{who}, {kind}, {outstanding}", []).append(one)
    return rates


async def _one(engine: RealEngine, who: str, kind: str, outstanding: int, seconds: float) -> float:
    address = engine.unix if kind == "unix" else engine.tcp
    sender = Module("sender", dispatch_timeout=15.0)

    async def shard(number: int) -> Message:
        where = str(number % SHARDS)
        return await sender.dispatch("test.rate", shard=where, called="123", caller="100")

    async def handled() -> bool:
        return all([(await shard(number)).processed for number in range(SHARDS)])

    async def ask(number: int) -> None:
        if (await shard(number)).get("param1") != "value1":
            raise SystemExit("a message came back unhandled")

    await sender.attach(opener_of(engine.unix))
    try:
        async with handling(handled, "benchmarks.real", who, address):
            return await rate(ask, outstanding, seconds)
    finally:
        await sender.detach()


def show(rates: dict[str, list[float]]) -> None:
    """Print medians, the spread, and the ratio to the bare client."""
    print("\nrequests a second through a real engine, idlemsec=1, 25 to 50 workers")
    for key, values in rates.items():
        who, rest = key.rsplit(", ", 2)[0], ", ".join(key.rsplit(", ", 2)[1:])
        bare = statistics.median(rates[f"bare, {rest}"])
        median = statistics.median(values)
        print(
            f"  {who:20} {rest:10} {median:8.0f} {min(values):8.0f} {max(values):8.0f}"
            f" {median / bare:6.2f} x bare"
        )


# What handles


class _Canned(asyncio.Protocol):
    """Answers every request with the same changes, and acknowledges over TCP at once as we do."""

    rest = b""

    def __init__(self, filter: str = "") -> None:
        self._filter = filter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._writer = transport
        transport.write(f"%%>connect:global\n%%>install:100:test.rate{self._filter}\n".encode())

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        self._writer.write(canned_answers(lines))
        with contextlib.suppress(OSError, AttributeError):
            sock = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _bare(address: str, connections: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(connections):
        make = functools.partial(_Canned, f":shard:{number}" if connections > 1 else "")
        if address.startswith("unix://"):
            await loop.create_unix_connection(make, address.removeprefix("unix://"))
        else:
            host, port = address.removeprefix("tcp://").rsplit(":", 1)
            await loop.create_connection(make, host, int(port))
    await asyncio.sleep(600)


def _yateway(address: str) -> None:
    module = Module("rate")

    @module.handler("test.rate")
    def handle(message: object) -> str:
        message["param1"] = "value1"  # type: ignore[index]
        return "x"

    module.run(address)


if __name__ == "__main__":
    if sys.argv[1] == "yateway":
        _yateway(sys.argv[2])
    else:
        asyncio.run(_bare(sys.argv[2], SHARDS if "4" in sys.argv[1] else 1))
