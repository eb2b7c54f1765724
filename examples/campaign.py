"""A campaign: "remind 5551234 5551235" calls those numbers, who confirm their appointment by key.

    SOUNDS=/var/lib/sounds yateway run examples/campaign.py

The command comes over Yate's rmanager (`telnet 127.0.0.1 5038`); what became of each number is
written into Yate's log. Busy numbers are called again after a minute, silent ones after ten.
"""

import os

from yateway import Call, Message, Module, digits

TARGET = os.environ.get("TARGET", "sip/sip:{}@127.0.0.1:5062")

module = Module("campaign", sounds=os.environ.get("SOUNDS", "/var/lib/sounds"))


@module.handler("engine.command")
def command(message: Message) -> str | None:
    match message.get("line", "").split():
        case ["remind", *numbers] if numbers:
            try:
                module.spawn(remind_all([digits(number) for number in numbers]))
            except ValueError as error:
                return f"{error}\r\n"
            return f"calling {len(numbers)} numbers\r\n"
    return None


async def remind_all(numbers: list[str]) -> None:
    async with module.campaign(
        *(numbers, TARGET, remind),
        concurrency=10,
        rate=2,
        tries=3,
        retry={"busy": 60, "noanswer": 600, "timeout": 600},
        timeout=25,
        caller="100",
    ) as outcomes:
        async for outcome in outcomes:
            result = outcome.result or "no choice" if outcome else outcome.reason
            await module.output(f"campaign: {outcome.number}: {result}")


async def remind(call: Call) -> str | None:
    await call.play("appointment.slin", barge=True)
    choices = {"1": "confirmed", "2": "cancelled"}
    choice = await call.menu(choices, prompt="confirm-menu.slin", invalid="not-available.slin")
    await call.play("thank-you.slin")
    return choice
