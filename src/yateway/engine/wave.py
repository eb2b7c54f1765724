"""Files of sound: `wave/play/FILE` and `wave/record/FILE`, as source, consumer and channel.

It must not decide which files may be touched: like the real engine it opens what it is told, with
the rights of its own process (engine.md Y15). Files are linear 16 bits at 8 kHz (.slin, .wav and
all unknown ones, a .wav's header being played as sound, as the real one does), G.711 (.alaw, .A,
.mulaw, .u), or .au with its header. Others (.gsm, .g722, .g729, .ilbc20) are never translated, as
in a real engine without codecs: they are played to recorders of the same kind, and to nobody else.
"""

from __future__ import annotations

import asyncio
import re
import struct
from pathlib import Path
from typing import BinaryIO, Final

from .attaching import attach, execute_out, lay, route_out
from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver, Report
from .endpoints import Endpoint, Exchange, flag, number
from .g711 import Law, swapped
from .media import BLOCK_BYTES, Consumer, Source

__all__ = ["Recorder", "Wave", "WaveSource"]

#: A recorder's file is written at least once a second.
FLUSH_BLOCKS: Final = 50
AU_MAGIC: Final = 0x2E736E64
AU_INFO: Final = b"By YATE\0"
AU_HEADER: Final = struct.Struct(">6I")
AU_LINEAR: Final = 3
AU_LAWS: Final = {1: Law.MU, 27: Law.A}
#: Bytes of a block in formats that are not translated, by the suffix of the file.
OPAQUE: Final = {".gsm": 33, ".g722": 160, ".g729": 20, ".ilbc20": 38}
SUFFIXES: Final = {".alaw": Law.A, ".A": Law.A, ".mulaw": Law.MU, ".u": Law.MU}
_TARGET: Final = re.compile(r"wave/([^/]*)/(.+)", re.DOTALL)
_CHANNEL_TARGET: Final = re.compile(r"([^/]*)/(.*)", re.DOTALL)


def _law_of(path: str) -> Law | None:
    return next((law for suffix, law in SUFFIXES.items() if path.endswith(suffix)), None)


def _format_of(path: str) -> tuple[str, int]:
    """Return the format of a file, empty for linear sound, and the bytes of a block."""
    found = ((suffix, size) for suffix, size in OPAQUE.items() if path.endswith(suffix))
    return next(found, ("", BLOCK_BYTES))


def _read(path: str) -> bytes:
    """Return a file's sound, linear.

    Raises:
        OSError: it cannot be read.
    """
    data = Path(path).read_bytes()
    if path.endswith(".au") and len(data) >= AU_HEADER.size:
        magic, offset, _, form, *_ = AU_HEADER.unpack_from(data)
        if magic == AU_MAGIC:
            data = data[offset:]
            if form in AU_LAWS:
                return AU_LAWS[form].decode(data)
            return swapped(data) if form == AU_LINEAR else data
    law = _law_of(path)
    return data if law is None else law.decode(data)


def _notify(
    exchange: Exchange, target: str, reason: str | None, end: Endpoint | None = None
) -> None:
    """Tell by chan.notify what became of a file, if somebody wants to know."""
    if target:
        message = exchange.message("chan.notify")
        if end is not None:
            message.set("id", end.id)
            message.user_data = end
        message.set("targetid", target)
        if reason is not None:
            message.set("reason", reason)
        exchange.enqueue(message)


