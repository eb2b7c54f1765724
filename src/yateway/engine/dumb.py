"""Channels `dumb/`: a leg for a module to act on, which does nothing by itself.

It must not play or answer: modules do that by chan.masquerade. Called by somebody it is the called
leg; called by nobody it makes a call itself, to `target` or straight to `direct` (engine.md 5.4).
"""

from __future__ import annotations

from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver
from .endpoints import Endpoint, Exchange, copy_params

__all__ = ["Dumb", "TellingChannel"]

#: What a called leg tells of its call when it starts.
STARTUP_PARAMS = "caller,callername,called,billid,callto,username"


class TellingChannel(Channel):
    """A channel whose start and end are told by chan.startup and chan.hangup."""

    def tell_startup(self, execute: EngineMessage, *, called: bool) -> None:
        """Tell that the channel is there.

        Args:
            execute: the message that made it.
            called: it is the leg that was called, and tells by whom.
        """
        if self.exchange.wants("chan.startup"):
            message = self.message("chan.startup", execute)
            if called:
                copy_params(message, execute.params, STARTUP_PARAMS)
            self.exchange.enqueue(message)

    def destroyed(self) -> None:
        super().destroyed()
        if self.exchange.wants("chan.hangup"):
            self.exchange.enqueue(self.message("chan.hangup"))


class Dumb(Driver):
    """The driver of these channels."""

    can_stop = True

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, "dumb")

    async def execute(self, message: EngineMessage, target: str) -> bool:
        if isinstance(message.user_data, Endpoint):
            return await self._called(message, message.user_data, target)
        return await self._call(message, target)

    async def _called(self, message: EngineMessage, caller: Endpoint, target: str) -> bool:
        leg = TellingChannel(self, target, outgoing=True)
        leg.keep_params(message.params, "chanparams-prefix")
        leg.tell_startup(message, called=True)
        leg.start()
        connected = caller.connect(leg)
        if connected:
            await leg.detect_tones(message, "tonedetect_out")
            message.set("peerid", leg.id)
            message.set("targetid", leg.id)
            leg.target_id = caller.id
            if "autoring" not in message.params:
                message.set("autoring", "true")
        leg.release()
        return connected

    async def _call(self, message: EngineMessage, target: str) -> bool:
        called = message.params.get("target", "")
        if not called:
            return False
        leg = TellingChannel(self, target)
        leg.tell_startup(message, called=False)
        leg.start()
        call = self._call_message(message, leg, called)
        direct = message.params.get("direct", "")
        accepted = False
        if direct or await self.exchange.dispatch(call):
            call.name = "call.execute"
            call.set("callto", direct or call.retvalue)
            if not direct:
                call.retvalue = ""
            call.set("id", leg.id)
            call.user_data = leg
            accepted = await self.exchange.dispatch(call)
            if accepted:
                leg.routed(call)
                await leg.detect_tones(call, "tonedetect_in")
                leg.accept(call)
                copy_params(message, call.params, "id,peerid")
                if call.params.get("targetid"):
                    message.set("targetid", call.params["targetid"])
                    leg.target_id = call.params["targetid"]
            else:
                copy_params(message, call.params, "error,reason")
        leg.release()
        call.user_data = None
        return accepted

    def _call_message(self, message: EngineMessage, leg: Channel, called: str) -> EngineMessage:
        call = self.exchange.message(
            "call.route",
            (
                ("driver", self.name),
                ("id", leg.id),
                ("caller", message.params.get("caller") or self.prefix + leg.address),
                ("called", called),
            ),
        )
        copy_params(call, message.params, "callername,maxcall,timeout,stop_call")
        copy_params(call, message.params, message.params.get("copyparams", ""))
        return call
