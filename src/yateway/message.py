"""Message: what users read and write.

It must not know links or calls. A message is an ordered mapping of parameter names to texts, plus
`name`, `retvalue`, `time` and `processed`. One that came from the wire finds a parameter in the raw
line when it is asked for, builds no dictionary until it has to, and remembers what was changed, so
that an answer carries only that (design: "answers carry only changes").
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from .errors import LocalProtocolError, is_secret, shown
from .wire.codec import Memo, escape, unescape_from_engine
from .wire.frames import Answer, Request
from .wire.native import cut
from .wire.params import decode_params, encode_all, encode_params

__all__ = ["Message", "Value"]

Value: TypeAlias = str | bool | int | float
"""What may be given as a parameter's value; a boolean becomes Yate's `true` or `false`."""


_T = TypeVar("_T")
_new = object.__new__


def as_text(name: object, value: object) -> str:
    """Return a parameter's value as the text that is sent.

    Raises:
        TypeError: it is none of str, bool, int and float, or the name is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a parameter cannot be {type(name).__name__}: give a text")
    if isinstance(value, str):
        # A member of an enumeration of texts becomes the text that it is.
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    raise TypeError(
        f"parameter {shown(name)} cannot be {type(value).__name__}: give str, bool, int or float,"
        " or delete it"
    )


def _needle(name: str) -> str | None:
    """Return what to look for in a raw line to find a parameter, None when escapes may differ."""
    if not name or "=" in name or not name.isprintable() or escape(name) != name:
        return None
    # No f-string: it would show a member of an enumeration by its name, and cache that as the text.
    return ":" + name + "="


_NEEDLES: Memo[str | None] = Memo(_needle)


class Answerer(Protocol):
    """Who takes the early answer of a message: whoever serves the request."""

    async def answer_message(self, message: Message, processed: bool) -> None: ...


