"""A menu whose choices are functions: what each key leads to reads like the menu itself.

SOUNDS=/var/lib/sounds yateway run examples/menu.py
"""

import os

from yateway import Call, Message, Module, Reject, Route

SALES = os.environ.get("SALES", "sip/sip:200@127.0.0.1:5062")

module = Module("menu", sounds=os.environ.get("SOUNDS", "/var/lib/sounds"))


@module.handler("call.route", filter=("called", "100"))
def route(message: Message) -> Route | Reject:
    return module.take("menu")


async def opening_hours(call: Call) -> None:
    await call.play("opening-hours.slin", barge=True)


async def sales(call: Call) -> None:
    dialled = await call.dial(SALES, timeout=20)
    if dialled.answered:
        await call.hangup()
    await call.play("nobody-there.slin")


async def order_status(call: Call) -> None:
    order = await call.collect(prompt="enter-order.slin", end="#", max=30)
    if order and order.text:
        await call.play(["order.slin", *map(int, order.text), "is-on-its-way.slin"])


@module.call("menu")
async def menu(call: Call) -> None:
    await call.answer()
    await call.play("welcome.slin", barge=True)
    choices = {"1": opening_hours, "2": sales, "31": order_status}
    while choice := await call.menu(choices, prompt="menu.slin", invalid="not-available.slin"):
        await choice(call)
    await call.play("goodbye.slin")
