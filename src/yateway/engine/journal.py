"""The engine's log, and what modules say there by `%%>output` and `%%>debug`.

It must not act on anything: text from the wire is escaped and cut, so that it stays one log line.
"""

from __future__ import annotations

import logging

from ..errors import shown
from .settings import Settings

__all__ = ["debug", "logger", "output"]

logger = logging.getLogger("yateway.engine")

#: Yate's debug levels, each from the first on: fail to crit, conf to mild, note and call, info and
#: all.
DEBUG_LEVELS = ((0, logging.CRITICAL), (3, logging.WARNING), (7, logging.INFO), (9, logging.DEBUG))
#: Bytes of a module's output or debug line that the log shows (guarantee F6).
LOGGED_BYTES = 900


def output(content: str) -> None:
    """Log a module's output."""
    logger.info("%s", _printable(content))


def debug(settings: Settings, level: int, content: str) -> None:
    """Log a module's debug line, if its level is one that the module shows."""
    if level <= settings.debuglevel:
        severity = next(s for least, s in reversed(DEBUG_LEVELS) if level >= least)
        logger.log(severity, "%s: %s", shown(settings.debugname), _printable(content))


def _printable(text: str) -> str:
    """Escape what could break a line of the log, and cut the text."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    data = text.encode()
    return (
        text if len(data) <= LOGGED_BYTES else f"{data[:LOGGED_BYTES].decode(errors='ignore')}..."
    )
