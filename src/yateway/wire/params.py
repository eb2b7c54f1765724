"""The parameters of a message as they stand on a line, each led by a colon: ":called=123:caller=7".

It must not judge a message. They stay one text until somebody asks for them: most handlers read two
of forty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from ..errors import LocalProtocolError, is_secret, shown
from .codec import escape, escape_name, unescape_from_engine

__all__ = ["decode_params", "encode_engine_params", "encode_params"]


# A module sets the same few parameters again and again: a tenth of an answer's time.
_escaped_name = lru_cache(maxsize=1024)(escape_name)


def encode_params(params: Iterable[tuple[str, str | None]]) -> str:
    """Return parameters as they stand on a module's line; the value None deletes.

    Raises:
        LocalProtocolError: a name or value cannot be sent; `field` names the parameter.
    """
    parts: list[str] = []
    for name, value in params:
        try:
            parts.append(
                f":{_escaped_name(name)}"
                if value is None
                else f":{_escaped_name(name)}={escape(value)}"
            )
        except LocalProtocolError as error:
            if is_secret(name):
                text = (
                    f"the value of {shown(name)}, a secret, cannot be sent: is there a NUL in it?"
                )
                raise LocalProtocolError(text, field=name) from None
            error.field = name
            raise
    return "".join(parts)


def encode_engine_params(params: Iterable[tuple[str, str]]) -> str:
    """Return parameters as the engine writes them: `=` in a name becomes `%}`."""
    return "".join(f":{escape(name).replace('=', '%}')}={escape(value)}" for name, value in params)


def decode_params(params: str) -> Iterator[tuple[str, str | None]]:
    """Yield the parameters of an engine's line in their order; a key without `=` has no value.

    Raises:
        RemoteProtocolError: a malformed escape.
    """
    for chunk in params.split(":"):
        if chunk:
            name, equals, value = chunk.partition("=")
            yield unescape_from_engine(name), unescape_from_engine(value) if equals else None
