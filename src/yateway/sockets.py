"""How a connection ends, for those who still read from it: by an end, or by an error.

It must not close anything: it says what the kernel is to say when somebody does. An engine that
reads an end lets go at once of what it asked a module; after an error it keeps it until its timeout
(measured: 0.01 against 9.7 s).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

__all__ = ["end_by_error", "end_in_order"]

_PIECE = 1024 * 1024


def end_in_order(sock: socket.socket) -> None:
    """Let the far end read an end; without this, closing while something is unread is an error."""
    unix = sock.family == socket.AF_UNIX
    # What asyncio hands out cannot be shut down everywhere, nor read from.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR if unix else socket.SHUT_WR)
        # TCP has said its end by now; a UNIX socket would still tell of what is unread.
        while unix and same.recv(_PIECE):
            pass


def end_by_error(sock: socket.socket) -> None:
    """Let the far end of a TCP connection read an error, when this end is closed."""
    if sock.family != socket.AF_UNIX:
        # Without time to linger the kernel sends a reset instead of an end.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