class WaveSource(Source):
    """A file that is played.

    Args:
        exchange: where it plays.
        path: of the file; "-" plays silence without an end.
        end: whose end for sound has it; None when it is laid over what somebody hears.
        notify: the `targetid` of the notification about its end; empty for none.
        repeat: begin again at the end.
        autoclose: the end of the file hangs up.
    """

    def __init__(
        self,
        exchange: Exchange,
        path: str,
        end: Endpoint | None,
        notify: str = "",
        *,
        repeat: bool = False,
        autoclose: bool = False,
    ) -> None:
        self._sound = b""
        self._missing = False
        if path != "-":
            try:
                self._sound = _read(path)
            except OSError:
                self._missing = True
        self.format, self._block = _format_of(path)
        endless = path == "-" or (repeat and self._sound)
        length = None if endless else -(-len(self._sound) // self._block)
        super().__init__(f"wave/play/{path}", length)
        self._exchange = exchange
        self._owner = end
        self._notify = notify
        self._autoclose = autoclose
        if self._missing:
            self._fail()

    def _fail(self) -> None:
        """Tell that there is no such file, as the real one does: without a reason."""
        owner, self._owner = self._owner, None
        if self._autoclose and owner is not None:
            asyncio.get_running_loop().call_soon(owner.disconnect, "eof")
        _notify(self._exchange, self._notify, None)
        self._notify = ""

    def attach(self, consumer: Consumer) -> None:
        if not self._missing:
            super().attach(consumer)

    def blocks(self, first: int, last: int) -> bytes:
        block = self._block
        if self.length is not None:
            return self._sound[first * block : last * block]
        sound = self._sound or bytes(block)
        begin, size = first * block % len(sound), (last - first) * block
        return (sound * ((begin + size) // len(sound) + 1))[begin : begin + size]

    def ended(self) -> None:
        owner, self._owner = self._owner, None
        if owner is None or not owner.alive:
            _notify(self._exchange, self._notify, "eof")
            return
        owner.hold()
        if owner.data is not None:
            owner.data.clear(self)
        if self._autoclose:
            owner.disconnect("eof")
        _notify(self._exchange, self._notify, "eof", owner)
        owner.release()

    def replaced(self) -> None:
        self._owner = None
        if not self._exchange.exiting:
            _notify(self._exchange, self._notify, "replaced")


class Recorder(Consumer):
    """A file that sound is written to.

    Args:
        exchange: where it records.
        path: of the file; "-" for none.
        end: whose end for sound has it.
        notify: the `targetid` of the notification at `maxlen`; empty for none.
        maxlen: stop after so many bytes, at the end of a block; 0 for never.
        append: go on at the end of a file that is there.
    """

    def __init__(
        self,
        exchange: Exchange,
        path: str,
        end: Endpoint,
        notify: str = "",
        *,
        maxlen: int = 0,
        append: bool = False,
    ) -> None:
        super().__init__()
        self._exchange = exchange
        self._owner: Endpoint | None = end
        self._notify = notify
        self._law = _law_of(path)
        self.format, self._block = _format_of(path)
        if self._law:
            self._block //= 2
        self._maxlen = maxlen
        self._total = 0
        self._header = path.endswith(".au")
        self._swap = self._header
        self._file: BinaryIO | None = None
        if path != "-":
            try:
                self._file = open(path, "ab" if append else "wb")  # noqa: SIM115
            except OSError:
                pass  # the real one records into nothing, too, and says so in its log only
            else:
                self._header = self._header and self._file.tell() == 0
        self._set_needs()

    def _set_needs(self) -> None:
        self.needs = FLUSH_BLOCKS
        if self._maxlen:
            left = self._maxlen - self._total
            self.needs = max(1, min(self.needs, -(-left // self._block)))

    def consume(self, data: bytes, blocks: int) -> None:
        if self._law is not None:
            data = self._law.encode(data)
        elif self._swap:
            data = swapped(data)
        if self._file is not None:
            if self._header:
                header = (AU_MAGIC, AU_HEADER.size + len(AU_INFO), 0xFFFFFFFF, AU_LINEAR, 8000, 1)
                self._file.write(AU_HEADER.pack(*header) + AU_INFO)
                self._header = False
            self._file.write(data)
            self._file.flush()
        self._total += len(data)
        if self._maxlen and self._total >= self._maxlen:
            self._maxlen = 0
            self._full()
        self._set_needs()

    def _full(self) -> None:
        self._close()
        owner, self._owner = self._owner, None
        if owner is not None and owner.alive:
            # Not from within the source that hands the sound over.
            owner.hold()
            asyncio.get_running_loop().call_soon(self._stop, owner)

    def _stop(self, owner: Endpoint) -> None:
        if not self._notify:
            owner.disconnect()
        elif owner.data is not None:
            owner.data.clear(self)
        _notify(self._exchange, self._notify, "maxlen", owner)
        owner.release()

    def dropped(self) -> None:
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if self._swap and file.tell() >= AU_HEADER.size + len(AU_INFO):
            size = file.tell() - AU_HEADER.size - len(AU_INFO)
            if "a" not in file.mode:
                file.seek(8)
                file.write(struct.pack(">I", size))
        file.close()


class Wave(Driver):
    """The driver of files."""

    can_stop = True

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, "wave")

    def install(self) -> None:
        super().install()
        self.handle("chan.attach", 100, self._attach)
        self.handle("chan.record", 100, self._record)

    def report(self) -> Report:
        ends = [c.data for c in self.channels.values() if c.data is not None]
        playing = sum(end.source is not None for end in ends)
        recording = sum(end.consumer is not None for end in ends)
        report = super().report()
        counters = f"play={playing},record={recording},{report.counters}"
        return Report(report.name, report.kind, report.columns, counters, report.details)

    # As source and consumer

    async def _attach(self, message: EngineMessage) -> bool:
        asked = {
            name: value
            for name in ("source", "consumer", "override", "replace")
            if (value := message.params.get(name))
        }
        wanted = {
            name: found[2]
            for name, value in asked.items()
            if (found := _TARGET.fullmatch(value))
            and found[1] == ("record" if name == "consumer" else "play")
        }
        end = message.user_data
        if not wanted or not isinstance(end, Endpoint):
            return False
        done = [self._put(message, end, *item) for item in wanted.items()]
        return flag(message, "single") and all(done) and len(wanted) == len(asked)

    def _put(self, message: EngineMessage, end: Endpoint, name: str, path: str) -> bool:
        notify = message.params.get(f"notify_{name}", message.params.get("notify", ""))
        if name == "consumer":
            end.open_data().set_consumer(self._recorder(message, end, path, notify))
        else:
            consumer = end.data.consumer if end.data is not None else None
            if name != "source" and consumer is None:
                return False
            owner = end if name == "source" else None
            repeat = flag(message, "autorepeat")
            source = WaveSource(self.exchange, path, owner, notify, repeat=repeat)
            if consumer is not None and owner is None:
                lay(consumer, source, over=name == "override")
            else:
                end.open_data().set_source(source)
        message.delete(name)
        return True

    def _recorder(
        self, message: EngineMessage, end: Endpoint, path: str, notify: str = ""
    ) -> Recorder:
        return Recorder(
            self.exchange,
            path,
            end,
            notify,
            maxlen=number(message, "maxlen", 0) % 2**32,  # so that a negative one is no limit
            append=flag(message, "append"),
        )

    async def _record(self, message: EngineMessage) -> bool:
        asked = {n: value for n in ("call", "peer") if (value := message.params.get(n))}
        wanted = {
            name: found[2]
            for name, value in asked.items()
            if (found := _TARGET.fullmatch(value)) and found[1] == "record"
        }
        end = message.user_data
        if not wanted or not isinstance(end, Endpoint):
            return False
        data = end.open_data()
        for name, path in wanted.items():
            notify = message.params.get(f"notify_{name}", message.params.get("notify", ""))
            recorder = self._recorder(message, end, path, notify)
            (data.set_call_record if name == "call" else data.set_peer_record)(recorder)
        return len(wanted) == len(asked)

    # As a channel

    async def execute(self, message: EngineMessage, target: str) -> bool:
        found = _CHANNEL_TARGET.fullmatch(target)
        if found is None or found[1] not in ("play", "record"):
            return False
        record, path = found[1] == "record", found[2]
        caller = message.user_data
        if isinstance(caller, Endpoint):
            leg = await self._new(message, path, record=record)
            leg.keep_params(message.params, "chanparams-prefix")
            connected = caller.connect(leg, message.params.get("reason"))
            if connected:
                await leg.detect_tones(message, "tonedetect_out")
                message.set("peerid", leg.id)
            leg.release()
            return connected
        call = await route_out(self, message, target)
        if call is None:
            return False
        return await execute_out(call, message, await self._new(message, path, record=record))

    async def _new(self, message: EngineMessage, path: str, *, record: bool) -> Channel:
        leg = Channel(self)
        if record:
            leg.open_data().set_consumer(self._recorder(message, leg, path))
        else:
            repeat = flag(message, "autorepeat")
            source = WaveSource(self.exchange, path, leg, repeat=repeat, autoclose=True)
            leg.open_data().set_source(source)
        leg.start()
        other = "source" if record else "consumer"
        if value := message.params.get(other):
            await attach(leg, other, value)
        return leg
