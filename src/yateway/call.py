"""Call: what code says to a caller and hears from one.

It must not know how messages travel or which calls there are. Everything here ends with the call:
what waits gets `CallEnded`. Whatever else may become of a sound, a recording or a question to the
caller is a value that is returned.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from .errors import CallEnded
from .keys import Digits, Keys, Why
from .language import Language
from .moving import MovingLine
from .prompts import Files
from .sound import (
    Playback,
    Recorded,
    RecordingEnd,
    Sound,
    attach,
    record,
    silence,
    size_of,
    stop_recording,
)

if TYPE_CHECKING:
    from .message import Message
    from .switchboard import Switchboard

__all__ = ["Call"]

#: Seconds after which a file that is still playing is stopped. The engine says nothing at all about
#: some files that it cannot read (wavefile.cpp), and nothing may wait for ever.
PLAY_LIMIT = 3600.0
#: What is heard before a recording: a tone, and for how many seconds.
BEEP = ("milliwatt", 0.25)

_ALL_KEYS = "0123456789*#ABCD"
_CUT = (Playback.KEY, Playback.LIMIT)
_OVER = (Playback.EOF, Playback.MISSING)
_RECORDING_ENDS = {
    Playback.KEY: RecordingEnd.KEY,
    Playback.LIMIT: RecordingEnd.LIMIT,
    Playback.HANGUP: RecordingEnd.HANGUP,
    Playback.LOST: RecordingEnd.LOST,
}

_T = TypeVar("_T")


class Call(MovingLine):
    """One call, driven by one coroutine; `Line` is who it is, `MovingLine` where it can go.

    Attributes:
        keys: what the caller has pressed and nobody has used yet.
    """

    def __init__(
        self,
        board: Switchboard,
        id: str,
        leg: str,
        params: Mapping[str, str],
        *,
        outgoing: bool = False,
    ) -> None:
        super().__init__(board, id, leg, params, outgoing=outgoing)
        self.keys = Keys()
        self._music: str | None = None

    # Hearing

    async def play(
        self, files: Files, *, barge: bool | str = False, limit: float = PLAY_LIMIT
    ) -> Playback:
        """Play a file, or several one after the other, and wait for the end.

        Args:
            files: names below the module's `sounds` folder; numbers, which are said; what was
                recorded, or the path of it. A list of those: `["you-are-number.slin", 3]`.
            barge: keys that stop it; True for any. They are kept for who asks for keys next, and
                one that was pressed before stops it too.
            limit: seconds for each file.

        Returns:
            `EOF`, or what else became of it. A file that is missing does not keep the others of a
            list from being played.

        Raises:
            UnsafePath: a name leaves the folder, or there is none.
            CallEnded: the call is over.
        """
        return await self._hear(self.board.prompts.sources(files), barge, limit)

    async def start(self, file: str | os.PathLike[str], *, repeat: bool = False) -> Sound:
        """Begin to play a file and go on; the sound that is returned can be awaited or stopped.

        Args:
            file: as for `play`.
            repeat: again and again.

        Raises:
            UnsafePath: the name leaves the folder, or there is none.
            CallEnded: the call is over.
        """
        (source,) = self.board.prompts.sources(file)
        return await attach(self, source, repeat=repeat)

    @asynccontextmanager
    async def hold(self, music: str | os.PathLike[str]) -> AsyncIterator[None]:
        """Let the person hear music, again and again, while the block runs.

        It makes room for whatever the block plays, and comes back after that, as it does when the
        person was elsewhere.

        Args:
            music: as for `play`.

        Raises:
            UnsafePath: the name leaves the folder, or there is none.
            CallEnded: the call is over.
        """
        before = self._music
        (self._music,) = self.board.prompts.sources(music)
        try:
            await self._rest()
            yield
        finally:
            self._music = before
            if self.leg and not self.ended:
                await self._rest()

    async def _came_back(self) -> None:
        if self._music is not None:
            await self._rest()

    async def _rest(self) -> None:
        """Let the person hear what there is to hear when nobody says anything."""
        if self._music is None:
            await silence(self)
        else:
            await attach(self, self._music, repeat=True)

    async def tone(
        self, name: str, seconds: float | None = None, *, barge: bool | str = False
    ) -> Playback | None:
        """Let the person hear a tone of Yate's module tonegen: "dial", "busy", "ring" and others.

        Args:
            name: of the tone.
            seconds: how long; None begins it and returns at once.
            barge: as for `play`.
        """
        if seconds is None:
            await attach(self, f"tone/{name}")
            return None
        return await self._hear([f"tone/{name}"], barge, seconds)

    async def silence(self, seconds: float = 0.0, *, barge: bool | str = False) -> Playback:
        """Stop what the person hears, and wait for so many seconds."""
        return await self._hear(["tone/silence"], barge, seconds)

    async def say_digits(
        self, digits: str, language: str | Language = "", *, barge: bool | str = False
    ) -> Playback:
        """Say digits one after the other, with the files of a language.

        Args:
            digits: of 0-9, * and #.
            language: a name of `language.LANGUAGES`, or one of your own; the module's if empty.
            barge: as for `play`.
        """
        return await self.play(self.board.prompts.language(language).digits(digits), barge=barge)

    async def say_number(
        self, number: int, language: str | Language = "", *, barge: bool | str = False
    ) -> Playback:
        """Say a whole number as people say it, with the files of a language.

        In the module's language `play(3)` does the same, and `play(["you-owe.slin", 3])` more.

        Args:
            number: what to say.
            language, barge: as for `say_digits`.
        """
        return await self.play(self.board.prompts.language(language).number(number), barge=barge)

    async def _hear(self, sources: Sequence[str], barge: bool | str, limit: float) -> Playback:
        keys = _ALL_KEYS if barge is True else barge or ""
        outcome, sound = Playback.EOF, None
        # Also where nothing is to be heard: a loop around this must not stop the others.
        await asyncio.sleep(0)
        await self.check()
        for source in sources:
            if self.keys.any_of(keys):
                outcome = Playback.KEY
                break
            sound = await attach(self, source)
            one = await self._end_of(sound, keys, limit)
            if one is not Playback.EOF:
                outcome = one
            if one not in (Playback.EOF, Playback.MISSING):
                break
        # What was cut short would go on to sound, and the music waits for its turn.
        if sound is not None and (outcome in _CUT or (self._music and outcome in _OVER)):
            await self._rest()
        return outcome

    async def _end_of(self, sound: Sound, keys: Collection[str], limit: float) -> Playback:
        """Wait for the end of a sound or recording, a key, or a time."""
        stop = partial(sound.settle, Playback.KEY)
        if self.keys.any_of(keys):
            stop()
        self.keys.on_press(keys, stop)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit, sound.settle, Playback.LIMIT)
        try:
            return await self.outcome(sound.outcome())
        finally:
            timer.cancel()
            self.keys.ignore(stop)

    # Recording

    async def record(
        self, file: str, *, limit: float = 60.0, beep: bool | str = True, stop_on: str = "#"
    ) -> Recorded:
        """Record what the person says.

        Args:
            file: below the module's `recordings` folder. Its suffix decides the format: .slin, .au,
                .alaw, .mulaw, .gsm; what is there already is overwritten.
            limit: seconds.
            beep: a file to play before; True for a short tone.
            stop_on: keys that end it. They are used up, and so is what was pressed before them.

        Returns:
            How it ended; false where nothing was recorded. Most who leave a message end it by
            hanging up: that returns too, so that it can be kept, and the next thing that is asked
            of the call raises `CallEnded`.

        Raises:
            UnsafePath: the name leaves the folder, or there is none.
            CallEnded: the call was over before anything was recorded.
        """
        path = self.board.prompts.recording(file)
        if beep:
            await (self.play(beep) if isinstance(beep, str) else self.tone(*BEEP))
        self.keys.clear()
        loop = asyncio.get_running_loop()
        started = loop.time()
        recording = await record(self, path, limit)
        try:
            outcome = await self._end_of(recording, stop_on, limit)
            seconds = loop.time() - started
            await stop_recording(self)
        except CallEnded:
            outcome, seconds = Playback.HANGUP, loop.time() - started
        if outcome is Playback.KEY:
            self.keys.clear()
        end = _RECORDING_ENDS.get(outcome, RecordingEnd.FAILED)
        try:
            # The engine says nothing about a file that it could not open (wavefile.cpp).
            size = await asyncio.to_thread(size_of, path, self.board.prompts.recordings)
        except FileNotFoundError:
            end, size = RecordingEnd.FAILED, None
        return Recorded(path, seconds, end, size)

    # Asking

    async def key(self, timeout: float | None = None) -> str:
        """Return the next key that the person presses, or has typed ahead.

        Args:
            timeout: seconds to wait, None for as long as the call lasts.

        Returns:
            The key; empty if none was pressed in time.

        Raises:
            CallEnded: the call is over.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self.keys:
                    await self.outcome(self.keys.more())
        except TimeoutError:
            return ""
        await self.check()
        return self.keys.take()

    async def collect(
        self,
        count: int | None = None,
        *,
        prompt: Files | None = None,
        end: str = "#",
        first: float = 5.0,
        between: float = 3.0,
        max: float = 60.0,
        validate: Callable[[str], bool | Awaitable[bool]] | None = None,
        invalid: Files | None = None,
        tries: int = 1,
        secret: bool = False,
    ) -> Digits:
        """Collect digits that the person enters.

        Args:
            count: how many make it complete; None waits for a key of `end` or a time.
            prompt: what to play before; the first key stops it.
            end: keys that end it, and are not among the digits.
            first: seconds for the first key, from the end of the prompt on.
            between: seconds between two keys.
            max: seconds for all.
            validate: says whether complete digits are right; may be a coroutine function.
            invalid: what to play when they are not, or not complete, and there is a try left.
            tries: how often to ask.
            secret: the digits are shown in no log.

        Returns:
            What was entered, and why no more; true only if it is complete and right.

        Raises:
            CallEnded: the call is over.
        """
        digits = Digits("", Why.FIRST, secret)
        for left in range(tries - 1, -1, -1):
            if prompt is not None:
                await self.play(prompt, barge=True)
            digits = await self._enter(count, end, first, between, max, secret)
            if digits and validate is not None:
                right = validate(digits.text)
                if not (await right if inspect.isawaitable(right) else right):
                    digits = Digits(digits.text, Why.INVALID, secret)
            if digits:
                break
            if left and invalid is not None:
                self.keys.clear()
                await self.play(invalid)
        return digits

    async def menu(
        self,
        choices: Mapping[str, _T],
        *,
        prompt: Files | None = None,
        invalid: Files | None = None,
        first: float = 5.0,
        between: float = 2.0,
        tries: int = 3,
    ) -> _T | None:
        """Ask the person to choose, and return what belongs to the keys.

        Args:
            choices: what each key, or row of keys, stands for.
            prompt, invalid, first, between, tries: as for `collect`.

        Returns:
            The choice; None when nothing was chosen in all tries.

        Raises:
            CallEnded: the call is over.
        """
        for left in range(tries - 1, -1, -1):
            if prompt is not None:
                await self.play(prompt, barge=True)
            keys, wait = "", first
            while key := await self.key(wait):
                keys, wait = keys + key, between
                longer = any(choice.startswith(keys) and choice != keys for choice in choices)
                if not longer:
                    break
            if keys in choices:
                return choices[keys]
            if left and invalid is not None:
                await self.play(invalid)
        return None

    async def _enter(
        self,
        count: int | None,
        end: str,
        first: float,
        between: float,
        max: float,
        secret: bool,
    ) -> Digits:
        text, time = "", asyncio.get_running_loop().time
        until = time() + max
        while count is None or len(text) < count:
            key = await self.key(min(between if text else first, until - time()))
            if not key:
                over = Why.MAX if time() >= until else Why.BETWEEN if text else Why.FIRST
                return Digits(text, over, secret)
            if key in end:
                return Digits(text, Why.END, secret)
            text += key
        return Digits(text, Why.COUNT, secret)

    # What the switchboard tells

    def told(self, message: Message) -> None:
        super().told(message)
        # One keystroke that was detected in two ways comes twice where the engine lets it.
        if message.name == "chan.dtmf" and message.get("duplicate") != "true":
            self.keys.press(message.get("text", ""))
