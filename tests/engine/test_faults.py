"""Each fault against an echo, and against a module that has to live through it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from yateway import Module
from yateway.engine import Engine
from yateway.engine.faults import WRITE_LIMIT, FaultProxy, Faults, Toward, nemesis
from yateway.errors import ConfigError, ConnectionLost
from yateway.memory import memory_pair
from yateway.message import Message
from yateway.reconnect import Backoff
from yateway.serving import DEADLINE
from yateway.transport import Transport, opener_of

HOUR = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def turns(count: int = 50) -> None:
    """Let everything that can happen now happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def received(transport: Transport, count: int = 2**31) -> bytes:
    """Receive until there are so many bytes, or the stream ends."""
    data = bytearray()
    while len(data) < count and (more := await transport.receive()):
        data += more
    return bytes(data)


async def pieces(transport: Transport, count: int) -> list[tuple[float, bytes]]:
    """Receive so many bytes, and return them as they came, with their times."""
    start, found = now(), list[tuple[float, bytes]]()
    while sum(len(data) for _, data in found) < count:
        data = await transport.receive()
        assert data
        found.append((round(now() - start, 6), data))
    return found


async def is_quiet(transport: Transport, seconds: float = HOUR) -> bool:
    """Tell whether neither bytes nor the end come for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await transport.receive()
            return False
    return True


class Echo:
    """Says again what it hears, at the end of a network."""

    def __init__(self) -> None:
        self.network = Faults(self.open)
        self.heard: list[bytes] = []
        self.ended = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> Transport:
        near, far = memory_pair("echo:")
        self._tasks.append(asyncio.create_task(self._answer(far)))
        return near

    async def _answer(self, far: Transport) -> None:
        while data := await far.receive():
            self.heard.append(data)
            far.write(data)
        self.ended += 1
        await far.close()

    @classmethod
    @asynccontextmanager
    async def connected(cls) -> AsyncIterator[tuple[Echo, Faults, Transport]]:
        """Yield an echo, the network before it, and a connection; at the end nothing is left."""
        echo = cls()
        async with echo.network as network:
            yield echo, network, await network.open()
        await asyncio.gather(*echo._tasks)
        assert echo.ended == len(echo._tasks)


# Bytes, in memory


async def test_a_sound_network_is_not_noticed() -> None:
    """Bytes go both ways, the end goes on, and the transport is named after the wrapped one."""
    async with Echo.connected() as (echo, _, near):
        assert (near.name, near.single) == ("echo:", False)
        near.write(b"one\n")
        await near.drain()
        assert await received(near, 4) == b"one\n"
        near.write(b"last words")
        await near.close()
        assert await near.receive() == b""
        await turns()
        assert (b"".join(echo.heard), echo.ended) == (b"one\nlast words", 1)


async def test_a_transport_that_is_the_only_one_stays_it() -> None:
    """Whoever would open another learns that there is none."""
    near, _ = memory_pair()
    near.single = True

    async def opener() -> Transport:
        return near

    async with Faults(opener) as network:
        assert (await network.open()).single


async def test_an_opener_that_fails_leaves_nothing() -> None:
    """Its error comes through."""

    async def opener() -> Transport:
        raise FileNotFoundError

    async with Faults(opener) as network:
        with pytest.raises(FileNotFoundError):
            await network.open()


@pytest.mark.parametrize("size", [1, 3, 10, 11])
async def test_split_bytes_arrive_in_pieces(size: int) -> None:
    """The far end reads each piece by itself, and all of them at the same time."""
    async with Echo.connected() as (echo, network, near):
        network.split(size)
        near.write(b"0123456789")
        expected = [b"0123456789"[at : at + size] for at in range(0, 10, size)]
        assert await pieces(near, 10) == [(0.0, piece) for piece in expected]
        assert echo.heard == expected


async def test_each_piece_has_a_delay_of_its_own() -> None:
    """A delay makes nothing slower than itself, and the end is delayed like bytes."""
    async with Echo.connected() as (echo, network, near):
        network.delay(0.2, toward="engine")
        network.delay(0.3, toward="module")
        for byte in (b"a", b"b", b"c"):
            near.write(byte)
            await asyncio.sleep(0.01)
        assert await pieces(near, 3) == [(0.47, b"a"), (0.48, b"b"), (0.49, b"c")]
        await near.close()
        await asyncio.sleep(0.19)
        assert not echo.ended
        await asyncio.sleep(0.02)
        assert echo.ended


async def test_only_a_megabyte_is_on_its_way() -> None:
    """What follows waits at its sender and has its delay after that."""
    async with Echo.connected() as (_, network, near):
        network.delay(1.0, toward="engine")
        for _ in range(3):
            near.write(bytes(WRITE_LIMIT))
            await turns()
        assert [at for at, _ in await pieces(near, 3 * WRITE_LIMIT)] == [1.0, 2.0]


@pytest.mark.parametrize("rate", [0.5, 10.0, 3000.0])
async def test_a_drip_takes_its_time(rate: float) -> None:
    """One byte after the other, so many in a second."""
    async with Echo.connected() as (_, network, near):
        network.drip(rate, toward="engine")
        near.write(b"123")
        assert await pieces(near, 3) == [(round(n / rate, 6), b"%d" % n) for n in (1, 2, 3)]


@pytest.mark.parametrize("toward", ["engine", "module", None])
async def test_what_is_not_read_arrives_at_the_end_of_the_fault(toward: Toward) -> None:
    """For hours nothing comes; then all of it does, and the end too."""
    async with Echo.connected() as (echo, network, near):
        near.write(b"before ")
        assert await received(near, 7) == b"before "
        network.stall(toward=toward)
        near.write(b"during ")
        assert await is_quiet(near)
        near.write(b"it")
        await turns()
        assert len(echo.heard) == (3 if toward == "module" else 1)
        network.heal()
        assert await received(near, 9) == b"during it"


@pytest.mark.parametrize("toward", ["engine", "module", None])
async def test_in_silence_nothing_arrives_and_nothing_closes(toward: Toward) -> None:
    """Even the end vanishes; who heals it, resets what has a hole."""
    async with Echo.connected() as (echo, network, near):
        network.silence(toward=toward)
        near.write(b"hello?")
        assert await is_quiet(near)
        assert echo.heard == ([b"hello?"] if toward == "module" else [])
        assert not echo.ended
        network.heal()
        assert await near.receive() == b""
        await turns()
        assert echo.ended


async def test_in_silence_an_end_vanishes() -> None:
    """For the far end a connection stands that the near end closed hours ago."""
    async with Echo.connected() as (echo, network, near):
        network.silence(toward="engine")
        near.abort()
        await asyncio.sleep(HOUR)
        assert not echo.ended
        network.heal()
        await turns()
        assert echo.ended


async def test_a_silence_in_which_nobody_spoke_leaves_no_trace() -> None:
    """There is no hole, so that the connection goes on."""
    async with Echo.connected() as (_, network, near):
        network.silence()
        await asyncio.sleep(HOUR)
        network.heal()
        near.write(b"still here")
        assert await received(near, 10) == b"still here"


@pytest.mark.parametrize("after", [1, 4, 5, 9])
async def test_a_cut_lets_so_many_bytes_through(after: int) -> None:
    """Counted over several pieces; then both ends see the end, and no byte follows."""
    async with Echo.connected() as (echo, network, near):
        network.cut(after, toward="engine")
        for piece in (b"abcd\n", b"efgh\n"):
            near.write(piece)
            await turns()
        assert b"".join(echo.heard) == b"abcd\nefgh\n"[:after]
        assert echo.ended == 1
        await received(near)


@pytest.mark.parametrize(
    ("writes", "arrives"),
    [
        ([b"abcdef\nghi\n"], b"abc"),
        ([b"abcde"], b"abc"),
        ([b"a\n"], b"a"),
        ([b"a", b"b"], b"a"),
        ([b"\n", b"\n\n", b"abc\n"], b"\n\n\nab"),
        ([b"\na\n"], b"\na"),
    ],
)
async def test_a_cut_without_a_number_leaves_a_part_of_a_line(
    writes: list[bytes], arrives: bytes
) -> None:
    """Something of the line arrives, and its line feed does not."""
    async with Echo.connected() as (echo, network, near):
        network.cut(toward="engine")
        for data in writes:
            near.write(data)
            await turns()
        assert (b"".join(echo.heard), echo.ended) == (arrives, 1)


async def test_a_cut_ends_each_new_connection_too() -> None:
    """Each has its own count, until all is healed."""
    async with Echo.connected() as (_, network, first):
        network.cut(3, toward="module")
        for near in (first, await network.open(), await network.open()):
            near.write(b"12345")
            assert await received(near) == b"123"
        network.heal()
        near = await network.open()
        near.write(b"12345")
        assert await received(near, 5) == b"12345"


async def test_a_reset_is_sudden() -> None:
    """What is on its way is lost, at both ends; connections opened after it stand."""
    async with Echo.connected() as (echo, network, near):
        network.delay(1.0)
        near.write(b"lost")
        await turns()
        network.reset()
        assert await near.receive() == b""
        await turns()
        assert (echo.heard, echo.ended) == ([], 1)
        near = await network.open()
        near.write(b"new")
        assert await received(near, 3) == b"new"


async def test_a_connection_can_be_reset_as_soon_as_it_is_open() -> None:
    """Not even its tasks have begun."""
    async with Echo.connected() as (_, network, _):
        near = await network.open()
        network.reset()
        assert await near.receive() == b""


async def test_refused_connections_do_not_touch_those_that_stand() -> None:
    """As the system refuses them where nobody listens."""
    async with Echo.connected() as (echo, network, near):
        network.refuse()
        with pytest.raises(ConnectionRefusedError):
            await network.open()
        near.write(b"fine")
        assert await received(near, 4) == b"fine"
        network.heal()
        (await network.open()).abort()
        await turns()
        assert echo.ended == 1


async def test_a_black_hole_accepts_and_says_nothing() -> None:
    """The far end hears nothing of it; healed, it is reset. Connections that stand go on."""
    async with Echo.connected() as (echo, network, near):
        network.black_hole()
        hole, closed = await network.open(), await network.open()
        hole.write(b"hello?")
        await closed.close()
        assert await is_quiet(hole)
        assert not echo.heard
        near.write(b"fine")
        assert await received(near, 4) == b"fine"
        network.heal()
        assert await hole.receive() == b""
        (await network.open()).write(b"out again")
        await turns()
        assert echo.heard == [b"fine", b"out again"]


async def test_a_half_close_ends_a_stream_after_what_is_on_its_way() -> None:
    """In memory, where no end can stop writing alone, the connection ends with it."""
    async with Echo.connected() as (echo, network, near):
        network.delay(1.0, toward="module")
        near.write(b"before")
        await turns()
        network.half_close(toward="module")
        near.write(b"after")
        assert await received(near) == b"before"
        assert await near.receive() == b""
        await turns()
        assert echo.ended == 1


async def test_the_end_can_come_twice() -> None:
    """The second one, which the source says itself, does no harm."""
    async with Echo.connected() as (echo, network, near):
        network.half_close()
        network.half_close()
        assert await near.receive() == b""
        assert await near.receive() == b""
        near.abort()
        await turns()
        assert echo.ended == 1


async def test_faults_can_be_kept_from_connections_that_stand() -> None:
    """With `only_new` they befall those to come."""
    async with Echo.connected() as (_, network, old):
        network.silence(only_new=True)
        new = await network.open()
        for near in (old, new):
            near.write(b"hello")
        assert await received(old, 5) == b"hello"
        assert await is_quiet(new)


async def test_a_zero_switches_one_fault_off() -> None:
    """The others stay, also for what is on its way."""
    async with Echo.connected() as (_, network, near):
        network.delay(HOUR, toward="engine")
        network.split(1, toward="module")
        network.drip(1.0, toward="module")
        network.cut(2, toward="module")
        near.write(b"abc")
        await turns()
        network.delay(0)
        network.drip(0)
        network.cut(0)
        assert await pieces(near, 3) == [(0.0, b"a"), (0.0, b"b"), (0.0, b"c")]


async def test_healing_lets_go_what_was_held_back_in_its_order() -> None:
    """In the middle of a drip or a delay, and at that very time."""
    async with Echo.connected() as (_, network, near):
        network.drip(1.0, toward="engine")
        near.write(b"abcdef")
        await asyncio.sleep(2.5)
        network.delay(HOUR, toward="engine")
        near.write(b"ghi")
        await asyncio.sleep(1)
        network.heal()
        came = await pieces(near, 9)
        assert {at for at, _ in came} == {0.0}
        assert b"".join(data for _, data in came) == b"abcdefghi"


# A module, in memory


class Witness(Transport):
    """The module's end of a connection, overheard.

    Notes in `broken` each request that is not answered exactly once, and in time, while the link is
    up for all that the module can know (guarantee A1).
    """

    def __init__(self, inner: Transport, broken: list[str]) -> None:
        self.name = inner.name
        self._inner = inner
        self._broken = broken
        self._asked: dict[bytes, float] = {}
        self._rest = b""

    def _close_case(self, id_: bytes) -> None:
        if id_ not in self._asked:
            self._broken.append(f"{id_!r} was answered twice")
        elif (held := now() - self._asked.pop(id_)) > DEADLINE + 0.001:
            self._broken.append(f"{id_!r} was answered late, or never: after {held} s")

    async def receive(self) -> bytes:
        data = await self._inner.receive()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"%%>message:"):
                self._asked[line.split(b":")[1]] = now()
        if not data:
            self.abort()
        return data

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            if line.startswith(b"%%<message:"):
                self._close_case(line.split(b":")[1])
        self._inner.write(data)

    async def drain(self) -> None:
        await self._inner.drain()

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        # What was asked just now is answered to nobody.
        for id_ in tuple(self._asked):
            self._close_case(id_)
        self._inner.abort()


class Attached:
    """A module that routes, attached over a network to an engine."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.engine.install("t.hold", self._hold)
        self.network = Faults(self.engine.open)
        self.module = Module("router")
        self.up = asyncio.Event()
        self.broken: list[str] = []
        self.module.handler("call.route", 50)(self._route)
        self.module.on_connected(self.up.set)
        self.module.on_disconnected(self.up.clear)

    async def _hold(self, message: Message) -> bool:
        await asyncio.sleep(HOUR)
        return True

    async def _route(self, message: Message) -> str:
        # Some calls take longer than the module allows.
        await asyncio.sleep(DEADLINE + 1 if message["called"] == "slow" else 0.5)
        return f"sip/{message['called']}"

    async def _open(self) -> Transport:
        return Witness(await self.network.open(), self.broken)

    @classmethod
    @asynccontextmanager
    async def over_network(cls) -> AsyncIterator[Attached]:
        """Attach one; at the end nothing is left, and no promise was broken."""
        it = cls()
        async with it.engine, it.network:
            await it.module.attach(it._open)
            try:
                yield it
            finally:
                await it.module.detach()
        assert it.broken == []

    async def routes(self, called: str = "123") -> bool:
        """Tell whether the module routes a call; else the engine went on without it."""
        answer = await self.engine.dispatch("call.route", called=called)
        assert answer.processed == (answer.retvalue == f"sip/{called}")
        return answer.processed

    async def is_attached(self, within: float = 30.0) -> None:
        """Wait until the module is attached and routes a call."""
        async with asyncio.timeout(within):
            # An end that the module does not know of yet may still clear it.
            await self.up.wait()
            while not await self.routes():
                await asyncio.sleep(0.1)


