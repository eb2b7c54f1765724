"""Bytes to lines: the same lines however the bytes come, in bounded time and memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yateway.errors import RemoteProtocolError
from yateway.wire import buffer as module
from yateway.wire.buffer import (
    BUFSIZE_DEFAULT,
    BUFSIZE_MAX,
    BUFSIZE_MIN,
    LINE_LIMIT,
    LONG,
    EngineLineBuffer,
    LineBuffer,
)
from yateway.wire.codec import to_bytes

STREAM = (
    b"%%>message:0x7f.1:1:call.route::called=1\n\n\r\n%%<watch:pqr\r\r\n \n"
    b"Error in: x\r\n\r\r\n\xff\xfe\xc3\n%%<quit\nrest"
)
LINES = [
    b"%%>message:0x7f.1:1:call.route::called=1",
    b"%%<watch:pqr\r",
    b" ",
    b"Error in: x",
    b"\r",
    b"\xff\xfe\xc3",
    b"%%<quit",
]


def feed(buffer: LineBuffer | EngineLineBuffer, *pieces: bytes) -> list[bytes]:
    """Return the lines as the bytes that they were."""
    lines = [line for piece in pieces for line in buffer.feed(piece)]
    return [to_bytes(line) if isinstance(line, str) else line for line in lines]


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Cut bytes at some places."""
    start = 0
    for place in sorted(places):
        yield data[start:place]
        start = place
    yield data[start:]


def every_way_to_cut(data: bytes) -> Iterator[list[bytes]]:
    """Cut bytes not at all, everywhere, into pairs, and at random places in 50 ways."""
    chance = random.Random(1)
    yield [data]
    yield [data[place : place + 1] for place in range(len(data))]
    yield [data[place : place + 2] for place in range(0, len(data), 2)]
    for _ in range(50):
        yield list(cut(data, chance.choices(range(len(data) + 1), k=chance.randrange(9))))


class Counted(bytes):
    """Bytes that count how many of them are taken out, and looked at in search of something."""

    taken = searched = 0

    def __getitem__(self, key: object) -> Counted:  # type: ignore[override]
        assert isinstance(key, slice)
        taken = Counted(super().__getitem__(key))
        Counted.taken += len(taken)
        return taken

    def rfind(self, sub: Any, *places: Any) -> int:
        assert not places
        Counted.searched += len(self)
        return super().rfind(sub)

    def __getattribute__(self, name: str) -> object:
        assert name in {"rfind", "decode"}, f"{name} may look at all bytes once more"
        return super().__getattribute__(name)


class CountedHeld(bytearray):
    """Held bytes that count how many are added, and can do little else."""

    steps = 0

    def __iadd__(self, more: object) -> CountedHeld:
        assert isinstance(more, bytes)
        CountedHeld.steps += len(more)
        self.extend(more)
        return self

    def __getattribute__(self, name: str) -> object:
        assert name in {"extend", "clear"}, f"{name} may look at all that is held"
        return super().__getattribute__(name)


# --- A module's lines --------------------------------------------------------------------------


def test_lines() -> None:
    """A line feed ends a line, one CR before it is dropped, empty lines are none (B13)."""
    buffer = LineBuffer()
    assert feed(buffer, STREAM) == LINES
    assert len(buffer) == len(b"rest")
    assert feed(buffer, b"", b"\r", b"\n") == [b"rest"]
    assert len(buffer) == 0


def test_the_same_lines_however_they_are_cut() -> None:
    """The pieces in which bytes come make no difference (guarantee B4)."""
    for pieces in every_way_to_cut(STREAM):
        buffer = LineBuffer()
        assert feed(buffer, *pieces) == LINES
        assert feed(buffer, b"\n") == [b"rest"]


