"""Play recordings against an engine and show where it says something else."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from ..engine.recording import Recording
from ..engine.replaying import Difference
from ..engine.staging import check_at, check_embedded, lines_of_engine, starts_scripts
from ..errors import ConfigError
from ..testing import VirtualClockLoop
from ..transport import opener_of
from .engine import ALLOW_REMOTE

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `yateway replay`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings")
    parser.add_argument(
        "--engine",
        metavar="URL",
        help="a listener without a role of a real engine; else an embedded one for each file",
    )
    parser.add_argument("--allow-remote", action="store_true", help=ALLOW_REMOTE)
    parser.add_argument("--json", action="store_true", help="one JSON object for each file")


def run(arguments: argparse.Namespace) -> int:
    """Play the recordings; 0 only if no line differs and none was left out."""
    # Recordings are full of what an engine warns of.
    log = logging.getLogger("yateway.engine")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return _play(arguments)
    finally:
        log.setLevel(level)


def _play(arguments: argparse.Namespace) -> int:
    total = differing = 0
    for file in arguments.files:
        recording = Recording.from_file(file)
        lines = lines_of_engine(recording)
        try:
            differences = _check(recording, arguments.engine, arguments.allow_remote)
        except ConfigError as error:
            _show(arguments.json, file, lines, error=str(error))
            differing += 1
            continue
        total += lines
        differing += len(differences)
        _show(arguments.json, file, lines, differences)
    if not arguments.json:
        print(f"{total} lines compared, {differing} differing")
    return 1 if differing else 0


def _check(recording: Recording, engine: str | None, allow_remote: bool) -> list[Difference]:
    if engine is None:
        # Where nothing outside of this process takes part pauses need not be waited for.
        factory = None if starts_scripts(recording) else VirtualClockLoop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(check_embedded(recording))
    return asyncio.run(check_at(recording, opener_of(engine, allow_remote=allow_remote)))


def _show(
    as_json: bool,
    file: Path,
    lines: int,
    differences: list[Difference] | None = None,
    *,
    error: str = "",
) -> None:
    texts = [str(difference) for difference in differences or ()]
    if as_json:
        report = {"file": str(file), "lines": lines, "differences": texts, "error": error or None}
        json.dump(report, sys.stdout)
        print()
        return
    print(f"{file.name}: {error or f'{lines} lines, {len(texts)} differing'}")
    for text in texts:
        print(f"  {text}")