class Message(MutableMapping[str, str]):
    """A message of the engine.

    Args:
        name: what it is, for example "call.route".
        params: its parameters, in order; for names that are no Python identifier ("callto.1").
        retvalue: its return value.
        time: when it was made, in seconds since the epoch; now if not given.
        more: further parameters.

    Attributes:
        id: of the request or answer on the wire; empty for a message of our own.
        name: may be changed by a handler: later handlers are then looked up by the new name.
        retvalue: the return value, for call.route the route.
        time: seconds since the epoch, as the sender says.
        processed: of an answer or a notification, whether a handler processed the message.
        answerer: who takes the early answer, set by whoever serves the request.

    Where the engine sent several parameters of one name, the mapping shows the first, as the
    engine's own code does; `getall` returns them all. Assigning sets, `del` deletes; both are part
    of an answer. Messages compare and hash by identity.
    """

    __slots__ = (
        "_changes",
        "_params",
        "_raw",
        "_saved",
        "_sent_name",
        "_sent_retvalue",
        "answerer",
        "id",
        "name",
        "processed",
        "retvalue",
        "time",
    )

    def __init__(
        self,
        name: str,
        params: Mapping[str, Value] | None = None,
        /,
        *,
        retvalue: str = "",
        time: int | None = None,
        **more: Value,
    ) -> None:
        self.name = self._sent_name = name
        self.retvalue = self._sent_retvalue = retvalue
        self.time = int(clock.time()) if time is None else time
        self.processed = False
        self.id = ""
        self.answerer: Answerer | None = None
        self._raw = ""
        given: dict[str, Any] = {**params, **more} if params else more
        for key, value in given.items():
            if type(value) is not str:
                given[key] = as_text(key, value)
        self._params: dict[str, str] | None = given
        self._changes: dict[str, str | None] = {}
        self._saved: tuple[str, str, dict[str, str | None]] | None = None

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Message {shown(self.name)} processed={self.processed} of {self.time}>"

    # From and to the wire

    @classmethod
    def received(cls, id: str, second: int, name: str, retvalue: str, params: str) -> Message:
        """Return the message that a line of the engine carries; its parameters are read lazily.

        Args:
            second: what stands behind the id: of a request its time, of an answer or notification
                whether it was processed.
        """
        self = _new(cls)
        self.id = id
        self.name = self._sent_name = name
        self.retvalue = self._sent_retvalue = retvalue
        self._raw = params
        if type(second) is bool:
            self.time, self.processed = 0, second
        else:
            self.time, self.processed = second, False
        self.answerer = self._params = self._saved = None
        self._changes = {}
        return self

    @classmethod
    def sent(cls, name: str, given: dict[str, Any]) -> Message:
        """Return a message of our own; None leaves a parameter out.

        What is given may become the message's own dictionary, so that it is gone over once.

        Raises:
            TypeError: as `as_text`.
        """
        for value in given.values():
            if type(value) is not str:
                given = {key: as_text(key, v) for key, v in given.items() if v is not None}
                break
        self = cls(name)
        self._params = given
        return self

    @property
    def size(self) -> int:
        """How many characters of parameters came with it."""
        return len(self._raw)

    def to_answer(self, processed: bool) -> Answer:
        """Return the answer to this request: nothing but what was changed since it came.

        Raises:
            LocalProtocolError: a changed parameter cannot be sent; `field` names it.
        """
        return Answer(self.id, processed, *self.news())

    def news(self) -> tuple[str, str | None, str]:
        """Return what an answer to this request says: name, return value and parameters.

        Raises:
            LocalProtocolError: as `to_answer`.
        """
        name = "" if self.name == self._sent_name else self.name
        if not name and not self._changes and self.retvalue == self._sent_retvalue:
            return "", None, ""
        return name, self.retvalue, encode_params(self._changes.items())

    def to_params(self) -> str:
        """Return all parameters as they stand on a module's line.

        Raises:
            LocalProtocolError: a parameter cannot be sent; `field` names it.
        """
        # The mapping's own `items` would look each name up again.
        return encode_all(self._all())

    def to_request(self) -> Request:
        """Return the line that sends this message without waiting for an answer: with no id.

        Raises:
            LocalProtocolError: as `to_params`.
        """
        return Request("", self.time, self.name, self.retvalue, self.to_params())

    def checkpoint(self) -> None:
        """Remember what was changed so far, for `rollback`."""
        self._saved = (self.name, self.retvalue, dict(self._changes))

    def rollback(self) -> None:
        """Undo what was changed since the last `checkpoint`, or since the request came."""
        saved = self._saved or (self._sent_name, self._sent_retvalue, {})
        self.name, self.retvalue, changes = saved
        self._changes = dict(changes)
        self._params = None

    async def answer(
        self, processed: bool = True, *, retvalue: str | None = None, **params: Value
    ) -> None:
        """Answer now and go on working: the engine's thread is free from here on.

        Args:
            processed: whether the message is dealt with.
            retvalue: the return value, if it is to be changed.
            params: parameters to set before.

        Raises:
            LocalProtocolError: this message is no open request: it was answered already, its
                deadline has passed, or it was not received by a handler.
        """
        if self.answerer is None:
            raise LocalProtocolError(f"{shown(self.name)} is not a request that can be answered")
        if retvalue is not None:
            self.retvalue = retvalue
        for key, value in params.items():
            self[key] = value
        await self.answerer.answer_message(self, processed)

    def secrets(self) -> set[str]:
        """Return the texts in it that no log may show: of `password` and the like (F7)."""
        # Of a name that came repeatedly the mapping shows one value.
        pairs = (*self.items(), *decode_params(self._raw))
        found = {value for name, value in pairs if value is not None and is_secret(name)}
        if "user.auth" in (self.name, self._sent_name):
            # What authenticates a user returns the password.
            found |= {text for text in (self.retvalue, self._sent_retvalue) if type(text) is str}
        return found - {"", "true", "false"}

    # The mapping

    @overload
    def get(self, key: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, key: str, default: str, /) -> str: ...
    @overload
    def get(self, key: str, default: _T, /) -> str | _T: ...
    def get(self, key: str, default: object = None, /) -> object:
        """Return a parameter's value, or the default where there is no such parameter."""
        if self._params is not None:
            return self._params.get(key, default)
        if self._changes and key in self._changes:
            value = self._changes[key]
            return default if value is None else value
        # The parameter is cut out of the line: the first of eight costs a third of a microsecond,
        # against three for a dictionary of them all, and twenty where there are forty.
        needle = _NEEDLES[key]
        if needle is None:
            return self._all().get(key, default)
        value = cut(self._raw, needle)
        if value is None:
            return default
        return unescape_from_engine(value) if "%" in value else value

    def __getitem__(self, key: str) -> str:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Value) -> None:
        text = value if type(value) is str and type(key) is str else as_text(key, value)
        if self._params is not None:
            self._params[key] = text
        self._changes[key] = text

    def __delitem__(self, key: str) -> None:
        if self.get(key) is None:
            raise KeyError(key)
        if self._params is not None:
            del self._params[key]
        self._changes[key] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def getall(self, key: str) -> list[str]:
        """Return every value of a parameter, in order; the engine may send a name repeatedly."""
        if self._raw and key not in self._changes:
            return [v for k, v in decode_params(self._raw) if k == key and v is not None]
        value = self.get(key)
        return [] if value is None else [value]

    def _all(self) -> dict[str, str]:
        if self._params is None:
            params: dict[str, str] = {}
            for key, value in decode_params(self._raw):
                if value is not None:
                    params.setdefault(key, value)
            for key, value in self._changes.items():
                if value is None:
                    params.pop(key, None)
                else:
                    params[key] = value
            self._params = params
        return self._params
