"""The same small IVR for each way to drive calls, complete as it would be used.

Each answers, plays a menu, plays what follows when a key is pressed, and hangs up at the next key.
Run as `python -m benchmarks.ivr_subjects NAME ENGINE SOUNDS`; it ends when it is terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

#: python-yate runs a process for each call, which the engine starts: this is the script.
PYTHON_YATE = """\
#!{python}
from yate.ivr import YateIVR

async def main(ivr):
    await ivr.play_soundfile("{sounds}/menu.slin")
    await ivr.read_dtmf_symbols(1, 600)
    await ivr.play_soundfile("{sounds}/next.slin")
    await ivr.read_dtmf_symbols(1, 600)

YateIVR().run(main)
"""


def yateway(engine: str, sounds: str) -> None:
    """A coroutine for each call to 100, all in this process."""
    from yateway import Call, Message, Module, Reject, Route

    module = Module("ivr", sounds=sounds)

    @module.handler("call.route", filter=("called", "100"))
    def route(message: Message) -> Route | Reject:
        return module.take("ivr")

    @module.call("ivr")
    async def ivr(call: Call) -> None:
        await call.answer()
        await call.start("menu.slin", repeat=True)
        await call.key()
        await call.start("next.slin", repeat=True)
        await call.key()

    module.run(engine)


def bare(engine: str, sounds: str) -> None:
    """The floor: an asyncio protocol that cuts ids out and sends canned lines; for calls to 101."""

    class Canned(asyncio.Protocol):
        rest = b""

        def __init__(self) -> None:
            self.legs: dict[bytes, bytes] = {}
            self.pressed: set[bytes] = set()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            transport.write(b"%%>connect:global\n%%>install:100:call.route:called:101\n")
            transport.write(b"%%>watch:call.execute\n%%>watch:chan.dtmf\n")

        def data_received(self, data: bytes) -> None:
            # Or the kernel's delayed acknowledgement would be measured (docs/performance.md).
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.transport.write(b"".join(map(self.line, lines)))

        def line(self, line: bytes) -> bytes:
            if line.startswith(b"%%>message:"):
                return b"%%<message:" + line.split(b":", 2)[1] + b":true::dumb/\n"
            name, params = (
                line.split(b":")[3:4],
                dict(part.partition(b"=")[::2] for part in line.split(b":")[5:]),
            )
            person = params.get(b"id", b"")
            if name == [b"call.execute"] and b"targetid" in params:
                leg = self.legs[person] = params[b"targetid"]
                answer = _as_leg(leg, b"call.answered:targetid=" + person)
                return answer + _as_leg(leg, b"chan.attach:" + self.play(b"menu"))
            if name != [b"chan.dtmf"]:
                return b""
            if person in self.pressed:
                return b"%%>message:d:0:call.drop::id=" + person + b":reason=hangup\n"
            self.pressed.add(person)
            return _as_leg(self.legs[person], b"chan.attach:" + self.play(b"next"))

        def play(self, name: bytes) -> bytes:
            source = b"source=wave/play/" + sounds.encode() + b"/" + name + b".slin"
            return source + b":single=true:autorepeat=true"

    async def main() -> None:
        address = urlsplit(engine)
        host, port = str(address.hostname), int(address.port or 0)
        await asyncio.get_running_loop().create_connection(Canned, host, port)
        await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def _as_leg(leg: bytes, message: bytes) -> bytes:
    return b"%%>message:m:0:chan.masquerade::id=" + leg + b":message=" + message + b"\n"


def python_yate_script(folder: Path, sounds: str) -> Path:
    """Write the script for each call, and return it."""
    script = folder / "ivr.py"
    script.write_text(PYTHON_YATE.format(python=sys.executable, sounds=sounds))
    script.chmod(0o700)
    return script


SUBJECTS = {"yateway": yateway, "bare": bare}

if __name__ == "__main__":
    SUBJECTS[sys.argv[1]](sys.argv[2], sys.argv[3])
