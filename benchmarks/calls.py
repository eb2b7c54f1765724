"""Complete simulated calls per second: module and embedded engine together on one core.

Each call is routed by a module to a leg of its own, executed, answered, hears a tone, presses two
digits that the module sees, and is hung up by the module.
"""

from __future__ import annotations

import asyncio
import time

from yateway import Message, Module
from yateway.engine import Engine

TOGETHER = 50


def ivr() -> Module:
    """Return a module that answers every call and hangs up after two digits."""
    module = Module("ivr")
    legs: dict[str, str] = {}
    digits: dict[str, str] = {}

    @module.handler("call.route")
    def route(message: Message) -> str:
        return "dumb/"

    @module.watcher("call.execute")
    async def answer(message: Message) -> None:
        caller, leg = message["id"], message.get("targetid", "")
        if not leg.startswith("dumb/"):
            return
        legs[caller] = leg
        await _as_leg(module, leg, "call.answered", targetid=caller)
        await _as_leg(module, leg, "chan.attach", source="tone/dial", single="true")

    @module.watcher("chan.dtmf")
    async def digit(message: Message) -> None:
        caller = message["id"]
        digits[caller] = digits.get(caller, "") + message["text"]
        if len(digits[caller]) == 2:
            del digits[caller], legs[caller]
            await module.dispatch("call.drop", id=caller, reason="done")

    return module


async def _as_leg(module: Module, leg: str, message: str, **params: str) -> None:
    await module.dispatch("chan.masquerade", {"id": leg, "message": message, **params})


async def _call(engine: Engine) -> None:
    leg = await engine.call("123", "100")
    await leg.until(lambda: leg.answered and leg.hears == "tone/dial")
    leg.press("1")
    leg.press("2")
    await leg.until(lambda: leg.hung_up)
    if leg.reason != "done":
        raise SystemExit(f"a call ended with {leg.reason!r}")


async def measure(count: int = 1000) -> dict[str, float]:
    """Return complete calls per second of CPU, and how long an engine takes to start, in ms."""
    started = time.perf_counter()
    async with Engine():
        start_up = (time.perf_counter() - started) * 1000
    async with Engine(ivr()) as engine:
        before = time.process_time()
        for _ in range(count // TOGETHER):
            await asyncio.gather(*(_call(engine) for _ in range(TOGETHER)))
        return {
            "calls per second": count / (time.process_time() - before),
            "start-up, ms": start_up,
        }


def show(figures: dict[str, float]) -> None:
    """Print the figures."""
    print("\nsimulated calls on the embedded engine, module and engine on one core")
    for name, value in figures.items():
        print(f"  {name:18} {value:8.1f}")
