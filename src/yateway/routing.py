"""What a `call.route` handler may return: Route, Reject, Continue, Fork.

It must not know who asked: each writes itself into a message and says whether that processes it.
The rules are those of Yate's router and of its modules callfork and ysipchan (engine.md part 3,
5.4 and 5.6, and part 5, 14).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from .errors import shown
from .message import Message, Value

__all__ = [
    "CAUSES",
    "Continue",
    "Fork",
    "Reject",
    "Route",
    "Then",
    "Verdict",
    "digits",
    "safe_target",
]

#: Why a call can be rejected, and the SIP status that Yate's SIP module makes of it.
CAUSES = {
    "busy": 486,
    "congestion": 480,
    "failure": 500,
    "forbidden": 403,
    "incomplete": 484,
    "interworking": 500,
    "invalid-message": 400,
    "looping": 483,
    "moved": 410,
    "noanswer": 480,
    "noauth": 401,
    "nocall": 481,
    "noconn": 503,
    "nomedia": 415,
    "noresource": 503,
    "noroute": 404,
    "offline": 404,
    "pending": 491,
    "postdialdelay": 504,
    "rejected": 406,
    "service-unavailable": 503,
    "timeout": 408,
    "unacceptable": 488,
    "unallocated": 410,
    "unimplemented": 501,
}

# Return values that mean a rejection to Yate's router, so that they are no targets.
_NO_TARGETS = ("", "-", "error")

# What may be dialled, and what a part of a target may hold without becoming more than a part.
_DIGITS = re.compile(r"\+?[0-9*#A-D]{1,64}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9+*#_.-]{1,128}", re.ASCII)
_DRIVER = re.compile(r"([a-z0-9]+)/", re.ASCII)
# What follows these is a program or a file, or whole targets.
_NOT_FOR_DATA = ("external", "wave", "fork", "lateroute")


def digits(text: str) -> str:
    """Return `text` if it is what a telephone can dial: `0-9`, `*`, `#`, `A-D`, `+` in front.

    A number comes from a caller and may be any text. In a route a blank or `|` makes another leg of
    a fork, `;` begins parameters, and `/` may lead to another driver.

    Raises:
        ValueError: it is something else, empty, or longer than 64.
    """
    if _DIGITS.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} cannot be dialled: 1 to 64 of 0-9 * # A-D, + in front")
    return text


def safe_target(template: str, *parts: str) -> str:
    """Return a call target made of a template and of parts that came from outside.

        safe_target("sip/sip:{}@127.0.0.1:5062", message["called"])

    Args:
        template: with a `{}` for each part; the driver stands in it, so that no part chooses it.
        parts: each 1 to 128 ASCII letters, digits, and `+*#_.-`.

    Raises:
        ValueError: a part holds anything else, or the template could let one do harm: it names no
            driver, or one whose targets are programs, files or whole targets (`external/`, `wave/`,
            `fork`, `lateroute/`).
    """
    pieces = template.split("{}")
    driver = _DRIVER.match(pieces[0])
    if driver is None or driver[1] in _NOT_FOR_DATA:
        raise ValueError(
            f"{shown(template)} lets its parts choose too much: name a driver of calls"
        )
    if len(pieces) != len(parts) + 1:
        raise ValueError(f"{shown(template)} has {len(pieces) - 1} places for {len(parts)} parts")
    for part in parts:
        if _PART.fullmatch(part) is None:
            raise ValueError(
                f"{shown(part)} is no part of a target: 1 to 128 of A-Z a-z 0-9 +*#_.-"
            )
    return "".join(piece + part for piece, part in zip(pieces, (*parts, ""), strict=True))


def _target(target: str) -> str:
    # Yate's router trims the return value before it compares.
    if target.strip() in _NO_TARGETS:
        raise ValueError(f"{shown(target)} is no call target; to refuse the call return Reject()")
    return target


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """Send the call to a target.

    Args:
        target: where to, for example "sip/sip:100@127.0.0.1:5060".
        params: parameters of the call that follows.

    Raises:
        ValueError: the target is empty, or "-" or "error", which reject.
    """

    target: str
    params: dict[str, Value]

    def __init__(self, target: str, **params: Value) -> None:
        object.__setattr__(self, "target", _target(target))
        object.__setattr__(self, "params", params)

    def apply(self, message: Message) -> bool:
        """Write the route into the message; it is processed."""
        _set(message, self.params)
        message.retvalue = self.target
        return True


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the call.

    Args:
        cause: one of `CAUSES`.
        reason: a text for people; Yate chooses one if it is empty.

    Raises:
        ValueError: the cause is unknown to Yate and would reach the caller as a plain failure.
    """

    cause: str
    reason: str = ""

    def __post_init__(self) -> None:
        if self.cause not in CAUSES:
            near = difflib.get_close_matches(self.cause, CAUSES, 1) or CAUSES
            raise ValueError(f"{shown(self.cause)} is no cause: use {', '.join(near)}")

    def apply(self, message: Message) -> bool:
        """Write the rejection into the message; it is processed.

        An `error` alone does not reject: the return value must be "-" (engine.md 5.4).
        """
        message["error"] = self.cause
        if self.reason:
            message["reason"] = self.reason
        message.retvalue = "-"
        return True


