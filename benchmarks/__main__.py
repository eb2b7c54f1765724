"""`make bench`: measures, prints ratios, and writes JSON if asked."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
from pathlib import Path

from yateway.wire import native

from . import answers, calls, half_load, ivr, latency, operators, plot, real, sip_calls


def main() -> None:
    """Run what was chosen."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=3, help="times that all are measured")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this SVG file")
    parser.add_argument(
        "--kinds", nargs="+", choices=answers.KINDS, default=list(answers.KINDS), help="of load"
    )
    arguments = parser.parse_args()
    part = "with" if native.read_message else "without"
    print(f"Python {platform.python_version()}, {platform.machine()}, {part} the compiled part")
    samples = answers.measure(arguments.rounds, arguments.seconds, arguments.kinds)
    answers.show(samples)
    figures: dict[str, object] = {"answers": answers.as_json(samples)}
    if arguments.plot:
        arguments.plot.write_text(plot.draw(samples))
    added = half_load.measure(arguments.rounds, arguments.seconds)
    half_load.show(added)
    figures["half load"] = added
    simulated = asyncio.run(calls.measure())
    calls.show(simulated)
    figures["calls"] = simulated
    driven = asyncio.run(ivr.measure())
    ivr.show(driven)
    figures["ivr"] = driven
    if latency.available():
        times = asyncio.run(latency.measure(arguments.rounds, messages=200))
        latency.show(times)
        figures["latency"] = times
        rates = asyncio.run(real.measure(arguments.rounds, arguments.seconds))
        real.show(rates)
        figures["real"] = rates
        settings = asyncio.run(operators.measure(arguments.rounds, seconds=0.3))
        operators.show(settings)
        figures["operators"] = operators.as_json(settings)
    else:
        print("\nno real engine: YATEWAY_YATE names no installed engine")
    if sip_calls.available():
        prompts = asyncio.run(sip_calls.measure(arguments.rounds))
        sip_calls.show(prompts)
        figures["sip calls"] = prompts
    else:
        print("\nno SIP calls: there is no engine or no sipp")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
