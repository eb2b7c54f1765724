"""What a call costs: memory and CPU in the process that drives it, and the start of many at once.

The engine runs in this process, the IVR in others: yateway in one for all calls, python-yate in one
for each, as external/nodata scripts. All do the same (`ivr_subjects.py`).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from yateway import Message
from yateway.engine import Engine
from yateway.engine.sim import Leg

from .ivr_subjects import python_yate_script

CALLS = 1000
#: Calls at once, and how many processes of python-yate.
AT_ONCE = 100
#: Seconds for anything.
PATIENCE = 120

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu(process: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(process: int) -> float:
    """Return the resident KiB of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 1024


def private(process: int) -> float:
    """Return the KiB of a process that it shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in path.read_text().split()]


async def _start(engine: Engine, count: int) -> list[Leg]:
    """Call as often at once, and return when all hear the menu."""

    async def call() -> Leg:
        leg = await engine.call("100", "1001")
        await leg.until(lambda: leg.hears.endswith("menu.slin") or leg.hung_up)
        if leg.hung_up:
            raise SystemExit(f"a call ended with {leg.reason!r}")
        return leg

    return await asyncio.gather(*(call() for _ in range(count)))


async def _end(legs: Iterable[Leg]) -> None:
    for leg in legs:
        leg.press("1")
        await leg.until(lambda leg=leg: leg.hears.endswith("next.slin"))  # type: ignore[misc]
        leg.press("2")
        await leg.until(lambda leg=leg: leg.hung_up)  # type: ignore[misc]


async def _yateway(sounds: str) -> dict[str, float]:
    async with Engine(listen=["tcp://127.0.0.1:0"]) as engine, asyncio.timeout(PATIENCE):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.ivr_subjects", "yateway", engine.urls[0], sounds),
            stderr=asyncio.subprocess.DEVNULL,
        )
        while not engine.handles("call.route"):
            await asyncio.sleep(0.01)
        resident = memory(process.pid)  # what the code itself takes at its first use counts too
        await _end(await _start(engine, AT_ONCE))
        clock, both = time.perf_counter(), time.process_time() + cpu(process.pid)
        together = await _start(engine, AT_ONCE)
        at_once = time.perf_counter() - clock
        both = time.process_time() + cpu(process.pid) - both
        await _end(together)
        used = cpu(process.pid)
        legs: list[Leg] = []
        for _ in range(CALLS // AT_ONCE):
            legs += await _start(engine, AT_ONCE)
        figures = {
            "memory per call, KiB": (memory(process.pid) - resident) / CALLS,
            "CPU to start a call, ms": (cpu(process.pid) - used) / CALLS * 1000,
            f"{AT_ONCE} starts at once, s": at_once,
            "CPU of both for them, s": both,
        }
        await _end(legs)
        process.terminate()
        await process.wait()
    return figures


async def _python_yate(folder: Path, sounds: str) -> dict[str, float]:
    script = python_yate_script(folder, sounds)
    async with Engine() as engine, asyncio.timeout(PATIENCE):

        def route(message: Message) -> bool:
            message.retvalue = f"external/nodata/{script}"
            return True

        engine.install("call.route", route)
        clock, engine_cpu = time.perf_counter(), time.process_time()
        legs = await _start(engine, AT_ONCE)
        at_once = time.perf_counter() - clock
        engine_cpu = time.process_time() - engine_cpu
        processes = children(os.getpid())
        figures = {
            "memory per call, KiB": sum(map(private, processes)) / AT_ONCE,
            "CPU to start a call, ms": sum(map(cpu, processes)) / AT_ONCE * 1000,
            f"{AT_ONCE} starts at once, s": at_once,
            "CPU of both for them, s": engine_cpu + sum(map(cpu, processes)),
        }
        await _end(legs)
    return figures


async def measure() -> dict[str, dict[str, float]]:
    """Return the figures of each library."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sound in ("menu", "next"):
            (folder / f"{sound}.slin").write_bytes(bytes(16_000))
        return {
            "yateway": await _yateway(name),
            "python-yate": await _python_yate(folder, name),
        }


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print the figures."""
    print(f"\nIVR calls: {CALLS} in one process, and {AT_ONCE} with a process for each")
    for name in figures["yateway"]:
        ours, theirs = (figures[library][name] for library in ("yateway", "python-yate"))
        print(f"  {name:26} {ours:10.3f} {theirs:12.3f} {theirs / ours:8.0f} x")


if __name__ == "__main__":
    show(asyncio.run(measure()))
