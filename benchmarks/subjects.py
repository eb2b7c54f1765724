"""What is measured: the same small module, written for each library, complete as it would be used.

Each reads one parameter of call.route and sets one. Run as `python -m benchmarks.subjects NAME
PORT`; it ends when the load closes the connection.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def yateway(port: int) -> None:
    """A Module with a synchronous handler."""
    from yateway import Message, Module

    module = Module("bench")

    @module.handler("call.route")
    def route(message: Message) -> str | None:
        if message.get("called") != "123":
            return None
        message["param1"] = "value1"
        return "sip/sip:test@127.0.0.1"

    @module.on_disconnected
    def over() -> None:
        module.stop()

    module.run(f"tcp://127.0.0.1:{port}")


def yateway_async(port: int) -> None:
    """A Module with a coroutine handler that does not suspend."""
    from yateway import Message, Module

    module = Module("bench", max_in_flight=1024)

    @module.handler("call.route")
    async def route(message: Message) -> str | None:
        if message.get("called") != "123":
            return None
        message["param1"] = "value1"
        return "sip/sip:test@127.0.0.1"

    @module.on_disconnected
    def over() -> None:
        module.stop()

    module.run(f"tcp://127.0.0.1:{port}")


def python_yate(port: int) -> None:
    """python-yate with its synchronous handler."""
    from yate.asyncio import YateAsync

    app = YateAsync("127.0.0.1", port)
    ended = asyncio.Event()

    def route(message: Any) -> bool:
        if message.params.get("called") != "123":
            return False
        message.params["param1"] = "value1"
        message.return_value = "sip/sip:test@127.0.0.1"
        return True

    async def main(app: Any) -> None:
        app.set_termination_handler(ended.set)
        app.register_message_handler("call.route", route)
        await ended.wait()

    app.run(main)


def bare(port: int) -> None:
    """The limit of Python itself: an asyncio protocol that cuts ids out and answers canned."""

    class Canned(asyncio.Protocol):
        rest = b""

        def __init__(self, ended: asyncio.Future[None]) -> None:
            self.ended = ended

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            transport.write(b"%%>connect:global\n%%>install:100:call.route\n")

        def data_received(self, data: bytes) -> None:
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.transport.write(
                b"".join(
                    b"%%<message:" + line.split(b":", 2)[1] + b":true::x:param1=value1\n"
                    for line in lines
                    if line.startswith(b"%%>message:")
                )
            )

        def connection_lost(self, exc: Exception | None) -> None:
            self.ended.set_result(None)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda: Canned(ended), "127.0.0.1", port)
        await ended

    asyncio.run(main())


SUBJECTS = {
    "bare asyncio loop": bare,
    "python-yate": python_yate,
    "yateway": yateway,
    "yateway, coroutine": yateway_async,
}

if __name__ == "__main__":
    SUBJECTS[sys.argv[1]](int(sys.argv[2]))
