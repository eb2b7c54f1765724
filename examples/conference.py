"""Conferences behind PINs: * mutes oneself, and the moderator's # sends everybody home.

SOUNDS=/var/lib/sounds yateway run examples/conference.py
"""

import os

from yateway import Call, CallFailed, Message, Module, Reject, Route

ROOMS = {"1111": "blue", "2222": "green"}  # by PIN
MODERATORS = {"9111": "blue", "9222": "green"}

module = Module("conference", sounds=os.environ.get("SOUNDS", "/var/lib/sounds"))


@module.handler("call.route", filter=("called", "100"))
def route(message: Message) -> Route | Reject:
    return module.take("conference")


@module.call("conference")
async def conference(call: Call) -> None:
    await call.answer()
    rooms = ROOMS | MODERATORS
    pin = await call.collect(
        4,
        prompt="enter-pin.slin",
        invalid="wrong-pin.slin",
        tries=3,
        secret=True,
        validate=lambda digits: digits in rooms,
    )
    if not pin:
        return
    name = rooms[pin.text]
    await call.play(["people-in-the-room.slin", len(module.conferences.get(name, ()))])
    try:
        room = await call.conference(name, maxusers=20)
    except CallFailed:
        await call.play("room-is-full.slin")
        return
    muted = False
    while key := await call.key():
        if key == "*":
            muted = not muted
            await room.mute(call.id, muted)
        elif key == "#" and pin.text in MODERATORS:
            for person in room.persons:
                await room.kick(person)
