"""What any bytes must not do: one file for each target, its invariant at the top.

A target is a module with `check(data)`, which raises on a violation, `SEEDS` to begin from, and
`inputs`, a hypothesis strategy of bytes that come near to sense. `make fuzz` drives `check` with
atheris, which looks for input that reaches new code, and then with hypothesis; `tests/test_fuzz.py`
tries each a little on every change, and all that was ever found again.
"""

from __future__ import annotations

TARGETS = ("buffer", "codec", "frames", "reading", "connection", "module", "session", "engine")
