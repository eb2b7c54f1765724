"""Calls to several targets at once: `fork TARGET TARGET | TARGET`, or `fork` with callto.N.

It must not know what the targets are: each is called by a call.execute of its own, and the first
that answers gets the caller. Targets are called in groups, which `|` separates; `|next=MS` calls
the next group too after so many milliseconds, `|drop=MS` instead. After `|exec` or `|exec=MS` the
first target that takes the call gets the caller at once, without waiting for an answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from .dispatcher import EngineMessage, Handler
from .driver import Receive, Report, ticked
from .endpoints import Endpoint, Exchange, copy_params, flag, word
from .faking import Fake

__all__ = ["CallFork"]

PREFIX: Final = "fork/"
#: What kinds of targets there are: auxiliar ones do not keep a group alive, persistent ones ring on
#: when the next group is called.
REGULAR: Final = "regular"
AUXILIAR: Final = "auxiliar"
PERSISTENT: Final = "persistent"
#: What is about the fork and not for the targets.
OWN_PARAMS: Final = ("fork.setid", "fork.stop", "stoperror", "peerid")
TIMED: Final = re.compile(r"(next|drop|exec)=(\d+)")


class _Slave(Endpoint):
    """The end that a target is connected to until it answers."""

    def __init__(self, master: _Master, id: str) -> None:
        super().__init__(master.exchange, id)
        self.master: _Master | None = master
        self.kind = ""

    def leave(self, reason: str | None) -> None:
        """Hang up, and tell the master nothing."""
        self.master = None
        self.disconnect(reason)

    def disconnected(self, final: bool, reason: str | None) -> None:
        master, self.master = self.master, None
        if master is not None:
            master.lost(self, reason)


class _Master(Endpoint):
    """The end that the caller is connected to until a target answers."""

    def __init__(self, fork: CallFork, id: str, targets: list[tuple[str, dict[str, str]]]) -> None:
        super().__init__(fork.exchange, id)
        self.slaves: dict[str, _Slave] = {}
        self._fork = fork
        self._targets = targets
        self._params: dict[str, str] = {}
        self._count = 0
        self._answered = False
        self._ringing = ""
        self._reason = "hangup"
        self._stop = ""
        self._sets_id = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_drops = False
        self._executes = False
        self._taken_over: Endpoint | None = None
        self._tells = False
        self._fake = Fake({})

    # Calling

    async def start(self, message: EngineMessage) -> bool:
        """Call the first group that can be called; return whether there is one."""
        self._stop = message.params.get("fork.stop", message.params.get("stoperror", ""))
        self._sets_id = flag(message, "fork.setid")
        self._params = {n: v for n, v in message.params.items() if n not in OWN_PARAMS}
        self._tells = flag(message, "fork.chanmsgs", "pbxoper" in message.params)
        if self._tells:
            self._tell_startup(message)
        self._fake = Fake(self._params)
        self._params["fork.master"] = self.id
        self._params["fork.origid"] = self.peer.id if self.peer else ""
        if await self._go_on():
            message.set("peerid", self.id)
            message.set("targetid", self.id)
            return True
        if "reason" in self._params:
            message.set("reason", self._params["reason"])
        message.set("error", self._params.get("error", ""))
        self.disconnect(self._params.get("error"))
        return False

    def _tell_startup(self, message: EngineMessage) -> None:
        startup = self.exchange.message(
            "chan.startup",
            (
                ("id", self.id),
                ("module", self._fork.name),
                ("status", "outgoing"),
                ("cdrtrack", word(False)),
                ("pbxguest", word(True)),
                ("fork.origid", self.peer.id if self.peer else ""),
            ),
        )
        copy_params(startup, message.params, "caller,callername,called,billid,username")
        self.exchange.enqueue(startup)

    async def _go_on(self) -> bool:
        """Call the next group; return whether any target could be called."""
        self._set_timer(0)
        called = 0
        while self._targets and not self._answered and self.alive:
            if not self._fake.force:
                self._fake.ready = bool(self._fake.source)
            target, params = self._targets.pop(0)
            if target.startswith("|"):
                self._executes = target[1:5] == "exec"
                if timed := TIMED.fullmatch(target[1:]):
                    self._set_timer(int(timed[2]), drops=timed[1] != "next")
                if called:
                    break
                self._set_timer(0)
            elif self._executes:
                if await self._hand_over(target, params):
                    return True
            elif await self._call(target, params):
                called += 1
        return called > 0

    async def _call(self, target: str, params: Mapping[str, str]) -> bool:
        """Call a target; return whether it is there."""
        self._count += 1
        slave = _Slave(self, f"{self.id}/{self._count}")
        message = self._execute(target, params)
        message.set("id", slave.id)
        message.user_data = slave
        reached = await self.exchange.dispatch(message)
        message.user_data = None
        if reached:
            for name in ("error", "reason", "rtp_forward"):
                if name in message.params:
                    self._params[name] = message.params[name]
        # It may have hung up already, or the caller may have.
        reached = reached and slave.master is self and slave.peer is not None
        if reached:
            kind = message.params.get("fork.calltype", REGULAR)
            slave.kind = kind if kind in (AUXILIAR, PERSISTENT) else REGULAR
            self.slaves[slave.id] = slave
            self._ring_at_once(message, slave)
        else:
            slave.leave(message.params.get("error", "failure"))
        slave.release()
        return reached

    def _execute(self, target: str, params: Mapping[str, str]) -> EngineMessage:
        """Return the message that calls a target."""
        for name in ("error", "reason"):
            self._params.pop(name, None)
        message = self.exchange.message("call.execute", self._params.items())
        message.set("callto", target)
        message.set("rtp_forward", word(False))
        message.set("cdrtrack", word(False))
        for name, value in params.items():
            message.set(name, value)
        return message

    async def _hand_over(self, target: str, params: Mapping[str, str]) -> bool:
        """Let a target have the caller himself; return whether it took him."""
        caller = self.peer
        if caller is None:
            self._clear(softly=False)
            self._targets.clear()
            return False
        self._taken_over = caller
        message = self._execute(target, params)
        message.set("id", caller.id)
        message.delete("cdrtrack")
        message.user_data = caller
        taken = await self.exchange.dispatch(message)
        message.user_data = None
        if taken:
            self._clear(softly=False)
            self._targets.clear()
        return taken

    def _ring_at_once(self, message: EngineMessage, slave: _Slave) -> None:
        rings = flag(message, "fork.autoring")
        if self._ringing or not (rings or flag(message, "fork.ringer")):
            return
        self._ringing = slave.id
        if rings and slave.peer is not None:
            name = message.params.get("fork.automessage", "call.ringing")
            params = (("id", slave.peer.id), ("peerid", slave.id), ("targetid", slave.id))
            self.exchange.enqueue(self.exchange.message(name, params))

    def _set_timer(self, milliseconds: int, *, drops: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_drops = drops
        if milliseconds > 0:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(milliseconds / 1000, self._time_is_up)

    def _time_is_up(self) -> None:
        if not self.exchange.exiting:
            if self._timer_drops:
                self._clear(softly=True)
            self.exchange.spawn(self._continue(None))

    async def _continue(self, reason: str | None) -> None:
        """Call more; without anybody to call or to wait for, the call has failed."""
        self.hold()
        if not await self._go_on() and reason is not None and not self._answered:
            self.disconnect(reason)
        self.release()

    # What becomes of targets

    def lost(self, slave: _Slave, reason: str | None) -> None:
        """A target has hung up."""
        self._not_ringing(slave)
        known = self.slaves.pop(slave.id, None)
        if self._answered or not self.alive:
            return
        if reason:
            self._params["fork.reason"] = reason
        if reason and self._stops_at(reason):
            self._set_timer(0)
            self.disconnect(reason)
            return
        if known is None:
            return  # it is being called just now
        regular = any(s.kind not in (AUXILIAR, PERSISTENT) for s in self.slaves.values())
        if not regular and any(s.kind == AUXILIAR for s in self.slaves.values()):
            self._clear(softly=True)
        if not regular:
            self.exchange.spawn(self._continue(reason or ""))

    def _stops_at(self, reason: str) -> bool:
        pattern = self._stop.removesuffix("^")
        if not pattern:
            return False
        try:
            found = re.search(pattern, reason) is not None
        except re.error:
            found = False
        return found != self._stop.endswith("^")

    def _not_ringing(self, slave: _Slave) -> None:
        if self._ringing == slave.id:
            self._ringing = ""
            self._fake.on = False
            self.share_data(None)

    def _clear(self, *, softly: bool) -> None:
        """Hang up on all targets; softly, persistent ones ring on."""
        for slave in tuple(self.slaves.values()):
            if softly and slave.kind == PERSISTENT:
                continue
            self._not_ringing(slave)
            self.slaves.pop(slave.id, None)
            slave.leave(self._reason)

    def disconnected(self, final: bool, reason: str | None) -> None:
        if self._tells and not (final or self._answered or self._taken_over):
            told = self.exchange.message("chan.disconnected", (("id", self.id),))
            copy_params(told, self._params, "error,reason")
            told.user_data = self
            self.exchange.enqueue(told)

    def destroyed(self) -> None:
        self._fork.masters.pop(self.id, None)
        self._set_timer(0)
        self._targets.clear()
        self.share_data(None)
        self._clear(softly=False)
        caller = self._taken_over
        if caller is not None and not self._answered and caller.peer not in (None, self):
            replaced = self.exchange.message(
                "chan.replaced", (("id", self.id), ("newid", caller.peer.id), ("peerid", caller.id))
            )
            replaced.broadcast = True
            self.exchange.enqueue(replaced)
        if self._tells:
            left = (("id", self.id), ("cdrtrack", word(False)))
            self.exchange.enqueue(self.exchange.message("chan.hangup", left))
        super().destroyed()

    # Messages of targets

    def answered(self, message: EngineMessage, id: str) -> bool:
        """Connect the target that answers first to the caller; return whether this is it."""
        self._set_timer(0)
        slave = self.slaves.get(id)
        caller, target = self.peer, slave.peer if slave is not None else None
        if self._answered or caller is None or target is None:
            return False
        self._answered = True
        self._reason = message.params.get("reason", "pickup")
        self._readdress(message, caller)
        replaced = self.exchange.message(
            "chan.replaced",
            (
                ("id", self.id),
                ("newid", target.id),
                ("peerid", caller.id),
                ("id.1", id),
                ("newid.1", caller.id),
                ("peerid.1", target.id),
            ),
        )
        replaced.broadcast = True
        self._fake.ready = self._fake.on = False
        self.share_data(None)
        target.connect(caller)
        self.exchange.enqueue(replaced)
        return True

    async def progress(self, message: EngineMessage, id: str) -> bool:
        """Pass on that a target rings; only the first that does so is heard."""
        slave = self.slaves.get(id)
        if self._answered or self._ringing not in ("", id) or slave is None or self.peer is None:
            return False
        self._ringing = self._ringing or id
        fake = self._fake
        begins = fake.force in ("", "-", message.name)
        if fake.force:
            if begins and fake.ready:
                self.share_data(None)
        elif (fake.on or self.data is None) and slave.peer is not None:
            data = slave.peer.data
            if not fake.source or (data is not None and data.source is not None):
                self.share_data(data)
                fake.on = fake.ready = False
        self._readdress(message, self.peer)
        if begins and fake.ready:
            await fake.begin(self, message, last=not self._targets)
        return True

    def _readdress(self, message: EngineMessage, caller: Endpoint) -> None:
        if self._sets_id:
            message.set("fork.origid", message.params.get("id", ""))
            message.set("id", self.id)
        else:
            message.set("fork.master", self.id)
        message.set("peerid", caller.id)
        message.set("targetid", caller.id)

    def pass_on(self, message: EngineMessage, match: str) -> bool:
        """Send a message to all targets; return whether there are any."""
        slaves = [s for s in self.slaves.values() if s.kind != AUXILIAR and s.peer is not None]
        for slave in slaves:
            copied = self.exchange.message(message.name, message.params.items())
            copied.set(match, slave.peer.id if slave.peer is not None else "")
            copied.user_data = message.user_data
            self.exchange.enqueue(copied)
        return bool(slaves)


class CallFork:
    """The module callfork.

    Args:
        exchange: where the calls are.

    Attributes:
        masters: the forks that wait for an answer, by their ids.
    """

    name = "callfork"

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.masters: dict[str, _Master] = {}
        self._count = 0

    def install(self) -> None:
        """Begin to handle messages."""
        relays: tuple[tuple[str, int, Receive], ...] = (
            ("chan.masquerade", 10, self._masquerade),
            ("call.answered", 20, self._answered),
            ("call.ringing", 20, self._progress),
            ("call.progress", 20, self._progress),
            ("chan.locate", 40, self._locate),
            ("call.execute", 100, self._execute),
            ("chan.dtmf", 100, self._to_targets),
        )
        for name, priority, receive in relays:
            handler = Handler(name, priority, receive, track=self.name)
            self.exchange.dispatcher.install(handler, own=True)
        self.exchange.dispatcher.install(ticked(self.name), own=True)

    def report(self) -> Report:
        """Return what engine.status says about it."""
        return Report(self.name, "misc", "", f"total={self._count},forks={len(self.masters)}")

    async def _execute(self, message: EngineMessage) -> bool:
        caller, callto = message.user_data, message.params.get("callto", "")
        if not isinstance(caller, Endpoint) or not re.match(r"fork(\s|$)", callto):
            return False
        names = callto.removeprefix("fork").split()
        targets: list[tuple[str, dict[str, str]]] = [(name, {}) for name in names]
        targets = targets or _listed(message)
        if not targets:
            message.set("error", "failure")
            return False
        self._count += 1
        master = _Master(self, f"{PREFIX}{self._count}", targets)
        self.masters[master.id] = master
        called = master.connect(caller, message.params.get("reason"))
        called = called and await master.start(message)
        master.release()
        return called

    def _find(self, id: str) -> Endpoint | None:
        """Return a fork, or one of its ends for targets."""
        if not id.startswith(PREFIX):
            return None
        master = self.masters.get(id) or self.masters.get(id.rpartition("/")[0])
        if master is None or master.id == id:
            return master
        return master.slaves.get(id)

    async def _locate(self, message: EngineMessage) -> bool:
        message.user_data = self._find(message.params.get("id", "")) or message.user_data
        return self._find(message.params.get("id", "")) is not None

    async def _masquerade(self, message: EngineMessage) -> bool:
        end = self._find(message.params.get("id", ""))
        name = message.params.get("message", "")
        if end is None or not name:
            return False
        message.delete("message")
        message.name = name
        if name == "call.answered":
            message.set("cdrcreate", word(False))
        elif name == "call.execute":
            message.set("cdrtrack", word(False))
        if end.peer is not None:
            message.set("peerid", end.peer.id)
        message.user_data = end
        return False

    def _master(self, message: EngineMessage) -> tuple[_Master | None, str]:
        """Return the fork whose target a message is for, and that target's end."""
        id_ = message.params.get("peerid") or message.params.get("targetid", "")
        master = self.masters.get(id_.rpartition("/")[0]) if id_.startswith(PREFIX) else None
        return master, id_

    async def _answered(self, message: EngineMessage) -> bool:
        while True:  # a fork may be the target of another one
            master, id_ = self._master(message)
            if master is None or not master.answered(message, id_):
                return False

    async def _progress(self, message: EngineMessage) -> bool:
        while True:
            master, id_ = self._master(message)
            if master is None or not await master.progress(message, id_):
                return False

    async def _to_targets(self, message: EngineMessage) -> bool:
        master = self.masters.get(message.params.get("peerid", ""))
        return master is not None and master.pass_on(message, "peerid")


def _listed(message: EngineMessage) -> list[tuple[str, dict[str, str]]]:
    """Take the targets out of callto.1, callto.2 and so on, with the parameters of each."""
    targets = []
    number = 1
    while (name := f"callto.{number}") in message.params:
        prefix = f"{name}."
        found = {n: v for n, v in message.params.items() if n.startswith(prefix)}
        own = {n.removeprefix(prefix): v for n, v in found.items()}
        if target := message.params[name]:
            targets.append((target, own))
        for param in (name, *found):
            message.delete(param)
        number += 1
    return targets
