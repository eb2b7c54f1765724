"""Each file on which no call may be lost has a test file which covers every branch by itself.

Run by `make test`. Fails with the lines and branches that a test file leaves out of its own
source file, whatever the rest of the suite happens to touch. It lies here and not with pytest's
tests because it runs pytest, once for each pair.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "yateway"


def sources() -> Iterator[Path]:
    for source in sorted((PACKAGE / "wire").glob("*.py")):
        if source.name != "__init__.py":
            yield source
    for name in ("deadlines", "eager", "link", "module", "sending", "serving"):
        yield PACKAGE / f"{name}.py"


def complaint(source: Path) -> str:
    """Run the pair of `source` and return what is wrong with it, empty when nothing is."""
    test = ROOT / "tests" / source.relative_to(PACKAGE).with_name(f"test_{source.name}")
    for path in (source, test):
        if not path.exists():
            return f"there is no {path.relative_to(ROOT)}"
    with tempfile.NamedTemporaryFile(suffix=".coverage") as file:
        data = f"--data-file={file.name}"
        # A real engine is not everywhere, so what only its tests reach does not count.
        pytest = ["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "-m", "not yate", str(test)]
        for arguments in (
            ["run", data, *pytest],
            ["report", data, f"--include={source}", "--show-missing", "--fail-under=100"],
        ):
            command = [sys.executable, "-m", "coverage", *arguments]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                return done.stdout + done.stderr
    return ""


def main() -> int:
    pairs = list(sources())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = list(pool.map(complaint, pairs))
    for source, text in zip(pairs, complaints, strict=True):
        print("NOT COVERED" if text else "covered", source.relative_to(ROOT), "by its own tests")
        if text:
            print(text)
    return 1 if any(complaints) else 0


if __name__ == "__main__":
    sys.exit(main())
