"""A network that misbehaves on command, between a module and an engine: in memory, or as a proxy.

It must not know messages, nor change or reorder bytes: what arrives is a beginning of what was
sent. It follows the loop's clock alone: on a virtual one, an outage of an hour takes no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal, Self, TypeAlias

from ..memory import memory_pair
from ..transport import Opener, Transport
from .listeners import Address

__all__ = ["WRITE_LIMIT", "FaultProxy", "Faults", "Toward", "nemesis"]

Toward: TypeAlias = Literal["engine", "module"] | None
"""Where the bytes go that a fault befalls; None for both directions."""

WRITE_LIMIT = 1024 * 1024  # bytes that may be on their way in one direction
IN_LINE = -1  # stands for as many bytes as leave a part of the next line
NOWHERE = "nowhere:"
DIRECTED = ("split", "delay", "drip", "stall", "silence", "cut", "half_close")
# What lasts hides what comes after it, so that the nemesis often heals.
GENERAL = ("refuse", "black_hole", "reset", "heal", "heal", "heal", "heal")
_LINE = re.compile(rb"(\n*)[^\n]+")


@dataclass(frozen=True, slots=True)
class _Weather:
    """The faults of one direction; see the verbs of `Faults`."""

    split: int = 0
    delay: float = 0.0
    rate: float = 0.0
    stalled: bool = False
    silent: bool = False
    cut: int = 0


class _Lane:
    """One direction of one connection: takes bytes in, and delivers what its weather leaves."""

    def __init__(self, source: Transport, sink: Transport, weather: _Weather) -> None:
        self.weather = weather
        self.lost = False  # something vanished: what follows it would make no sense
        self._source, self._sink = source, sink
        self._source_ended = self._sink_ended = False
        self._time = asyncio.get_running_loop().time
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._changed = asyncio.Event()

    def change(self, weather: _Weather) -> None:
        self.weather = weather
        self._changed.set()

    def take(self, data: bytes) -> None:
        """Take in bytes, or the end if there are none; each has a delay of its own."""
        self._queue.append((self._time(), data))
        self._queued += len(data)
        self._changed.set()

    async def read(self) -> None:
        while not self._source_ended:
            await self._wait(lambda _: inf if self._queued >= WRITE_LIMIT else 0.0)
            try:
                data = await self._source.receive()
            except OSError:
                if not self.weather.silent:
                    raise
                data = b""
            self._source_ended = not data
            self.take(data)

    async def deliver(self) -> None:
        while self._queue or not self._source_ended:
            await self._wait(lambda _: 0.0 if self._queue else inf)
            taken, data = self._queue.popleft()
            await self._wait(lambda weather: weather.delay, since=taken)
            if data:
                await self._pass_on(memoryview(data))
            elif self.weather.silent:
                self.lost = True
            else:
                self._sink_ended = True
                # A transport that cannot stop writing alone closes.
                await getattr(self._sink, "end", self._sink.close)()
        if not self._sink_ended:
            # The end vanished too: the far end learns nothing until the connection is reset.
            await asyncio.Event().wait()

    async def _pass_on(self, data: memoryview) -> None:
        while data:
            await self._wait(lambda weather: weather.rate and 1 / weather.rate, since=self._time())
            weather = self.weather
            line = _LINE.match(data) if weather.cut == IN_LINE else None
            cut = (line.end(1) + line.end() + 1) // 2 if line else max(weather.cut, 0)
            sizes = (len(data), cut, weather.split, int(weather.rate > 0))
            size = min(size for size in sizes if size > 0)
            piece, data = bytes(data[:size]), data[size:]
            self._queued -= size
            self._changed.set()
            if weather.silent or self._sink_ended:
                self.lost = True
                continue
            self._sink.write(piece)
            if cut == size:
                self._sink_ended = True
                await self._sink.close()
                await self._source.close()
            elif cut:
                self.weather = replace(weather, cut=cut - size)
            await self._sink.drain()
            for _ in range(3 if weather.split else 0):
                await asyncio.sleep(0)  # until the far end has read it, also from a socket

    async def _wait(self, seconds: Callable[[_Weather], float], *, since: float = 0.0) -> None:
        """Wait for so long, and while it is stalled; the weather may change meanwhile."""
        while True:
            when = inf if self.weather.stalled else since + seconds(self.weather)
            if when <= self._time():
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if when == inf else when):
                    await self._changed.wait()


class _Socket(Transport):
    """An end that can be reset and can stop writing alone. `receive` and `drain` raise OSError."""

    def __init__(self, name: str, *streams: Any) -> None:
        self.name = name
        self._reader: asyncio.StreamReader = streams[0]
        self._writer: asyncio.StreamWriter = streams[1]

    async def receive(self) -> bytes:
        return await self._reader.read(WRITE_LIMIT)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    async def end(self) -> None:
        if not self._writer.is_closing():
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        sock: socket.socket | None = self._writer.get_extra_info("socket")
        if sock and sock.family != socket.AF_UNIX and sock.fileno() >= 0:
            # Without lingering, the kernel says RST.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class _Wire:
    """One connection: an end near the module, one at the engine, and a lane each way."""

    def __init__(self, near: Transport, far: Transport, weather: Mapping[str, _Weather]) -> None:
        self._ends = near, far
        self.lanes = {
            "engine": _Lane(near, far, weather["engine"]),
            "module": _Lane(far, near, weather["module"]),
        }
        self.task = asyncio.get_running_loop().create_task(self._run())

    def reset(self) -> None:
        for end in self._ends:
            end.abort()
        self.task.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as stages:
                for lane in self.lanes.values():
                    stages.create_task(lane.read())
                    stages.create_task(lane.deliver())
        except* OSError:
            self.reset()
        finally:
            await asyncio.gather(*(end.close() for end in self._ends))


class Faults(contextlib.AbstractAsyncContextManager["Faults"]):
    """A network between modules and an engine; the end of `async with` resets what is left.

        async with Engine() as engine, Faults(engine.open) as network:
            await module.attach(network.open)
            network.delay(0.2, toward="engine")

    A fault lasts until `heal`, for all connections: those that stand and those to come, or with
    `only_new` those to come. Faults add up; 0 switches one off. Ends in memory never wait to write,
    and to them a reset is a sudden end and a half close a close; those of a proxy are sockets.

    Args:
        opener: opens connections to the engine.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._weather = {"engine": _Weather(), "module": _Weather()}
        self._refusing = self._swallowing = False
        self._wires: dict[_Wire, None] = {}  # in their order, so that a seed replays

    async def __aexit__(self, *exc: object) -> None:
        if tasks := [wire.task for wire in self._wires]:
            self.reset()
            await asyncio.wait(tasks)

    async def open(self) -> Transport:
        """Open a connection through the network; this method is an `Opener`.

        Raises:
            ConnectionRefusedError: the network refuses connections.
            OSError, ConfigError: from the opener.
        """
        near, theirs = memory_pair()
        far = await self._connect(near)
        theirs.name, theirs.single = far.name, far.single
        return theirs

    async def _connect(self, near: Transport) -> Transport:
        if self._refusing:
            raise ConnectionRefusedError("the network refuses connections")
        far = memory_pair(NOWHERE)[0] if self._swallowing else await self._opener()
        wire = _Wire(near, far, self._weather)
        wire.lanes["engine"].lost = far.name == NOWHERE
        self._wires[wire] = None
        wire.task.add_done_callback(lambda _: self._wires.pop(wire))
        return far

    def _set(self, toward: Toward, only_new: bool, **faults: Any) -> None:
        for direction in self._weather if toward is None else (toward,):
            self._weather[direction] = replace(self._weather[direction], **faults)
            for wire in () if only_new else self._wires:
                lane = wire.lanes[direction]
                lane.change(replace(lane.weather, **faults))

    def split(self, size: int, *, toward: Toward = None, only_new: bool = False) -> None:
        """Let bytes arrive in pieces of `size`, each read by itself: with 1, byte by byte."""
        self._set(toward, only_new, split=size)

    def delay(self, seconds: float, *, toward: Toward = None, only_new: bool = False) -> None:
        """Let bytes and ends arrive so many seconds later; at most 1 MiB is on its way."""
        self._set(toward, only_new, delay=seconds)

    def drip(self, rate: float, *, toward: Toward = None, only_new: bool = False) -> None:
        """Let bytes arrive one by one, `rate` in a second."""
        self._set(toward, only_new, rate=rate)

    def stall(self, *, toward: Toward = None, only_new: bool = False) -> None:
        """Stop reading: bytes wait at their sender, as while a cable is out."""
        self._set(toward, only_new, stalled=True)

    def silence(self, *, toward: Toward = None, only_new: bool = False) -> None:
        """Be half-open, as with a dead peer: bytes and ends vanish, and nothing closes."""
        self._set(toward, only_new, silent=True)

    def cut(self, after: int = IN_LINE, *, toward: Toward = None, only_new: bool = False) -> None:
        """Close connections after so many more bytes; without a number, inside the next line."""
        self._set(toward, only_new, cut=after)

    def refuse(self) -> None:
        """Refuse new connections. A proxy resets them once they stand, and so keeps its port."""
        self._refusing = True

    def black_hole(self) -> None:
        """Accept new connections that lead nowhere and say nothing."""
        self._swallowing = True

    def reset(self) -> None:
        """Reset the connections that stand; what is on its way is lost."""
        for wire in tuple(self._wires):
            wire.reset()

    def half_close(self, *, toward: Toward = None) -> None:
        """End streams after what is on its way. What follows vanishes; the end comes once more."""
        for wire in self._wires:
            for direction in self._weather if toward is None else (toward,):
                wire.lanes[direction].take(b"")

    def heal(self) -> None:
        """End all faults: what was held back arrives at once.

        A connection from which bytes vanished is reset, as by a peer that does not know it.
        """
        self._weather = dict.fromkeys(self._weather, _Weather())
        self._refusing = self._swallowing = False
        for wire in tuple(self._wires):
            if any(lane.lost for lane in wire.lanes.values()):
                wire.reset()
            for lane in wire.lanes.values():
                lane.change(_Weather())


