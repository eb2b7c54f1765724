"""Starts a module again when it dies, and gives up when it dies again and again.

It must not know modules: it starts a program and looks how it ends. One that ends by itself has
ended: without an error, or with one that another start could not help. One that dies is started
again at once, because calls wait (guarantee E2), but not without end (guarantee E3).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from ..errors import ConfigError, InstallRefused, LocalProtocolError
from ..log import logger

__all__ = ["GAVE_UP", "RESTARTS", "WITHIN", "supervise", "supervised"]

#: How often a module may be started again within how many seconds.
RESTARTS = 5
WITHIN = 30.0
#: The exit code of a supervisor that gave up (design: "Exit codes").
GAVE_UP = 70

_FAILED = 1
#: How a supervised process tells that another start could not help; nobody else sees it.
_HOPELESS = 78
_HOPELESS_ERRORS = (ConfigError, InstallRefused, LocalProtocolError)


def supervise(command: Sequence[str]) -> int:
    """Run a program until it ends by itself, and return the exit code.

    SIGTERM and SIGINT are passed on to it. Should this process be killed, it ends in good order.

    Args:
        command: its arguments; `--supervised FD` is added, for `supervised`.

    Returns:
        Its exit code, 128 and the number of the signal of which it died when asked to end, or
        `GAVE_UP` when it died more than 5 times within 30 s.
    """
    return _Supervisor(command).run()


class _Supervisor:
    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        deaths: deque[float] = deque()
        with self._signals():
            while True:
                code = self._live()
                if code == _HOPELESS:
                    return _FAILED
                if code == 0 or self._stopping:
                    return code if code >= 0 else 128 - code
                deaths.append(time.monotonic())
                while deaths[0] < deaths[-1] - WITHIN:
                    deaths.popleft()
                if len(deaths) > RESTARTS:
                    logger.error(
                        "the module %s, %d times within %g s: gave up starting it",
                        *(_told(code), len(deaths), WITHIN),
                    )
                    return GAVE_UP
                logger.error(
                    "the module %s, it is started again (%d of %d within %g s)",
                    *(_told(code), len(deaths), RESTARTS, WITHIN),
                )

    def _live(self) -> int:
        # Its reading end sees the end of our life, however we end.
        reading, writing = os.pipe()
        child = None
        try:
            child = subprocess.Popen(  # noqa: S603  our own interpreter
                [*self._command, "--supervised", str(reading)],
                pass_fds=(reading,),
                # In a group of its own: Ctrl-C would reach it twice, and the second signal does
                # not wait for the module to drain.
                process_group=0,
            )
            self._child = child
            if self._stopping:
                child.terminate()
            return child.wait()
        finally:
            self._child = None
            os.close(reading)
            os.close(writing)
            if child is not None and child.poll() is None:
                # Only an error of ours leads here.
                child.kill()
                child.wait()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        caught = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._stop) for number in caught]
        try:
            yield
        finally:
            for number, handler in zip(caught, before, strict=True):
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.send_signal(number)


def _told(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def supervised(descriptor: int, work: Callable[[], int]) -> int:
    """Do the work of a program that is supervised, and return the exit code.

    Args:
        descriptor: ends with the supervisor; then this process is asked to end, too.
    """
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_follow, args=(descriptor,), name="yateway-follow", daemon=True).start()
    try:
        return work()
    except _HOPELESS_ERRORS as error:
        print(f"yateway: {error}", file=sys.stderr)
        return _HOPELESS
    except Exception:
        # An error that leads out of here would end with 1, too.
        traceback.print_exc()
        return _FAILED


def _follow(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
