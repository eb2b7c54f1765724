"""A scripted caller: dials, presses keys, listens, speaks and hangs up, as a person would.

It must not know modules or pytest, nor judge what it was not asked about. It stands on a telephone
of the embedded engine (`sim.py`). Every wait has a limit by the clock of the event loop, and what
did not happen is an `AssertionError` (`NotHappened`) for people: what was waited for, what was
heard instead and when, and the ladder diagram of the call so far.

    await caller.dial("100")
    await caller.hears("menu")
    caller.press("1")
    await caller.hung_up()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ..errors import shown
from ..message import Value
from .engine import Engine
from .ladder import ladder
from .media import Source
from .recording import Recording
from .sim import Leg

__all__ = ["LIMIT", "Caller", "NotHappened", "diagram"]

#: Seconds that a caller waits for anything, unless told otherwise.
LIMIT: Final = 10.0
#: Lines of a diagram that a failure shows, the last ones.
LADDER_LINES: Final = 80
#: Sources that nobody hears.
_SILENT: Final = frozenset({"wave/play/-", "tone/silence"})
#: Statuses of a calling telephone that a person would notice.
_TOLD: Final = frozenset({"progressing", "ringing", "answered", "rejected"})


class NotHappened(AssertionError):
    """What a caller waited for did not happen; the text tells a person all there is to know."""


def diagram(recording: Recording, lines: int = LADDER_LINES) -> str:
    """Return the ladder diagram of a recording, its last lines if there are more than so many."""
    head, *rows = ladder(recording).splitlines()
    before = len(rows) - lines
    return "\n".join([head, *([f"... {before} before"] if before > 0 else []), *rows[-lines:]])


class Caller:
    """A person with a telephone of the embedded engine; calls, and can be called.

    `hears` waits for something that happens; `answered`, `hung_up` and the others for something to
    be so, and return at once where it is.

    Args:
        engine: has to run before the caller does anything.
        number: its own; empty for an anonymous caller.
        record: the recording that the engine keeps, to show what went over the wire. What the
            caller does and hears is noted there too.
        limit: seconds for each wait that names none.

    Attributes:
        number: as given.
        limit: as given; may be changed.
        heard: what was heard in this call, each with its time in seconds on the recording; empty
            is silence.
    """

    def __init__(
        self,
        engine: Engine,
        number: str = "",
        *,
        record: Recording | None = None,
        limit: float = LIMIT,
    ) -> None:
        self.number = number
        self.limit = limit
        self.heard: list[tuple[float, str]] = []
        self._engine = engine
        self._record = Recording() if record is None else record
        self._leg: Leg | None = None
        self._taken = 0
        self._source: Source | None = None
        self._statuses: list[str] = []
        self._told_digits = self._told_texts = 0
        self._told_end = False

    def __repr__(self) -> str:
        leg = self._leg
        state = "no call" if leg is None else "hung up" if leg.hung_up else leg.status
        return f"<Caller {self.number!a} {state}>"

    # What it is doing now

    @property
    def leg(self) -> Leg:
        """Its telephone in the call.

        Raises:
            RuntimeError: there was no call yet.
        """
        if self._leg is None:
            raise RuntimeError("this caller has no call: let it dial, or be called")
        return self._leg

    @property
    def hearing(self) -> str:
        """What sounds in its ear now, as "wave/play/FILE" or "tone/dial"; empty is silence."""
        return "" if self.leg.hears in _SILENT else self.leg.hears

    # What it does

    async def dial(
        self, called: str, params: Mapping[str, Value] | None = None, /, **more: Value
    ) -> None:
        """Call a number; the call is routed meanwhile.

        Args:
            called: the number.
            params: further parameters of call.route, where they are no Python identifiers.
            more: further parameters.

        Raises:
            ConnectionLost: the engine does not run.
            RuntimeError: the caller is in a call already.
        """
        self._free()
        self._note(f"dials {called}")
        self._take(await self._engine.call(called, self.number, params, **more))

    async def is_called(self, number: str = "", *, within: float | None = None) -> None:
        """Wait until somebody calls a telephone, and be the one who has it; it does not ring yet.

        Args:
            number: what was called, as `sim/NUMBER`; empty for any. Of several calls the first one
                that nobody has taken yet has to be this one.
            within: seconds, the caller's limit by default.

        Raises:
            NotHappened: nobody called, or another number was called.
            ConnectionLost: the engine does not run.
            RuntimeError: the caller is in a call already.
        """
        __tracebackhide__ = True
        self._free()
        limit = self.limit if within is None else within
        wanted = f"get a call as {shown(number)}" if number else "get a call"
        try:
            async with asyncio.timeout(limit):
                leg = await self._engine.next_call()
        except TimeoutError:
            raise self._failure(f"did not {wanted} within {limit:g} s") from None
        self._note(f"is called as {leg.address}")
        self._take(leg)
        if number not in ("", leg.address):
            raise self._failure(f"did not {wanted}: {shown(leg.address)} was called")

    def press(self, keys: str) -> None:
        """Press keys, one after the other; the next `hears` wants what begins after this."""
        self._act(f"presses {keys}").press(keys)

    def say(self, path: str | Path) -> None:
        """Begin to speak what is in a file, whose format its name tells; then be silent.

        Linear 16 bit samples at 8 kHz (.slin, and .wav, whose header is a click), .au, or G.711
        (.alaw, .mulaw). The next `hears` wants what begins after this.

        Raises:
            OSError: the file cannot be read.
        """
        with open(path, "rb"):
            pass  # the engine would play silence, and the test would fail far away from here
        self._act(f"says {path}").say(str(path))

    def hang_up(self, reason: str = "") -> None:
        """Put the receiver down, or with a reason refuse a call: "busy", "noanswer"."""
        leg = self._act(f"hangs up {reason}".rstrip())
        self._told_end = True
        leg.hang_up(reason)

    def ring(self) -> None:
        """Let the telephone ring, when called."""
        self._act("rings").ring()

    def pick_up(self) -> None:
        """Answer a call."""
        self._act("picks up").pick_up()

    # What it waits for

    async def hears(self, what: str, *, within: float | None = None) -> None:
        """Wait until a sound begins.

        It has to begin after what this caller has last waited for by `hears` or `hears_nothing`,
        and after the last key it pressed: so a menu that is still playing is not taken for the one
        that is to follow a wrong key. What was heard in between may be anything. See `hearing` for
        what sounds now, whenever it began.

        Args:
            what: "menu" for a file menu.slin or menu.wav in any folder, "prompts/menu",
                "menu.slin", or all of it as in "wave/play/menu.slin"; "busy" or "tone/busy".
            within: seconds, the caller's limit by default.

        Raises:
            NotHappened: it did not begin in time, or the call ended first.
        """
        __tracebackhide__ = True
        await self._sound(f"hear {shown(what)}", lambda name: _is(name, what), within)

    async def hears_nothing(self, *, within: float | None = None) -> None:
        """Wait until it is silent; so it may be already.

        Raises:
            NotHappened: something sounded all the time, or the call ended first.
        """
        __tracebackhide__ = True
        if self.hearing or self.leg.hung_up:
            await self._sound("hear silence", lambda name: not name, within)

    async def ringing(self, *, within: float | None = None) -> None:
        """Wait until the other side has rung.

        Raises:
            NotHappened: it did not in time, or the call ended first.
        """
        __tracebackhide__ = True
        await self._until("get a ringing tone", lambda: "ringing" in self._statuses, within)

    async def answered(self, *, within: float | None = None) -> None:
        """Wait until the call is answered.

        Raises:
            NotHappened: it was not in time, or the call ended first.
        """
        __tracebackhide__ = True
        await self._until("get an answer", lambda: self.leg.answered, within)

    async def rejected(self, cause: str = "", *, within: float | None = None) -> None:
        """Wait until the call ends without having been answered.

        Args:
            cause: why, for example "noroute", "busy" or "forbidden"; empty for any.
            within: seconds, the caller's limit by default.

        Raises:
            NotHappened: it was answered, or did not end in time, or for another cause.
        """
        __tracebackhide__ = True
        leg = self.leg
        wanted = f"get rejected as {shown(cause)}" if cause else "get rejected"
        await self._until(wanted, lambda: leg.hung_up or leg.answered, within)
        if leg.answered:
            raise self._failure(f"did not {wanted}: the call was answered")
        self._check_reason(wanted, cause)

    async def hung_up(self, reason: str = "", *, within: float | None = None) -> None:
        """Wait until the call is over, whether it was answered or not.

        Args:
            reason: why; empty for any.
            within: seconds, the caller's limit by default.

        Raises:
            NotHappened: it was not over in time, or for another reason.
        """
        __tracebackhide__ = True
        leg = self.leg
        wanted = f"see the call end with {shown(reason)}" if reason else "see the call end"
        await self._until(wanted, lambda: leg.hung_up, within)
        self._check_reason(wanted, reason)

    async def gets_digits(self, digits: str, *, within: float | None = None) -> None:
        """Wait until these digits have come (by chan.dtmf), all since the call began.

        Raises:
            NotHappened: they did not in time, or others came, or the call ended first.
        """
        __tracebackhide__ = True
        leg = self.leg
        wanted = f"get the digits {shown(digits)}"
        await self._until(wanted, lambda: len(leg.digits) >= len(digits), within)
        if leg.digits != digits:
            raise self._failure(f"did not {wanted} but {shown(leg.digits)}")

    async def gets_text(self, text: str, *, within: float | None = None) -> None:
        """Wait until this text has come (by chan.text), whenever it did.

        Raises:
            NotHappened: it did not in time, or the call ended first.
        """
        __tracebackhide__ = True
        await self._until(f"get the text {shown(text)}", lambda: text in self.leg.texts, within)

    # Waiting

    async def _sound(self, wanted: str, fits: Callable[[str], bool], within: float | None) -> None:
        __tracebackhide__ = True

        def found() -> int | None:
            new = range(self._taken, len(self.heard))
            return next((i for i in new if fits(self.heard[i][1])), None)

        hint = ""
        if self._taken and self._taken == len(self.heard) and fits(self.heard[-1][1]):
            # The likeliest mistake is to expect again what is still playing.
            hint = f"{_sound_name(self.heard[-1][1])} sounds since {self.heard[-1][0]:.3f} s; what"
            hint += " counts is what begins after the last thing it waited for or did"
        await self._until(wanted, lambda: found() is not None, within, hint)
        self._taken = (found() or 0) + 1

    async def _until(
        self, wanted: str, happened: Callable[[], bool], within: float | None, hint: str = ""
    ) -> None:
        """Wait until something happened; the end of the call is the end of the wait."""
        __tracebackhide__ = True
        leg = self.leg
        limit = self.limit if within is None else within
        try:
            async with asyncio.timeout(limit):
                await leg.until(lambda: happened() or leg.hung_up)
        except TimeoutError:
            raise self._failure(f"did not {wanted} within {limit:g} s", hint) from None
        if not happened():
            raise self._failure(f"did not {wanted}: the call was over", hint)

    def _check_reason(self, wanted: str, reason: str) -> None:
        __tracebackhide__ = True
        if reason not in ("", self.leg.reason):
            raise self._failure(f"did not {wanted} but with {shown(self.leg.reason)}")

    def _failure(self, what: str, hint: str = "") -> NotHappened:
        """Return the error that tells a person what went wrong."""
        # The moment of the failure, on the diagram's clock.
        self._note("gives up")
        who = f"caller {self.number}" if self.number else "the caller"
        lines = [f"{who} {what}", *filter(None, [hint])]
        leg = self._leg
        if leg is not None:
            heard = [f"{_sound_name(name)} from {time:.3f} s" for time, name in self.heard]
            lines.append(f"heard: {', '.join(heard) or 'nothing at all'}")
            end = f", ended with {shown(leg.reason)}" if leg.reason else ", ended"
            lines.append(f"call {leg.id}: {leg.status}{end if leg.hung_up else ''}")
        return NotHappened("\n".join([*lines, "", diagram(self._record)]))

    # What happens to it

    def _free(self) -> None:
        if self._leg is not None and not self._leg.hung_up:
            raise RuntimeError("this caller is in a call: let it hang up first, or take another")

    def _take(self, leg: Leg) -> None:
        self._leg = leg
        self.heard = []
        self._taken = 0
        self._source = None
        self._statuses.clear()
        self._told_digits = self._told_texts = 0
        self._told_end = False
        leg.on_change.append(self._changed)
        self._changed()

    def _act(self, what: str) -> Leg:
        """Note what the caller does; what it heard before this is no answer to it."""
        leg = self.leg
        self._note(what)
        self._taken = len(self.heard)
        return leg

    def _changed(self) -> None:
        """Note what a person would notice."""
        leg = self.leg
        if leg.status not in self._statuses:
            self._statuses.append(leg.status)
            if leg.status in _TOLD and not leg.outgoing:
                self._note(f"sees: {leg.status}")
        if len(leg.digits) > self._told_digits:
            self._note(f"gets digits {leg.digits[self._told_digits :]}")
            self._told_digits = len(leg.digits)
        for text in leg.texts[self._told_texts :]:
            self._note(f"gets text {text}")
        self._told_texts = len(leg.texts)
        if leg.hung_up:
            if not self._told_end:
                self._told_end = True
                self._note(f"is hung up {leg.reason}".rstrip())
            return
        source = leg.data.consumer.heard if leg.data and leg.data.consumer else None
        if source is not self._source:
            # The same file played again is another sound.
            self._source = source
            name = _name(source)
            if name or (self.heard and self.heard[-1][1]):
                self.heard.append((self._note(f"hears {name or 'nothing'}"), name))

    def _note(self, text: str) -> float:
        """Write into the recording, and return the time there."""
        line = f"{self.number or 'caller'} {text}".encode("latin-1", "backslashreplace")
        self._record.add("", "A", line, event="note")
        entries = self._record.entries
        # A recording that is written as it grows keeps none.
        return entries[-1].time if entries else asyncio.get_running_loop().time()


def _name(source: Source | None) -> str:
    """Return what a person would call a sound; empty for silence, however it is made."""
    return "" if source is None or source.name in _SILENT else source.name


def _sound_name(name: str) -> str:
    return shown(name) if name else "silence"


def _is(name: str, what: str) -> bool:
    """Tell whether a source is the one meant: by the last parts of its path, suffix or not."""
    have, want = (list(filter(None, text.split("/"))) for text in (name, what))
    if not want or len(have) < len(want):
        return False
    *_, last = end = have[-len(want) :]
    return want in (end, [*end[:-1], last.rpartition(".")[0] or last])
