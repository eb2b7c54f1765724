"""Times in the words of cdrbuild.conf: `YYYY/MM/DD HH:mm:SS.uuu UTC`, and durations `HH:mm:SS`.

It must not know records. It follows the real engine to the letter (cdrbuild.cpp), also where that
is odd: of each code only the first place counts, one that a replacement has made counts too, the
digits behind the point are rounded without a carry, and whole seconds of a time are rounded where
those of a duration are not. What has no code is for the C library.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["DURATION", "STAMPS", "Stamp"]

#: Parameters of a record that may be written so, and the one that is no time of day.
STAMPS: Final = ("call_start_time", "call_answer_time", "call_hangup_time")
DURATION: Final = "call_duration"

_MICRO: Final = 1_000_000
_CODES: Final = {"MM": "%m", "DD": "%d", "HH": "%H", "mm": "%M", "SS": "%S"}
_FRACTION: Final = re.compile("u+")
_MOST_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Stamp:
    """One way to write times.

    Args:
        text: the format.
    """

    text: str

    def at(self, micro: int) -> str:
        """Write the moment so many microseconds after the epoch, in local time unless for UTC."""
        text = self.text
        year = "YYYY" if "YYYY" in text else "YY"
        text = text.replace(year, "%Y" if year == "YYYY" else "%y", 1)
        for code, field in _CODES.items():
            text = text.replace(code, field, 1)
        text = text.replace("UTC", "%Z", 1) if "UTC" in text else f"{text} %Z"
        second, fraction = divmod(micro, _MICRO)
        if _FRACTION.search(text):
            text = _with_fraction(text, micro)
        elif fraction > _MICRO // 2:
            second += 1
        return time.strftime(
            text, time.gmtime(second) if "UTC" in self.text else time.localtime(second)
        )

    def lasting(self, micro: int) -> str:
        """Write how long so many microseconds are; what no code asks for is left to the next."""
        text, left = _with_fraction(self.text, micro), micro // _MICRO
        for code, seconds in (("HH", 3600), ("mm", 60), ("SS", 1)):
            if code in text:
                count, left = divmod(left, seconds)
                text = text.replace(code, f"{count:02}", 1)
        return text


def _with_fraction(text: str, micro: int) -> str:
    """Put digits behind the point in the place of a row of `u`, one for each up to six."""
    found = _FRACTION.search(text)
    if found is None:
        return text
    digits = min(len(found[0]), _MOST_DIGITS)
    unit = 10 ** (_MOST_DIGITS - digits)
    value = (micro + unit // 2) // unit % 10**digits
    return f"{text[: found.start()]}{value:0{digits}}{text[found.end() :]}"
