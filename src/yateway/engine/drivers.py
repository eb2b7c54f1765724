"""All drivers of the embedded engine, and what makes a call come in.

It must not know how any of them works: it puts them together in the real engine's order.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from .callfork import CallFork
from .cdr import Cdr, CdrSettings
from .commands import Commands, Modules
from .conference import Conference
from .driver import Driver
from .dumb import Dumb
from .endpoints import Exchange
from .external import External, StartScript
from .pbx import Pbx
from .sim import Phones
from .status import Part, Status
from .tone import Tone
from .wave import Wave

__all__ = ["MODULES", "Drivers"]

#: The files of the real engine's modules whose work is done here. Telephones are in none of them.
MODULES: Final = (
    *("callfork", "cdrbuild", "conference", "dumbchan", "pbx", "tonegen", "wavefile"),
)


class Drivers:
    """The drivers of one run.

    Args:
        exchange: where they work.
        facts: the run parameters, some of which engine.status shows.
        loaded: which modules are loaded; see `MODULES`.
        start: starts the scripts that are called as `external/...`.
        priority: where those are asked about calls.
        modules: those that are attached.
        cdr: what records of calls are to hold.

    Attributes:
        phones: the telephones.
    """

    def __init__(
        self,
        exchange: Exchange,
        facts: dict[str, str],
        loaded: Container[str],
        start: StartScript,
        priority: int,
        modules: Modules,
        cdr: CdrSettings,
    ) -> None:
        self.phones = Phones(exchange)
        # In the real engine's order. Of equal priorities the last one installed is asked first.
        parts: list[tuple[str, Part]] = [
            ("cdrbuild", Cdr(exchange, cdr)),
            ("callfork", CallFork(exchange)),
            ("tonegen", Tone(exchange)),
            ("dumbchan", Dumb(exchange)),
            ("wavefile", Wave(exchange)),
            ("conference", Conference(exchange)),
            ("extmodule", self.phones),
            ("pbx", Pbx(exchange)),
            ("extmodule", External(exchange, start, priority, lambda: len(modules.attached()))),
        ]
        present = [part for module, part in parts if module in loaded]
        for part in reversed(present):
            part.install()
        exchange.drivers = [part for part in present if isinstance(part, Driver)]
        Status(exchange, present, facts).install()
        Commands(exchange, present, modules, facts).install()
