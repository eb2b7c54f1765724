"""What joins and takes apart calls from outside: chan.connect, pickup/ and detaching.

It must not know drivers: it finds channels by chan.locate, as a module would.
"""

from __future__ import annotations

from .dispatcher import EngineMessage, Handler
from .driver import Receive, Report, ticked
from .endpoints import Endpoint, Exchange, flag

__all__ = ["Pbx"]


class Pbx:
    """The module of that name."""

    name = "pbx"

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def install(self) -> None:
        """Begin to handle messages."""
        relays: tuple[tuple[str, int, Receive], ...] = (
            ("chan.connect", 90, self._connect),
            ("call.execute", 100, self._pick_up),
            ("chan.attach", 100, self._detach),
            ("chan.record", 100, self._stop_recording),
        )
        for name, priority, receive in relays:
            handler = Handler(name, priority, receive, track=self.name)
            self.exchange.dispatcher.install(handler, own=True)
        self.exchange.dispatcher.install(ticked(self.name), own=True)

    def report(self) -> Report:
        """Return what engine.status says about it."""
        return Report(self.name, "misc")

    async def _find(self, id: str, *, peer: bool = False) -> Endpoint | None:
        """Return an end by its id, or its peer; held, for the caller to release."""
        if not id:
            return None
        message = self.exchange.message("chan.locate", [("id", id)])
        found = None
        if await self.exchange.dispatch(message) and isinstance(message.user_data, Endpoint):
            found = message.user_data.peer if peer else message.user_data
            if found is not None:
                found.hold()
        message.user_data = None
        return found

    async def _connect(self, message: EngineMessage) -> bool:
        params = message.params
        id_, peer = params.get("id", ""), flag(message, "id_peer")
        known = message.user_data
        if isinstance(known, Endpoint) and known.id == id_:
            one = known.peer if peer else known
            if one is not None:
                one.hold()
        else:
            one = await self._find(id_, peer=peer)
        other = await self._find(params.get("targetid", ""), peer=flag(message, "targetid_peer"))
        connected = (
            one is not None and other is not None and one.connect(other, params.get("reason"))
        )
        for end in (one, other):
            if end is not None:
                end.release()
        return connected

    async def _pick_up(self, message: EngineMessage) -> bool:
        callto = message.params.get("callto", "")
        if not callto.startswith("pickup/") or callto == "pickup/":
            return False
        caller = message.user_data
        if not isinstance(caller, Endpoint):
            message.set("error", "failure")
            return False
        peer = flag(message, "pickup_peer", True)
        called = await self._find(callto.removeprefix("pickup/"), peer=peer)
        if called is None:
            message.set("error", "nocall")
            return False
        reason = message.params.get("reason", "pickup")
        connected = called.connect(caller, reason)
        if connected:
            message.set("peerid", called.id)
            message.set("targetid", called.id)
            await self._answer(caller, called, reason)
        called.release()
        return connected

    async def _answer(self, caller: Endpoint, called: Endpoint, reason: str) -> None:
        """Tell both that the call is answered, each in its own name."""
        for end, other in ((called, caller), (caller, called)):
            message = self.exchange.message(
                "chan.masquerade",
                (("id", end.id), ("message", "call.answered"), ("peerid", other.id)),
            )
            message.set("reason", reason)
            await self.exchange.dispatch(message)
            message.user_data = None
            if end.peer is not other:
                return

    async def _detach(self, message: EngineMessage) -> bool:
        wanted = [
            name
            for name in ("source", "consumer", "override", "replace")
            if message.params.get(name) == "-"
        ]
        end = message.user_data
        if not wanted or not isinstance(end, Endpoint) or end.data is None:
            return False
        data = end.data
        for name in wanted:
            if name == "source":
                data.set_source(None)
            elif name == "consumer":
                data.set_consumer(None)
            elif data.consumer is not None:
                if name == "override":
                    data.consumer.cover(None)
                else:
                    data.consumer.listen(data.peer.source if data.peer else None)
        return flag(message, "single")

    async def _stop_recording(self, message: EngineMessage) -> bool:
        call, peer = (message.params.get(name) == "-" for name in ("call", "peer"))
        end = message.user_data
        if not (call or peer) or not isinstance(end, Endpoint) or end.data is None:
            return False
        if call:
            end.data.set_call_record(None)
        if peer:
            end.data.set_peer_record(None)
        return flag(message, "single", call and peer)
