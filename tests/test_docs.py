"""The documentation is true: every block of Python in it runs, in the order it is read.

What a block is for is said by the line before its fence, if anything:

    <!-- file: router.py -->    a file of the reader's, which later blocks can import
    <!-- test -->               the reader's tests, which are run as well
"""

from __future__ import annotations

import asyncio
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from yateway.testing import VirtualClockLoop

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
FENCED = re.compile(
    r"(?:^<!-- (?P<purpose>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    language: str
    purpose: str
    line: int
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(found["language"], found["purpose"] or "", line, found["text"])


@pytest.mark.parametrize(
    "page",
    [page for page in [*map(ROOT.joinpath, PAGES), *ROOT.glob("docs/*.md")] if page.exists()],
    ids=lambda page: page.name,
)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        if block.language == "ini":
            parser = configparser.ConfigParser(
                interpolation=None, strict=False, allow_no_value=True
            )
            parser.read_string(block.text, source=f"{page.name}:{block.line}")
        elif block.language == "python" and block.purpose.startswith("file: "):
            file = tmp_path / block.purpose.removeprefix("file: ")
            file.write_text(block.text)
            spec = spec_from_file_location(file.stem, file)
            assert spec
            assert spec.loader
            module = module_from_spec(spec)
            monkeypatch.setitem(sys.modules, file.stem, module)
            spec.loader.exec_module(module)
        elif block.language == "python":
            run(block, page, names)


def run(block: Block, page: Path, names: dict[str, Any]) -> None:
    # Empty lines in front, so that a traceback shows the line of the page.
    code = compile("\n" * block.line + block.text, page, "exec")
    exec(code, names)  # noqa: S102 - the blocks are ours
    if block.purpose == "test":
        for name in [name for name in names if name.startswith("test_")]:
            with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
                runner.run(names.pop(name)())
