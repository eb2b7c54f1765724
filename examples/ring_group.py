"""A ring group: two desks, after 10 s a mobile as well, and a voicemail if nobody answers.

    SOUNDS=/var/lib/sounds RECORDINGS=/var/lib/voicemail yateway run examples/ring_group.py

Yate's module callfork rings them. The caller hears it ring, and is not answered until somebody is.
"""

import os

from yateway import Call, Fork, Message, Module, Reject, Route, Then, safe_target

SOUNDS = os.environ.get("SOUNDS", "/var/lib/sounds")
RECORDINGS = os.environ.get("RECORDINGS", "/var/lib/voicemail")
TARGET = os.environ.get("TARGET", "sip/sip:{}@127.0.0.1:5062")
DESKS = [safe_target(TARGET, number) for number in ("201", "202")]
MOBILE = safe_target(TARGET, "203")

module = Module("group", sounds=SOUNDS, recordings=RECORDINGS)


@module.handler("call.route", filter=("called", "100"))
def route(message: Message) -> Route | Reject:
    return module.take("group")


@module.handler("call.route", filter=("called", "*8"))
def route_pick_up(message: Message) -> Route | Reject:
    return module.take("pick up")


@module.call("group")
async def group(call: Call) -> None:
    dialled = await call.dial(Fork(*DESKS, Then(after=10), MOBILE), timeout=25)
    if dialled.answered:
        return  # they have talked
    await call.answer()
    await call.play(f"{'busy' if dialled.reason == 'busy' else 'nobody-there'}.slin")
    await call.play("leave-a-message.slin")
    await call.record(f"group-{call.billid}.slin", limit=120)


@module.call("pick up")
async def pick_up(call: Call) -> None:
    for other in module.calls:
        if other.dialling:
            await call.answer()
            await call.join(other)
            return
    await call.reject("nocall")
