"""Telephones: channels `sim/` that call, are called, ring, press keys, listen, speak and hang up.

It must not know SIP: it does what the real engine's SIP channels do towards the rest of the engine,
with the same messages in the same order (call.preroute, call.route, call.execute, chan.startup and
so on), and the telephone is driven by a test instead of the network. The real engine has no such
driver; its callgen makes calls but takes none, and hears nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver
from .dumb import TellingChannel
from .endpoints import Endpoint, Exchange, copy_params, number, word
from .media import Consumer, Source
from .wave import WaveSource

__all__ = ["Leg", "Phones"]


class _Ear(Consumer):
    """Listens: takes note of what is heard, and never looks at a sample."""

    deaf = True

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def listen(self, source: Source | None) -> None:
        super().listen(source)
        self._changed()

    def cover(self, source: Source | None) -> None:
        super().cover(source)
        self._changed()


class Leg(TellingChannel):
    """A telephone in one call.

    Args:
        driver: its driver.
        address: where it is.
        outgoing: the engine calls it; else it calls.

    Attributes:
        digits: what was sent to it by chan.dtmf, one after the other.
        texts: what was sent to it by chan.text.
        reason: why the call ended, once somebody said so; for a rejected call the error.
        hung_up: the call is over for this telephone.
        on_change: functions that are called after everything that happens to it: another status,
            another sound, a digit, the end.
    """

    driver: Phones

    def __init__(self, driver: Phones, address: str, *, outgoing: bool) -> None:
        super().__init__(driver, address, outgoing=outgoing)
        self.digits = ""
        self.texts: list[str] = []
        self.reason = ""
        self._cause = ""  # what chan.hangup tells: nothing when the engine dropped the call
        self.hung_up = False
        self.on_change: list[Callable[[], None]] = []
        self.open_data().set_consumer(_Ear(self._changed))

    # What a test sees

    @property
    def hears(self) -> str:
        """What sounds in its ear: "wave/play/FILE", "tone/dial"; empty for silence."""
        consumer = self.data.consumer if self.data is not None else None
        source = consumer.heard if consumer is not None else None
        return source.name if source is not None else ""

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened to it; bound it by `asyncio.timeout`."""
        changed = asyncio.Event()
        self.on_change.append(changed.set)
        try:
            while not happened():
                changed.clear()
                await changed.wait()
        finally:
            self.on_change.remove(changed.set)

    def _changed(self) -> None:
        for function in tuple(self.on_change):
            function()

    # What a test does

    def press(self, text: str, detected: str = "rfc2833") -> None:
        """Press keys: a chan.dtmf for each."""
        for key in text:
            message = self.message("chan.dtmf", about=True)
            message.set("text", key)
            message.set("detected", detected)
            if self.number_digit(message) and not self.exchange.dtmf_twins:
                message.user_data = None
            else:
                self.exchange.enqueue(message)

    def say(self, path: str) -> None:
        """Speak what is in a file; its end is silence."""
        self.open_data().set_source(WaveSource(self.exchange, path, self))

    def hang_up(self, reason: str = "") -> None:
        """Put the receiver down, or refuse a call that has not been answered."""
        if self.hung_up:
            return
        self._end_with(reason)
        self._tell_hangup()
        self.driver.remove(self)
        self.disconnect(reason or None, params=self._parameters)

    def ring(self) -> None:
        """Tell the caller that the telephone rings."""
        self._tell("call.ringing", "ringing")

    def early_media(self) -> None:
        """Tell the caller that there is something to hear before the answer."""
        self._tell("call.progress", "progressing")

    def pick_up(self) -> None:
        """Answer the call."""
        self._tell("call.answered", "answered")

    def _tell(self, name: str, status: str) -> None:
        self.set_status(status)
        self.exchange.enqueue(self.message(name))
        self._changed()

    # What the engine does

    def _end_with(self, reason: str | None) -> None:
        self._cause = self.reason = reason or self.reason

    def drop(self, message: EngineMessage, reason: str | None) -> None:
        self.reason = reason or self.reason
        super().drop(message, reason)

    def _tell_hangup(self) -> None:
        if not self.hung_up:
            self.hung_up = True
            if self.exchange.wants("chan.hangup"):
                message = self.message("chan.hangup")
                if self._cause:
                    message.set("reason", self._cause)
                self.exchange.enqueue(message)
            self._changed()

    def destroyed(self) -> None:
        self._tell_hangup()
        Channel.destroyed(self)

    def disconnected(self, final: bool, reason: str | None) -> None:
        if not final:
            self._end_with(reason)
        super().disconnected(final, reason)

    def connected(self, reason: str | None) -> None:
        super().connected(reason)
        self._changed()

    def accept(self, message: EngineMessage) -> None:
        super().accept(message)
        self._changed()

    def ringing(self, message: EngineMessage) -> bool:
        super().ringing(message)
        self._changed()
        return True

    def progress(self, message: EngineMessage) -> bool:
        super().progress(message)
        self._changed()
        return True

    def answer(self, message: EngineMessage) -> bool:
        if self.hung_up:
            return False
        super().answer(message)
        self._changed()
        return True

    def rejected(self, error: str, reason: str | None, message: EngineMessage | None) -> None:
        super().rejected(error, reason, message)
        self._end_with(error)

    def tone(self, message: EngineMessage, text: str) -> bool:
        self.digits += text
        self._changed()
        return True

    def text(self, message: EngineMessage, text: str) -> bool:
        self.texts.append(text)
        self._changed()
        return True


