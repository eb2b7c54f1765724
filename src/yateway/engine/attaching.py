"""What drivers of sound have in common: attaching to a channel, and calling out by themselves.

It must not know what plays or records.
"""

from __future__ import annotations

from .channels import Channel
from .dispatcher import EngineMessage
from .driver import Driver
from .endpoints import copy_params
from .media import Consumer, Source

__all__ = ["attach", "execute_out", "lay", "route_out"]


def lay(consumer: Consumer, source: Source, *, over: bool) -> None:
    """Let a consumer hear a source.

    Args:
        consumer: who is to hear it.
        source: what it is to hear.
        over: instead of what it hears, until the source ends (`override`); else in its place, as
            if the peer said it (`replace`).
    """
    if over:
        consumer.cover(source)
    else:
        consumer.replace(source)


async def attach(leg: Channel, name: str, value: str) -> bool:
    """Attach something to a channel by the message that modules use too; return the success."""
    message = leg.exchange.message(
        "chan.attach", (("id", leg.id), (name, value), ("single", "true"))
    )
    message.user_data = leg
    try:
        return await leg.exchange.dispatch(message)
    finally:
        message.user_data = None


async def route_out(driver: Driver, message: EngineMessage, target: str) -> EngineMessage | None:
    """Return the call.execute of a call that a driver is to make by itself.

    Args:
        driver: who makes it.
        message: what asked for it: where to is its `direct`, or else `target` or `called`.
        target: what follows the driver's name in its `callto`.

    Returns:
        The message, None if the call is not routed.
    """
    params = message.params
    call = driver.exchange.message("call.route")
    copy_params(call, params, params.get("copyparams", ""))
    call.delete("callto")
    call.delete("id")
    call.set("module", driver.name)
    call.set("cdrtrack", "false")
    copy_params(call, params, "called,caller,callername,stop_call")
    callto = params.get("direct", "")
    if not callto:
        called = params.get("target") or params.get("called")
        if not called:
            return None
        call.set("called", called)
        if not call.params.get("caller"):
            call.set("caller", driver.prefix + target)
        if not await driver.exchange.dispatch(call) or call.retvalue in ("", "-"):
            return None
        callto, call.retvalue = call.retvalue, ""
    call.name = "call.execute"
    call.set("callto", callto)
    return call


async def execute_out(call: EngineMessage, message: EngineMessage, leg: Channel) -> bool:
    """Make the call of `route_out` from a leg; return whether it was accepted."""
    call.set("id", leg.id)
    call.user_data = leg
    accepted = await leg.exchange.dispatch(call)
    if accepted:
        message.set("id", leg.id)
        copy_params(message, call.params, "peerid")
    call.user_data = None
    leg.release()
    return accepted