Inflict = Callable[[Faults], None]

#: Slow or odd, but nothing is lost and nothing ends.
HARMLESS: dict[str, Inflict] = {
    "split": lambda network: network.split(1),
    "delay": lambda network: network.delay(0.5),
    "delay toward the engine": lambda network: network.delay(1.0, toward="engine"),
    "drip": lambda network: network.drip(2000.0),
    "refuse": lambda network: network.refuse(),
    "black hole": lambda network: network.black_hole(),
}
#: The module notices at once, or with the next line.
DEADLY: dict[str, Inflict] = {
    "cut in a line toward the engine": lambda network: network.cut(toward="engine"),
    "cut in a line toward the module": lambda network: network.cut(toward="module"),
    "cut": lambda network: network.cut(10),
    "reset": lambda network: network.reset(),
    "half close toward the engine": lambda network: network.half_close(toward="engine"),
    "half close toward the module": lambda network: network.half_close(toward="module"),
    "half close": Faults.half_close,
}
#: The module notices nothing until they are healed.
QUIET: dict[str, Inflict] = {
    f"{verb} toward {toward}": lambda network, verb=verb, toward=toward: getattr(network, verb)(  # type: ignore[misc]
        toward=toward
    )
    for verb in ("stall", "silence")
    for toward in ("engine", "module", None)
}


