"""Calls are found by each of their channels, by bill and by caller, for as long as they live."""

from __future__ import annotations

from typing import cast

from yateway.call import Call
from yateway.registry import Calls
from yateway.switchboard import Switchboard


def call_of(channel: str, leg: str, **params: str) -> Call:
    """Return a call that nobody drives."""
    return Call(cast(Switchboard, None), channel, leg, params)


def test_calls_are_found_by_what_is_known_of_them() -> None:
    calls = Calls()
    one = call_of("sip/1", "dumb/1", caller="5", billid="7-1")
    two = call_of("sip/2", "dumb/2", caller="5", billid="7-1")
    for call in (one, two):
        calls.add(call)
    assert (list(calls), len(calls), one in calls) == ([one, two], 2, True)
    assert (calls.get("sip/1"), calls.get("dumb/2"), calls.get("sip/3")) == (one, two, None)
    assert calls.of_caller("5") == calls.of_bill("7-1") == [one, two]
    assert calls.of_caller("6") == calls.of_bill("") == []


def test_channels_come_and_go() -> None:
    """And one that another call has by now is not taken from it."""
    calls = Calls()
    one, two = call_of("sip/1", "dumb/1"), call_of("sip/2", "")
    calls.add(one)
    calls.add(two)
    calls.untrack("dumb/1")
    assert (calls.get("dumb/1"), calls.get("")) == (None, None)
    calls.track(two, "sip/1")
    calls.remove(one)
    assert (calls.get("sip/1"), list(calls)) == (two, [two])
    calls.remove(one)
    assert len(calls) == 1


def test_a_call_may_end_while_they_are_gone_through() -> None:
    calls = Calls()
    for number in range(3):
        calls.add(call_of(f"sip/{number}", f"dumb/{number}"))
    for call in calls:
        calls.remove(call)
    assert repr(calls) == "<Calls 0>"
