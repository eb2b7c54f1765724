"""What a `call.route` handler may return, and what each writes into the message."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from yateway.message import Message
from yateway.routing import (
    CAUSES,
    Continue,
    Fork,
    Reject,
    Route,
    Then,
    digits,
    safe_target,
)

NO_TARGETS = ["", "-", "error", " ", " - ", "\terror\n"]


def applied(verdict: Route | Reject | Continue | Fork) -> str:
    """Return the answer to a request that gets a verdict, without its id."""
    message = Message.received("1", 0, "call.route", "before", ":called=1:x=y")
    processed = verdict.apply(message)
    assert isinstance(processed, bool)
    return message.to_answer(processed).text().removeprefix("%%<message:1:")


# --- Route -------------------------------------------------------------------------------------


def test_a_route() -> None:
    """A route is the retvalue of a processed message, with its parameters."""
    assert applied(Route("sip/sip:100@host")) == "true::sip/sip%z100@host"
    assert applied(Route("a", called="2", n=5, b=True)) == "true::a:called=2:n=5:b=true"


@pytest.mark.parametrize("target", NO_TARGETS)
def test_what_rejects_is_no_target(target: str) -> None:
    """What Yate takes for a rejection, blanks around it or not, is no target."""
    with pytest.raises(ValueError, match=r"is no call target; .* return Reject\(\)"):
        Route(target)
    with pytest.raises(ValueError, match="is no call target"):
        Fork("a", target)


@pytest.mark.parametrize("target", ["-/x", "errors", " a", "error/1"])
def test_what_only_looks_like_a_rejection_is_a_target(target: str) -> None:
    """A target that merely begins like a rejection is one, and stays as it is."""
    assert applied(Route(target)) == f"true::{target}"


STATUSES = {
    400: ["invalid-message"],
    401: ["noauth"],
    403: ["forbidden"],
    404: ["noroute", "offline"],
    406: ["rejected"],
    408: ["timeout"],
    410: ["moved", "unallocated"],
    415: ["nomedia"],
    480: ["congestion", "noanswer"],
    481: ["nocall"],
    483: ["looping"],
    484: ["incomplete"],
    486: ["busy"],
    488: ["unacceptable"],
    491: ["pending"],
    500: ["failure", "interworking"],
    501: ["unimplemented"],
    503: ["noconn", "noresource", "service-unavailable"],
    504: ["postdialdelay"],
}

# --- Reject ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", CAUSES)
def test_a_rejection(cause: str) -> None:
    """A rejection is a processed message with an error and the retvalue that rejects."""
    assert applied(Reject(cause)) == f"true::-:error={cause}"
    assert applied(Reject(cause, "gone: 1")) == f"true::-:error={cause}:reason=gone%z 1"


def test_the_causes_are_those_of_yates_sip() -> None:
    """Yate's SIP knows 25 causes, and makes these statuses of them."""
    causes: dict[int, list[str]] = {}
    for cause, status in CAUSES.items():
        causes.setdefault(status, []).append(cause)
    assert causes == STATUSES


def test_an_unknown_cause_is_refused() -> None:
    """A cause that Yate does not know is refused, with the nearest or with all there are."""
    with pytest.raises(ValueError, match=r"^'bussy' is no cause: use busy$"):
        Reject("bussy")
    with pytest.raises(ValueError, match=r"is no cause: use busy, congestion, .*, unimplemented$"):
        Reject("")
    with pytest.raises(ValueError, match=r"^'nocoll' is no cause: use nocall$"):
        Reject("nocoll")
    with pytest.raises(ValueError, match=r"^'x\\n'"):
        Reject("x\n")


# --- Continue ----------------------------------------------------------------------------------


def test_continuing() -> None:
    """To continue is to decline with parameters set, and the retvalue untouched."""
    assert applied(Continue()) == "false:"
    assert applied(Continue(called="2", x=1)) == "false::before:called=2:x=1"


# --- Fork --------------------------------------------------------------------------------------


def test_a_fork() -> None:
    """A fork numbers its legs from one, and has common parameters and some of each leg."""
    fork = Fork("sip/a", Then(), Route("sip/b", caller="7", n=1), "iax/c", maxcall=9000)
    assert applied(fork) == (
        "true::fork:maxcall=9000:callto.1=sip/a:callto.2=|:callto.3=sip/b"
        ":callto.3.caller=7:callto.3.n=1:callto.4=iax/c"
    )


@pytest.mark.parametrize("legs", [(), (Then(),), (Then(), Then(5.0))])
def test_a_fork_needs_a_target(legs: tuple[Then, ...]) -> None:
    """A fork without a target is refused."""
    with pytest.raises(ValueError, match="a fork needs a target"):
        Fork(*legs)


