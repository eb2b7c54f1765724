"""What yateway logs, and how often.

It must not decide anything: telemetry stands beside the work. One event is one line: values from
the wire are escaped and cut (`errors.shown`), an exception is told with the places it passed
through instead of a traceback (which DEBUG adds), and a repeated event is counted, not repeated.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection, Sequence

from .errors import SHOWN_CHARACTERS, shown

__all__ = ["RateLimit", "debug_traceback", "logger", "places", "told"]

logger = logging.getLogger("yateway")

#: What stands in place of a text that holds a secret of the message at hand (guarantee F7).
WITHHELD = "withheld: it holds a secret"


class RateLimit:
    """Lets one event through in each interval and counts those it held back.

    Args:
        interval: seconds.
        time: the clock, for example the event loop's `time`.
    """

    def __init__(self, interval: float, time: Callable[[], float]) -> None:
        self._interval = interval
        self._time = time
        self._next = float("-inf")
        self.held_back = 0

    def allow(self) -> bool:
        """Tell whether the event may happen now; if so, the next may after the interval."""
        now = self._time()
        if now < self._next:
            self.held_back += 1
            return False
        self._next = now + self._interval
        return True

    def log(self, level: int, text: str, *values: object) -> None:
        """Log, unless an event was logged within the interval; say how many were held back."""
        if self.allow():
            if self.held_back:
                text, values = f"{text} (%d more like this before)", (*values, self.held_back)
                self.held_back = 0
            logger.log(level, text, *values)


def told(error: BaseException, secrets: Collection[str] = ()) -> str:
    """Return an exception as one line: its type, its text escaped and cut, and its places.

    Args:
        secrets: texts that must not be told; if one is in the error's text, that is withheld.
    """
    where = places(traceback.extract_tb(error.__traceback__, limit=-3))
    try:
        text = str(error)
        text = WITHHELD if _tells(text, secrets) else shown(text)
    except Exception as fault:
        # Somebody else's exception may fail to tell what it is; that must not become our failure.
        text = f"its text fails with {type(fault).__name__}"
    text = f"{type(error).__name__}({text})"
    return f"{text} at {where}" if where else text


def debug_traceback(error: BaseException, secrets: Collection[str] = ()) -> None:
    """Log the traceback of a failure at DEBUG, unless it would tell a secret."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    try:
        tells = _tells("".join(traceback.format_exception(error)), secrets)
    except Exception:
        tells = bool(secrets)
    if tells:
        logger.debug("the traceback of this failure is %s", WITHHELD)
    else:
        logger.debug("the traceback of this failure", exc_info=error)


def _tells(text: str, secrets: Collection[str]) -> bool:
    # As it is, as a quoted value, and as `shown` would cut it.
    begun = (secret[:SHOWN_CHARACTERS] for secret in secrets)
    return any(secret in text or ascii(secret)[1:-1][:200] in text for secret in begun)


def places(stack: Sequence[traceback.FrameSummary]) -> str:
    """Return a stack as one line, the innermost place first."""
    return " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
        for frame in reversed(stack)
    )
