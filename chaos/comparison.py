"""The same faults for yateway and for python-yate, run and not quoted: who survives what.

    python -m chaos.comparison

Each fault is a coroutine that gets a fresh subject and an embedded engine on a loopback port behind
a faulty network, on virtual time, and returns whether the subject survived: what that means stands
in the fault's name. It must not favour anybody: some of them both survive.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from yateway import Message
from yateway.engine import Engine
from yateway.engine.faults import FaultProxy
from yateway.testing import VirtualClockLoop

from .subjects import Carried, PythonYate, Subject, Yateway

__all__ = ["FAULTS", "SUBJECTS", "main", "survives", "table"]

SUBJECTS: tuple[Callable[[], Subject], ...] = (Yateway, PythonYate)
#: Virtual seconds: a request is held for no longer, all faults are over after so long, and a fault
#: as a whole has so long. The engine itself gives a request up after 10 s.
PROMPT, RECOVERED, OVER = 3.0, 40.0, 300.0


@dataclass(slots=True)
class Stage:
    """A subject, its engine and the network between."""

    subject: Subject
    engine: Engine
    proxy: FaultProxy
    seen: list[str] = field(default_factory=list)

    async def begin(self) -> bool:
        """Attach the subject, with a handler that is well beside those that are not."""

        def well(message: Carried) -> str:
            self.seen.append(message.get("n") or "")
            return "sip/well"

        self.subject.handler("t.well", well)
        await self.subject.begin(self.proxy.url)
        return await self.serves(RECOVERED)

    async def ask(self, name: str, /, **params: str) -> Message | None:
        """Ask the subject; None when it was held for too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PROMPT):
                return await self.engine.dispatch(name, params)
        return None

    async def serves(self, within: float = 0.0) -> bool:
        """Tell whether what is well is served, now or within so many seconds."""
        until = asyncio.get_running_loop().time() + within
        while True:
            answer = await self.ask("t.well")
            if answer is not None and answer.retvalue == "sip/well":
                return True
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(0.2)

    async def answers(self, name: str, function: Callable[[Any], Any], **params: str) -> bool:
        """Tell whether a handler's request is answered promptly, and what is well served after."""
        self.subject.handler(name, function)
        await self.begin()
        answer = await self.ask(name, **params)
        return answer is not None and await self.serves()


