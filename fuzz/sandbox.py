"""Where targets run that need an event loop: on virtual time, with nothing of the machine in reach.

It must not know what runs in it. `forbid` can never be taken back, so that only the processes of
`make fuzz` call it; what it sees while a target runs is a violation (guarantee F13).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any, Final

from yateway.testing import VirtualClockLoop

__all__ = ["alone", "forbid", "listen_to_log"]

FORBIDDEN: Final = frozenset(
    {
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"),
        *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
        *("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "ctypes.dlopen"),
    }
)
#: A traceback is for people who debug; it is no line of its own in the guarantee's sense.
LONGEST_RECORD: Final = 1024

_seen: list[str] = []
_running: list[object] = []


class _Listener(logging.Handler):
    """Sees to it that one event is one line of the log (guarantee F6)."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.isprintable() or len(text) >= LONGEST_RECORD:
            _seen.append(f"a log line that breaks out: {text!r}")


def listen_to_log() -> None:
    """Let all that yateway logs be looked at, and printed nowhere."""
    logger = logging.getLogger("yateway")
    logger.handlers = [_Listener()]
    logger.propagate = False
    logger.setLevel(logging.INFO)


def forbid() -> None:
    """From now on, while a target runs, refuse and remember what runs code, writes or connects."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running:
        return
    writes = (
        event == "open"
        and isinstance(arguments[2], int)
        and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )
    if writes or event in FORBIDDEN:
        _seen.append(f"{event} {arguments!a}"[:300])
        raise PermissionError(event)


def alone(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on a virtual clock.

    Raises:
        AssertionError: an exception reached nobody but the loop, a task was left, something that
            `forbid` forbids was tried, or a line of the log breaks out of it.
    """
    found: list[str] = []
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _, context: found.append(repr(context)))
        _running.append(main)
        try:
            runner.run(main)
        finally:
            _running.clear()
        found += [f"left pending: {task!r}" for task in asyncio.all_tasks(loop)]
    found += _seen
    _seen.clear()
    assert not found, "\n".join(found)
