"""What targets begin from: lines of recordings of the real engine, words, and ways to cut bytes.

It must not know what is checked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

__all__ = ["ENGINE_WORDS", "MODULE_WORDS", "lines", "pieces", "script", "streams"]

TRANSCRIPTS: Final = Path(__file__).parents[1] / "tests" / "data" / "transcripts"

COMMON_WORDS: Final = (
    b"\n", b"\r\n", b"\0", b":", b"%", b"%%", b"%z", b"%}", b"=", b":=", b"::", b"true", b"false",
    b"%%>message:", b"%%<message:", b"1", b"0", b"-1", b"0x1f", b"99999999999999999999", b"\xff",
    b"\xc3\xa9", b"call.route", b"a=b", b"x" * 300,
)  # fmt: skip
#: What an engine says, and what a module says.
ENGINE_WORDS: Final = (
    *COMMON_WORDS, b"%%<install:", b"%%<uninstall:", b"%%<watch:", b"%%<unwatch:", b"%%<setlocal:",
    b"%%<quit", b"Error in: ", b"timeout", b"%%>message:7:1:call.route::called=123\n",
    b"%%<message:1:true:t.x:ok:a=b\n", b"%%<message::true:t.x::a=b\n",
    b"%%>message:8:x:call.route:\n", b"%%>message:9:1:t.slow::a=b:c=d\n",
    b"%%>message:10:1:t.ans:\n",
)  # fmt: skip
MODULE_WORDS: Final = (
    *COMMON_WORDS, b"%%>connect:global\n", b"%%>connect:channel\n", b"%%>install:", b"%%>watch:",
    b"%%>uninstall:", b"%%>unwatch:", b"%%>output:", b"%%>debug:", b"%%>setlocal:", b"%%>quit\n",
    b"bufsize:2048\n", b"timeout:50\n", b"maxqueue:1\n", b"reenter:true\n", b"selfwatch:true\n",
    b"setdata:false\n", b"timebomb:true\n", b"%%>install:50:call.route\n", b"%%>watch:\n",
    b"%%>message:m1:0:call.route::called=5\n", b"%%<message:", b"engine.timer",
)  # fmt: skip


@cache
def lines(direction: str, limit: int = 60) -> tuple[bytes, ...]:
    """Return lines of recordings, each kind once: "E" are the engine's, "A" the module's."""
    found: dict[tuple[str, int], bytes] = {}
    for path in sorted(TRANSCRIPTS.rglob("*.jsonl")):
        for text in path.read_text().splitlines():
            entry = json.loads(text)
            line = entry.get("line", "")
            protocol = line.startswith(("%%", "Error in: ")) and len(line) < 500
            if entry["dir"] == direction and protocol:
                kind = line.partition(":")[0]
                found.setdefault((kind, line.count(":")), line.encode("utf-8", "surrogateescape"))
    return tuple(found.values())[:limit]


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """Cut bytes at places that the seed says; seed 0 leaves them whole."""
    chance = random.Random(seed)
    while data:
        size = chance.randrange(1, len(data) + 1) if seed else len(data)
        yield data[:size]
        data = data[size:]


def script(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read bytes as steps: a byte that says what to do, a byte with a length, and so much data.

    The length 255 stands for all that is left, so that long data is not rare.
    """
    place = 0
    while place < len(data):
        verb = data[place]
        length = data[place + 1] if place + 1 < len(data) else 0
        place += 2
        end = len(data) if length == 255 else place + length
        yield verb, data[place:end]
        place = end


def as_script(*steps: tuple[int, bytes]) -> bytes:
    """Return the bytes that `script` reads as these steps, of up to 254 bytes each."""
    return b"".join(bytes((verb, min(254, len(data)))) + data[:254] for verb, data in steps)


def streams(words: tuple[bytes, ...], direction: str) -> st.SearchStrategy[bytes]:
    """Draw bytes that come near to sense: words, whole lines of recordings, and noise."""
    whole = st.sampled_from(lines(direction)).map(lambda line: line + b"\n")
    parts = st.sampled_from(words) | whole | st.binary(max_size=8)
    return st.lists(parts, max_size=20).map(b"".join)


def scripts(
    verbs: int, words: tuple[bytes, ...], direction: str, wrap: Callable[[bytes], bytes] = bytes
) -> st.SearchStrategy[bytes]:
    """Draw scripts of such bytes for a target with so many verbs."""
    step = st.tuples(st.integers(0, verbs - 1), streams(words, direction).map(wrap))
    return st.lists(step, max_size=12).map(lambda steps: as_script(*steps))