Fault: TypeAlias = Callable[[Stage], Awaitable[bool]]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    """Add a fault under a name that says what happens, and what is wanted."""

    def add(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return add


# Handlers


@fault("a handler raises: its request is answered, others are served")
async def _(it: Stage) -> bool:
    def raises(message: Carried) -> None:
        raise LookupError("a bug")

    return await it.answers("t.bad", raises)


@fault("a handler returns a coroutine: answered, others served")
async def _(it: Stage) -> bool:
    async def later() -> bool:
        return True

    return await it.answers("t.bad", lambda message: later())


@fault("a handler returns 1 and not True: answered, others served")
async def _(it: Stage) -> bool:
    return await it.answers("t.bad", lambda message: 1)


@fault("a handler sets a number, not a text: answered, others served")
async def _(it: Stage) -> bool:
    def number(message: Carried) -> bool:
        message["x"] = 5
        return True

    return await it.answers("t.bad", number)


@fault("a handler hangs: the engine gets its thread back before its timeout")
async def _(it: Stage) -> bool:
    async def hangs(message: Carried) -> None:
        await asyncio.sleep(3600)

    return await it.answers("t.bad", hangs)


@fault("a coroutine handler raises: answered, others served")
async def _(it: Stage) -> bool:
    async def raises(message: Carried) -> None:
        await asyncio.sleep(0)
        raise LookupError("a bug")

    return await it.answers("t.bad", raises)


@fault("a handler sets a value of 70 kB: answered, connection kept")
async def _(it: Stage) -> bool:
    def long(message: Carried) -> bool:
        message["x"] = "y" * 70_000
        return True

    return await it.answers("t.bad", long)


@fault("a handler deletes a parameter: the engine has it no more")
async def _(it: Stage) -> bool:
    def delete(message: Carried) -> bool:
        del message["secret"]
        return True

    it.subject.handler("t.delete", delete)
    await it.begin()
    answer = await it.ask("t.delete", secret="x")
    return answer is not None and "secret" not in answer


@fault("a handler declines: return value and parameters stay")
async def _(it: Stage) -> bool:
    it.subject.handler("t.decline", lambda message: False)
    await it.begin()
    answer = await it.engine.dispatch("t.decline", retvalue="kept", a="b")
    return answer.retvalue == "kept" and answer["a"] == "b"


@fault("twenty requests are held at once: all answered, each with its own answer")
async def _(it: Stage) -> bool:
    async def later(message: Carried) -> str:
        await asyncio.sleep(0.5)
        return f"sip/{message['n']}"

    it.subject.handler("t.later", later)
    await it.begin()
    answers = await asyncio.gather(*(it.ask("t.later", n=str(n)) for n in range(20)))
    return [a and a.retvalue for a in answers] == [f"sip/{n}" for n in range(20)]


# What comes from the engine


@fault("a caller's name that is not UTF-8: answered, and unchanged")
async def _(it: Stage) -> bool:
    it.subject.handler("t.name", lambda message: True)
    await it.begin()
    name = "M\udcfcller"
    answer = await it.ask("t.name", callername=name)
    return answer is not None and answer["callername"] == name and await it.serves()


@fault("blanks at the end of the last value stay")
async def _(it: Stage) -> bool:
    it.subject.handler("t.blanks", lambda message: f"[{message.get('text')}]")
    await it.begin()
    answer = await it.ask("t.blanks", text="12 ")
    return answer is not None and answer.retvalue == "[12 ]"


@fault("a line of 70 kB from the engine: answered, others served")
async def _(it: Stage) -> bool:
    it.subject.handler("t.long", lambda message: False)
    await it.begin()
    return await it.ask("t.long", text="x" * 70_000) is not None and await it.serves()


@fault("a parameter name with '=': answered, others served")
async def _(it: Stage) -> bool:
    it.subject.handler("t.equals", lambda message: True)
    await it.begin()
    name = "a=b"
    return await it.ask("t.equals", **{name: "c"}) is not None and await it.serves()


@fault("bytes one by one: served")
async def _(it: Stage) -> bool:
    await it.begin()
    it.proxy.faults.split(1)
    return await it.serves()


@fault("an error line of the engine: others served")
async def _(it: Stage) -> bool:
    await it.begin()
    with suppress(Exception):
        await asyncio.wait_for(it.subject.setlocal("", "x"), 5)
    return await it.serves()


# Messages and settings of its own


def _echo(it: Stage, seconds: float = 0.0) -> list[str]:
    """Let the engine answer `t.echo` after so long, and return the numbers as they come."""
    came: list[str] = []

    async def echo(message: Message) -> bool:
        came.append(message["n"])
        await asyncio.sleep(seconds)
        return True

    it.engine.install("t.echo", echo)
    return came


@fault("an answer comes after its asker's patience: others served")
async def _(it: Stage) -> bool:
    _echo(it, 5.0)
    await it.begin()
    with suppress(TimeoutError):
        await asyncio.wait_for(it.subject.dispatch("t.echo", n="1"), 1)
    await asyncio.sleep(10)
    return await it.serves()


@fault("two long messages and a short one at once: all arrive, in order")
async def _(it: Stage) -> bool:
    came = _echo(it)
    await it.begin()
    texts = ("x" * 9000, "y" * 9500, "")
    sent = [
        asyncio.create_task(it.subject.dispatch("t.echo", n=str(number), text=text))
        for number, text in enumerate(texts)
    ]
    done, pending = await asyncio.wait(sent, timeout=20)
    for task in pending:
        task.cancel()
    return came == ["0", "1", "2"] and len(done) == 3


@fault("an own message of 70 kB: refused with an error, connection kept")
async def _(it: Stage) -> bool:
    _echo(it)
    await it.begin()
    refused = False
    try:
        await asyncio.wait_for(it.subject.dispatch("t.echo", n="1", text="x" * 70_000), 5)
    except TimeoutError:
        pass
    except Exception:
        refused = True
    return refused and await it.serves()


@fault("one setting changed twice at once: both hear of it")
async def _(it: Stage) -> bool:
    await it.begin()
    changes = [asyncio.create_task(it.subject.setlocal("timeout", n)) for n in ("8000", "9000")]
    done, pending = await asyncio.wait(changes, timeout=5)
    for task in pending:
        task.cancel()
    return len(done) == 2


@fault("two handlers of one name: both are asked")
async def _(it: Stage) -> bool:
    asked: list[str] = []

    def one(message: Carried) -> None:
        asked.append("one")

    def other(message: Carried) -> None:
        asked.append("other")

    it.subject.handler("t.both", one)
    it.subject.handler("t.both", other)
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            await it.begin()
    await it.ask("t.both")
    return sorted(asked) == ["one", "other"]


# Connections


@fault("the first connect is refused: attached once the engine is there")
async def _(it: Stage) -> bool:
    it.proxy.faults.refuse()
    begun = asyncio.create_task(it.begin())
    await asyncio.sleep(5)
    it.proxy.faults.heal()
    with suppress(Exception):
        await begun
    return await it.serves(RECOVERED)


@fault("the engine is killed and started again: served again")
async def _(it: Stage) -> bool:
    await it.begin()
    it.engine.kill()
    await asyncio.sleep(3)
    await it.engine.start()
    return await it.serves(RECOVERED)


@fault("the connection is reset: served again")
async def _(it: Stage) -> bool:
    await it.begin()
    it.proxy.faults.reset()
    await asyncio.sleep(0.1)
    return await it.serves(RECOVERED)


@fault("the connection ends while an answer is waited for: the waiter gets an error")
async def _(it: Stage) -> bool:
    _echo(it, 30.0)
    await it.begin()
    waiting = asyncio.create_task(it.subject.dispatch("t.echo", n="1"))
    await asyncio.sleep(1)
    it.proxy.faults.reset()
    await asyncio.wait((waiting,), timeout=5)
    if waiting.done():
        return waiting.exception() is not None
    waiting.cancel()
    return False


@fault("the network swallows everything for a minute, then resets: served again")
async def _(it: Stage) -> bool:
    await it.begin()
    it.proxy.faults.silence()
    for _ in range(20):
        await it.ask("t.well")
    it.proxy.faults.heal()
    return await it.serves(RECOVERED)


@fault("a line is cut in its middle, and the connection with it: served again")
async def _(it: Stage) -> bool:
    await it.begin()
    it.proxy.faults.cut(20, toward="module")
    await it.ask("t.well")
    it.proxy.faults.heal()
    return await it.serves(RECOVERED)


# Running them


async def _try(fault: Fault, make: Callable[[], Subject]) -> bool:
    async with (
        Engine(listen=["tcp://127.0.0.1:0"]) as engine,
        FaultProxy(engine.urls[0]) as proxy,
    ):
        subject = make()
        try:
            async with asyncio.timeout(OVER):
                return await fault(Stage(subject, engine, proxy))
        except TimeoutError:
            return False
        finally:
            await subject.end()


def survives(name: str, make: Callable[[], Subject]) -> bool:
    """Let one fault befall one subject, on virtual time."""
    with warnings.catch_warnings(), asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        warnings.simplefilter("ignore")
        # What a subject leaves behind is its own affair here.
        runner.get_loop().set_exception_handler(lambda loop, context: None)
        survived = runner.run(_try(FAULTS[name], make))
        gc.collect()
    return survived


def table() -> dict[str, dict[str, bool]]:
    """Let all faults befall all subjects."""
    return {name: {make().name: survives(name, make) for make in SUBJECTS} for name in FAULTS}


def main() -> bool:
    """Print the table; return whether yateway survives all."""
    for logger in ("yateway", "yate", ""):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    results = table()
    names = [make().name for make in SUBJECTS]
    print(f"\n| what happens, and what is wanted | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for name, survived in results.items():
        words = ("survives" if survived[subject] else "fails" for subject in names)
        print(f"| {name} | {' | '.join(words)} |")
    totals = (sum(survived[subject] for survived in results.values()) for subject in names)
    print(f"| **survived of {len(results)}** | {' | '.join(map(str, totals))} |")
    return all(survived["yateway"] for survived in results.values())


if __name__ == "__main__":
    raise SystemExit(not main())