@pytest.mark.parametrize(
    ("then", "separator"),
    [
        (Then(), "|"),
        (Then(15), "|next=15000"),
        (Then(after=1.5), "|next=1500"),
        (Then(0.001), "|next=1"),
        (Then(15, drop=True), "|drop=15000"),
    ],
)
def test_between_the_groups_of_a_fork(then: Then, separator: str) -> None:
    """The next group is called when the first failed, or after some milliseconds."""
    assert then.target() == separator
    assert f":callto.2={separator}:" in applied(Fork("a", then, "b"))


@pytest.mark.parametrize("after", [0, -1, 0.0004])
def test_no_time_to_wait(after: float) -> None:
    """A time that callfork would ignore is refused."""
    with pytest.raises(ValueError, match=f"after={after:g} s is no time to wait"):
        Then(after)


def test_no_time_after_which_to_drop() -> None:
    """Legs cannot be dropped after no time."""
    with pytest.raises(ValueError, match="give `after` in seconds"):
        Then(drop=True)


# --- All of them -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "like", "unlike", "attribute"),
    [
        (Route("a", x=1), Route("a", x=1), Route("a", x=2), "target"),
        (Reject("busy"), Reject("busy"), Reject("busy", "x"), "cause"),
        (Continue(x=1), Continue(x=1), Continue(), "params"),
        (Fork("a", x=1), Fork("a", x=1), Fork("a", "b", x=1), "legs"),
        (Then(1), Then(1), Then(1, drop=True), "after"),
    ],
)
def test_verdicts_are_values(verdict: object, like: object, unlike: object, attribute: str) -> None:
    """A verdict equals its like, shows itself, and does not change."""
    assert verdict == like
    assert verdict != unlike
    assert type(verdict).__name__ in repr(verdict)
    with pytest.raises(FrozenInstanceError):
        setattr(verdict, attribute, None)


def test_a_value_that_cannot_be_sent() -> None:
    """What is no value for a parameter is an error that says so when the verdict is applied."""
    with pytest.raises(TypeError, match="'x' cannot be list"):
        applied(Route("a", x=["y"]))  # type: ignore[arg-type]


# --- Targets made of what callers say ----------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "0123456789", "*21#", "+4930123", "A", "ABCD*#", "9" * 64])
def test_digits_that_can_be_dialled(text: str) -> None:
    assert digits(text) == text


# What a caller may say in place of a number; each would be more than a number in a target.
INJECTIONS = [
    "", " ", "1 2", " 1", "1 ", "1\t", "1\n", "1\r", "1\0", "1;x=y", "1|sip/2", "1 | sip/2", "1/2",
    "/", "../x", "sip/1", "external/nodata/x", "1@host", "1:5060", "1&2", "1,2", "1=2", "1%2",
    "1%z2", "1?x", "1$(id)", "1`id`", "1'", '1"', "1\\2", "1<2>", "{}", "${EXTEN}", "\u0661\u0662",
    "\uff11", "1\u200b", "1\u2215x", "1\u00a0", "\udcff", "1\x7f",
]  # fmt: skip


@pytest.mark.parametrize("text", [*INJECTIONS, "a", "E", "1+", "++1", "+", "1-2", "1.2", "9" * 65])
def test_text_that_is_no_number(text: str) -> None:
    """Guarantee F4: no blank, semicolon, pipe or slash, nor anything else than digits."""
    with pytest.raises(ValueError, match=r"cannot be dialled") as caught:
        digits(text)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_a_target_is_made_of_a_template_and_parts() -> None:
    assert safe_target("sip/sip:{}@127.0.0.1:5062", "100") == "sip/sip:100@127.0.0.1:5062"
    assert safe_target("sip/sip:{}@{}", "a.b-c_d", "host.example") == "sip/sip:a.b-c_d@host.example"
    assert safe_target("iax/{}{}", "1", "2") == "iax/12"
    assert safe_target("sip/sip:fixed@127.0.0.1") == "sip/sip:fixed@127.0.0.1"


@pytest.mark.parametrize("text", [*INJECTIONS, "x" * 129])
def test_a_part_stays_a_part(text: str) -> None:
    """Guarantee F4, for names as well as numbers."""
    with pytest.raises(ValueError, match="is no part of a target") as caught:
        safe_target("sip/sip:{}@127.0.0.1", text)
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "template",
    ["{}", "{}/x", "sip{}/x", "", "x", "/{}", "SIP/{}", "external/nodata/{}", "external/{}/x",
     "wave/play/{}", "wave/record/x", "fork/{}", "fork {}", "lateroute/{}", "sip:{}"],
)  # fmt: skip
def test_no_part_chooses_a_driver_a_script_or_a_file(template: str) -> None:
    """Guarantee F5: what is called is up to the module, whom it calls up to the caller."""
    with pytest.raises(ValueError, match="choose too much"):
        safe_target(template, *["a"] * template.count("{}"))


@pytest.mark.parametrize("parts", [(), ("1", "2")])
def test_places_and_parts_are_as_many(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"1 places for {len(parts)} parts"):
        safe_target("sip/{}", *parts)
