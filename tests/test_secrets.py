"""A canary goes through every path that is logged, recorded or raised, and sings nowhere (F7)."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import re
from pathlib import Path

import pytest

from tests.calls import ivr
from tests.far import Far, opener_to
from yateway.call import Call
from yateway.cli.engine import recording_to
from yateway.engine import Engine, Recording
from yateway.engine.caller import Caller
from yateway.engine.ladder import ladder
from yateway.engine.recording import RecordingFile, hides_keys
from yateway.engine.tapping import tapped
from yateway.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    YatewayError,
    is_secret,
    masked,
    shown,
)
from yateway.log import told
from yateway.message import Message
from yateway.module import Module
from yateway.wire.frames import Request, encode
from yateway.wire.reading import from_engine

CANARY = "tweet-canary"

SECRET_NAMES = [
    "password", "Password", "sip_password", "oldpassword", "passwd", "secret", "client_secret",
    "SECRET", "token", "api.token", "auth", "auth.response", "authname", "authorization",
    "sip_authorization", "sip_proxy-authorization", "sip_Authentication-Info", "x-auth-key",
]  # fmt: skip
OPEN_NAMES = ["caller", "called", "username", "nonce", "realm", "pass", "oauthor", "coauthor", ""]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    line = f"%%>message:1:1:user.auth::caller=5:{name}={CANARY}:called=6"
    assert masked(line) == f"%%>message:1:1:user.auth::caller=5:{name}=***:called=6"


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)
    line = f":{name}=value:x="
    assert masked(line) == line


@pytest.mark.parametrize(
    ("line", "shows"),
    [
        (f"%%>message:1:1:user.auth:{CANARY}:a=b", "%%>message:1:1:user.auth:***:a=b"),
        (f"%%<message:1:true:user.auth:{CANARY}", "%%<message:1:true:user.auth:***"),
        ("%%<message:1:true:user.auth:", "%%<message:1:true:user.auth:"),
        (f"Error in: %%>message:1:1:user.auth:{CANARY}", "Error in: %%>message:1:1:user.auth:***"),
        (f":token={CANARY}", ":token=***"),
        (":token=:a=1", ":token=:a=1"),
        (":token", ":token"),
        (f"%%>message:1:1:a::password={CANARY}=%z=:b=1", "%%>message:1:1:a::password=***:b=1"),
    ],
)
def test_lines_without_secrets(line: str, shows: str) -> None:
    assert masked(line) == shows
    assert shown(line) == repr(shows)


@pytest.mark.parametrize("length", range(30, 90))
def test_a_secret_that_is_cut_is_masked_too(length: int) -> None:
    """Wherever the cut falls, nothing of the value stays."""
    line = f"%%>message:1:1:x::{'a' * (length - 30)}=b:password={CANARY * 5}"
    assert "tw" not in shown(line)


# Through a module


async def mishap(module: Module, far: Far) -> None:
    """Let go wrong what can go wrong with a message that holds the canary."""
    params = f"password={CANARY}:token={CANARY}:auth.x={CANARY}:secret={CANARY}"
    ids = itertools.count(1)

    def ask(name: str, more: str = "", retvalue: str = "") -> None:
        far.say(f"%%>message:{next(ids)}:1:{name}:{retvalue}:{params}{more}")

    for name in ("t.raise", "t.repr", "t.unsendable", "t.hang", "t.verdict", "user.auth"):
        ask(name)
    # Lines that cannot be read: a bad escape in a value, a name, the return value; NUL; no time.
    ask("t.x", ":a=%!")
    ask("t.x", f":password={CANARY}%!")
    ask("user.auth", retvalue=f"{CANARY}%!")
    ask("t.x", f":password={CANARY}\0")
    far.say(f"%%>message:90:soon:t.x::{params}", f"%%<message::maybe:t.x::{params}")
    far.say(f"%%<message::true:user.auth:{CANARY}%!:x=y")
    # A second request of an id that is open, and one without an id.
    far.say(f"%%>message:4:1:t.x::{params}", f"%%>message::1:t.x::{params}")
    # Nobody waits for these.
    far.say(f"%%<message:99:true:t.x::{params}", f"%%<message:99:true:user.auth:{CANARY}")
    far.say(f"Error in: %%>message:99:1:t.x::{params}", f"nonsense:{params}")
    # Watchers.
    far.say(f"%%<message::true:t.watched::{params}", f"%%<message::true:user.auth:{CANARY}")
    await asyncio.sleep(3)


def clumsy() -> Module:
    """Return a module that fails in every way, with the canary in its hands."""
    module = Module("clumsy")

    @module.handler("t.raise")
    def fail(message: Message) -> None:
        raise ValueError(f"no such user: {message['password']}")

    @module.handler("t.repr")
    async def fail_later(message: Message) -> None:
        await asyncio.sleep(0)
        try:
            raise KeyError(message["token"])
        except KeyError as error:
            raise ValueError(f"{message!r} {dict(message)!r} {message['secret'] * 20}") from error

    @module.handler("t.unsendable")
    def answer_what_cannot_be_sent(message: Message) -> bool:
        message["password"] = f"{CANARY}\0"
        return True

    @module.handler("t.hang")
    async def hang(message: Message) -> None:
        await asyncio.sleep(100)

    @module.handler("t.verdict")
    def verdict(message: Message) -> str:
        return [message["password"]]  # type: ignore[return-value]

    @module.handler("user.auth")
    def authenticate(message: Message) -> str:
        return f"{CANARY}\0"

    @module.watcher("t.watched")
    def watch(message: Message) -> None:
        raise ValueError(message["password"])

    @module.watcher("")
    async def watch_all(message: Message) -> None:
        raise ValueError(f"{message.retvalue} {message.get('password')}")

    return module


async def test_no_log_line_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, with tracebacks, and each of these mishaps did leave its line."""
    module, far = clumsy(), Far()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log = logging.getLogger()
    log.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            accepted = asyncio.create_task(far.accept())
            await module.attach(opener_to(far))
            await accepted
            await mishap(module, far)
            far.close()
            await module.detach()
    finally:
        log.removeHandler(handler)
    text = stream.getvalue()
    assert "canary" not in text
    for part in (
        "fail (test_secrets.py",
        "fail_later",
        "answer_what_cannot_be_sent",
        "hang",
        "verdict",
        "authenticate",
        "watcher",
        "withheld: it holds a secret",
        "malformed escape",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    "line",
    [
        f"%%>message:1:1:user.auth:{CANARY}%!:a=b",
        f"%%>message:1:1:x::password={CANARY}%!",
        f"%%>message:1:1:x::password={CANARY}\0",
        f"%%>message:1:x:x::token={CANARY}",
        f"%%<message:1:x:user.auth:{CANARY}",
    ],
)
def test_no_error_about_a_line_holds_a_secret(line: str) -> None:
    """Its text, that is; the line itself is an attribute for programs."""
    with pytest.raises(RemoteProtocolError) as caught:
        from_engine(line)
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(caught.value)


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
def test_no_error_about_a_message_holds_a_secret(bad: str) -> None:
    """Whoever sends it is told which parameter it is."""
    with pytest.raises(LocalProtocolError) as caught:
        encode(Message("t.x", password=f"{CANARY}{bad}").to_request())
    assert "canary" not in str(caught.value)
    with pytest.raises(LocalProtocolError) as caught:
        encode(Request("1", 1, "user.auth", f"{CANARY}{bad}"))
    assert "canary" not in str(caught.value)


