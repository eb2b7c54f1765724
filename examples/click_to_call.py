"""Click to call: "connect 201 5551234" makes a telephone here call somebody elsewhere.

    SOUNDS=/var/lib/sounds yateway run examples/click_to_call.py

The command comes over Yate's rmanager (`telnet 127.0.0.1 5038`), as a web page's server sends it.
"""

import os

from yateway import CallFailed, Message, Module, digits, safe_target

TARGET = os.environ.get("TARGET", "sip/sip:{}@127.0.0.1:5062")

module = Module("click", sounds=os.environ.get("SOUNDS", "/var/lib/sounds"))


@module.handler("engine.command")
def command(message: Message) -> str | None:
    match message.get("line", "").split():
        case ["connect", ours, theirs]:
            try:
                module.spawn(connect(digits(ours), digits(theirs)))
            except ValueError as error:
                return f"{error}\r\n"
            return f"calling {ours}\r\n"
    return None


async def connect(ours: str, theirs: str) -> None:
    try:
        # Our own telephone rings first, and shows whom it is going to talk to.
        async with module.originate(safe_target(TARGET, ours), caller=theirs) as mine:
            try:
                async with mine.hold("music.slin"):
                    await mine.transfer(safe_target(TARGET, theirs), attended=True, caller=ours)
            except CallFailed:
                await mine.play("nobody-there.slin")
    except CallFailed as failed:
        await module.output(f"click: {ours} was not reached: {failed.reason}")
