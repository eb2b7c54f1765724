"""`make bench-guard`: fails when a message costs more than it did, and says by how much.

It compares with what a bare asyncio protocol does for the same lines with a canned answer, never
with seconds. Where valgrind is installed it counts instructions, which other work on the machine
cannot change; else it compares CPU time, which is rough. It does so with the compiled part, where
it was built, and without. Run as `python -m benchmarks.guard`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from yateway import Message, Module, serving
from yateway.transport import Transport
from yateway.wire import native

from .load import REQUEST, params_of, reply_to
from .subjects import Canned

BATCH = 256
#: How many times the bare protocol's instructions, or CPU time, a message may take: what was
#: measured on CPython 3.11 with the compiled part and without it, and a tenth more. Nothing else in
#: here may be changed to pass.
LIMITS = {"plain": (8.5, 10.6), "coroutine": (11.4, 13.4), "awaits once": (20.0, 22.1)}


class Fed(Transport):
    """A transport whose far end is this program: it counts answers."""

    name = "fed:"

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._take: Callable[[bytes], None] = lambda data: None
        self.answers = 0

    def feed(self, data: bytes) -> None:
        """Let the module receive bytes, as a socket does: from a callback of the loop."""
        asyncio.get_running_loop().call_soon(self._take, data)

    async def deliver(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        await self._ended.wait()

    async def receive(self) -> bytes:
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        self.answers += data.count(b"%%<message")
        if data.startswith(b"%%>"):
            for line in data.splitlines():
                if reply := reply_to(line):
                    self.feed(reply)

    async def drain(self) -> None:
        """Nothing waits here."""

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._ended.set()


def _module(kind: str) -> Module:
    module = Module("guard", max_in_flight=BATCH)

    def decide(message: Message) -> str | None:
        if message.get("called") != "123" or message.get("caller") != "100":
            return None
        message["param1"] = "value1"
        return "sip/sip:test@127.0.0.1"

    async def coroutine(message: Message) -> str | None:
        if kind == "awaits once":
            await asyncio.sleep(0)
        return decide(message)

    module.handler("call.route")(decide if kind == "plain" else coroutine)
    return module


async def _work(kind: str, batches: int) -> None:
    text = params_of(8)
    lines = "".join(REQUEST.format(id=number, params=text) for number in range(BATCH)).encode()
    if kind == "bare":
        protocol = Canned(asyncio.get_running_loop().create_future())
        protocol.transport = _Nowhere()
        for _ in range(batches):
            protocol.data_received(lines)
            await asyncio.sleep(0)
        return
    module, fed = _module(kind), Fed()

    async def opener() -> Transport:
        return fed

    await module.attach(opener)
    for _ in range(batches):
        wanted = fed.answers + BATCH
        fed.feed(lines)
        while fed.answers < wanted:
            await asyncio.sleep(0)
    await module.detach()


class _Nowhere(asyncio.Transport):
    def write(self, data: object) -> None:
        """Forget it."""


def _instructions(environment: dict[str, str], *command: str) -> float:
    valgrind = ["valgrind", "--tool=cachegrind", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, *command], env=environment, capture_output=True, text=True, check=True
    )
    (line,) = (line for line in done.stderr.splitlines() if "refs:" in line and " I " in line)
    return float(line.split("refs:")[1].replace(",", ""))


def _cpu(environment: dict[str, str], *command: str) -> float:
    def once() -> float:
        before = os.times().children_user
        subprocess.run(command, env=environment, check=True)
        return os.times().children_user - before

    return min(once() for _ in range(5))


def main() -> int:
    """Compare, print, and return the exit code."""
    instructions = shutil.which("valgrind") is not None
    measure = _instructions if instructions else _cpu
    # Time has to be long to be told at all.
    more = 1 if instructions else 100
    print("instructions" if instructions else "CPU time", end=" ")
    print("for a message, as multiples of a bare loop's", flush=True)

    def message(kind: str, pure: str) -> float:
        # Sets and dictionaries are laid out alike each time.
        environment = os.environ | {"PYTHONHASHSEED": "0", "YATEWAY_PURE": pure}
        command = (sys.executable, "-m", "benchmarks.guard", kind)
        # Starting and ending falls out of the difference.
        four, two = (measure(environment, *command, str(more * batches)) for batches in (4, 2))
        return four - two

    bare = message("bare", "")
    failed = False
    for kind, limits in LIMITS.items():
        for part, pure, limit in zip(("compiled", "pure"), ("", "1"), limits, strict=True):
            if pure or native.read_message is not None:
                ratio = message(kind, pure) / bare
                failed |= ratio > limit
                verdict = "   TOO MUCH" if ratio > limit else ""
                print(
                    f"  {kind:12} {part:8} {ratio:6.1f}   may be {limit:.1f}{verdict}", flush=True
                )
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        # Where instructions are counted everything takes long, which is not to be logged.
        serving.SLOW = float("inf")
        asyncio.run(_work(sys.argv[1], int(sys.argv[2])))
    else:
        sys.exit(main())
