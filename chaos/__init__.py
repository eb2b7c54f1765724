"""Faults on purpose, and what must hold all the same: `make chaos`, `make soak`.

A scenario writes a history (`history.py`), pure functions find in it what breaks a promise, and
`python -m chaos` runs the scenarios and prints what was reached. Those on the real engine run when
YATEWAY_YATE names one. `tests/test_chaos.py` runs a little of each, and tries the checkers on
histories that break a promise.
"""
