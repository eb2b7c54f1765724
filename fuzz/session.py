"""The engine's end of a connection. Invariant, whatever bytes a module sends, however cut:

- nothing is raised into the event loop, the session ends at the end of the stream, and no work,
  handler, watcher or waiting request is left behind (guarantee B3 for the other role);
- all that the engine says are lines that a module reads, none with a second line in it (F1);
- every message that the engine itself dispatches meanwhile comes back, within its timeouts;
- what a module's text does to the log is one line (F6).

Tolerated: none.
"""

from __future__ import annotations

import asyncio

from hypothesis import strategies as st

from yateway.engine import Engine
from yateway.transport import Transport
from yateway.wire.codec import from_bytes
from yateway.wire.reading import from_engine

from .material import MODULE_WORDS, lines, pieces, streams
from .sandbox import alone

#: Virtual seconds until a message that the engine dispatches must be back: one timeout of 10 s for
#: every handler that the input may have installed before it ran out, and as much again.
LONG = 3600.0
ROLES = ("", "global", "channel")
#: What starts programs or touches files is no part of a connection.
OUT_OF_REACH = (b"external/", b"wave/", b"script/")

SEEDS = [
    bytes((role, cut)) + b"\n".join(lines("A")[start : start + 12]) + b"\n"
    for role in range(3)
    for cut, start in ((0, 0), (7, 12), (9, 24), (3, 36))
]
SEEDS += [bytes((1, 0)) + line + b"\n" for line in lines("A")]
inputs = st.builds(
    lambda role, cut, stream: bytes((role, cut)) + stream,
    st.integers(0, 2),
    st.integers(0, 255),
    streams(MODULE_WORDS, "A"),
)


async def read(transport: Transport, said: bytearray) -> None:
    """Read until the engine closes."""
    while data := await transport.receive():
        said += data


def check_lines(said: bytes) -> None:
    """Read what an engine said; its last line may have been cut by the end."""
    for line in said.split(b"\n")[:-1]:
        # An error line repeats what came, and a module is told so only of lines it sent.
        from_engine(from_bytes(line))


async def _run(data: bytes) -> None:
    role, cut = ROLES[data[0] % 3] if data else "", data[1] if len(data) > 1 else 0
    said = bytearray()
    async with Engine() as engine:
        transport = await engine.open(role)
        reading = asyncio.create_task(read(transport, said))
        dispatching = []
        for piece in pieces(data[2:], cut):
            transport.write(piece)
            for name in ("call.route", "t.x", "engine.timer"):
                work = asyncio.create_task(engine.dispatch(name, called="5"))
                dispatching.append(work)
            await asyncio.sleep(0)
        async with asyncio.timeout(LONG):
            await asyncio.gather(*dispatching)
        await transport.close()
        async with asyncio.timeout(LONG):
            await reading
        assert not any(engine.handles(name) for name in ("call.route", "t.x", "", "engine.timer"))
        loop = asyncio.get_running_loop()
        gone = loop.time()
        assert not (await engine.dispatch("call.route", called="5")).processed
        assert loop.time() == gone, "who is gone is still waited for"
    check_lines(bytes(said))


def check(data: bytes) -> None:
    """Let a module send the bytes after the first two, which say the role and how they are cut."""
    for word in OUT_OF_REACH:
        data = data.replace(word, b"x" * len(word))
    alone(_run(data))
