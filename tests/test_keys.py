"""Keys are kept in their order until somebody wants them, and each is taken once."""

from __future__ import annotations

from yateway.keys import TYPED_AHEAD, Digits, Keys, Why


def test_type_ahead() -> None:
    keys = Keys()
    assert (len(keys), keys.take()) == (0, "")
    keys.press("12")
    keys.press("#")
    assert keys.any_of("#")
    assert not keys.any_of("9")
    assert not keys.any_of("")
    assert [keys.take() for _ in range(4)] == ["1", "2", "#", ""]
    keys.press("5")
    keys.clear()
    assert keys.take() == ""


def test_who_plays_on_the_keys_does_not_fill_the_memory() -> None:
    keys = Keys()
    keys.press("1" * 10_000 + "2" * TYPED_AHEAD)
    assert len(keys) == TYPED_AHEAD
    assert keys.take() == "2"


async def test_all_who_wait_are_told_of_a_key() -> None:
    """One of them takes it; who was cancelled meanwhile is no matter."""
    keys = Keys()
    one, other, gone = keys.more(), keys.more(), keys.more()
    gone.cancel()
    keys.press("1")
    assert one.done()
    assert other.done()
    keys.press("2")
    assert not keys.more().done()


def test_a_key_stops_what_it_may_stop_once() -> None:
    keys = Keys()
    stopped: list[str] = []

    def menu() -> None:
        stopped.append("menu")

    def music() -> None:
        stopped.append("music")

    keys.on_press("12", menu)
    keys.on_press("#", music)
    keys.press("9")
    assert stopped == []
    keys.press("21")
    assert stopped == ["menu"]
    keys.ignore(music)
    keys.ignore(music)
    keys.press("#")
    assert stopped == ["menu"]
    assert [keys.take() for _ in range(4)] == ["9", "2", "1", "#"]


def test_digits() -> None:
    whole = {why: bool(Digits("12", why)) for why in Why}
    assert [why for why, true in whole.items() if true] == [Why.COUNT, Why.END]
    assert str(Digits("12", Why.MAX)) == "<Digits '12' max>"
    assert repr(Digits("1234", Why.COUNT, secret=True)) == "<Digits '****' count>"
