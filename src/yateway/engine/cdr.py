"""Records of calls: call.cdr with what is known of each leg, at its start, its changes and its end.

It must not touch calls: it listens to the messages about them. A record begins with the first
message about an id, and a leg that ended is remembered for some seconds, so that a message that
comes late begins no second record. Times are those of the engine's clock; the real one takes them
from the messages, where a module may write what it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import shown
from .config import ConfigFile
from .dispatcher import EngineMessage, Handler
from .driver import Report, escape_address
from .endpoints import Exchange, flag, word
from .stamps import DURATION, STAMPS, Stamp

__all__ = ["Cdr", "CdrSettings", "cdr_settings"]

#: Digits behind the point of a time, by the name of the resolution.
RESOLUTIONS: Final = {"sec": 0, "msec": 3, "usec": 6}
#: Milliseconds for which a leg that ended is remembered, and the most that may be asked for.
GUARD_DEFAULT: Final = 5000
GUARD_MAX: Final = 600000
#: Seconds between two records that say that a call goes on: the least and the most.
INTERVAL: Final = (60, 600)
#: Parameters that a record keeps, and whether later values replace the first.
KEPT: Final = {
    "billid": True,
    "reason": True,
    "address": False,
    "caller": False,
    "called": False,
    "calledfull": False,
    "username": False,
}
#: What a record tells of itself; it cannot be kept from messages.
FORBIDDEN: Final = (
    *("time", "chan", "operation", "direction", "status", "duration", "billtime", "ringtime"),
    *("cdrwrite", "cdrtrack", "cdrcreate", "cdrid", "runid"),
)
#: What each message is to a record, and the priority at which it is looked at.
KINDS: Final = {
    "chan.startup": ("start", 50),
    "call.route": ("route", 50),
    "call.execute": ("call", 50),
    "call.progress": ("progress", 50),
    "call.ringing": ("ringing", 50),
    "call.answered": ("answer", 50),
    "call.update": ("update", 50),
    "chan.hangup": ("hangup", 150),
    "call.drop": ("drop", 50),
}


@dataclass(frozen=True, slots=True)
class CdrSettings:
    """What cdrbuild.conf says.

    Attributes:
        digits: behind the point of times.
        guard: seconds for which a leg that ended is remembered.
        updates: changes are told.
        status: seconds after the answer, and between two records, at which is told that the call
            goes on; None for never, and no second one if the interval is 0.
        rings: call.progress counts as ringing unless it says otherwise.
        kept: parameters that a record keeps, and whether later values replace the first.
        stamps: how times are written once more, by the parameters that tell them.
    """

    digits: int = 3
    guard: float = GUARD_DEFAULT / 1000
    updates: bool = True
    status: tuple[float, float] | None = None
    rings: bool = False
    kept: Mapping[str, bool] = field(default_factory=lambda: KEPT)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)


def cdr_settings(file: ConfigFile) -> CdrSettings:
    """Return what a cdrbuild.conf asks for.

    Raises:
        ConfigError: a value cannot be used.
    """
    resolution = file.find("general", "resolution")
    if resolution is not None and resolution.value not in RESOLUTIONS:
        known = ", ".join(RESOLUTIONS)
        value = shown(resolution.value)
        raise file.error(resolution.line, f"resolution={value} is unknown: write one of {known}")
    interval = file.integer("general", "status_interval", INTERVAL[0], 0)
    interval = interval and max(INTERVAL[0], min(interval, INTERVAL[1]))
    first = 0 if file.boolean("general", "status_answer", True) else interval
    kept = dict(KEPT)
    for setting in file.sections.get("parameters", ()):
        if setting.name in FORBIDDEN:
            name = shown(setting.name)
            raise file.error(setting.line, f"{name} is told by the record itself: remove it")
        default = kept.get(setting.name, False)
        kept[setting.name] = file.boolean("parameters", setting.name, default)
    return CdrSettings(
        digits=RESOLUTIONS[resolution.value if resolution else "msec"],
        guard=file.integer("general", "guardtime", GUARD_DEFAULT, 0, GUARD_MAX) / 1000,
        updates=file.boolean("general", "updates", True),
        status=(first, interval) if file.boolean("general", "status", False) else None,
        rings=file.boolean("general", "ring_on_progress", False),
        kept=kept,
        stamps=dict(_stamps(file)),
    )


def _stamps(file: ConfigFile) -> Iterator[tuple[str, Stamp]]:
    for name in (*STAMPS, DURATION):
        setting = file.find("formatted-timers", name)
        if setting is None:
            continue
        if not setting.value:
            text = f"{name} is empty, of which Yate dies: write a format, or remove it"
            raise file.error(setting.line, text)
        yield name, Stamp(setting.value)


@dataclass(eq=False, slots=True)
class _Record:
    """What is known of one leg; times in seconds since the epoch, 0 for not yet."""

    chan: str
    number: int
    settings: CdrSettings
    direction: str = "unknown"
    status: str = "unknown"
    first: bool = True
    write: bool = True
    trace_id: str = ""
    times: dict[str, float] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    next_status: asyncio.TimerHandle | None = None

    def take(self, message: EngineMessage) -> None:
        """Learn what a message says about the leg."""
        if self.first:
            self.write = flag(message, "cdrwrite", True)
            self.trace_id = message.params.get("trace_id", "")
        keeps = self.settings.kept
        for name, value in message.params.items():
            if not value:
                continue
            if name == "status":
                self.status = value
                if value in ("incoming", "outgoing"):
                    self.direction = value
            elif name == "direction":
                self.direction = value
            elif name in keeps and (keeps[name] or name not in self.kept):
                self.kept[name] = value

    def mark(self, kind: str, now: float, status: str = "") -> None:
        """Note when something happened to the leg."""
        if kind in ("progress", "ringing"):
            self.times.setdefault("ringing", now)
        elif kind in ("start", "answer"):
            self.times.setdefault(kind, now)
        elif kind in ("call", "hangup"):
            self.times[kind] = now
        self.status = status or self.status

    def params(self, operation: str, runid: str, now: float) -> list[tuple[str, str]]:
        """Return the parameters of the message about this record."""
        times = self.times
        hangup = times.get("hangup", now)
        start = times.setdefault("start", times.get("call", hangup))
        answer = min(times.get("answer", hangup), hangup)
        ringing = min(times.get("ringing", answer), answer)
        digits = self.settings.digits
        params = [
            ("time", f"{start:.{digits}f}"),
            ("chan", self.chan),
            ("cdrid", str(self.number)),
            ("runid", runid),
            ("operation", operation),
            ("direction", self.direction),
            ("duration", f"{hangup - start:.{digits}f}"),
            ("billtime", f"{hangup - answer:.{digits}f}"),
            ("ringtime", f"{answer - ringing:.{digits}f}"),
            ("status", self.status),
        ]
        if self.trace_id:
            params.append(("trace_id", self.trace_id))
        params += self._stamped(start, answer, hangup)
        outside = {"incoming": "caller", "outgoing": "called"}.get(self.direction, "")
        if outside in self.kept and not self.kept.get("external"):
            params.append(("external", self.kept[outside]))
        params.append(("cdrwrite", word(self.write)))
        return params + list(self.kept.items())

    def _stamped(self, *times: float) -> Iterator[tuple[str, str]]:
        """Write start, answer and end, and how long it was, as the configuration has it."""
        stamps = self.settings.stamps
        micro = [round(time * 1_000_000) for time in times]
        for name, moment in zip(STAMPS, micro, strict=True):
            if name in stamps:
                yield name, stamps[name].at(moment)
        if DURATION in stamps:
            yield DURATION, stamps[DURATION].lasting(micro[-1] - micro[0])


class Cdr:
    """The module cdrbuild."""

    name = "cdrbuild"

    def __init__(self, exchange: Exchange, settings: CdrSettings) -> None:
        self._exchange = exchange
        self._settings = settings
        self._records: dict[str, _Record] = {}
        self._count = 0
        #: When the leg is forgotten, and whether its record is still to be written.
        self._ended: dict[str, tuple[float, bool]] = {}

    def install(self) -> None:
        """Begin to handle messages."""
        for name, (_, priority) in KINDS.items():
            handler = Handler(name, priority, self._receive, track=self.name)
            self._exchange.dispatcher.install(handler, own=True)

    def report(self) -> Report:
        """Return what engine.status says about it."""
        now = self._exchange.clock()
        self._forget(now)
        details = []
        for record in self._records.values():
            fields = (record.kept.get(name, "") for name in ("caller", "called", "billid"))
            seconds = int(now - record.times.get("start", now) + 0.5)
            values = "|".join((record.status, *map(escape_address, fields), str(seconds)))
            details.append(f"{record.chan}={values}")
        counters = f"cdrs={len(self._records)},hungup={len(self._ended)}"
        columns = "Status|Caller|Called|BillId|Duration"
        return Report(self.name, "cdr", columns, counters, tuple(details))

    async def _receive(self, message: EngineMessage) -> bool:
        kind = KINDS[message.name][0]
        rings = self._settings.rings
        if kind == "progress" and not (
            flag(message, "earlymedia") or flag(message, "ringing", rings)
        ):
            return False
        operation = message.params.get("operation", "cdrbuild") if kind == "update" else "cdrbuild"
        if not flag(message, "cdrtrack", operation == "cdrbuild"):
            return False
        id_ = message.params.get("id", "")
        if kind == "drop":
            if not id_.startswith("cdrbuild/"):
                return False
            id_ = id_.removeprefix("cdrbuild/")
        if not id_:
            return False
        now = self._exchange.clock()
        handled = self._update(message, kind, id_, now)
        if kind in ("ringing", "progress", "answer"):
            other = message.params.get("peerid") or message.params.get("targetid", "")
            if record := self._records.get(other):
                record.mark(kind, now, message.params.get("status", ""))
                self._emit(record)
                self._follow(record, kind)
        return handled

    def _update(self, message: EngineMessage, kind: str, id: str, now: float) -> bool:
        record = self._records.get(id)
        if record is None:
            record, kind = self._begin(message, kind, id, now)
            if record is None:
                return False
        if kind == "drop":
            if record.first:
                del self._records[id]
            else:
                reason = message.params.get("reason", record.kept.get("reason", "CDR dropped"))
                record.kept["reason"] = reason
                self._finalize(record, now)
            return True
        record.take(message)
        record.mark(kind, now)
        if kind == "hangup":
            self._finalize(record, now)
        else:
            self._emit(record)
            self._follow(record, kind)
        return False

    def _begin(
        self, message: EngineMessage, kind: str, id: str, now: float
    ) -> tuple[_Record | None, str]:
        """Return a new record where one is due, and what the message is to it."""
        if kind == "hangup":
            self._forget(now)
            # Messages may overtake each other: should the start come, the record is written.
            self._ended.setdefault(id, (now + self._settings.guard, True))
        if kind not in ("start", "call", "answer"):
            return None, kind
        self._forget(now)
        if id in self._ended:
            until, owed = self._ended[id]
            if not owed:
                return None, kind
            self._ended[id] = (until, False)
            kind = "hangup"
        elif not flag(message, "cdrcreate", True):
            return None, kind
        self._count += 1
        self._records[id] = record = _Record(id, self._count, self._settings)
        return record, kind

    def _forget(self, now: float) -> None:
        for id_, (until, _) in tuple(self._ended.items()):
            if until > now:
                break
            del self._ended[id_]

    def _finalize(self, record: _Record, now: float) -> None:
        del self._records[record.chan]
        if record.next_status is not None:
            record.next_status.cancel()
        self._emit(record, "finalize")
        self._ended.setdefault(record.chan, (now + self._settings.guard, False))

    def _follow(self, record: _Record, kind: str) -> None:
        """Begin to tell that a call goes on, once it is answered."""
        if kind == "answer" and self._settings.status and record.next_status is None:
            self._tell_later(record, self._settings.status[0])

    def _tell_later(self, record: _Record, seconds: float) -> None:
        later = asyncio.get_running_loop().call_later
        record.next_status = later(seconds, self._tell_status, record)

    def _tell_status(self, record: _Record) -> None:
        self._emit(record, "status")
        if not self._exchange.exiting and self._settings.status and self._settings.status[1]:
            self._tell_later(record, self._settings.status[1])

    def _emit(self, record: _Record, operation: str = "") -> None:
        operation = operation or ("initialize" if record.first else "update")
        if operation == "update" and not self._settings.updates:
            return
        record.first = False
        params = record.params(operation, self._exchange.runid, self._exchange.clock())
        if self._exchange.wants("call.cdr"):
            message = self._exchange.message("call.cdr", params)
            message.broadcast = True
            self._exchange.enqueue(message)
