"""A voicemail: 7 and a box leave a message there, *97 from its telephone listens to them.

SOUNDS=/var/lib/sounds RECORDINGS=/var/lib/voicemail yateway run examples/voicemail.py
"""

import os
from pathlib import Path

from yateway import Call, Message, Module, Reject, Route

SOUNDS = os.environ.get("SOUNDS", "/var/lib/sounds")
RECORDINGS = os.environ.get("RECORDINGS", "/var/lib/voicemail")
PINS = {"1001": "1234", "1002": "4321"}  # by box

module = Module("voicemail", sounds=SOUNDS, recordings=RECORDINGS)


@module.handler("call.route")
def route(message: Message) -> Route | Reject | None:
    called = message.get("called", "")
    if called.startswith("7"):
        box = called.removeprefix("7")
        return module.take("leave", box=box) if box in PINS else Reject("noroute")
    return module.take("listen") if called == "*97" else None


@module.call("leave")
async def leave(call: Call) -> None:
    await call.answer()
    await call.play("leave-a-message.slin", barge=True)
    # Most end their message by hanging up: it is kept, and the thanks are for the others.
    await call.record(f"{call.params['box']}-{call.billid}.slin", limit=120)
    await call.play("thank-you.slin")


@module.call("listen")
async def listen(call: Call) -> None:
    await call.answer()
    pin = PINS.get(call.caller)
    code = await call.collect(
        4, prompt="enter-pin.slin", tries=3, secret=True, validate=lambda digits: digits == pin
    )
    if not code:
        return
    messages = messages_of(call.caller)
    await call.play(["you-have.slin", len(messages), "messages.slin"], barge=True)
    for message in messages:
        choice = "again"
        while choice == "again":
            await call.play(message, barge=True)
            choices = {"1": "again", "2": "keep", "3": "delete"}
            choice = await call.menu(choices, prompt="message-menu.slin") or "keep"
        if choice == "delete":
            message.unlink()
    await call.play("goodbye.slin")


def messages_of(box: str) -> list[Path]:
    return sorted(Path(RECORDINGS).glob(f"{box}-*.slin"), key=lambda file: file.stat().st_mtime)