def test_lines_are_text() -> None:
    """They are decoded, also where a character comes in two reads; what is no UTF-8 is kept."""
    pieces = ["é\nü".encode()[:-1], "ü".encode()[-1:] + b"\xff\n"]
    buffer = LineBuffer()
    lines = [line for piece in pieces for line in buffer.feed(piece)]
    assert lines == ["é", "ü\udcff"]


@given(st.lists(st.sampled_from([b"\n", b"\r", b"a", b"bc", b"\0", b"\xff"])), st.data())
def test_any_bytes_in_any_pieces(parts: list[bytes], data: st.DataObject) -> None:
    """Any bytes give the lines that splitting the whole gives, in any pieces."""
    stream = b"".join(parts)
    places = data.draw(st.lists(st.integers(0, len(stream))))
    whole = [line.removesuffix(b"\r") for line in stream.split(b"\n")[:-1]]
    assert feed(LineBuffer(), *cut(stream, places)) == [line for line in whole if line]


@pytest.mark.parametrize("length", [2**16 - 1, 2**16, 2**16 + 1, 2**20 - 1, 2**20])
def test_there_is_no_cliff_at_64_kib(length: int) -> None:
    """Lines around 64 KiB and up to 1 MiB are lines as all others (guarantee B8)."""
    line = b"x" * length
    for pieces in ([line + b"\n"], [line, b"\n"], [line[:9], line[9:] + b"\n"]):
        assert feed(LineBuffer(), *pieces) == [line]


def test_long_lines_are_cut_one_by_one() -> None:
    """They are the same lines, empty ones left out, however the bytes come."""
    long = b"x" * LONG
    stream = long + b"\n\n\n" + long + b"y\nshort\n\n"
    for pieces in every_way_to_cut(stream):
        assert feed(LineBuffer(), *pieces) == [long, long + b"y", b"short"]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_the_limit(end: bytes) -> None:
    """A line as long as the limit is one, a byte more is an error, finished or not (B6)."""
    buffer = LineBuffer(limit=10)
    assert feed(buffer, b"x" * 10 + end) == [b"x" * 10] * len(end)
    buffer = LineBuffer(limit=10)
    for pieces in ([b"x" * 11 + end], [b"x" * 10, b"x" + end], [b"x" * 4, b"x" * 4, b"xxx" + end]):
        with pytest.raises(RemoteProtocolError, match=r"a line of 11 bytes or more .* of 10"):
            feed(buffer, *pieces)
        assert len(buffer) == 0


def test_the_limit_by_default() -> None:
    """An engine's line may have 1 MiB and not a byte more."""
    assert LINE_LIMIT == LineBuffer().limit == 2**20
    with pytest.raises(RemoteProtocolError, match="1048577"):
        feed(LineBuffer(), b"x" * 2**20, b"x\n")


def test_lines_before_the_fault_are_kept() -> None:
    """Lines before one that is too long come out before the error does."""
    lines = []
    with pytest.raises(RemoteProtocolError):
        for line in LineBuffer(limit=5).feed(b"a\nbb\n" + b"c" * 6 + b"\nd\n"):
            lines.append(line)
    assert lines == ["a", "bb"]


def test_the_limit_may_change_between_reads() -> None:
    """A changed limit holds for what comes next."""
    buffer = LineBuffer(limit=2)
    assert feed(buffer, b"aa\n") == [b"aa"]
    buffer.limit = 4
    assert feed(buffer, b"aaaa\n") == [b"aaaa"]


def test_ten_megabytes_without_a_line_feed() -> None:
    """A stream without line feeds ends in an error as soon as the limit is passed."""
    buffer = LineBuffer()
    piece = b"x" * 2**16
    with pytest.raises(RemoteProtocolError):
        for number in range(160):
            feed(buffer, piece)
            assert number < 16
    assert number == 16
    with pytest.raises(RemoteProtocolError):
        feed(LineBuffer(), b"x" * 10_000_000)


