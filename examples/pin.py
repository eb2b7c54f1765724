"""A PIN prompt: three tries, then the balance of the account.

    SOUNDS=/var/lib/sounds yateway run examples/pin.py

The PIN appears in no log. `python examples/make_sounds.py FOLDER` makes what is played.
"""

import os
from hmac import compare_digest

from yateway import Call, Message, Module, Reject, Route

PIN = os.environ.get("PIN", "1234")

module = Module("pin", sounds=os.environ.get("SOUNDS", "/var/lib/sounds"))


@module.handler("call.route", filter=("called", "100"))
def route(message: Message) -> Route | Reject:
    return module.take("pin")


@module.call("pin")
async def pin(call: Call) -> None:
    await call.answer()
    code = await call.collect(
        4,
        prompt="enter-pin.slin",
        invalid="wrong-pin.slin",
        tries=3,
        secret=True,
        validate=lambda digits: compare_digest(digits, PIN),
    )
    if not code:
        await call.play("goodbye.slin")
        return
    await call.play(["your-balance-is.slin", 42, "euros.slin"])
