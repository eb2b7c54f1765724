"""One target in a process of its own, until its time is up or it found something.

    python -m fuzz.campaign TARGET atheris SECONDS FOLDER     coverage-guided bytes, from SEEDS on
    python -m fuzz.campaign TARGET hypothesis SECONDS FOLDER  what `inputs` draws

It must not decide what is a failure: that is `check`. It prints a last line `executions N`; what
it found lies in FOLDER, and why stands in what it printed. Where there is no atheris, bytes are
drawn without guidance.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from . import TARGETS

__all__ = ["main"]

#: Bytes of an input: every length that matters is shorter, and time is better spent on more.
LONGEST = 700


def target_of(name: str) -> ModuleType:
    """Return a target, with yateway instrumented where atheris is there."""
    if name not in TARGETS:
        raise SystemExit(f"{name!a} is no target; known are {', '.join(TARGETS)}")
    with contextlib.suppress(ImportError):
        import atheris

        # Only what is imported here counts as new when it is reached; so this comes first.
        with atheris.instrument_imports(include=["yateway"]):
            return importlib.import_module(f"fuzz.{name}")
    return importlib.import_module(f"fuzz.{name}")


def with_atheris(target: ModuleType, seconds: int, folder: Path) -> None:
    """Let atheris look for input that reaches new code; does not return."""
    import atheris

    from .material import ENGINE_WORDS, MODULE_WORDS

    seeds = folder / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(target.SEEDS):
        (seeds / str(number)).write_bytes(seed)
    words = {*ENGINE_WORDS, *MODULE_WORDS, *getattr(target, "WORDS", ())}
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in words if len(word) < 60)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in quoted))
    options = (
        f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-artifact_prefix={folder}/find-",
        f"-dict={folder / 'words'}", "-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=25",
    )  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(seeds)], target.check)
    _shut_in()
    atheris.Fuzz()


def with_hypothesis(target: ModuleType, seconds: int, folder: Path) -> None:
    """Let hypothesis draw input that comes near to sense."""
    from hypothesis import HealthCheck, given, settings

    executions = 0
    find = (folder / "find-hypothesis").open("wb", buffering=0)
    until = time.monotonic() + seconds

    @settings(
        max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(target.inputs)
    def attempt(data: bytes) -> None:
        nonlocal executions
        executions += 1
        try:
            target.check(data)
        except BaseException:
            # Written again as it shrinks: the last one is the smallest.
            find.seek(0)
            find.truncate()
            find.write(data)
            raise

    run: Any = attempt
    _shut_in()
    try:
        while time.monotonic() < until:
            run()
    finally:
        print(f"executions {executions}", flush=True)


def with_chance(target: ModuleType, seconds: int, folder: Path) -> None:
    """Change seeds at random: for machines without atheris."""
    executions, chance = 0, random.Random(1)
    until = time.monotonic() + seconds
    find = (folder / "find-chance").open("wb", buffering=0)
    _shut_in()
    try:
        while time.monotonic() < until:
            data = bytearray(chance.choice(target.SEEDS))
            for _ in range(chance.randrange(1, 8)):
                place = chance.randrange(len(data) + 1)
                data[place : place + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
            executions += 1
            try:
                target.check(bytes(data))
            except BaseException:
                find.write(data)
                raise
    finally:
        print(f"executions {executions}", flush=True)


def _shut_in() -> None:
    from .sandbox import forbid, listen_to_log

    listen_to_log()
    forbid()


def main(name: str, how: str, seconds: int, folder: Path) -> None:
    """Run one target in one way."""
    target = target_of(name)
    if how == "hypothesis":
        with_hypothesis(target, seconds, folder)
    elif "atheris" in sys.modules:
        with_atheris(target, seconds, folder)
    else:
        with_chance(target, seconds, folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