@pytest.mark.parametrize("size", [1, 2, 7, 1024])
def test_each_byte_is_handled_once(size: int) -> None:
    """Work is linear: each byte is looked at once, and held once at most (guarantee B5)."""
    for total in (2**12, 2**13):
        buffer = LineBuffer()
        buffer._held = CountedHeld()
        Counted.taken = Counted.searched = CountedHeld.steps = 0
        for _ in range(total // size):
            assert feed(buffer, Counted(b"x" * size)) == []
        expected = total // size * size
        assert Counted.taken == Counted.searched == CountedHeld.steps == expected


def test_many_lines_in_one_piece_are_each_handled_once() -> None:
    """Lines that come whole are not held at all."""
    buffer = LineBuffer()
    buffer._held = CountedHeld()
    Counted.taken = Counted.searched = CountedHeld.steps = 0
    assert len(feed(buffer, Counted(b"0123456789\n" * 10_000))) == 10_000
    assert (Counted.taken, Counted.searched, CountedHeld.steps) == (110_000, 110_000, 0)


@pytest.mark.parametrize("size", [2, 1000])
def test_memory_is_about_twice_the_limit(size: int) -> None:
    """However small the pieces, memory stays about twice the limit (guarantee B6)."""
    limit = 2**16
    buffer = LineBuffer(limit)
    piece = b"x" * size
    tracemalloc.start()
    try:
        for _ in range(limit // size):
            feed(buffer, piece)
        feed(buffer, b"\n")
        assert tracemalloc.get_traced_memory()[1] < 2.3 * limit
    finally:
        tracemalloc.stop()


# --- An engine's lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"%%>watch:abc\0%%>watch:def\n", [b"%%>watch:abc", b"%%>watch:def"]),
        (b"%%>watch:ghi\0", [b"%%>watch:ghi"]),
        (b"%%>watch:jkl\0\n", [b"%%>watch:jkl"]),
        (b"%%>watch:mno\r\n", [b"%%>watch:mno"]),
        (b"%%>watch:pqr\r\r\n", [b"%%>watch:pqr\r"]),
        (b"\n\r\n\0\r\0\n", []),
        (b"%%>watch:stu\r\0\n", [b"%%>watch:stu"]),
        (b"%%>watch:v\rw\n", [b"%%>watch:v\rw"]),
        (b" \n\t\n", [b" ", b"\t"]),
        (b"no end", []),
    ],
)
def test_an_engines_lines(stream: bytes, lines: list[bytes]) -> None:
    """In the engine NUL ends a line as a line feed does; one CR before either is dropped."""
    for pieces in every_way_to_cut(stream):
        assert feed(EngineLineBuffer(), *pieces) == lines


@pytest.mark.parametrize("bufsize", [BUFSIZE_MIN, BUFSIZE_DEFAULT, BUFSIZE_MAX])
def test_the_longest_line_of_a_module(bufsize: int) -> None:
    """Two bytes less than the buffer are a line; one more overflows, with or without its end."""
    longest = b"x" * (bufsize - 2)
    for pieces in ([longest + b"\n"], [longest, b"\n"], [longest[:99], longest[99:] + b"\0"]):
        assert feed(EngineLineBuffer(bufsize), b"ab\n", *pieces, b"c\n") == [b"ab", longest, b"c"]
    for pieces in ([longest + b"x\n"], [longest, b"x"], [longest + b"x"], [longest, b"xyz\n"]):
        with pytest.raises(RemoteProtocolError, match=f"not fit bufsize {bufsize}"):
            feed(EngineLineBuffer(bufsize), *pieces)


def test_the_sizes_of_a_buffer() -> None:
    """The buffer has 8192 bytes, and may be made to have 2048 to 65536."""
    assert EngineLineBuffer().bufsize == BUFSIZE_DEFAULT == 8192
    assert (BUFSIZE_MIN, BUFSIZE_MAX) == (2048, 65536)


