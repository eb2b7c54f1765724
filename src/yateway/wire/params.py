"""The parameters of a message as they stand on a line, each led by a colon: ":called=123:caller=7".

It must not judge a message. They stay one text until somebody asks for them: most handlers read two
of forty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..errors import LocalProtocolError, is_secret, shown
from .codec import Memo, escape, escape_name, unescape_from_engine

__all__ = ["decode_params", "encode_all", "encode_engine_params", "encode_params", "excess"]

#: What a message of an engine may have (guarantee F10); a line is bounded besides.
COUNT_LIMIT = 1024
NAME_LIMIT = 256
VALUE_LIMIT = 64 * 1024


# A module sets the same few parameters again and again: a tenth of an answer's time.
_HEADS: Memo[str] = Memo(lambda name: f":{escape_name(name)}=")

#: From so many parameters on they are encoded at once: fewer are faster one by one.
MANY = 5
_CONTROLS = bytes(range(0x20))


def encode_params(params: Iterable[tuple[str, str | None]]) -> str:
    """Return parameters as they stand on a module's line; the value None deletes.

    Raises:
        LocalProtocolError: a name or value cannot be sent; `field` names the parameter.
    """
    text = ""
    for name, value in params:
        try:
            head = _HEADS[name]
            if value is None:
                text += head[:-1]
            elif type(value) is str and value.isalnum():
                # As most are: seen here, it saves a call.
                text += head + value
            else:
                text += head + escape(value)
        except LocalProtocolError as error:
            if is_secret(name):
                text = f"the value of {shown(name)}, a secret, cannot be sent: has it a NUL?"
                raise LocalProtocolError(text, field=name) from None
            error.field = name
            raise
    return text


def encode_all(params: Mapping[str, str]) -> str:
    """Return all parameters of a message, to the letter as `encode_params` does.

    Many are encoded at once, 8 in three quarters of the time and 40 in a quarter. That needs names
    that were sent before, so that they are known to be fit, and no control character in any text:
    what has one is left to `encode_params`, and so is what cannot be sent.

    Raises:
        LocalProtocolError: as `encode_params`.
    """
    if len(params) >= MANY and _HEADS.keys() >= params.keys():
        # A line feed holds the place of the colon before each until all other colons are escaped.
        text = "\n" + "\n".join(map("=".join, params.items()))
        # To look for control characters by `isprintable` would take three times as long.
        data = text.encode("utf-8", "surrogatepass")
        if len(data) - len(data.translate(None, _CONTROLS)) == len(params):
            # Looking for one takes a tenth of the time of counting none, as `replace` does.
            if "%" in text:
                text = text.replace("%", "%%")
            if ":" in text:
                text = text.replace(":", "%z")
            return text.replace("\n", ":")
    return encode_params(params.items())


def encode_engine_params(params: Iterable[tuple[str, str]]) -> str:
    """Return parameters as the engine writes them: `=` in a name becomes `%}`."""
    return "".join(f":{escape(name).replace('=', '%}')}={escape(value)}" for name, value in params)


def excess(params: str) -> str:
    """Return what a message has too much of, empty if nothing (guarantee F10).

    Bounded are the parameters, 1,024, their names, 256, and values, 65,536 characters as they stand
    on the line.
    """
    # So many do not fit into less: with a value each takes three, and without one it is none.
    end = len(params)
    if end > 3 * COUNT_LIMIT and params.count(":") > COUNT_LIMIT:
        return f"more than {COUNT_LIMIT} parameters"
    # From colon to colon, always the farthest that a name may reach: what ends before it is short.
    # (A regular expression does it in a third of the time, but not on CPython 3.11.2, where its
    # possessive repeats let too much through.)
    place, farthest, reach = 0, params.rfind, NAME_LIMIT + 2
    while end - place >= reach:
        following = farthest(":", place, place + reach)
        if following == place:
            following = params.find(":", place + 1)
            following = end if following < 0 else following
            name, _, value = params[place + 1 : following].partition("=")
            if len(name) > NAME_LIMIT:
                return f"a name of more than {NAME_LIMIT} characters"
            if len(value) > VALUE_LIMIT:
                return f"a value of more than {VALUE_LIMIT} characters"
        place = following
    return ""


def decode_params(params: str) -> Iterator[tuple[str, str | None]]:
    """Yield the parameters of an engine's line in their order; a key without `=` has no value.

    Raises:
        RemoteProtocolError: a malformed escape.
    """
    for chunk in params.split(":"):
        if chunk:
            name, equals, value = chunk.partition("=")
            yield unescape_from_engine(name), unescape_from_engine(value) if equals else None
