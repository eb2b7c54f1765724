"""The module of the article: routes 123, asks the engine for a route itself, and reconnects.

Start it with `yateway run examples/article.py`, or let Yate start it from [scripts].
"""

from yateway import Message, Module

module = Module("article")


@module.handler("call.route", priority=100)
def route(message: Message) -> str | None:
    if message.get("called") != "123":
        return None
    message["param1"] = "value1"
    return "sip/sip:test@127.0.0.1"


@module.handler("call.execute", priority=200)
def execute(message: Message) -> None:
    print("a call goes to", message.get("callto"))


@module.on_connected
async def ask() -> None:
    answer = await module.dispatch("call.route", target="sip:test@127.0.0.1")
    print("call.route was", "processed:" if answer.processed else "declined", answer.retvalue)


if __name__ == "__main__":
    module.run()
