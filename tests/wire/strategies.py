"""What hypothesis draws for the tests of the wire: texts that hurt, and frames made of them.

`YATEWAY_EXAMPLES=2000 make suite` draws so many examples for each property instead of hypothesis'
own number.
"""

from __future__ import annotations

import os
from itertools import chain, product

from hypothesis import settings
from hypothesis import strategies as st

from yateway.wire.codec import INT_MAX, UINT_MAX
from yateway.wire.frames import (
    ROLES,
    Answer,
    Connect,
    Debug,
    EngineFrame,
    ErrorIn,
    Install,
    Installed,
    ModuleFrame,
    Output,
    Quit,
    QuitDone,
    Request,
    SetLocal,
    SetLocalDone,
    Uninstall,
    Uninstalled,
    Unwatch,
    Unwatched,
    Watch,
    Watched,
)
from yateway.wire.params import encode_engine_params, encode_params

if "YATEWAY_EXAMPLES" in os.environ:
    settings.register_profile(
        "thorough", deadline=None, max_examples=int(os.environ["YATEWAY_EXAMPLES"])
    )
    settings.load_profile("thorough")

#: What has a meaning somewhere on the wire, and its neighbours. The last two are bytes that are
#: never part of UTF-8, so that no row of them reads as another character.
PITFALLS = "\r\n\t\x01\x1f\x7f:%=}@A_`za0 ,é\x85\u2028\U0001f600\udcfe\udcff"


def short_texts(alphabet: str, length: int) -> list[str]:
    """Return every text of up to so many of these characters."""
    lengths = (product(alphabet, repeat=n) for n in range(length + 1))
    return ["".join(characters) for characters in chain(*lengths)]


#: Any text that can come from bytes, NUL included.
any_texts = st.text(
    st.sampled_from(PITFALLS + "\0") | st.characters(exclude_categories=["Cs"]), max_size=12
)
#: Any text that can go over the wire when it is escaped.
texts = any_texts.map(lambda text: text.replace("\0", ""))
#: Text that needs no escape anywhere.
words = texts.map(lambda text: "".join(c for c in text if c >= " " and c not in ":%="))
#: What a user may try to send in any field: half of it is fit to be sent.
fields = words | any_texts

flags = st.booleans()
priorities = st.integers(1 - INT_MAX, INT_MAX - 1)
times = st.integers(0, UINT_MAX)
ids = words.filter(bool)

#: Parameters as a module may send them, and as an engine may.
names = texts.filter(bool)
module_params = st.lists(
    st.tuples(names.map(lambda name: name.replace("=", "_")), texts | st.none()), max_size=4
)
engine_params = st.lists(st.tuples(names, texts), max_size=4)
module_lines = module_params.map(encode_params)
engine_lines = engine_params.map(encode_engine_params)

#: Every kind of frame, with anything at all in its texts.
MODULE_FRAMES: dict[type[ModuleFrame], st.SearchStrategy[ModuleFrame]] = {
    Connect: st.builds(Connect, st.sampled_from(ROLES) | fields, fields, fields),
    Install: st.builds(Install, fields, priorities, fields, fields),
    Uninstall: st.builds(Uninstall, fields),
    Watch: st.builds(Watch, fields),
    Unwatch: st.builds(Unwatch, fields),
    SetLocal: st.builds(SetLocal, fields, fields),
    Output: st.builds(Output, fields),
    Debug: st.builds(Debug, st.integers(1, 10), fields),
    Quit: st.just(Quit()),
    Request: st.builds(Request, fields, times, fields, fields, module_lines),
    Answer: st.builds(Answer, fields, flags, fields, fields, module_lines)
    # Of a named tuple, `builds` would make up the fields that have defaults as well.
    | st.tuples(fields, flags).map(lambda drawn: Answer(*drawn)),
}
ENGINE_FRAMES: dict[type[EngineFrame], st.SearchStrategy[EngineFrame]] = {
    Installed: st.builds(Installed, priorities, fields, flags),
    Uninstalled: st.builds(Uninstalled, priorities, fields, flags),
    Watched: st.builds(Watched, fields, flags),
    Unwatched: st.builds(Unwatched, fields, flags),
    # The name of a setting ends at its first colon, so that an engine never has one to send.
    SetLocalDone: st.builds(SetLocalDone, words, fields, flags),
    QuitDone: st.just(QuitDone()),
    ErrorIn: st.builds(ErrorIn, fields),
    Request: st.builds(Request, fields, times, fields, fields, engine_lines),
    Answer: st.builds(Answer, fields, flags, fields, fields, engine_lines),
}
