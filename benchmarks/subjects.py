"""What is measured: the same small module, written for each library, complete as it would be used.

Each reads two parameters of call.route and sets one. Run as `python -m benchmarks.subjects NAME
PORT PARAMS`, where PARAMS tells how many those that send messages are to send; it ends when the
load closes the connection.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .load import OUTSTANDING, params_of

PEERS = Path(__file__).parent / "peers"
ROUTE = "sip/sip:test@127.0.0.1"


def _parameters() -> dict[str, str]:
    text = params_of(int(sys.argv[3]))
    return dict(
        param.split("=", 1) for param in text.replace("%z", ":").split(":")[1:] if "=" in param
    )


# yateway


def _module(register: Callable[[Any], None]) -> Callable[[int], None]:
    def run(port: int) -> None:
        from yateway import Module

        module = Module("bench", max_in_flight=2 * OUTSTANDING)
        register(module)
        module.on_disconnected(module.stop)
        module.run(f"tcp://127.0.0.1:{port}")

    return run


def _fits(message: Any) -> bool:
    return bool(message.get("called") == "123" and message.get("caller") == "100")


def _plain(module: Any) -> None:
    @module.handler("call.route")  # type: ignore[untyped-decorator]
    def route(message: Any) -> str | None:
        if not _fits(message):
            return None
        message["param1"] = "value1"
        return ROUTE


def _coroutine(module: Any) -> None:
    @module.handler("call.route")  # type: ignore[untyped-decorator]
    async def route(message: Any) -> str | None:
        if not _fits(message):
            return None
        message["param1"] = "value1"
        return ROUTE


def _suspending(module: Any) -> None:
    @module.handler("call.route")  # type: ignore[untyped-decorator]
    async def route(message: Any) -> str | None:
        if not _fits(message):
            return None
        await asyncio.sleep(0)
        message["param1"] = "value1"
        return ROUTE


def _watching(module: Any) -> None:
    _plain(module)

    @module.watcher("call.answered")  # type: ignore[untyped-decorator]
    def look(message: Any) -> None:
        message.get("called")


def _dispatching(module: Any) -> None:
    _plain(module)
    given = _parameters()

    async def send() -> None:
        while True:
            answer = await module.dispatch("call.route", given)
            assert answer.processed

    @module.on_connected  # type: ignore[untyped-decorator]
    def begin() -> None:
        for _ in range(OUTSTANDING):
            module.spawn(send())


def _on_uvloop(run: Callable[[int], None]) -> Callable[[int], None]:
    def on_uvloop(port: int) -> None:
        import uvloop

        uvloop.install()
        run(port)

    return on_uvloop


def _pure(run: Callable[[int], None]) -> Callable[[int], None]:
    def without_the_compiled_part(port: int) -> None:
        os.environ["YATEWAY_PURE"] = "1"
        run(port)

    return without_the_compiled_part


# python-yate


def _python_yate(more: Callable[[Any], None]) -> Callable[[int], None]:
    def run(port: int) -> None:
        from yate.asyncio import YateAsync

        app = YateAsync("127.0.0.1", port)
        ended = asyncio.Event()

        def route(message: Any) -> bool:
            if message.params.get("called") != "123" or message.params.get("caller") != "100":
                return False
            message.params["param1"] = "value1"
            message.return_value = ROUTE
            return True

        async def main(app: Any) -> None:
            app.set_termination_handler(ended.set)
            more(app)
            app.register_message_handler("call.route", route)
            await ended.wait()

        app.run(main)

    return run


def _python_yate_watching(app: Any) -> None:
    app.register_watch_handler("call.answered", lambda message: message.params.get("called"))


def _python_yate_dispatching(app: Any) -> None:
    from yate.protocol import MessageRequest

    given = _parameters()

    async def send() -> None:
        # The load answers nothing before it has seen the handler installed.
        await asyncio.sleep(0.2)
        while True:
            answer = await app.send_message_async(MessageRequest("call.route", dict(given)))
            assert answer.processed

    app.kept = [asyncio.create_task(send()) for _ in range(OUTSTANDING)]


# The limit of Python itself


def canned_answers(lines: list[bytes]) -> bytes:
    """Answer each request among lines by its id, whatever it asks."""
    return b"".join(
        b"%%<message:" + line.split(b":", 2)[1] + b":true::x:param1=value1\n"
        for line in lines
        if line.startswith(b"%%>message:")
    )


class Canned(asyncio.Protocol):
    """A protocol that cuts ids out and answers canned."""

    rest = b""
    transport: asyncio.Transport

    def __init__(self, ended: asyncio.Future[None]) -> None:
        self.ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"%%>connect:global\n%%>install:100:call.route\n")

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.transport.write(canned_answers(lines))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


def _bare(port: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda: Canned(ended), "127.0.0.1", port)
        await ended

    asyncio.run(main())


@dataclass(frozen=True)
class Subject:
    """One thing to measure: a function of this file, or a program beside it.

    Attributes:
        kinds: of load, see `load.py`.
        program: of a peer in another language; it is measured when the variable `path` names it.
    """

    run: Callable[[int], None] | None
    kinds: tuple[str, ...] = ("handle",)
    program: tuple[str, ...] = ()
    path: str = ""

    def command(self, name: str, port: str, params: int) -> list[str]:
        """Return what to execute."""
        if self.program:
            return [*self.program, port]
        return [sys.executable, "-m", "benchmarks.subjects", name, port, str(params)]

    @property
    def there(self) -> bool:
        """Whether it can be measured here."""
        return not self.path or self.path in os.environ


SUBJECTS = {
    "bare loop": Subject(_bare, ("handle", "large")),
    "python-yate": Subject(_python_yate(lambda app: None), ("handle", "large")),
    "python-yate, watch": Subject(_python_yate(_python_yate_watching), ("notify",)),
    "python-yate, dispatch": Subject(_python_yate(_python_yate_dispatching), ("dispatch",)),
    "next-yate": Subject(None, program=("node", str(PEERS / "next_yate.js")), path="NEXT_YATE"),
    "libyate.php": Subject(None, program=("php", str(PEERS / "libyate.php")), path="LIBYATE_PHP"),
    "yateway": Subject(_module(_plain), ("handle", "large")),
    "yateway, coroutine": Subject(_module(_coroutine)),
    "yateway, awaits once": Subject(_module(_suspending)),
    "yateway, pure Python": Subject(_pure(_module(_plain)), ("handle", "large")),
    "yateway, uvloop": Subject(_on_uvloop(_module(_plain))),
    "yateway, watch": Subject(_module(_watching), ("notify",)),
    "yateway, dispatch": Subject(_module(_dispatching), ("dispatch",)),
}

if __name__ == "__main__":
    subject = SUBJECTS[sys.argv[1]]
    assert subject.run is not None
    subject.run(int(sys.argv[2]))
