"""The parameters of a message as they stand on a line, each led by a colon: ":called=123:caller=7".

It must not judge a message. They stay one text until somebody asks for them: most handlers read two
of forty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import LocalProtocolError, RemoteProtocolError
from .codec import escape, escape_name, unescape, unescape_name

__all__ = ["check_params", "decode_params", "encode_engine_params", "encode_params"]


def encode_params(params: Iterable[tuple[str, str | None]]) -> str:
    """Return parameters as they stand on a module's line; the value None deletes.

    Raises:
        LocalProtocolError: a name or value cannot be sent; `field` names the parameter.
    """
    parts: list[str] = []
    for name, value in params:
        try:
            parts.append(
                f":{escape_name(name)}"
                if value is None
                else f":{escape_name(name)}={escape(value)}"
            )
        except LocalProtocolError as error:
            error.field = name
            raise
    return "".join(parts)


def encode_engine_params(params: Iterable[tuple[str, str]]) -> str:
    """Return parameters as the engine writes them: `=` in a name becomes `%}`."""
    return "".join(f":{escape(name).replace('=', '%}')}={escape(value)}" for name, value in params)


def decode_params(params: str) -> Iterator[tuple[str, str | None]]:
    """Yield the parameters of an engine's line in their order; a key without `=` has no value.

    Raises:
        RemoteProtocolError: a malformed escape or a raw control character.
    """
    for chunk in params.split(":"):
        if chunk:
            name, equals, value = chunk.partition("=")
            yield unescape_name(name), unescape(value) if equals else None


def check_params(params: str, line: str) -> None:
    """Refuse parameters that `decode_params` could not read, in a fraction of its time."""
    quick = params.replace("%%", "").replace("%z", "") if "%" in params else params
    # isprintable() is false for control characters, but for much else too: it only opens the way
    # round the slow check, which most lines take (0.2 instead of 2 microseconds for 200 bytes).
    if "%" in quick or not quick.isprintable():
        try:
            for _ in decode_params(params):
                pass
        except RemoteProtocolError as error:
            raise RemoteProtocolError(str(error), line=line) from None
