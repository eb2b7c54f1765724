"""Where the embedded engine can be reached: TCP and UNIX sockets, on this machine only.

It must not know lines or modules. Whoever can open one of these sockets can do anything that a
module may do, and the protocol has no password: no address but loopback is accepted (F12).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigError, shown
from ..transport import Transport, is_loopback, wrap_sockets

__all__ = ["ROLES", "Accept", "Address", "Listener"]

#: What a listener may make of its connections; without one, each says it by `%%>connect:`.
#: The engine knows no other (engine.md part 1, "connect and roles").
ROLES = ("global", "channel")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens, and what becomes of those who connect.

    Attributes:
        name: the listener's, where it has one.
        kind: "tcp", "unix" or "memory".
        role: "global", "channel", or empty.

    Raises:
        ConfigError: the role is unknown, or the place cannot be listened on, for example because
            it can be reached from outside.
    """

    name: str
    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    role: str = ""

    def __post_init__(self) -> None:
        if self.role and self.role not in ROLES:
            raise ConfigError(
                f"role={shown(self.role)} is unknown: write role=global or role=channel, or leave"
                " it out where modules send %%>connect:"
            )
        if self.kind == "tcp" and not is_loopback(self.host):
            raise ConfigError(
                f"the address {shown(self.host)} could be reached from outside, and the protocol"
                " has no password: write 127.0.0.1 or ::1"
            )
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is none: write one from 1 to 65535")
        if self.kind == "unix" and not self.path.startswith("/"):
            raise ConfigError(f"path={shown(self.path)} is no absolute path of a UNIX socket")

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Return the address that a URL names.

        Args:
            url: `tcp://host:port` or `unix:///path`, both with an optional `?role=...&name=...`;
                port 0 takes a free one.

        Raises:
            ConfigError: it is none of these; see also the class.
        """
        remedy = (
            f"{shown(url)} is no address to listen on: give tcp://127.0.0.1:5678 or"
            " unix:///path/to/socket, with ?role=global where modules send no %%>connect:"
        )
        try:
            parts = urlsplit(url)
            port = parts.port
            query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            raise ConfigError(remedy) from None
        role, name = query.pop("role", ""), query.pop("name", "")
        if not query and not parts.fragment:
            if parts.scheme == "tcp" and parts.hostname and port is not None and not parts.path:
                host = parts.hostname
                return cls(name=name, kind="tcp", host=host, port=port, role=role)
            if parts.scheme == "unix" and not parts.netloc:
                return cls(name=name, kind="unix", path=parts.path, role=role)
        raise ConfigError(remedy)

    @property
    def url(self) -> str:
        """The address as modules connect to it."""
        if self.kind == "unix":
            return f"unix://{self.path}"
        return (
            f"tcp://[{self.host}]:{self.port}"
            if ":" in self.host
            else (f"tcp://{self.host}:{self.port}")
        )

    @property
    def title(self) -> str:
        """The listener's name, or else its place; the `debugname` of its connections."""
        return self.name or self.path or f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return kind, title and role as a recording notes them at a connect."""
        return f"{self.kind} {self.title}" + (f" (role={self.role})" if self.role else "")


Accept: TypeAlias = Callable[[Transport, Address], None]
"""Takes each new connection, and the address that it came in by."""


class Listener:
    """One listening socket.

    Args:
        address: where to listen. Once started, a port 0 has become the port taken, so that a
            restarted engine is found where it was.
        accept: takes the connections.
    """

    def __init__(self, address: Address, accept: Accept) -> None:
        self.address = address
        self._accept = accept
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: the address is in use or cannot be used.
        """
        address = self.address
        loop = asyncio.get_running_loop()
        factory = wrap_sockets(lambda: address.url, lambda t: self._accept(t, self.address))
        try:
            if address.kind == "unix":
                _remove_stale(address.path)
                self._server = await loop.create_unix_server(factory, address.path)
            else:
                # "localhost" may stand for two addresses, whose free ports would differ.
                host = "127.0.0.1" if address.host == "localhost" else address.host
                self._server = await loop.create_server(factory, host, address.port)
                port = self._server.sockets[0].getsockname()[1]
                self.address = replace(address, port=port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(f"cannot listen on {address.url!a}: {reason}") from None

    def close(self, *, remove: bool) -> None:
        """Stop listening.

        Args:
            remove: the socket's file too, which an engine that is killed leaves behind.
        """
        if self._server is not None:
            self._server.close()
            self._server = None
            if remove and self.address.kind == "unix":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.address.path)


def _remove_stale(path: str) -> None:
    """Remove the socket that an engine left behind which was killed.

    Raises:
        ConfigError: somebody listens there, or the file is no socket.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path!a} is a file, not a socket: give another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # so many wait to be accepted that there is no room for one more
    raise ConfigError(f"somebody listens on {path!a} already: give another path")
