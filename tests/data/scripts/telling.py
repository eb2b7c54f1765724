"""What the scripts of the scenes have in common: each line they read, they tell to all.

It must not decide anything: that is in the scripts.
"""

import sys


def say(line: str) -> None:
    """Send a line to the engine."""
    print(line, flush=True)


def tell(what: str) -> None:
    """Let those see it who watch for the message `told`."""
    value = what.replace("%", "%%").replace(":", "%z")
    say(f"%%>message::0:told::line={value}")


def read() -> list[str]:
    """Return the fields of the next line from the engine, none at the end; tell the line.

    A request is told from its name on, and without `handlers`: its id and time are others each
    time, and so are the engine's own handlers.
    """
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        return []
    fields = line.split(":")
    told = [field for field in fields if not field.startswith("handlers=")]
    tell(":".join(told[3:] if told[0] == "%%>message" else told))
    return fields
