"""The same small module for two libraries, as a careful user writes it: yateway and python-yate.

It must not judge, nor help: each adapter does what the library's documentation says, and turns what
a handler returns into what the library takes. Both connect over TCP to an engine on loopback.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

from yateway import Module
from yateway.transport import opener_of

__all__ = ["PythonYate", "Subject", "Verdict", "Yateway"]

#: What a handler of a scenario says: processed or not, or a retvalue; and a coroutine of it.
Verdict: TypeAlias = Any
Handler: TypeAlias = Callable[["Carried"], Verdict]


class Carried(Protocol):
    """A message as scenarios see it; a plain mapping in both libraries."""

    def __getitem__(self, name: str, /) -> str: ...
    def __setitem__(self, name: str, value: Any, /) -> None: ...
    def __delitem__(self, name: str, /) -> None: ...
    def get(self, name: str, /) -> str | None: ...


class Subject(Protocol):
    """A library under test, attached to an engine."""

    name: str

    def handler(self, name: str, function: Handler) -> None:
        """Register a handler; before `begin`."""

    async def begin(self, url: str) -> None:
        """Begin to attach to the engine at `url`, and stay so in the background."""

    async def dispatch(self, name: str, **params: str) -> bool:
        """Send a message, wait for its answer, and tell whether it was processed."""

    async def setlocal(self, name: str, value: str) -> object:
        """Change a setting and wait until the engine confirms it."""

    async def end(self) -> None:
        """Let go of everything."""


class Yateway:
    """A Module."""

    name = "yateway"

    def __init__(self) -> None:
        self.module = Module("subject")
        self._task: asyncio.Task[None] | None = None

    def handler(self, name: str, function: Handler) -> None:
        self.module.handler(name)(function)

    async def begin(self, url: str) -> None:
        self._task = asyncio.create_task(self.module.serve(opener_of(url)))

    async def dispatch(self, name: str, **params: str) -> bool:
        return (await self.module.dispatch(name, params)).processed

    async def setlocal(self, name: str, value: str) -> object:
        return await self.module.setlocal(name, value)

    async def end(self) -> None:
        if self._task is not None:
            self.module.stop()
            await asyncio.wait((self._task,), timeout=30)
            self._task.cancel()


class PythonYate:
    """A `YateAsync`, with the automatic bufsize that its documentation offers."""

    name = "python-yate"

    def __init__(self) -> None:
        self._handlers: list[tuple[str, Handler]] = []
        self._app: Any = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def handler(self, name: str, function: Handler) -> None:
        self._handlers.append((name, function))

    async def begin(self, url: str) -> None:
        from yate.asyncio import YateAsync

        host, _, port = url.removeprefix("tcp://").partition(":")
        self._app = YateAsync(host, int(port))
        self._task = asyncio.create_task(self._app._amain(self._main))

    async def _main(self, app: Any) -> None:
        for name, function in self._handlers:
            await app.register_message_handler_async(name, _adapted(function, app))
        await app.activate_automatic_bufsize()
        self._ready.set()
        await asyncio.Event().wait()

    async def dispatch(self, name: str, **params: str) -> bool:
        from yate.protocol import MessageRequest

        await self._ready.wait()
        answer = await self._app.send_message_async(MessageRequest(name, params))
        return bool(answer.processed)

    async def setlocal(self, name: str, value: str) -> object:
        await self._ready.wait()
        return await self._app.set_local_async(name, value)

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task
        if self._app is not None and self._app.writer is not None:
            self._app.writer.transport.abort()


def _adapted(function: Handler, app: Any) -> Callable[[Any], Any]:
    """Return a handler as python-yate takes it: a text is the return value, None is declined.

    A coroutine function runs in a task that answers when it is done, as its documentation advises.
    """

    def verdict_of(message: Any, verdict: Verdict) -> Any:
        if isinstance(verdict, str):
            message.return_value = verdict
            return True
        return False if verdict is None else verdict

    def handle(message: Any) -> Any:
        return verdict_of(message, function(message.params))

    def handle_later(message: Any) -> None:
        async def answer() -> None:
            app.answer_message(message, verdict_of(message, await function(message.params)))

        tasks.add(task := asyncio.create_task(answer()))
        task.add_done_callback(tasks.discard)

    tasks: set[asyncio.Task[None]] = set()
    return handle_later if inspect.iscoroutinefunction(function) else handle