def each(faults: dict[str, Inflict]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("inflict", faults.values(), ids=faults)


@each(HARMLESS)
async def test_harmless_faults_cost_no_request(inflict: Inflict) -> None:
    """Each request is answered, and the module stays attached."""
    async with Attached.over_network() as it:
        inflict(it.network)
        assert all(await asyncio.gather(*(it.routes(str(number)) for number in range(10))))
        assert it.up.is_set()
        it.network.heal()
        assert await it.routes()


@each(HARMLESS | DEADLY | QUIET)
@pytest.mark.parametrize("seconds", [1, 5, 30, 120])
async def test_after_every_fault_the_module_is_attached_again(
    inflict: Inflict, seconds: float
) -> None:
    """It routes calls again soon after the fault is over, however long that took (E9)."""
    async with Attached.over_network() as it:
        under_way = asyncio.create_task(it.routes())
        await asyncio.sleep(0.1)
        inflict(it.network)
        await asyncio.sleep(seconds)
        it.network.heal()
        await it.is_attached()
        await under_way


@each(DEADLY)
async def test_who_waits_hears_of_the_end(inflict: Inflict) -> None:
    """Requests of the module fail with ConnectionLost in that very moment."""
    async with Attached.over_network() as it:
        waiting = [asyncio.create_task(it.module.dispatch("t.hold")) for _ in range(3)]
        await asyncio.sleep(0.1)
        then = now()
        inflict(it.network)
        # A cut takes place in the next line.
        with suppress(ConnectionLost):
            await it.module.getlocal("engine.version")
        for task in waiting:
            with pytest.raises(ConnectionLost):
                await task
        assert now() == then
        await turns()


async def test_a_module_can_leave_in_the_moment_in_which_its_link_ends() -> None:
    """`detach` raises nothing when who waited has just heard that the link is lost."""
    async with Attached.over_network() as it:
        waiting = asyncio.create_task(it.module.dispatch("t.hold"))
        await asyncio.sleep(0.1)
        it.network.reset()
        with pytest.raises(ConnectionLost):
            await waiting
        await it.module.detach()


@pytest.mark.parametrize("toward", ["engine", "module", None])
async def test_who_waits_while_nothing_is_read_is_answered_after_all(toward: Toward) -> None:
    """Nothing vanished, so that the answer comes at the end of a fault of less than 15 s."""
    async with Attached.over_network() as it:
        it.network.stall(toward=toward)
        waiting = asyncio.create_task(it.module.getlocal("engine.version"))
        await asyncio.sleep(14)
        assert not waiting.done()
        it.network.heal()
        then = now()
        assert await waiting
        assert now() == then


@pytest.mark.parametrize("toward", ["engine", "module", None])
async def test_who_waits_in_silence_hears_of_the_end_with_the_reset(toward: Toward) -> None:
    """Until then nobody can know, or for 15 s: then the module drops the link by itself."""
    async with Attached.over_network() as it:
        it.network.silence(toward=toward)
        waiting = asyncio.create_task(it.module.getlocal("engine.version"))
        await asyncio.sleep(14)
        assert not waiting.done()
        it.network.heal()
        then = now()
        with pytest.raises(ConnectionLost):
            await waiting
        assert now() == then


@pytest.mark.parametrize("inflict", [Faults.refuse, Faults.black_hole, Faults.silence])
async def test_a_module_attaches_once_it_can(inflict: Inflict) -> None:
    """It tries again and again while the network lets it not."""
    async with Engine() as engine, Faults(engine.open) as network:
        module = Module("patient")
        inflict(network)
        attaching = asyncio.create_task(module.attach(network.open))
        await asyncio.sleep(100)
        assert not attaching.done()
        network.heal()
        async with asyncio.timeout(30):
            await attaching
        await module.detach()


async def test_a_module_that_leaves_in_silence_leaves_nothing() -> None:
    """The engine hears of it when the network is healed, or at the end."""
    async with Attached.over_network() as it:
        it.network.silence()
        await it.module.detach()
        assert it.engine.handles("call.route")
        it.network.heal()
        await turns()
        assert not it.engine.handles("call.route")


# Nemesis


@pytest.mark.parametrize("seed", range(8))
async def test_no_mixture_of_faults_breaks_a_promise(seed: int) -> None:
    """Under load from both sides, and soon after it all the module routes calls (E10)."""
    random.seed(seed)  # of the module's delays between attempts: a failure comes again
    async with Attached.over_network() as it:
        outcomes: list[bool] = []

        async def ask(called: str) -> None:
            while True:
                outcomes.append(await it.routes(called))
                await asyncio.sleep(0.1)

        async def tell() -> None:
            while True:
                with suppress(ConnectionLost, TimeoutError):
                    await it.module.dispatch("t.x")
                await asyncio.sleep(0.1)

        work = [ask("1"), ask("2"), ask("slow"), tell(), tell()]
        load = [asyncio.create_task(each) for each in work]
        then = now()
        deeds = await nemesis(it.network, seed, 60.0)
        assert now() - then == pytest.approx(60.0)
        assert len(deeds) > 15
        await it.is_attached()
        assert True in outcomes
        for task in load:
            task.cancel()
        await asyncio.wait(load)


async def test_a_seed_replays_what_was_done() -> None:
    """The same deeds at the same times; another seed does others."""
    async with Echo.connected() as (_, network, _):
        first, again, other = [await nemesis(network, seed, 30.0) for seed in (7, 7, 8)]
        assert first == again != other
        verbs = [deed.split()[1] for deed in await nemesis(network, 1, 300.0)]
        assert set(verbs[:14]) == set(verbs)
        assert len(set(verbs)) == 11


async def test_a_nemesis_that_is_cancelled_heals() -> None:
    """Whoever ends it early has a sound network."""
    async with Echo.connected() as (_, network, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await nemesis(network, 3, HOUR)
        near = await network.open()
        near.write(b"sound")
        assert await received(near, 5) == b"sound"


# Over sockets

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
each_kind = pytest.mark.parametrize("kind", ["tcp", "unix"])
#: More than all buffers between two ends of a proxy can hold.
FLOOD = 32 * 1024 * 1024


class Far:
    """What listens behind a proxy, and what connects in front of it: asyncio's own streams."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.accepted: asyncio.Queue[Streams] = asyncio.Queue()
        self._kind = kind
        self._folder = folder
        self._writers: list[asyncio.StreamWriter] = []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await self.accepted.put((reader, writer))

    @asynccontextmanager
    async def proxied(self) -> AsyncIterator[FaultProxy]:
        """Yield a proxy that leads here; nothing is left at the end, not even a file."""
        path = str(self._folder / "far")
        if self._kind == "unix":
            server = await asyncio.start_unix_server(self._accept, path)
            url, listen = f"unix://{path}", f"unix://{self._folder / 'proxy'}"
        else:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            listen = "tcp://localhost:0"
        async with server:
            async with FaultProxy(url, listen=listen) as self.proxy:
                yield self.proxy
            await turns()  # what the proxy dialled last is accepted
            for writer in self._writers:
                writer.transport.abort()
                with suppress(ConnectionError):
                    await writer.wait_closed()
        assert not (self._folder / "proxy").exists()

    async def dial(self) -> Streams:
        """Connect to the proxy."""
        place = self.proxy.url.partition("://")[2]
        if self._kind == "unix":
            reader, writer = await asyncio.open_unix_connection(place)
        else:
            host, _, port = place.partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
        self._writers.append(writer)
        return reader, writer

    async def connect(self) -> tuple[Streams, Streams]:
        """Return both ends of a connection through the proxy."""
        near = await self.dial()
        return near, await self.accepted.get()


@pytest.mark.real_clock
@each_kind
async def test_a_proxy_carries_both_directions_and_both_ends(kind: str, tmp_path: Path) -> None:
    """Who has stopped writing can still read, as over one connection."""
    far = Far(kind, tmp_path)
    async with far.proxied():
        (near_reader, near_writer), (reader, writer) = await far.connect()
        near_writer.write(b"question")
        near_writer.write_eof()
        assert await reader.read() == b"question"
        writer.write(b"answer")
        writer.close()
        assert await near_reader.read() == b"answer"


@pytest.mark.real_clock
@each_kind
async def test_a_half_close_over_sockets_leaves_the_other_direction(
    kind: str, tmp_path: Path
) -> None:
    """What the source says after it vanishes."""
    far = Far(kind, tmp_path)
    async with far.proxied() as proxy:
        (near_reader, near_writer), (reader, writer) = await far.connect()
        near_writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        proxy.faults.half_close(toward="engine")
        assert await reader.read() == b""
        near_writer.write(b"vanishes")
        writer.write(b"still there")
        assert await near_reader.readexactly(11) == b"still there"
        near_writer.close()
        writer.close()


@pytest.mark.real_clock
@each_kind
@pytest.mark.parametrize("side", ["network", "engine", "module"])
async def test_a_reset_of_sockets_is_one(kind: str, side: str, tmp_path: Path) -> None:
    """RST over TCP, by command or because one end was reset; a UNIX socket just ends."""
    far = Far(kind, tmp_path)
    async with far.proxied() as proxy:
        ends = near, there = await far.connect()
        near[1].write(b"x")
        assert await there[0].readexactly(1) == b"x"
        if side == "network":
            proxy.faults.reset()
        else:
            reset = (there if side == "engine" else near)[1]
            sock: socket.socket = reset.get_extra_info("socket")
            if kind == "tcp":
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            reset.transport.abort()
        for reader, writer in ends:
            if kind == "unix" or (side, (reader, writer)) in [("engine", there), ("module", near)]:
                assert await reader.read() == b""
            else:
                with pytest.raises(ConnectionResetError):
                    await reader.read()


@pytest.mark.real_clock
@each_kind
async def test_who_stops_reading_stops_the_writer(kind: str, tmp_path: Path) -> None:
    """The writer's buffers fill and stay full; healed, every byte arrives."""
    far = Far(kind, tmp_path)
    async with far.proxied() as proxy:
        (_, near_writer), (reader, _) = await far.connect()
        proxy.faults.stall(toward="engine")
        near_writer.write(bytes(FLOOD))
        await turns(500)
        assert near_writer.transport.get_write_buffer_size() > FLOOD / 2
        proxy.faults.heal()
        left = FLOOD
        while left:
            left -= len(await reader.read(WRITE_LIMIT))


@pytest.mark.real_clock
@each_kind
async def test_a_proxy_splits_and_cuts(kind: str, tmp_path: Path) -> None:
    """Each piece is read by itself, and after the cut both ends are told."""
    far = Far(kind, tmp_path)
    async with far.proxied() as proxy:
        (near_reader, near_writer), (reader, _) = await far.connect()
        proxy.faults.split(2, toward="engine")
        proxy.faults.cut(5, toward="engine")
        near_writer.write(b"abcdefgh\n")
        assert [await reader.read(100) for _ in range(4)] == [b"ab", b"cd", b"e", b""]
        assert await near_reader.read() == b""


@pytest.mark.real_clock
@each_kind
async def test_silence_over_sockets(kind: str, tmp_path: Path) -> None:
    """Even a reset vanishes; healed, what is left hears of it."""
    far = Far(kind, tmp_path)
    async with far.proxied() as proxy:
        (near_reader, near_writer), (reader, writer) = await far.connect()
        proxy.faults.silence()
        near_writer.write(b"hello?")
        if kind == "tcp":
            linger = struct.pack("ii", 1, 0)
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        waiting = asyncio.create_task(near_reader.read())
        await turns(200)
        assert not waiting.done()
        assert await reader.read() == b""
        proxy.faults.heal()
        done = await asyncio.gather(waiting, return_exceptions=True)
        assert done[0] == b"" or isinstance(done[0], ConnectionResetError)


@pytest.mark.real_clock
@each_kind
@pytest.mark.parametrize("fault", [Faults.refuse, Faults.black_hole])
async def test_a_proxy_keeps_its_address_from_those_it_leads_nowhere(
    kind: str, fault: Inflict, tmp_path: Path
) -> None:
    """Refused ones are reset, swallowed ones hear nothing; healed, the next gets through."""
    far = Far(kind, tmp_path)
    async with far.proxied() as proxy:
        fault(proxy.faults)
        reader, writer = await far.dial()
        waiting = asyncio.create_task(reader.read())
        if fault is Faults.black_hole:
            writer.write(b"hello?")
            await turns(200)
            assert not waiting.done()
        else:
            await asyncio.wait([waiting])
        proxy.faults.heal()
        done = await asyncio.gather(waiting, return_exceptions=True)
        assert done[0] == b"" or isinstance(done[0], ConnectionResetError)
        _, (reader, _) = await far.connect()
        assert far.accepted.empty()


@pytest.mark.real_clock
async def test_where_nobody_listens_the_proxy_resets(tmp_path: Path) -> None:
    """It cannot know before that it leads nowhere."""
    async with FaultProxy(f"unix://{tmp_path}/nobody") as proxy:
        near = await opener_of(proxy.url)()
        assert await near.receive() == b""
        await near.close()


@pytest.mark.real_clock
async def test_a_proxy_may_end_at_any_time(tmp_path: Path) -> None:
    """Also in the turns in which it accepts and dials; nothing stays open."""
    for count in range(12):
        far = Far("unix", tmp_path)
        async with far.proxied():
            _, writer = await far.dial()
            await turns(count)
        async with asyncio.timeout(5):
            await writer.wait_closed()


async def test_a_proxy_stays_on_this_machine() -> None:
    """Neither end can be somewhere else."""
    with pytest.raises(ConfigError):
        FaultProxy("tcp://192.0.2.1:5678")
    with pytest.raises(ConfigError):
        FaultProxy("tcp://127.0.0.1:5678", listen="tcp://0.0.0.0:0")


@pytest.mark.real_clock
async def test_two_proxies_do_not_share_a_port() -> None:
    """The second is told."""
    async with FaultProxy("tcp://127.0.0.1:1") as proxy:
        with pytest.raises(OSError, match="in use"):
            async with FaultProxy("tcp://127.0.0.1:1", listen=proxy.url):
                pytest.fail("two listen")


@pytest.mark.real_clock
@each_kind
async def test_a_module_lives_through_faults_of_a_proxy(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It attaches again and routes calls, after single faults and after all kinds of them."""
    for name in ("BASE", "CAP", "FIRST"):
        monkeypatch.setattr(Backoff, name, 0.01)
    path = f"unix://{tmp_path}"
    listen, url = ("tcp://127.0.0.1:0",) * 2 if kind == "tcp" else (f"{path}/far", f"{path}/proxy")
    engine = Engine(listen=[listen])
    module = Module("router")
    up = asyncio.Event()
    module.on_connected(up.set)
    module.on_disconnected(up.clear)
    module.handler("call.route")(lambda message: f"sip/{message['called']}")
    async with engine, FaultProxy(engine.urls[0], listen=url) as proxy:
        await module.attach(opener_of(proxy.url))
        for ended in (Faults.reset, Faults.half_close):
            up.clear()
            ended(proxy.faults)
            await up.wait()
            assert (await engine.dispatch("call.route", called="1")).retvalue == "sip/1"
        for seed in (1, 2):
            await nemesis(proxy.faults, seed, 0.3)
            async with asyncio.timeout(10):
                while not (await engine.dispatch("call.route", called="1")).processed:
                    await asyncio.sleep(0.01)
        await module.detach()
