"""Starts the real engine for a test: only extmodule, listeners on loopback, a folder of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

#: Seconds until the engine must listen; it takes about two.
PATIENCE = 15.0

YATE_CONF = """\
[general]
modload=disable
minworkers=4

[modules]
extmodule.yate=yes
"""

EXTMODULE_CONF = """\
[listener test]
type=tcp
addr=127.0.0.1
port={port}

[listener local]
type=unix
path={folder}/yate.sock

{more}
"""


class RealEngine:
    """A running engine, its addresses, and the means to kill it and start it again.

    Attributes:
        tcp, unix: its addresses; neither listener has a role.
        log: the file with all that it prints.
    """

    def __init__(self, folder: Path, more: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._folder = folder
        self._socket = folder / "yate.sock"
        self.tcp = f"tcp://127.0.0.1:{port}"
        self.unix = f"unix://{self._socket}"
        self.log = folder / "yate.log"
        (folder / "yate.conf").write_text(YATE_CONF)
        text = EXTMODULE_CONF.format(port=port, folder=folder, more=more)
        (folder / "extmodule.conf").write_text(text)

    async def start(self) -> None:
        """Start the engine and wait until it listens."""
        prefix = Path(os.environ["YATEWAY_YATE"])
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                prefix / "bin" / "yate",
                *("-c", self._folder, "-vvv"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # An engine that is installed below a folder of its own finds its library so.
                env=os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")},
            )
        async with asyncio.timeout(PATIENCE):
            while not await self._listens():
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        """Kill the engine without a word."""
        await self._end(signal.SIGKILL)
        self._socket.unlink(missing_ok=True)

    async def stop(self) -> None:
        """End the engine in good order; it takes up to a second."""
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(how)
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()


@asynccontextmanager
async def real_engine(more: str = "") -> AsyncIterator[RealEngine]:
    """Run a real engine while the block lasts.

    Args:
        more: further sections of its extmodule.conf.
    """
    with tempfile.TemporaryDirectory(prefix="yateway-") as folder:
        engine = RealEngine(Path(folder), more)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()
