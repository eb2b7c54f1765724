"""See modules at work on the embedded engine.

First the article's: calls are routed, and the connection is cut once. Then a call that asks for a
PIN, on a clock that does not wait.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from pathlib import Path

from ..engine import Engine, Recording, ladder
from ..engine.caller import Caller, NotHappened
from ..errors import ConfigError
from ..message import Message
from ..module import Module
from ..testing import VirtualClockLoop
from .run import load

__all__ = ["add_arguments", "run"]

#: Seconds for the module to attach, and to come back; its delays are at most 1 s at first, but a
#: busy machine may take its time to start a Python.
PATIENCE = 20.0

EXAMPLES = Path(__file__).parents[3] / "examples"
ARTICLE = EXAMPLES / "article.py"
PIN = EXAMPLES / "pin.py"
#: What the call hears, and for how many seconds each.
SOUNDS = ("enter-pin", "wrong-pin", "your-balance-is", "en/40", "en/2", "euros")
SOUND_SECONDS = 1.5


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
    """Run the demo; 0 only if every answer was right. Another module than ours gets no call."""
    if not arguments.file.is_file():
        raise ConfigError(
            f"there is no file {str(arguments.file)!r}: give a module that routes 123 as the"
            " article's does, examples/article.py of the source"
        )
    right = asyncio.run(_demo(arguments.file))
    if arguments.file == ARTICLE:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            right &= runner.run(_demo_call(PIN))
    print("Every answer was right." if right else "Something was wrong, see above.")
    return 0 if right else 1


async def _demo(file: Path) -> bool:
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
    return right


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


async def _demo_call(file: Path) -> bool:
    """Let somebody call a number and mistake their PIN once; tell whether all went well."""
    print(
        f"A call: 1001 dials 100, and {file.name} answers; the clock does not wait.\n", flush=True
    )
    recording = Recording()
    with tempfile.TemporaryDirectory(prefix="yateway-") as folder:
        module = _with_sounds(file, Path(folder))
        async with Engine(module, record=recording) as engine:
            caller = Caller(engine, "1001", record=recording)
            try:
                await _call(caller)
            except NotHappened as failure:
                print(f"  WRONG: {failure}")
                return False
            rows = ladder(recording).splitlines()
    print("  right: a wrong PIN is asked for again, the right one tells the balance\n")
    # What comes before is how a module attaches, which was to be seen above.
    begin = next(number for number, row in enumerate(rows) if "dials 100" in row)
    print("\n".join([rows[0], *rows[begin:]]), end="\n\n")
    return True


def _with_sounds(file: Path, folder: Path) -> Module:
    """Load a module whose sounds are silence in a folder."""
    for name in SOUNDS:
        sound = folder / f"{name}.slin"
        sound.parent.mkdir(exist_ok=True)
        sound.write_bytes(bytes(int(SOUND_SECONDS * 16_000)))
    before, os.environ["SOUNDS"] = os.environ.get("SOUNDS"), str(folder)
    try:
        return load(str(file))
    finally:
        if before is None:
            del os.environ["SOUNDS"]
        else:
            os.environ["SOUNDS"] = before


async def _call(caller: Caller) -> None:
    await caller.dial("100")
    await caller.hears("enter-pin")
    await asyncio.sleep(1)
    caller.press("1111")
    await caller.hears("wrong-pin")
    await caller.hears("enter-pin")
    await asyncio.sleep(2)
    caller.press("1234")
    for sound in SOUNDS[2:]:
        await caller.hears(sound)
    await caller.hung_up()
    await asyncio.sleep(0.1)
