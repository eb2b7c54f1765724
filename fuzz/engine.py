"""The embedded engine as a whole: two modules, calls, and time. Invariant, whatever they send:

- nothing is raised into the event loop, and whatever was dispatched or called comes to an end;
- no program is started, no file written, no address connected to;
- stopping the engine ends within its own delays and leaves no task;
- all that the engine says are lines that a module reads (F1).

Tolerated: `ConnectionLost` for who waits while the engine is stopped. The input names neither
scripts nor files: the drivers that touch them are left out, and tested by themselves.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from yateway.engine import Engine
from yateway.errors import ConnectionLost
from yateway.transport import Transport

from .material import COMMON_WORDS, MODULE_WORDS, as_script, lines, script, scripts
from .sandbox import alone
from .session import OUT_OF_REACH, check_lines, read

VERBS = 8
LONG = 7200.0
CONF = Path(__file__).parent / "conf"

WORDS = (
    *MODULE_WORDS, *COMMON_WORDS, b"call.execute", b"chan.masquerade", b"chan.attach", b"dumb/",
    b"callto=dumb/", b"callto=fork", b":callto.1=dumb/", b":callto.2=sim/7", b"callto=sim/5",
    b"callto=conf/1", b"callto=tone/ring", b":source=tone/dial", b":id=dumb/1", b"targetid",
    b"call.answered", b"call.drop", b"chan.dtmf", b":text=5", b":message=call.answered",
    b"chan.connect", b":reason=busy", b"engine.status", b"engine.command", b"call.conference",
    b"chan.disconnected", b"chan.hangup", b"chan.notify", b"call.progress", b":peerid=dumb/2",
    b"%%>message:c1:0:call.execute::callto=dumb/:target=5\n",
    b"%%>message:c2:0:chan.masquerade::id=dumb/1:message=chan.attach:source=tone/ring\n",
    b"%%>message:c3:0:call.execute::id=dumb/1:callto=fork:callto.1=dumb/:callto.2=sim/7\n",
    b"%%>message:c4:0:call.conference::id=dumb/1:room=1\n",
    b"%%>message:c5:0:chan.masquerade::id=dumb/2:message=call.execute:callto=conf/1\n",
    b"%%>message:c6:0:call.drop::id=dumb/1:reason=busy\n",
    b"%%>message:c7:0:chan.connect::id=dumb/1:targetid=dumb/2\n",
    b"%%>message:c8:0:engine.status::module=dumb\n",
)  # fmt: skip
SEEDS = [
    as_script(
        (0, b"%%>connect:global\n%%>install:50:call.route\n%%>watch:\n"),
        (1, b"%%>connect:channel\n"),
        (5, b"12"),
        (0, line),
        (4, b"x" * 40),
        (1, line),
        (7, b""),
    )
    for line in (*WORDS[-8:], *(one + b"\n" for one in lines("A")[::2]))
]
inputs = scripts(VERBS, WORDS, "A")


class Exchange:
    """An engine with two connections, and what is under way in it."""

    def __init__(self, engine: Engine, transports: list[Transport]) -> None:
        self.engine = engine
        self.transports = transports
        self.said = [bytearray() for _ in transports]
        self.reading = [
            asyncio.create_task(read(transport, said))
            for transport, said in zip(transports, self.said, strict=True)
        ]
        self.working: list[asyncio.Task[None]] = []

    async def do(self, verb: int, data: bytes) -> None:
        """Let a module speak, somebody call, or time pass."""
        text = data.decode("utf-8", "surrogateescape")
        if verb in (0, 1, 2, 3):
            self.transports[verb % 2].write(data)
        elif verb == 4:
            await asyncio.sleep(len(data) / 4)
        elif verb == 5 and "\0" not in text:
            self.working.append(asyncio.create_task(self._call(text)))
        elif verb == 6 and "\0" not in text:
            self.working.append(asyncio.create_task(self._dispatch(text)))
        elif verb == 7:
            self.engine.drop()
        await asyncio.sleep(0)

    async def _call(self, number: str) -> None:
        with suppress(ConnectionLost):
            leg = await self.engine.call(number, "100")
            leg.press("5")
            await asyncio.sleep(1)
            leg.hang_up("")

    async def _dispatch(self, name: str) -> None:
        with suppress(ConnectionLost):
            await self.engine.dispatch(name or "t.x", {"id": "dumb/1", "callto": "dumb/"})


async def _run(data: bytes) -> None:
    async with Engine(conf=CONF) as engine:
        exchange = Exchange(engine, [await engine.open() for _ in range(2)])
        for verb, argument in script(data):
            await exchange.do(verb % VERBS, argument)
        for transport in exchange.transports:
            await transport.close()
        async with asyncio.timeout(LONG):
            await asyncio.gather(*exchange.reading, *exchange.working)
    for said in exchange.said:
        check_lines(bytes(said))


def check(data: bytes) -> None:
    """Read the bytes as a script of modules, callers and time."""
    for word in OUT_OF_REACH:
        data = data.replace(word, b"x" * len(word))
    alone(_run(data))
