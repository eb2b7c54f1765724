"""An embedded engine that runs beside a test which blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from yateway.engine import Engine


@contextmanager
def engine_elsewhere() -> Iterator[str]:
    """Run an embedded engine in another thread and give its address."""
    engine = Engine(listen=["tcp://127.0.0.1:0"])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(engine.start(), loop).result()
        yield engine.urls[0]
    finally:
        asyncio.run_coroutine_threadsafe(engine.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
