"""The handlers of test.latency; run as `python -m benchmarks.latency_subjects LIBRARY URL`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit


def yateway(url: str) -> None:
    """A Module."""
    from yateway import Module

    module = Module("latency")
    module.handler("test.latency")(lambda message: True)
    module.run(url)


def no_quickack(url: str) -> None:
    """A Module as on a platform that has no TCP_QUICKACK."""
    from yateway import transport

    transport._QUICKACK = None
    yateway(url)


def python_yate(url: str) -> None:
    """python-yate."""
    from yate.asyncio import YateAsync

    parts = urlsplit(url)
    unix = parts.scheme == "unix"
    app = YateAsync(sockpath=parts.path) if unix else YateAsync(parts.hostname, parts.port)

    async def main(app: Any) -> None:
        app.register_message_handler("test.latency", lambda message: True)
        await asyncio.sleep(3600)

    app.run(main)


if __name__ == "__main__":
    subjects = {"yateway": yateway, "no_quickack": no_quickack, "python_yate": python_yate}
    subjects[sys.argv[1]](sys.argv[2])