class FaultProxy:
    """The same network as a proxy on this machine, over sockets; `faults` has the verbs.

        async with FaultProxy("tcp://127.0.0.1:5678") as proxy:
            proxy.faults.stall()

    Args:
        url: where connections lead.
        listen: where modules connect; port 0 takes a free one.

    Raises:
        ConfigError: an address cannot be used, or leads outside this machine.
    """

    def __init__(self, url: str, *, listen: str = "tcp://127.0.0.1:0") -> None:
        self._target, self._address = Address.from_url(url), Address.from_url(listen)
        self.faults = Faults(self._dial)
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where modules connect; a free port is known once the proxy runs."""
        return self._address.url

    async def __aenter__(self) -> Self:
        """Begin to listen, or raise OSError where the address is taken."""
        address = self._address
        if address.path:
            self._socket = socket.create_server(address.path, family=socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            self._socket = socket.create_server((address.host, address.port), family=family)
            self._address = replace(address, port=self._socket.getsockname()[1])
        asyncio.get_running_loop().add_reader(self._socket, self._accept)
        return self

    async def __aexit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._address.path)
        await asyncio.gather(*self._serving)
        await self.faults.__aexit__()

    def _accept(self) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(self._socket.accept()[0]))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, sock: socket.socket) -> None:
        if sock.family != socket.AF_UNIX:
            # asyncio does so for what it dials only; the proxy must add no delay of its own.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near = _Socket(self.url, *await asyncio.open_connection(sock=sock))
        try:
            await self.faults._connect(near)
        except OSError:
            near.abort()

    async def _dial(self) -> Transport:
        host, port, path = self._target.host, self._target.port, self._target.path
        dial = asyncio.open_unix_connection(path) if path else asyncio.open_connection(host, port)
        return _Socket(self._target.url, *await dial)


async def nemesis(network: Faults, seed: int, duration: float) -> list[str]:
    """Let faults befall a network for so many seconds, each kind before any again; then heal it.

    Returns:
        What was done, each deed with its time in seconds. The same seed does the same again.
    """
    dice = random.Random(seed)  # noqa: S311  what is wanted is that the seed tells all
    loop = asyncio.get_running_loop()
    begun, at = loop.time(), 0.0
    deeds, deck = list[str](), list[str]()
    try:
        while (at := at + dice.uniform(0.0, min(4.0, duration / 5))) < duration:
            await asyncio.sleep(begun + at - loop.time())
            deck = deck or dice.sample(DIRECTED + GENERAL, len(DIRECTED + GENERAL))
            verb = deck.pop()
            values = {"split": dice.randint(1, 9), "cut": dice.choice((IN_LINE, *range(1, 500)))}
            values |= {"delay": dice.randint(1, 1000) / 1000, "drip": dice.randint(50, 5000)}
            given = [values[verb]] if verb in values else []
            toward = {"toward": dice.choice(("engine", "module", None))} if verb in DIRECTED else {}
            getattr(network, verb)(*given, **toward)
            deeds.append(f"{at:.3f} {verb} {given} {toward}")
        await asyncio.sleep(begun + duration - loop.time())
    finally:
        network.heal()
    return deeds