def test_errors_without_the_secret_are_told() -> None:
    """Nothing is withheld for the sake of words that are in every text, or of nothing."""
    message = Message("t.x", password="", auth="true", token="longer")
    assert message.secrets() == {"longer"}
    assert told(ValueError("it is true"), message.secrets()) == "ValueError('it is true')"
    assert told(ValueError("no longer"), message.secrets()) == (
        "ValueError(withheld: it holds a secret)"
    )


def test_secrets_of_a_message() -> None:
    """Those that came, those that were set, and what user.auth returns."""
    came = Message.received("1", 1, "user.auth", "old", ":password=a%zb:x=y")
    came["token"] = "c"
    came.retvalue = "new"
    came.name = "renamed"
    assert came.secrets() == {"a:b", "c", "old", "new"}
    assert Message("t.x", password="mine").secrets() == {"mine"}


# Recordings


def lines_of(recording: Recording) -> list[str]:
    return [entry.line for entry in recording.entries if not entry.event]


async def test_recordings_keep_no_secrets() -> None:
    """Neither side's: the answer to user.auth does not say what it answers (F7)."""
    ours, theirs = Recording(), Recording()
    module = Module("auth")

    @module.handler("user.auth")
    async def authenticate(message: Message) -> str:
        answer = await module.dispatch("t.x", password=CANARY, x="1")
        assert answer["password"] == CANARY
        return CANARY

    async with Engine(record=theirs) as engine:
        await module.attach(tapped(engine.open, ours))
        asked = await engine.dispatch("user.auth", username="u", auth_x=CANARY)
        assert asked.retvalue == CANARY
        await module.detach()
    for recording in (ours, theirs):
        text = "\n".join(lines_of(recording))
        assert "canary" not in text
        assert text.count(":***") == 1
        assert text.count("=***") == 3
        assert "canary" not in ladder(recording)


def test_a_request_of_user_auth_is_remembered_until_its_answer() -> None:
    """By connection: another's answer of that id is none, nor is one after a reconnect."""
    recording = Recording()
    asyncio.run(_record(recording))
    assert lines_of(recording) == [
        "%%>message:7:1:user.auth::x=y",
        "%%<message:7:true::kept",
        "%%<message:7:true::***:x=y",
        "%%<message:7:true::kept",
        "%%>message:8:1:user.auth:***",
        "%%<message:8:true::kept",
    ]


async def _record(recording: Recording) -> None:
    a, b = recording.tap("a"), recording.tap("b")
    a("E", b"%%>message:7:1:user.auth::x=y")
    b("A", b"%%<message:7:true::kept")
    a("A", b"%%<message:7:true::hidden:x=y")
    a("A", b"%%<message:7:true::kept")
    a("E", b"%%>message:8:1:user.auth:hidden")
    a("E", event="closed")
    a("A", b"%%<message:8:true::kept")
    assert recording._asked == {}


