"""What the engine says about its parts and their channels: engine.status.

It must not know the parts: each brings its own report. The format of the lines is the real
engine's, which programs parse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from .dispatcher import EngineMessage, Handler
from .driver import Driver, Report
from .endpoints import Exchange, flag

__all__ = ["Part", "Status"]

#: Where parts are asked about their status: most at the first, some early.
PRIORITY: Final = 110
EARLY: Final = {"cdrbuild": 100}
_FORMER: Final = {"extmodule": "external"}


class Part(Protocol):
    """A part of the engine."""

    @property
    def name(self) -> str:
        """Its name."""

    def install(self) -> None:
        """Begin to handle messages."""

    def report(self) -> Report:
        """Return what it says about itself."""


class _Reporter:
    """Answers for one part."""

    def __init__(self, part: Part) -> None:
        self.part = part

    async def status(self, message: EngineMessage) -> bool:
        part, module = self.part, message.params.get("module", "")
        if isinstance(part, Driver):
            if text := part.named_report(module):
                message.retvalue = text
                return True
            if channel := part.channels.get(module):
                channel.complete(message)
                message.retvalue = part.channel_report(channel)
                return True
        report = part.report()
        # cdrbuild is no Module of the real engine: it has no type to be asked for, says nothing
        # final, and always ends its counters.
        is_module = report.kind != "cdr"
        # Its former name still works.
        module = report.name if module == _FORMER.get(report.name) else module
        if module not in ("", report.name) and not (is_module and module == report.kind):
            return False
        message.retvalue += _line(report, flag(message, "details", True))
        return is_module and module == report.name


def _line(report: Report, details: bool) -> str:
    columns = f",format={report.columns}" if report.columns else ""
    line = f"name={report.name},type={report.kind}{columns};{report.counters}"
    if details and (report.details or report.kind == "cdr"):
        line += ";" + ",".join(report.details)
    return line + "\r\n"


class Status:
    """Reports for all parts.

    Args:
        exchange: where they are.
        parts: all of them, in the order in which they report.
        facts: of the engine itself: its version, revision and nodename.
    """

    def __init__(self, exchange: Exchange, parts: Sequence[Part], facts: dict[str, str]) -> None:
        self._exchange = exchange
        self._parts = parts
        self._facts = facts

    def install(self) -> None:
        """Begin to handle messages."""
        install = self._exchange.dispatcher.install
        # Of equal priorities the last one installed is asked first.
        for part in reversed(self._parts):
            reporter = _Reporter(part)
            priority = EARLY.get(part.name, PRIORITY)
            install(Handler("engine.status", priority, reporter.status, track=part.name), own=True)
        install(Handler("engine.status", 90, self._engine, track="engine"), own=True)

    async def _engine(self, message: EngineMessage) -> bool:
        module = message.params.get("module", "")
        if module not in ("", "engine"):
            return False
        message.retvalue += self._engine_line(flag(message, "details", True))
        return module == "engine"

    def _engine_line(self, details: bool) -> str:
        """Return what the engine says of itself: the real one's columns, where they say anything.

        What is left out counts threads and locks of the real engine's process.
        """
        facts, dispatcher = self._facts, self._exchange.dispatcher
        workers, (handlers, watchers) = dispatcher.workers, dispatcher.count()
        line = "name=engine,type=system" + "".join(
            f",{name}={facts.get(name, '')}" for name in ("version", "revision", "nodename")
        )
        line += (
            f";plugins={len(self._parts)},inuse=0,handlers={handlers},hooks={watchers}"
            f",messages={len(workers)},maxqueue={workers.longest}"
            f",messageage={round(workers.age * 1000)}"
            f",enqueued={workers.enqueued},dequeued={workers.dequeued}"
            f",dispatched={dispatcher.dispatched}"
        )
        line += "".join(
            f",{name}={facts.get(name, '')}" for name in ("supervised", "runattempt", "lastsignal")
        )
        line += f",workers={workers.size},acceptcalls=accept,congestion=0"
        if details:
            line += ";" + ",".join(f"{n}={value}" for n, value in facts.items() if "path" in n)
        return line + "\r\n"
