"""The compiled part of reading (native.c), where it was built: the same answers, sooner.

It must not be needed. It is built with the package where there are a C compiler and Python.h, and
left out where not; `YATEWAY_PURE=1` in the environment leaves it out as well. It reads ordinary
messages only, so that `reading` remains the one place that tells what is right: a message of 40
parameters costs a third less with it, one of 8 a sixth (`make bench-guard`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from os import environ
from typing import Any

__all__ = ["cut", "read_message"]


def cut(params: str, needle: str, /) -> str | None:
    """Return what stands behind `needle` up to the next colon, None where it is not found."""
    _, found, rest = params.partition(needle)
    return rest.partition(":")[0] if found else None


read_message: Callable[[str, Callable[..., Any], Callable[..., Any]], Any] | None = None
"""Returns what `from_engine` returns for the line of an ordinary message, None for anything else.

Itself None where it was not built.
"""

if not environ.get("YATEWAY_PURE"):
    with contextlib.suppress(ImportError):
        from ._native import cut, read_message