@pytest.mark.parametrize("secrets", [False, True])
async def test_a_file_keeps_them_only_if_asked(secrets: bool, tmp_path: Path) -> None:
    """`--record-secrets` is for whoever has to replay a log-in."""
    path = tmp_path / "session.jsonl"
    with recording_to(str(path), secrets) as recording:
        assert recording is not None
        recording.add("m1", "E", f"%%>message:1:1:x::password={CANARY}".encode())
    assert ("canary" in path.read_text()) is secrets


KEYED = [
    ("E", "%%>message:0x1.1:1:chan.dtmf::id=sip/1:text={}:detected=sip-info"),
    ("A", "%%<message:0x1.1:false::text={}:x=y"),
    ("E", "%%<message::false:chan.dtmf::id=sip/1:text={}"),
    ("E", "%%<message::true:chan.notify::targetid=x:event=dtmf:text={}"),
    ("A", "%%>message:1:1:chan.masquerade::id=dumb/1:message=chan.dtmf:text={}"),
    ("E", "%%<message:1:true:chan.dtmf::id=dumb/1:text={}"),
    ("A", "%%>message::1:chan.dtmf::id=dumb/1:text={}"),
    # No keys.
    ("E", "%%<message::true:chan.text::id=sip/1:text=hello"),
    ("E", "%%<message::true:chan.notify::event=joined:text=hello"),
    ("E", "%%>message:0x1.2:1:chan.notify:x:event=dtmfs:text=hello"),
    ("E", "%%>message:0x1.3:1:chan.dtmfs:x:text=hello"),
    ("A", "%%<message:0x1.3:true::text=hello"),
]


@pytest.mark.parametrize("secrets", [False, True])
async def test_a_file_keeps_no_keys_unless_asked(secrets: bool, tmp_path: Path) -> None:
    """Whether they are a PIN the wire does not tell; in memory they are the tests' own."""
    path = tmp_path / "session.jsonl"
    inside = Recording()
    with recording_to(str(path), secrets) as recording:
        assert recording is not None
        for direction, line in KEYED:
            for one in (recording, inside):
                one.add("m1", direction, line.format("1234").encode())
    expected = [line.format("1234" if secrets else "***") for _, line in KEYED]
    kept = Recording.from_file(path)
    assert lines_of(kept) == expected
    assert lines_of(inside) == [line.format("1234") for _, line in KEYED]
    assert [hides_keys(entry) for entry in kept.entries].count(True) == (0 if secrets else 6)


async def test_keys_may_be_left_out_without_the_rest() -> None:
    recording = Recording(secrets=True, keys=False)
    recording.add("m1", "E", b"%%>message:1:1:user.auth::password=pass")
    recording.add("m1", "A", b"%%<message:1:true::pass")
    recording.add("m1", "E", b"%%>message:2:1:chan.dtmf::text=1:password=pass")
    assert lines_of(recording) == [
        "%%>message:1:1:user.auth::password=pass",
        "%%<message:1:true::pass",
        "%%>message:2:1:chan.dtmf::text=***:password=pass",
    ]


async def test_a_pin_is_in_no_file(tmp_path: Path) -> None:
    """Neither of the module's side, nor of the engine's; and what is left can be read and drawn."""
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"

    async def code(call: Call) -> None:
        await call.answer()
        assert (await call.collect(4, secret=True)).text == "1379"
        assert await call.send_dtmf("1379")
        await call.conference("room")
        assert await call.key() == "7"
        await call.hangup()

    with recording_to(str(ours), False) as mine, recording_to(str(theirs), False) as its:
        assert mine is not None
        async with Engine(record=its) as engine:
            module = ivr(tmp_path, code)
            await module.attach(tapped(engine.open, mine))
            caller = Caller(engine, "1001")
            await caller.dial("100")
            await caller.answered()
            for key in "1379":
                caller.press(key)
            await caller.gets_digits("1379")
            await caller.hears("room")
            caller.press("7")
            await caller.hung_up()
            await module.detach()
    for path in (ours, theirs):
        texts = re.findall(r"[^ ]text=[^:\"]*", path.read_text())
        assert len(texts) > 6
        assert set(texts) == {":text=***"}
        assert "text=***" in ladder(Recording.from_file(path))


async def test_a_recording_file_ends_at_its_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is on the other side cannot fill the disk (F13)."""
    file = io.StringIO()
    recording = RecordingFile(file, limit=1000)
    for _ in range(1000):
        recording.add("m1", "E", b"x" * 100)
    assert 1000 <= len(file.getvalue()) < 1400
    last = file.getvalue().splitlines()[-1]
    assert "the limit is reached" in last
    assert caplog.text.count("reached its limit") == 1
    assert recording.entries == []


def test_every_error_of_ours_can_be_shown() -> None:
    """An exception of the package has its text in one line."""
    assert str(YatewayError(shown("a\n:token=x"))) == r"'a\n:token=***'"
