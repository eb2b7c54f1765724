"""Telephones for the tests on a real engine: sipp, a program that plays written SIP dialogues.

They lie in data/sipp and can be played by hand as each says. All traffic stays on loopback.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .real_engine import WORKERS, RealEngine, free_port, real_engine

SCENARIOS = Path(__file__).parent / "data" / "sipp"

#: Seconds after which a telephone gives up.
PATIENCE = 25

#: What calls need of the engine.
MODULES = (
    *("ysipchan", "yrtpchan", "dumbchan", "tonegen", "wavefile"),
    *("callfork", "conference", "pbx", "regexroute"),
)

YSIPCHAN_CONF = """\
[general]
addr=127.0.0.1
port={port}
udp_force_bind=no
floodprotection=no
dtmfmethods=info
"""
YRTPCHAN_CONF = "[general]\nlocalip=127.0.0.1\n"

needs_sipp = pytest.mark.skipif(
    shutil.which("sipp") is None, reason="there is no sipp (package sip-tester)"
)


@dataclass
class Phone:
    """One run of sipp.

    Attributes:
        port: where it is called.
        process: which may go on for several calls.
    """

    port: int
    process: asyncio.subprocess.Process
    messages: Path
    errors: Path

    @property
    def target(self) -> str:
        """Where a call to it is routed."""
        return f"sip/sip:phone@127.0.0.1:{self.port}"

    async def done(self) -> str:
        """Wait until all went as written, and return the SIP messages that came and went."""
        result = await self.process.wait()
        text = self.messages.read_text() if self.messages.exists() else ""
        errors = self.errors.read_text() if self.errors.exists() else ""
        assert result == 0, f"sipp ended with {result}\n{errors[:2000]}\n{text[-8000:]}"
        return text


class Exchange:
    """A real engine that takes SIP calls.

    Attributes:
        engine: the engine.
        port: where it takes SIP.
    """

    def __init__(self, engine: RealEngine, port: int) -> None:
        self.engine = engine
        self.port = port
        self._phones: list[Phone] = []

    async def phone(self, scenario: str, status: int = 0, /, **keys: object) -> Phone:
        """Start to play a dialogue.

        Args:
            scenario: its name in data/sipp.
            status: the SIP status that belongs into it.
            keys: what it needs to know, and `called` for whom it calls, `calls` for how many, and
                `per_second`.
        """
        port, media = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        path = self.engine.folder / f"{scenario}-{port}"
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        path.with_suffix(".xml").write_text(text.replace("@STATUS@", str(status)))
        messages, errors = path.with_suffix(".messages"), path.with_suffix(".errors")
        defaults = {"caller": "1001", "press": "", "rate": 200, "ring": 200, "stay": 0}
        called, calls = keys.pop("called", "100"), str(keys.pop("calls", 1))
        rate = str(keys.pop("per_second", 10))
        known = [
            word for key, value in (defaults | keys).items() for word in ("-key", key, str(value))
        ]
        process = await asyncio.create_subprocess_exec(
            *("sipp", f"127.0.0.1:{self.port}", "-sf", str(path.with_suffix(".xml"))),
            *("-s", str(called), "-aa", "-nostdin"),
            *(("-rtp_echo",) if calls == "1" else ()),
            *("-m", calls, "-l", calls, "-r", rate),
            *("-i", "127.0.0.1", "-p", str(port), "-mp", str(media)),
            *("-timeout", f"{PATIENCE}s", "-timeout_error"),
            *("-trace_msg", "-message_file", str(messages)),
            *("-trace_err", "-error_file", str(errors)),
            *known,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        phone = Phone(port, process, messages, errors)
        self._phones.append(phone)
        async with asyncio.timeout(PATIENCE):
            while process.returncode is None and not _listens(port):
                await asyncio.sleep(0.01)
        return phone

    async def call(self, called: str = "100", /, **keys: object) -> Phone:
        """Start to call a number, see data/sipp/caller.xml for the keys."""
        return await self.phone("caller", called=called, **keys)

    async def close(self) -> None:
        """End the telephones that are still there."""
        for phone in self._phones:
            if phone.process.returncode is None:
                phone.process.kill()
                await phone.process.wait()
        self._phones.clear()


def _listens(port: int) -> bool:
    """Tell whether a UDP port is somebody's; to try would take it from them."""
    return f":{port:04X} " in Path("/proc/net/udp").read_text()


@asynccontextmanager
async def sip_exchange(
    files: Mapping[str, str] | None = None, general: str = WORKERS
) -> AsyncIterator[Exchange]:
    """Run a real engine that takes SIP calls while the block lasts.

    Args:
        files: the text of further configuration files, by their names.
        general: further lines of the section general of its yate.conf.
    """
    port = free_port(socket.SOCK_DGRAM)
    written = {
        "ysipchan.conf": YSIPCHAN_CONF.format(port=port),
        "yrtpchan.conf": YRTPCHAN_CONF,
        **(files or {}),
    }
    async with real_engine(modules=MODULES, general=general, files=written) as engine:
        exchange = Exchange(engine, port)
        try:
            yield exchange
        finally:
            await exchange.close()