def _vanished(leg: Leg) -> bool:
    """Tell whether a telephone hung up while somebody else was asked about its call."""
    return leg.hung_up


class Phones(Driver):
    """The driver of telephones.

    Args:
        exchange: where they are.
        name: of the driver.
    """

    def __init__(self, exchange: Exchange, name: str = "sim") -> None:
        super().__init__(exchange, name)
        self._called: list[Leg] = []
        self._news = asyncio.Event()

    def install(self) -> None:
        super().install()
        self.handle("call.progress", 100, self._progress)

    async def _progress(self, message: EngineMessage) -> bool:
        channel = self._waiting(message)
        return channel is not None and channel.progress(message)

    # Calls to telephones

    async def execute(self, message: EngineMessage, target: str) -> bool:
        caller = message.user_data
        if not isinstance(caller, Endpoint):
            message.set("error", "failure")
            return False
        leg = Leg(self, target, outgoing=True)
        leg.keep_params(message.params, "chanparams-prefix")
        leg.target_id = message.params.get("id", "")
        leg.set_limits(message, -1)
        leg.tell_startup(message, called=True)
        leg.start()
        connected = caller.connect(leg, message.params.get("reason"))
        if connected:
            await leg.detect_tones(message, "tonedetect_out")
            message.set("peerid", leg.id)
            message.set("targetid", leg.id)
            self._called.append(leg)
            self._news.set()
        leg.release()
        return connected

    async def next_call(self) -> Leg:
        """Return the next telephone that is called, as they come; wait for one if need be."""
        while not self._called:
            self._news.clear()
            await self._news.wait()
        return self._called.pop(0)

    # Calls from telephones

    def call(self, called: str, caller: str, params: Mapping[str, str]) -> Leg:
        """Let a telephone call; it is routed while the caller goes on.

        Args:
            called: the number.
            caller: its own.
            params: further parameters of call.preroute and call.route.
        """
        leg = Leg(self, "127.0.0.1:5060", outgoing=False)
        leg.start()
        numbers = {"caller": caller, "called": called}
        startup = leg.message("chan.startup")
        preroute = leg.message("call.preroute")
        for name, value in {**numbers, **params}.items():
            preroute.set(name, value)
        for name, value in numbers.items():
            startup.set(name, value)
        copy_params(startup, params, "username")
        self.exchange.enqueue(startup)
        self.exchange.spawn(self._route_and_release(leg, preroute))
        return leg

    async def _route_and_release(self, leg: Leg, message: EngineMessage) -> None:
        self.routing += 1
        try:
            routed = await self._route(leg, message)
        finally:
            self.routing -= 1
        self.routed += routed
        message.user_data = None
        leg.release()

    async def _route(self, leg: Leg, message: EngineMessage) -> bool:
        """Ask where the call goes, and connect it; the rules are the real engine's router's."""
        exchange = self.exchange
        routed = exchange.wants("call.preroute") and await exchange.dispatch(message)
        if _vanished(leg):
            return False
        leg.keep_reasons(message.params)
        if routed and message.retvalue in ("-", "error"):
            self._reject(leg, message, "unknown")
            return False
        leg.set_status("prerouted")
        leg.billid = message.params.get("billid", leg.billid)
        leg.keep_params(message.params, "ichanparams-prefix")
        self._renew(message, "call.route")
        routed = await exchange.dispatch(message)
        if _vanished(leg):
            return False
        target = message.retvalue.strip()
        message.user_data = leg
        if not routed or not target:
            self._reject(leg, message, "noroute", "No route to call target")
        elif target in ("-", "error"):
            self._reject(leg, message, "unknown")
        elif number(message, "antiloop", 1) <= 0:
            self._reject(leg, message, "looping", "Call is looping")
        else:
            leg.routed(message)
            message.set("callto", target)
            message.delete("error")
            self._renew(message, "call.execute")
            if await exchange.dispatch(message):
                await leg.detect_tones(message, "tonedetect_in")
                if not _vanished(leg):
                    leg.accept(message)
                return True
            await self._unconnected(leg, message)
        return False

    def _renew(self, message: EngineMessage, name: str) -> None:
        """Make the message of one step the one of the next."""
        message.name = name
        message.retvalue = ""
        message.delete("handlers")
        message.time = int(self.exchange.clock())

    def _reject(
        self, leg: Leg, message: EngineMessage, default: str, text: str | None = None
    ) -> None:
        error = message.params.get("error", default)
        reason = message.params.get("reason", text if error == default else None)
        leg.rejected(error, reason, message)

    async def _unconnected(self, leg: Leg, message: EngineMessage) -> None:
        """Offer a call whose target failed to whoever knows another one."""
        error = message.params.get("error", "noconn")
        text = "Could not connect to target" if error == "noconn" else None
        reason = message.params.get("reason", text)
        last = self.exchange.message("chan.disconnected")
        copy_params(last, message.params, message.params.get("copyparams", ""))
        leg.complete(last)
        last.set("error", error)
        if reason is not None:
            last.set("reason", reason)
        last.set("reroute", word(True))
        last.user_data = leg
        handled = await self.exchange.dispatch(last)
        last.user_data = None
        if not handled:
            leg.rejected(error, reason, message)
