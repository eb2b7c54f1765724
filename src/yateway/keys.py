"""The keys that a caller presses: kept until somebody wants them, and collected into numbers.

It must not know calls: it is told of keys, and says what has become of them. What was pressed while
nobody asked (type-ahead) is not lost; a prompt that a key may interrupt is stopped by a callback.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

__all__ = ["Digits", "Keys", "Why"]

#: Keys that are kept for later; a caller who plays on the keys must not fill the memory.
TYPED_AHEAD = 64


class Why(enum.Enum):
    """Why a collection of digits ended."""

    COUNT = "count"  #: as many as were asked for
    END = "end"  #: a key that ends it, which is not among the digits
    FIRST = "first"  #: no key was pressed in time
    BETWEEN = "between"  #: no further key was pressed in time
    MAX = "max"  #: it took too long altogether
    INVALID = "invalid"  #: the digits were complete, and refused


@dataclass(frozen=True, slots=True)
class Digits:
    """What a caller has entered.

    Attributes:
        text: the digits; not shown in logs where they are secret.
        why: why no more were collected.
    """

    text: str
    why: Why
    secret: bool = field(default=False, repr=False)

    def __bool__(self) -> bool:
        """Whether the caller has entered all that was asked for."""
        return self.why in (Why.COUNT, Why.END)

    def __repr__(self) -> str:
        text = "*" * len(self.text) if self.secret else self.text
        return f"<Digits {text!r} {self.why.value}>"

    __str__ = __repr__


class Keys:
    """The keys of one caller, in their order."""

    def __init__(self) -> None:
        self._typed: deque[str] = deque(maxlen=TYPED_AHEAD)
        self._waiting: set[asyncio.Future[None]] = set()
        self._stops: dict[Callable[[], object], Collection[str]] = {}

    def __len__(self) -> int:
        return len(self._typed)

    def press(self, text: str) -> None:
        """Take note of keys; a message may bring several."""
        for key in text:
            self._typed.append(key)
            for stop in [stop for stop, keys in self._stops.items() if key in keys]:
                self.ignore(stop)
                stop()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def take(self) -> str:
        """Return the next key and forget it; empty if there is none."""
        return self._typed.popleft() if self._typed else ""

    def clear(self) -> None:
        """Forget what was typed ahead."""
        self._typed.clear()

    def more(self) -> asyncio.Future[None]:
        """Return a future that is done when a key is pressed; another waiter may take it first."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def any_of(self, keys: Collection[str]) -> bool:
        """Tell whether one of these keys was typed ahead."""
        return any(key in keys for key in self._typed)

    def on_press(self, keys: Collection[str], stop: Callable[[], object]) -> None:
        """Call `stop` at the next press of one of these keys, once; the key is kept."""
        self._stops[stop] = keys

    def ignore(self, stop: Callable[[], object]) -> None:
        """Forget what `on_press` was told."""
        self._stops.pop(stop, None)