@dataclass(frozen=True, slots=True, init=False)
class Continue:
    """Let the next handler decide, with these parameters set."""

    params: dict[str, Value]

    def __init__(self, **params: Value) -> None:
        object.__setattr__(self, "params", params)

    def apply(self, message: Message) -> bool:
        """Set the parameters; the message is not processed."""
        _set(message, self.params)
        return False


@dataclass(frozen=True, slots=True)
class Then:
    """Between the legs of a `Fork`: go on with the next group.

    Args:
        after: seconds until the next group is called, None when all legs before have failed.
        drop: hang up the legs before when that time is over, instead of letting them ring on.

    Raises:
        ValueError: the time is less than a millisecond, which callfork would ignore, or there is
            none after which to drop.
    """

    after: float | None = None
    drop: bool = False

    def __post_init__(self) -> None:
        if self.after is None:
            if self.drop:
                raise ValueError("when are the legs to be dropped? give `after` in seconds")
        elif round(self.after * 1000) < 1:
            raise ValueError(f"after={self.after:g} s is no time to wait: give more, or none")

    def target(self) -> str:
        """Return the separator as callfork reads it."""
        if self.after is None:
            return "|"
        return f"|{'drop' if self.drop else 'next'}={round(self.after * 1000)}"


@dataclass(frozen=True, slots=True, init=False)
class Fork:
    """Call several targets; the first that answers gets the call. Needs Yate's module callfork.

    Args:
        legs: targets, `Route`s where a leg has parameters of its own, `Then` between groups.
        params: parameters common to all legs.

    Raises:
        ValueError: there is no target.
    """

    legs: tuple[str | Route | Then, ...]
    params: dict[str, Value]

    def __init__(self, *legs: str | Route | Then, **params: Value) -> None:
        if all(isinstance(leg, Then) for leg in legs):
            raise ValueError("a fork needs a target")
        for leg in legs:
            if isinstance(leg, str):
                _target(leg)
        object.__setattr__(self, "legs", legs)
        object.__setattr__(self, "params", params)

    def apply(self, message: Message) -> bool:
        """Write the fork into the message; it is processed."""
        _set(message, self.params)
        for number, leg in enumerate(self.legs, 1):
            key = f"callto.{number}"
            if isinstance(leg, Route):
                message[key] = leg.target
                _set(message, {f"{key}.{name}": value for name, value in leg.params.items()})
            else:
                message[key] = leg.target() if isinstance(leg, Then) else leg
        message.retvalue = "fork"
        return True


Verdict = None | bool | str | Route | Reject | Continue | Fork
"""What a handler may return; docs/handlers.md tells what each means."""


def _set(message: Message, params: dict[str, Value]) -> None:
    for name, value in params.items():
        message[name] = value
