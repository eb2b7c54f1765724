"""200 SIP calls at once through a menu on the real engine: from a key to the next prompt.

The telephones are sipp's. A module of its own watches, and takes the time from chan.dtmf to the
chan.attach that follows, as the engine tells them; an asyncio protocol with canned lines is the
floor, which no module can be below.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.sipp import Exchange, sip_exchange
from yateway import Message, Module
from yateway.transport import opener_of

from .latency import available as engine_available

CALLS = 200
#: Calls that begin in a second, ms before each key.
RATE = 40
BEFORE_KEY = 3000


def available() -> bool:
    """Tell whether there is a real engine, and sipp to call it."""
    return engine_available() and shutil.which("sipp") is not None


def _observer(times: list[float]) -> Module:
    """Return a module that takes the time from a key to the next prompt."""
    module = Module("observer")
    pressed: dict[str, float] = {}

    @module.watcher("chan.dtmf")
    def key(message: Message) -> None:
        pressed.setdefault(message.get("targetid", ""), asyncio.get_running_loop().time())

    @module.watcher("chan.attach")
    def prompt(message: Message) -> None:
        if message.get("id") in pressed and "next.slin" in message.get("source", "next.slin"):
            times.append((asyncio.get_running_loop().time() - pressed[message["id"]]) * 1000)

    return module


async def _one(exchange: Exchange, subject: str, sounds: str) -> list[float]:
    times: list[float] = []
    observer = _observer(times)
    await observer.attach(opener_of(exchange.engine.unix))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.ivr_subjects", subject, exchange.engine.tcp, sounds),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while not (await observer.dispatch("call.route", called="100")).processed:
                await asyncio.sleep(0.05)
            phones = await exchange.call(calls=CALLS, per_second=RATE, press="12", rate=BEFORE_KEY)
            await phones.done()
    finally:
        process.terminate()
        await process.wait()
        await observer.detach()
    if len(times) != CALLS:
        raise SystemExit(f"{len(times)} of {CALLS} callers heard the next prompt")
    return times


async def measure() -> dict[str, list[float]]:
    """Return the times of all calls in milliseconds, by who drove them."""
    with tempfile.TemporaryDirectory() as folder:
        for sound in ("menu", "next"):
            (Path(folder) / f"{sound}.slin").write_bytes(bytes(16_000))
        async with sip_exchange() as exchange:
            return {
                subject: await _one(exchange, subject, folder) for subject in ("bare", "yateway")
            }


def show(times: dict[str, list[float]]) -> None:
    """Print the figures."""
    print(f"\n{CALLS} SIP calls at once on the real engine, ms from a key to the next prompt")
    for subject, taken in times.items():
        p99 = statistics.quantiles(taken, n=100)[98]
        print(f"  {subject:8} median {statistics.median(taken):6.1f} p99 {p99:6.1f}")


if __name__ == "__main__":
    if not available():
        raise SystemExit("this needs sipp, and YATEWAY_YATE to name an installed engine")
    show(asyncio.run(measure()))
