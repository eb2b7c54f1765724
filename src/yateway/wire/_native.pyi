from collections.abc import Callable
from typing import TypeVar

_R = TypeVar("_R")
_A = TypeVar("_A")

def read_message(
    line: str,
    request: Callable[[str, int, str, str, str], _R],
    answer: Callable[[str, bool, str, str, str], _A],
    /,
) -> _R | _A | None: ...
def cut(params: str, needle: str, /) -> str | None: ...
