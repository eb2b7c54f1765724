"""Where an engine may listen."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from yateway.engine.listeners import Address, Listener
from yateway.errors import ConfigError
from yateway.transport import Transport, open_tcp, open_unix


def ignore(transport: Transport, address: Address) -> None:
    """Accept a connection and forget it."""
    transport.abort()


@pytest.mark.parametrize(
    ("url", "address", "text"),
    [
        ("tcp://127.0.0.1:5678", Address("", "tcp", "127.0.0.1", 5678), "tcp 127.0.0.1:5678"),
        ("tcp://[::1]:0", Address("", "tcp", "::1", 0), "tcp ::1:0"),
        ("tcp://localhost:1", Address("", "tcp", "localhost", 1), "tcp localhost:1"),
        (
            "tcp://127.9.8.7:1?role=global&name=t1",
            Address("t1", "tcp", "127.9.8.7", 1, role="global"),
            "tcp t1 (role=global)",
        ),
        ("unix:///a/b?role=channel", Address("", "unix", path="/a/b", role="channel"), None),
    ],
)
def test_a_url_names_an_address(url: str, address: Address, text: str | None) -> None:
    """And the address gives the URL back, without what only the engine needs to know."""
    assert Address.from_url(url) == address
    assert address.url == url.partition("?")[0]
    assert str(address) == (text or "unix /a/b (role=channel)")


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:5678", "tcp://127.0.0.1", "tcp://:1", "tcp://127.0.0.1:x", "stdio:"),
        *("tcp://127.0.0.1:1/path", "tcp://127.0.0.1:99999", "unix://host/path", "tcp://[::1:1"),
        *("tcp://127.0.0.1:1?color=red", "tcp://127.0.0.1:1?role", "tcp://127.0.0.1:1#x"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """With an example of one."""
    with pytest.raises(ConfigError, match="give tcp://"):
        Address.from_url(url)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.0.1", "example.com", "[::2]"])  # noqa: S104
def test_only_this_machine_is_let_in(host: str) -> None:
    """The protocol has no password."""
    with pytest.raises(ConfigError, match="no password"):
        Address.from_url(f"tcp://{host}:5678")


@pytest.mark.parametrize("query", ["role=play", "role=GLOBAL"])
def test_unknown_roles_are_refused(query: str) -> None:
    """Case counts."""
    with pytest.raises(ConfigError, match="role=global or role=channel"):
        Address.from_url(f"tcp://127.0.0.1:1?{query}")


def test_a_unix_socket_needs_an_absolute_path() -> None:
    """Where it would lie must not depend on where the engine was started."""
    with pytest.raises(ConfigError, match="absolute"):
        Address(name="", kind="unix", path="relative")


@pytest.mark.real_clock
async def test_a_free_port_is_kept() -> None:
    """Whoever restarts is found where he was."""
    listener = Listener(Address.from_url("tcp://localhost:0"), ignore)
    await listener.start()
    port = listener.address.port
    assert port
    await (await open_tcp("127.0.0.1", port)).close()
    listener.close(remove=True)
    await listener.start()
    assert listener.address.port == port
    listener.close(remove=True)
    listener.close(remove=True)


@pytest.mark.real_clock
async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """An engine that was killed leaves one behind; one that stops does not."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    listener = Listener(Address.from_url(f"unix://{path}"), ignore)
    await listener.start()
    await (await open_unix(str(path))).close()
    os.unlink(path)
    listener.close(remove=True)
    assert not path.exists()


@pytest.mark.real_clock
async def test_other_files_are_not_touched(tmp_path: Path) -> None:
    """Nor is a socket on which somebody listens, however busy he is."""
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        await Listener(Address.from_url(f"unix://{path}"), ignore).start()
    assert path.read_text() == "precious"
    busy = tmp_path / "busy"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(busy))
        server.listen(0)
        for _ in range(2):
            # The first time there is room for one more, then there is none.
            with pytest.raises(ConfigError, match="listens on"):
                await Listener(Address.from_url(f"unix://{busy}"), ignore).start()


@pytest.mark.real_clock
async def test_an_address_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ConfigError, match=r"cannot listen on .*No such file"):
        await Listener(Address.from_url(f"unix://{tmp_path}/no/s"), ignore).start()
