"""The channels of drivers: their status, their limits of time, and what they tell about themselves.

It must not know any kind of channel. The rules, the names and the order of the parameters are those
of the real engine, measured (engine.md part 3, tests/data/recordings).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..wire.codec import to_boolean
from .dispatcher import EngineMessage
from .endpoints import Endpoint, copy_params, flag, number, word

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Channel"]

#: Seconds within which a digit that is detected in another way is the same keystroke.
DTMF_TWIN: Final = 4


class Channel(Endpoint):
    """An end of a call that belongs to a driver.

    Args:
        driver: whose it is; gives it an id.
        address: where it leads or comes from.
        outgoing: the engine made the call to here. Others begin a call and get a bill id.

    Attributes:
        status: "incoming", "outgoing", "ringing", "answered" and so on.
        target_id: the other leg of the call, as routing said.
        billid: of the call.
        answered: it was answered; a masqueraded answer does not count.
    """

    def __init__(self, driver: Driver, address: str = "", *, outgoing: bool = False) -> None:
        super().__init__(driver.exchange, driver.new_id())
        self.driver = driver
        self.address = address
        self.outgoing = outgoing
        self.target_id = ""
        self.answered = False
        self.status = self.direction
        self.billid = "" if outgoing else self.exchange.new_billid()
        self._parameters: dict[str, str] = {}
        self._own_params: dict[str, str] = {}
        self._answered_timeout = 0
        self._deadlines: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._dtmf = (0, "", "", 0)

    @property
    def direction(self) -> str:
        """Who made the call: "outgoing" from the engine, or "incoming" to it."""
        return "outgoing" if self.outgoing else "incoming"

    # Life

    def start(self) -> None:
        """Enter the driver's table: from here on messages find it."""
        self.driver.add(self)

    def destroyed(self) -> None:
        """Leave the table and the peer; a driver whose channels tell it adds `chan.hangup`."""
        self._deadlines.clear()
        self._arm()
        self.driver.remove(self)
        super().destroyed()

    def connected(self, reason: str | None) -> None:
        if not self.billid and isinstance(self.peer, Channel):
            self.billid = self.peer.billid
        if self.exchange.wants("chan.connected"):
            message = self.message("chan.connected", about=True)
            if reason is not None:
                message.set("reason", reason)
            self.exchange.enqueue(message)
        if self.peer is not None:
            self.last_peer = self.peer.id

    def disconnected(self, final: bool, reason: str | None) -> None:
        if final or self.exchange.halting:
            return
        # The last chance for somebody to connect the channel to something else.
        message = self.exchange.message("chan.disconnected", self._parameters.items())
        message.delete("handlers")
        self.complete(message)
        if reason is not None:
            message.set("reason", reason)
        message.user_data = self
        message.done = self.end_disconnect
        self.target_id = ""
        self._parameters.clear()
        self.exchange.enqueue(message)

    def end_disconnect(self, handled: bool) -> None:
        """Take note of what became of chan.disconnected, as a telephone does that hangs up."""

    def set_disconnect(self, params: Mapping[str, str] | None) -> None:
        self._parameters = dict(params or {})

    # Messages about it

    def complete(self, message: EngineMessage, *, minimal: bool = False) -> None:
        """Put in what the channel knows of itself, in the real engine's order."""
        for name, value in self._own_params.items():
            message.set(name, value)
        message.set("id", self.id)
        message.set("module", self.driver.name)
        if message.name == "chan.hangup":
            for name, value in self._parameters.items():
                message.set(name, value)
        if minimal:
            return
        peer = self.peer.id if self.peer else ""
        for name, value in (
            ("status", self.status),
            ("address", self.address),
            ("targetid", self.target_id),
            ("billid", self.billid),
            ("peerid", peer),
            ("lastpeerid", self.last_peer),
        ):
            if value:
                message.set(name, value)
        message.set("answered", word(self.answered))
        message.set("direction", self.direction)

    def complete_if_asked(self, message: EngineMessage) -> None:
        """Put that in where the message asks for it by `complete=true`."""
        if flag(message, "complete"):
            self.complete(message, minimal=flag(message, "complete_minimal"))

    def message(
        self,
        name: str,
        original: EngineMessage | None = None,
        *,
        about: bool = False,
        minimal: bool = False,
    ) -> EngineMessage:
        """Return a message with what the channel knows of itself.

        Args:
            name: its name.
            original: its parameters that `copyparams` names are copied.
            about: the message carries the channel itself.
            minimal: id and module only.
        """
        message = self.exchange.message(name)
        if about:
            message.user_data = self
        self.complete(message, minimal=minimal)
        if original is not None:
            copy_params(message, original.params, original.params.get("copyparams", ""))
        return message

    def keep_params(self, params: Mapping[str, str], prefix_name: str) -> None:
        """Keep parameters that all messages about the channel are to carry from now on.

        Args:
            params: of the message that brings them.
            prefix_name: the one of them that holds the common beginning of their names.
        """
        if prefix := params.get(prefix_name):
            for name, value in params.items():
                if name.startswith(prefix) and name != prefix:
                    self._own_params[name.removeprefix(prefix)] = value

    def keep_reasons(self, params: Mapping[str, str]) -> None:
        """Keep what `copyparams` names for the channel's last messages."""
        for name in params.get("copyparams", "").split(","):
            if name.strip() in params:
                self._parameters[name.strip()] = params[name.strip()]

    # What happens to it

    def set_status(self, status: str) -> None:
        """Change the status, and what it says about answered calls and waiting ones."""
        self.status = status
        if status == "answered" and not self.answered:
            self.answered = True
            self.set_deadline("noanswer", 0)
            self.set_deadline("postdialdelay", 0)
            if self._answered_timeout:
                self.set_deadline("timeout", self._answered_timeout)
        elif status in ("ringing", "progressing"):
            self.set_deadline("postdialdelay", 0)

    def progress(self, message: EngineMessage) -> bool:
        """Take call.progress; return whether that is of use."""
        self.set_status("progressing")
        self.billid = self.billid or message.params.get("billid", "")
        return True

    def ringing(self, message: EngineMessage) -> bool:
        """Take call.ringing; return whether that is of use."""
        self.set_status("ringing")
        self.billid = self.billid or message.params.get("billid", "")
        return True

    def answer(self, message: EngineMessage) -> bool:
        """Take call.answered; return whether that is of use."""
        self.set_deadline("noanswer", 0)
        self._answered_timeout = max(0, number(message, "timeout", self._answered_timeout))
        self.set_status("answered")
        self.billid = self.billid or message.params.get("billid", "")
        return True

    def tone(self, message: EngineMessage, text: str) -> bool:
        """Take chan.dtmf; return whether the digits were used up."""
        return False

    def text(self, message: EngineMessage, text: str) -> bool:
        """Take chan.text; return whether the text was used up."""
        return False

    def drop(self, message: EngineMessage, reason: str | None) -> None:
        """Hang up: what the message says is told to the peer."""
        self._deadlines.clear()
        self._arm()
        self.set_status(reason or "dropped")
        self.disconnect(reason, params=message.params)

    def masquerade(self, message: EngineMessage) -> bool:
        """Take a message that is dispatched in the channel's name; return whether to stop it."""
        self.billid = self.billid or message.params.get("billid", "")
        match message.name:
            case "call.answered":
                self.set_deadline("noanswer", 0)
                self.set_deadline("postdialdelay", 0)
                self.status = "answered"  # and no more: `answered` stays as it was
            case "call.progress":
                self.set_status("progressing")
            case "call.ringing":
                self.set_status("ringing")
            case "chan.dtmf":
                return self.number_digit(message) and not self.exchange.dtmf_twins
        return False

    def control(self, message: EngineMessage) -> bool:
        """Take chan.control; return whether anything was changed."""
        self.set_limits(message, -1)
        self.keep_params(message.params, "chanparams-prefix")
        self.complete_if_asked(message)
        return False

    def number_digit(self, message: EngineMessage) -> bool:
        """Give a digit its number; return whether it is one that came before in another way."""
        if "sequence" in message.params:
            return False
        text = message.params.get("text", "")
        detected = message.params.get("detected", "")
        count, last_text, last_detected, until = self._dtmf
        twin = (
            bool(text and detected and text == last_text and detected != last_detected)
            and message.time < until
        )
        if not twin:
            count += 1
            self._dtmf = (count, text, detected, message.time + DTMF_TWIN)
        message.set("sequence", str(count))
        message.set("duplicate", word(twin))
        return twin

    # Routing

    def routed(self, message: EngineMessage) -> None:
        """Take the answer to call.route."""
        self.set_status("routed")
        self.billid = self.billid or message.params.get("billid", "")
        self.keep_params(message.params, "ichanparams-prefix")

    async def detect_tones(self, message: EngineMessage, param: str) -> None:
        """Have tones looked for in what the channel says, if the call's parameter asks for it.

        Args:
            message: the call's.
            param: `tonedetect_in` of the channel that calls, `tonedetect_out` of the one called:
                yes, or the name of what looks for them.
        """
        wanted = message.params.get(param, "")
        if wanted and to_boolean(wanted, True):
            attach = self.message("chan.attach", about=True, minimal=True)
            attach.set("sniffer", "tone/*" if to_boolean(wanted, False) else wanted)
            attach.set("single", "yes")
            await self.exchange.dispatch(attach)
            attach.user_data = None

    def accept(self, message: EngineMessage) -> None:
        """Take the answer to a call.execute that was processed: perhaps ring or answer at once."""
        self.set_status("accepted")
        self.set_limits(message, self.exchange.timeout or -1)
        self.keep_params(message.params, "ichanparams-prefix")
        self.billid = self.billid or message.params.get("billid", "")
        self.target_id = message.params.get("targetid", "")
        if flag(message, "autoanswer"):
            self.answer(message)
        elif flag(message, "autoring"):
            self.ringing(message)
        elif flag(message, "autoprogress"):
            self.progress(message)
        elif not self.target_id and flag(message, "autoanswer", True):
            self.answer(message)  # nobody else will: there is no other leg

    def rejected(self, error: str, reason: str | None, message: EngineMessage | None) -> None:
        """Take note that the call goes nowhere."""
        if message is not None:
            self.keep_reasons(message.params)
            self.keep_params(message.params, "ichanparams-prefix")
        self.set_status("rejected")

    # Time

    def set_limits(self, message: EngineMessage, default: int) -> None:
        """Take `timeout`, `maxcall` and `maxpdd`, all in milliseconds; 0 removes a limit."""
        timeout = number(message, "timeout", default)
        if timeout > 0:
            self._answered_timeout = timeout
            self.set_deadline("timeout", timeout)
        elif timeout == 0:
            self._answered_timeout = 0
            self.set_deadline("timeout", 0)
        maxcall = number(message, "maxcall", -1)
        if self.answered:
            self.set_deadline("noanswer", 0)
        elif maxcall > 0:
            self.set_deadline("timeout", 0)
            self.set_deadline("noanswer", maxcall)
        elif maxcall == 0:
            self.set_deadline("noanswer", 0)

    def set_deadline(self, reason: str, milliseconds: int) -> None:
        """Drop the channel with this reason after so many milliseconds; 0 for never.

        The real engine looks once a second; this one drops in time.
        """
        if milliseconds > 0:
            self._deadlines[reason] = self._loop_time() + milliseconds / 1000
        elif reason in self._deadlines:
            del self._deadlines[reason]
        else:
            return
        self._arm()

    def remaining(self, reason: str) -> int:
        """Return how many milliseconds are left, 0 without a limit."""
        when = self._deadlines.get(reason)
        return 0 if when is None else max(1, round((when - self._loop_time()) * 1000))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadlines:
            when = min(self._deadlines.values())
            self._timer = asyncio.get_running_loop().call_at(when, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self.exchange.exiting:
            reason = min(self._deadlines, key=self._deadlines.__getitem__)
            # The real engine looks at its ticks, and passes on what such a message says.
            now = str(int(self.exchange.clock()))
            tick = (("time", now), ("nodename", self.exchange.nodename))
            self.drop(self.exchange.message("engine.timer", tick), reason)

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()
