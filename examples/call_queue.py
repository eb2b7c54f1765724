"""A queue: music, every 20 s the caller's place, any key to leave a message, and then an agent.

Run it with `SOUNDS=/var/lib/sounds AGENTS="sip/..." yateway run examples/call_queue.py`.
"""

import asyncio
import os

from yateway import Call, CallFailed, Message, Module, Reject, Route

SOUNDS = os.environ.get("SOUNDS", "/var/lib/sounds")
RECORDINGS = os.environ.get("RECORDINGS", "/var/lib/voicemail")

module = Module("queue", sounds=SOUNDS, recordings=RECORDINGS, max_calls=200)
free = os.environ.get("AGENTS", "sip/sip:201@127.0.0.1:5062").split()
waiting: dict[Call, asyncio.Future[str]] = {}  # for an agent, in the order in which they came


@module.handler("call.route", filter=("called", "100"))
def route(message: Message) -> Route | Reject:
    return module.take("queue")


@module.call("queue")
async def queue(call: Call) -> None:
    await call.answer()
    key = call.spawn(call.key())
    async with call.hold("music.slin"):
        while not key.done():
            await wait_and_talk(call, key)
    await call.play("leave-a-message.slin")
    await call.record(f"queue-{call.billid}.slin")


async def wait_and_talk(call: Call, key: asyncio.Task[str]) -> None:
    turn = waiting[call] = asyncio.get_running_loop().create_future()
    serve()
    try:
        while not (turn.done() or key.done()):
            place = [other for other, turn in waiting.items() if not turn.done()].index(call) + 1
            await call.play(["your-place-is.slin", place])
            await asyncio.wait([turn, key], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if turn.done():
            await call.transfer(turn.result(), attended=True, timeout=15)
            await call.wait_ended()
    except CallFailed:
        pass  # this agent does not answer; the caller keeps their place and waits for the next
    finally:
        if not turn.cancel():
            free.append(turn.result())
        if call.ended or key.done():
            del waiting[call]
        serve()


def serve() -> None:
    """Give the agents who are free to those who have waited longest."""
    for turn in waiting.values():
        if free and not turn.done():
            turn.set_result(free.pop(0))
