"""One real engine that takes SIP calls for all tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sipp import Exchange, sip_exchange

#: A rule that brings calls to 101 to us without asking the module.
REGEXROUTE_CONF = """\
[default]
^101$=dumb/;yateway=ivr;call=it;rule=yes
"""

SECOND = b"\x00\x10" * 8000


@pytest.fixture(scope="package")
def running() -> Iterator[Exchange]:
    """Return a running engine."""
    with asyncio.Runner() as runner:
        block = sip_exchange({"regexroute.conf": REGEXROUTE_CONF})
        exchange = runner.run(block.__aenter__())
        try:
            yield exchange
        finally:
            runner.run(block.__aexit__(None, None, None))


@pytest.fixture
def exchange(running: Exchange) -> Exchange:
    """Return a running engine without calls."""
    return running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with sounds of a second and a folder for recordings."""
    sounds = tmp_path / "sounds"
    (sounds / "en").mkdir(parents=True)
    for name in ("menu", "wrong", "thanks", *(f"en/{n}" for n in ("4", "20", "hundred"))):
        (sounds / f"{name}.slin").write_bytes(SECOND)
    (sounds / "short.slin").write_bytes(SECOND[:3200])
    (tmp_path / "recordings").mkdir()
    return tmp_path
