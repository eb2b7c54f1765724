"""The command `yateway`; each subcommand is a file of its own.

Exit codes: 0 done, 1 failed, 2 wrong use, 70 gave up starting a module that dies again and again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Protocol

from ..errors import YatewayError
from . import demo, engine, replay, run

__all__ = ["main"]


class _Command(Protocol):
    """What each file of this folder offers."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


_COMMANDS: dict[str, tuple[_Command, str]] = {
    "run": (run, "run a module, attached to an engine"),
    "engine": (engine, "run the embedded engine"),
    "replay": (replay, "play recordings against an engine and compare"),
    "demo": (demo, "see a module at work on the embedded engine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="yateway", description="The Python gateway to the Yate telephony engine."
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more, on stderr")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (command, summary) in _COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=summary, description=command.__doc__))
    given = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if given.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        return _COMMANDS[given.command][0].run(given)
    except YatewayError as error:
        print(f"yateway: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
