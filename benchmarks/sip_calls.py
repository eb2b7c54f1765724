"""200 SIP calls at once through a menu on the real engine: from a key to the next prompt.

The telephones are sipp's. A module of its own watches, and takes the time from chan.dtmf to the
chan.attach that follows, as the engine tells them. Half of the calls are yateway's, and half those
of an asyncio protocol with canned lines: the floor, below which no module can be.
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
#: Who drives the calls to which number.
SUBJECTS = {"101": "bare", "100": "yateway"}
#: Calls that begin in a second, ms before each key.
RATE = 40
BEFORE_KEY = 3000


def available() -> bool:
    """Tell whether there is a real engine, and sipp to call it."""
    return engine_available() and shutil.which("sipp") is not None


def _observer(times: dict[str, list[float]]) -> Module:
    """Return a module that takes the time from a key to the next prompt."""
    module = Module("observer")
    subjects: dict[str, str] = {}
    pressed: dict[str, float] = {}

    @module.watcher("call.execute")
    def begun(message: Message) -> None:
        subjects[message.get("targetid", "")] = SUBJECTS[message["called"]]

    @module.watcher("chan.dtmf")
    def key(message: Message) -> None:
        pressed.setdefault(message.get("targetid", ""), asyncio.get_running_loop().time())

    @module.watcher("chan.attach")
    def prompt(message: Message) -> None:
        leg = message.get("id", "")
        if leg in pressed and leg in subjects:
            taken = asyncio.get_running_loop().time() - pressed[leg]
            times[subjects.pop(leg)].append(taken * 1000)

    return module


async def _one(exchange: Exchange, observer: Module, sounds: str) -> None:
    engine = exchange.engine.tcp
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.ivr_subjects", subject, engine, sounds),
            stderr=asyncio.subprocess.DEVNULL,
        )
        for subject in SUBJECTS.values()
    ]
    try:
        async with asyncio.timeout(60):
            for called in SUBJECTS:
                while not (await observer.dispatch("call.route", called=called)).processed:
                    await asyncio.sleep(0.05)
            half: dict[str, object] = {"calls": CALLS // 2, "per_second": RATE // 2}
            for phones in [
                await exchange.call(called, press="12", rate=BEFORE_KEY, **half)
                for called in SUBJECTS
            ]:
                await phones.done()
    finally:
        for process in processes:
            process.terminate()
            await process.wait()


async def measure(rounds: int) -> dict[str, list[float]]:
    """Return the times of all calls in milliseconds, by who drove them."""
    times: dict[str, list[float]] = {subject: [] for subject in SUBJECTS.values()}
    observer = _observer(times)
    with tempfile.TemporaryDirectory() as folder:
        for sound in ("menu", "next"):
            (Path(folder) / f"{sound}.slin").write_bytes(bytes(16_000))
        async with sip_exchange() as exchange:
            await observer.attach(opener_of(exchange.engine.unix))
            for _ in range(rounds):
                await _one(exchange, observer, folder)
            await observer.detach()
    if any(len(taken) != rounds * CALLS // 2 for taken in times.values()):
        raise SystemExit(f"not all callers heard the next prompt: {times}")
    return times


def show(times: dict[str, list[float]]) -> None:
    """Print the figures."""
    print(f"\n{CALLS} SIP calls at once on the real engine, ms from a key to the next prompt")
    for subject, taken in times.items():
        p99 = statistics.quantiles(taken, n=100)[98]
        print(f"  {subject:8} median {statistics.median(taken):6.1f} p99 {p99:6.1f}")


if __name__ == "__main__":
    if not available():
        raise SystemExit("this needs sipp, and YATEWAY_YATE to name an installed engine")
    show(asyncio.run(measure(rounds=3)))
