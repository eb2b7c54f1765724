"""`yateway engine`: the embedded engine as a program, for modules in whatever language.

It must not know modules of this package: it only listens.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..engine import Engine, Recording
from ..engine.recording import RecordingFile
from ..errors import ConfigError, shown
from ..transport import DEFAULT_ENGINE

__all__ = ["add_arguments", "recording_to", "run"]

RECORD_SECRETS = (
    "with --record, keep passwords, tokens and the like, and the keys that are pressed in calls,"
    " all of which it else replaces by ***"
)
ALLOW_REMOTE = "allow an engine on another machine, over a connection that anybody can read and use"
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG_USE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = (
        "Run the embedded engine: it behaves towards modules as Yate does, but has no telephones."
        " The protocol can be typed by hand, too: telnet 127.0.0.1 5678, then %%>connect:global"
    )
    parser.add_argument(
        "--listen",
        action="append",
        metavar="URL",
        help=f"tcp://HOST:PORT or unix:///PATH, with ?role=global where modules do not say it"
        f" themselves; may be given several times (default: {DEFAULT_ENGINE}, or the listeners of"
        " --conf)",
    )
    parser.add_argument(
        "--conf",
        metavar="DIR",
        help="folder with extmodule.conf and yate.conf, read as the real engine does",
    )
    parser.add_argument(
        "--record", metavar="FILE", help="write what goes over the connections to FILE"
    )
    parser.add_argument("--record-secrets", action="store_true", help=RECORD_SECRETS)


def run(arguments: argparse.Namespace) -> int:
    """Run the engine until SIGINT or SIGTERM, and return the exit code."""
    listen = arguments.listen or ([] if arguments.conf else [DEFAULT_ENGINE])
    try:
        with recording_to(arguments.record, arguments.record_secrets) as recording:
            try:
                engine = Engine(listen=listen, conf=arguments.conf, record=recording)
            except ConfigError as error:
                print(f"yateway: {error}", file=sys.stderr)
                return EXIT_WRONG_USE
            asyncio.run(_serve(engine))
    except (ConfigError, OSError) as error:
        print(f"yateway: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


@contextmanager
def recording_to(path: str | None, secrets: bool) -> Iterator[Recording | None]:
    """Give a recording that is written to a file line by line, or None where none is wanted.

    Args:
        secrets: keep passwords and the like, and the keys of callers, as they are.

    Raises:
        ConfigError: the file cannot be written.
    """
    if path is None:
        yield None
        return
    try:
        file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"cannot record to {shown(path)}: {error.strerror}") from None
    with file:
        yield RecordingFile(file, secrets=secrets)


async def _serve(engine: Engine) -> None:
    over = asyncio.Event()

    def end() -> None:
        # Asked a second time, it waits no longer for modules that hold engine.halt.
        if over.is_set():
            engine.kill()
        over.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    await engine.start()
    try:
        for url in engine.urls:
            print(f"listening on {url}", flush=True)
        await over.wait()
    finally:
        await engine.stop()
