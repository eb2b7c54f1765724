"""Each fuzz target for a moment, and all that fuzzing ever found (guarantees B1, B3, F1, F13)."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz import TARGETS
from fuzz.material import as_script, pieces, script
from fuzz.sandbox import alone

FINDS = Path(__file__).parent / "data" / "finds.jsonl"
#: Few, because some targets run a whole engine; `make fuzz` is for more.
EXAMPLES = 10

each_target = pytest.mark.parametrize("name", TARGETS)


def target(name: str) -> Any:
    return importlib.import_module(f"fuzz.{name}")


@each_target
def test_seeds_pass(name: str) -> None:
    """What a target begins from violates nothing; nor does nothing at all."""
    for data in (b"", b"\0", *target(name).SEEDS[::5]):
        target(name).check(data)


@each_target
def test_what_is_near_to_sense_passes(name: str) -> None:
    """A few inputs, the same on each run."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target(name).inputs)
    def attempt(data: bytes) -> None:
        target(name).check(data)

    run: Any = attempt
    run()


def test_what_was_found_passes() -> None:
    """What once violated an invariant does so no more; `data` has one character for each byte."""
    for entry in map(json.loads, FINDS.read_text().splitlines()):
        target(entry["target"]).check(entry["data"].encode("latin-1"))


def test_a_script_is_read_as_it_was_written() -> None:
    """Steps of a script survive, and a piece is never empty."""
    steps = [(3, b"abc"), (0, b""), (255, b"x" * 254)]
    assert list(script(as_script(*steps))) == steps
    assert list(script(b"\x01\xffabc")) == [(1, b"abc")]
    for seed in range(20):
        cut = list(pieces(b"0123456789", seed))
        assert b"".join(cut) == b"0123456789"
        assert all(cut)


def test_what_reaches_nobody_is_a_violation() -> None:
    """An exception that only the event loop sees fails the target."""

    async def lose() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="division by zero"):
        alone(lose())


class Broken:
    """What a target has to notice: one line of the library, changed."""

    CHANGES = (
        ("buffer", "yateway.wire.buffer.LineBuffer._too_long", lambda *_: ValueError()),
        ("codec", "fuzz.codec.escape", lambda text: text),
        ("frames", "fuzz.frames.encode", lambda frame: frame.text().encode("utf-8", "replace")),
        ("reading", "fuzz.reading.from_engine", int),
        ("connection", "yateway.wire.connection.Connection._declined", lambda *_: None),
        ("module", "yateway.serving.Server.expired", lambda *_: 1 / 0),
        ("session", "yateway.engine.session.encode", lambda frame: b"no line\n"),
        ("engine", "yateway.engine.engine.Run.broadcast", lambda *_, **__: None),
    )


@pytest.mark.parametrize(("name", "what", "instead"), Broken.CHANGES)
def test_a_target_notices_a_fault(
    name: str, what: str, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in what it checks fails a target on its seeds."""
    monkeypatch.setattr(what, instead)
    with pytest.raises(BaseException):  # noqa: B017, PT011
        for data in (b"\x05\0" + b"x" * 60, b"\0" * 99, *target(name).SEEDS):
            target(name).check(data)
