"""See a module at work: calls are routed on the embedded engine, the connection is cut once."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from pathlib import Path

from ..engine import Engine, Recording, ladder
from ..errors import ConfigError
from ..message import Message

__all__ = ["add_arguments", "run"]

#: Seconds for the module to attach, and to come back; its delays are at most 1 s at first.
PATIENCE = 10.0

ARTICLE = Path(__file__).parents[3] / "examples" / "article.py"


@dataclass(frozen=True)
class _Call:
    """A call to route, and what the article's module has to make of it."""

    title: str
    params: dict[str, str]
    route: str = ""
    expected: dict[str, str] = field(default_factory=dict)

    def is_right(self, answer: Message) -> bool:
        """Tell whether an answer is what was expected: the route, and every parameter intact."""
        return (
            answer.processed == bool(self.route)
            and answer.retvalue == self.route
            and all(answer.get(k) == v for k, v in (self.params | self.expected).items())
        )


_ROUTED = "sip/sip:test@127.0.0.1"
_CALLS = [
    _Call("123 is routed", {"called": "123"}, _ROUTED, {"param1": "value1"}),
    _Call("an unknown number is left to others", {"called": "999"}),
    _Call(
        "%, :, = and other alphabets arrive intact",
        {"called": "123", "callername": "50%:a=b Žofia ☎", "x-empty": ""},
        _ROUTED,
        {"param1": "value1"},
    ),
    _Call("bytes that are no UTF-8 too", {"called": "7", "callername": "caf\udce9"}),
]
_AFTER = _Call("123 is routed again", {"called": "123"}, _ROUTED, {"param1": "value1"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `yateway demo`."""
    parser.add_argument(
        "file", nargs="?", type=Path, default=ARTICLE, help="the article's module, or one like it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 only if every answer was right."""
    if not arguments.file.is_file():
        raise ConfigError(
            f"there is no file {str(arguments.file)!r}: give a module that routes 123 as the"
            " article's does, examples/article.py of the source"
        )
    return asyncio.run(_demo(arguments.file))


async def _demo(file: Path) -> int:
    recording = Recording()
    engine = Engine(listen=["tcp://127.0.0.1:0"], record=recording)
    await engine.start()
    (url,) = engine.urls
    print(f"The embedded engine listens on {url}; {file.name} attaches to it.\n", flush=True)
    command = [sys.executable, "-m", "yateway", "run", str(file), "--engine", url]
    module = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    telling = asyncio.create_task(_tell(file.stem, module))
    right = True
    try:
        await _attached(engine, module)
        for call in _CALLS:
            right &= await _route(engine, call)
        print("\nThe connection is cut; the module comes back by itself.\n", flush=True)
        engine.drop()
        await _attached(engine, module)
        right &= await _route(engine, _AFTER)
    except TimeoutError:
        print("  WRONG: the module does not attach")
        right = False
    finally:
        if module.returncode is None:
            module.terminate()
        right &= await module.wait() == 0
        await telling
        await engine.stop()
    print("\nWhat went over the wire:\n")
    print(ladder(recording))
    print("Every answer was right." if right else "Something was wrong, see above.")
    return 0 if right else 1


async def _tell(name: str, module: Process) -> None:
    """Show what the module prints as it comes."""
    assert module.stdout is not None
    async for line in module.stdout:
        print(f"  {name}: {line.decode(errors='replace').rstrip()}", flush=True)


async def _attached(engine: Engine, module: Process) -> None:
    async with asyncio.timeout(PATIENCE):
        while not engine.handles("call.route"):
            if module.returncode is not None:
                raise TimeoutError
            await asyncio.sleep(0.02)


async def _route(engine: Engine, call: _Call) -> bool:
    answer = await engine.dispatch(Message("call.route", call.params))
    right = call.is_right(answer)
    result = answer.retvalue if answer.processed else "declined"
    print(f"  {'right' if right else 'WRONG'}: {call.title}: {result}", flush=True)
    return right
