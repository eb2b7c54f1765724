"""A module whose engine is hostile, or anybody on its port. Invariant, whatever bytes come:

- nothing is raised into the event loop, and no work is left when the module was detached;
- no code is run, no file opened for writing, no address connected to (guarantee F13), and each
  event is one line of the log (F6);
- what the module says are lines that an engine reads; it answers no more than it was asked, and
  what it was asked over a connection that stands is answered within its deadline (A1, A3);
- it holds no more requests than it may (D1), and detaches within the time that is said for it.

Tolerated: none. What the module raises at attach is documented: `InstallRefused`, `ConfigError`,
`LocalProtocolError`, where the engine refuses what it needs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from tests.far import Far, opener_to
from yateway import Message, Module
from yateway.errors import ConfigError, InstallRefused, LocalProtocolError, RemoteProtocolError
from yateway.wire.codec import from_bytes
from yateway.wire.frames import Answer, Request
from yateway.wire.reading import from_engine, from_module

from .material import ENGINE_WORDS, as_script, lines, script, scripts
from .sandbox import alone

VERBS = 5
#: Virtual seconds after which everything has to be over: attempts, deadlines, clean-up.
LONG = 30.0

_requests = [line for line in (*lines("E"), *ENGINE_WORDS) if line.startswith(b"%%>message:")]
SEEDS = [
    as_script(
        (0, b""), (1, line + b"\n"), (2, b"x" * 20), (1, b"Error in: " + line + b"\n"), (3, b"ab")
    )
    for line in (*_requests, *lines("E")[::4])
]
SEEDS += [as_script((1, b"%%<setlocal:bufsize:8192:false\n")), as_script((4, b""), (0, b""))]
inputs = scripts(VERBS, ENGINE_WORDS, "E")


def victim() -> Module:
    """Return a module with one of each: handlers that answer, hang, fail and write, watchers."""
    module = Module("victim", deadline=1.0, max_in_flight=4, dispatch_timeout=5.0)
    module.handler("call.route")(lambda message: message.get("called"))

    @module.handler("t.slow")
    async def slow(message: Message) -> bool:
        await asyncio.sleep(float(len(message)))
        message["seen"] = message.retvalue
        return True

    @module.handler("t.ans")
    async def fails(message: Message) -> bool:
        await asyncio.sleep(0)
        raise ValueError(message.name)

    module.handler("t.ans", priority=120)(lambda message: None)
    module.watcher("")(lambda message: message.update(x=message.name))
    return module


class Hostile:
    """The engine of the first connection; what comes after it is refused."""

    def __init__(self) -> None:
        self.far = Far()
        self.further = Far()
        self.said = bytearray()

    async def do(self, module: Module, verb: int, data: bytes) -> None:
        """Say something, let time pass, or let the module say something."""
        if verb == 0:
            await asyncio.wait(
                [asyncio.create_task(far.accept()) for far in (self.far, self.further)], timeout=1
            )
        elif verb == 1:
            self.said += data
            self.far.say_bytes(data)
            await asyncio.sleep(0)
        elif verb == 2:
            await asyncio.sleep(len(data) / 10)
        elif verb == 3 and module.attached:
            text = data.decode("utf-8", "surrogateescape")
            with suppress(LocalProtocolError):
                module.spawn(_told(module, text))
        elif verb == 4:
            self.further.say_bytes(data)


async def _told(module: Module, text: str) -> None:
    with suppress(Exception):
        await module.output(text)
        await module.dispatch("t.x", x=text)


async def _run(data: bytes) -> None:
    hostile, module = Hostile(), victim()
    opener = opener_to(hostile.far, hostile.further)
    attaching = asyncio.create_task(module.attach(opener))
    for verb, argument in script(data):
        await hostile.do(module, verb % VERBS, argument)
    await asyncio.sleep(LONG)
    stands = module.attached
    hostile.far.close()
    hostile.further.close()
    attaching.cancel()
    with suppress(asyncio.CancelledError, InstallRefused, ConfigError, LocalProtocolError):
        await attaching
    async with asyncio.timeout(LONG):
        await module.detach()
    _check_answers(bytes(hostile.said), await hostile.far.hear_all(), stands=stands)


def _check_answers(said: bytes, heard: list[str], *, stands: bool) -> None:
    asked: Counter[str] = Counter()
    for line in said.replace(b"\r\n", b"\n").split(b"\n")[:-1]:
        with suppress(RemoteProtocolError):
            frame = from_engine(from_bytes(line))
            if isinstance(frame, Request) and frame.id:
                asked[frame.id] += 1
    answered: Counter[str] = Counter()
    for text in heard:
        module_frame = from_module(text.encode("utf-8", "surrogateescape"))
        if isinstance(module_frame, Answer):
            answered[module_frame.id] += 1
    plain = {id_: count for id_, count in asked.items() if id_.isalnum()}
    for id_, count in plain.items():
        # A broken line with a good id is answered too, so that there may be more of them.
        assert answered[id_] <= said.count(b"%%>message:" + id_.encode())
        assert answered[id_] >= count or not stands


def check(data: bytes) -> None:
    """Read the bytes as a script of the engine."""
    alone(_run(data))