def test_any_number_of_lines_in_one_piece() -> None:
    """Only a single line is limited, not what comes at once."""
    lines = [b"%d %s" % (number, b"y" * 200) for number in range(100)]
    stream = b"\n".join(lines) + b"\n"
    assert len(stream) > 2 * BUFSIZE_DEFAULT
    for pieces in (
        [stream],
        [stream[:8191], stream[8191:]],
        list(cut(stream, range(0, 20_000, 7))),
    ):
        assert feed(EngineLineBuffer(), *pieces) == lines


def resized(stream: bytes, before: int, after: int) -> list[bytes]:
    """Feed a stream whose first line changes the size of the buffer, as `setlocal` does."""
    buffer = EngineLineBuffer(before)
    lines = []
    for line in buffer.feed(stream):
        lines.append(line)
        buffer.bufsize = after
    return lines


def test_a_grown_buffer_holds_for_the_next_line() -> None:
    """A line that fits only the grown buffer may come in the same write as what made it grow."""
    long = b"x" * (BUFSIZE_MAX - 2)
    assert resized(b"grow\n" + long + b"\n", BUFSIZE_MIN, BUFSIZE_MAX) == [b"grow", long]
    with pytest.raises(RemoteProtocolError, match="65535 bytes"):
        resized(b"grow\n" + long + b"x\n", BUFSIZE_MIN, BUFSIZE_MAX)


def test_shrinking_below_what_is_held_ends_the_connection() -> None:
    """A buffer that shrinks below the bytes it holds, the line itself included, is an error."""
    head = b"shrink\n"
    fits = b"x" * (BUFSIZE_MIN - 2 - len(head)) + b"\n"
    assert resized(head + fits, BUFSIZE_DEFAULT, BUFSIZE_MIN) == [b"shrink", fits[:-1]]
    with pytest.raises(RemoteProtocolError, match="shrunk to 2048 below 2048 bytes held"):
        resized(head + b"x" + fits, BUFSIZE_DEFAULT, BUFSIZE_MIN)


def test_shrinking_keeps_the_line_that_shrank() -> None:
    """The line that shrinks the buffer is handed out before the error comes."""
    lines = []
    buffer = EngineLineBuffer()
    with pytest.raises(RemoteProtocolError):
        for line in buffer.feed(b"a\n" + b"b" * 3000):
            lines.append(line)
            buffer.bufsize = BUFSIZE_MIN
    assert lines == [b"a"]


def test_the_engines_buffer_handles_each_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is linear in the engine's buffer too, for one large piece and for many small ones."""

    class CountedSearch:
        steps = 0
        found = module._LINE_END

        def search(self, held: bytearray, start: int = 0) -> object:
            end = self.found.search(held, start)
            self.steps += (end.end() if end else len(held)) - start
            return end

    for total in (2**12, 2**13):
        for stream in (b"y" * 60 + b"\n", b"y" * 2000 + b"\0"):
            monkeypatch.setattr(module, "_LINE_END", counted := CountedSearch())
            stream *= total // len(stream)
            Counted.taken = 0
            feed(EngineLineBuffer(BUFSIZE_MIN), Counted(stream))
            assert Counted.taken == len(stream)
            # Held back where a read ended within a line, at most once for each filled buffer.
            assert counted.steps <= 2 * len(stream)
            counted.steps = 0
            feed(EngineLineBuffer(BUFSIZE_MIN), *(stream[at : at + 1] for at in range(len(stream))))
            assert counted.steps == len(stream)


@pytest.mark.parametrize(("length", "unread"), [(2047, False), (2048, True)])
def test_the_engines_buffer_tells_what_it_left_in_the_socket(length: int, unread: bool) -> None:
    """The engine reads no more at a time than its buffer has room for."""
    buffer = EngineLineBuffer(BUFSIZE_MIN)
    with pytest.raises(RemoteProtocolError):
        list(buffer.feed(b"x" * length))
    assert buffer.unread is unread
