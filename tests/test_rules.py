"""The rules of the house that no linter knows; a failure says which file breaks which."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the dotted name of a source file; a package's is that of its folder."""
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for path in sorted((SRC / "yateway").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}
each_module = pytest.mark.parametrize("module", SOURCES)


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk all nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from running(node)


def imports(module: str) -> Iterator[str]:
    """Name all that a module imports when it runs, also what is no module: as `module.name`."""
    package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in running(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    found = {name if name in SOURCES else name.rpartition(".")[0] for name in imports(module)}
    return found & set(SOURCES)


def uses_of(tree: ast.Module, module: str, name: str) -> Iterator[ast.alias | ast.Attribute]:
    """Find each place that means `module.name`, whatever the module is called there."""
    called = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == module
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module and not node.level:
            yield from (alias for alias in node.names if alias.name == name)
        elif isinstance(node, ast.Attribute) and node.attr == name:
            yield from [node] if ast.unparse(node.value) in called else []


# --- Tests do not wait -------------------------------------------------------------------------


def on_real_clock(tree: ast.Module) -> set[ast.AST]:
    """Return all nodes inside what is marked `real_clock`: a function, a class or the file."""
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(decorator_list=marks)
                | ast.AsyncFunctionDef(decorator_list=marks)
                | ast.ClassDef(decorator_list=marks)
            ):
                marked: ast.AST = node
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                marks, marked = [value], tree
            case _:
                continue
        if any("mark.real_clock" in ast.unparse(mark) for mark in marks):
            inside.update(ast.walk(marked))
    return inside


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_real_clock_sleeps(path: Path) -> None:
    tree = ast.parse(path.read_text())
    allowed = on_real_clock(tree)
    asleep = [node.lineno for node in uses_of(tree, "time", "sleep") if node not in allowed]
    assert not asleep, f"time.sleep in lines {asleep}"


# --- What may import what ----------------------------------------------------------------------

# From the bottom up. Whoever stands on one line may import each other, but never in a circle.
LAYERS = [
    {"errors"},
    {"wire"},
    {"message"},
    {"transport", "memory", "sockets", "log", "eager", "deadlines"},
    {"link", "reconnect", "resync", "liveness"},
    {"handlers", "routing", "paths"},
    {"serving", "watching", "watchdog"},
    {"lifespan"},
    {"sending"},
    # Calls are below the module that has them: they know of it only how to send.
    {"scope", "keys", "language", "prompts", "registry", "conference", "sound"}
    | {"line", "moving", "call", "originating", "orphans", "running"}
    | {"absence", "script", "campaign", "switchboard"},
    {"module"},
    {"audio"},
]
# The other side of the wire knows the same words, and nothing of those who speak them.
ENGINE = {"errors", "wire", "message", "transport", "memory", "engine"}
# These stand above all, and nobody below them knows them.
ABOVE = {"", "__main__", "cli", "testing"}


def part_of(module: str) -> str:
    """Return the first name below the package: a file or a folder; of the package itself, none."""
    return module.split(".")[1] if "." in module else ""


@each_module
def test_imports_point_downward(module: str) -> None:
    part = part_of(module)
    if part in ABOVE:
        return
    if part == "engine":
        allowed = ENGINE
    else:
        height = [part in layer for layer in LAYERS]
        assert any(height), f"give {part} a place in the layers"
        allowed = set().union(*LAYERS[: height.index(True) + 1])
    upward = {name for name in own_imports(module) if part_of(name) not in allowed}
    assert not upward, f"{module} imports {sorted(upward)}"


def test_no_imports_in_a_circle() -> None:
    TopologicalSorter({module: own_imports(module) for module in SOURCES}).prepare()


IMPURE = {"asyncio", "logging", "os", "selectors", "socket", "threading", "time"}


@each_module
def test_the_wire_does_no_input_or_output(module: str) -> None:
    if part_of(module) == "wire":
        # The environment says whether the compiled part is wanted.
        named = set(imports(module)) - {"os.environ"}
        impure = {name for name in named if name.split(".")[0] in IMPURE}
        assert not impure, f"{module} imports {sorted(impure)}"


CLOCKS = [("time", "time"), ("time", "time_ns"), ("time", "localtime"), ("datetime", "datetime")]


@each_module
def test_the_time_of_day_is_read_in_one_place(module: str) -> None:
    """Guarantee C12: a clock that is set changes nothing but the times of messages."""
    # A virtual clock says itself what hour it is at its zero.
    if part_of(module) not in {"message", "engine", "testing"}:
        for name, clock in CLOCKS:
            lines = [node.lineno for node in uses_of(TREES[module], name, clock)]
            assert not lines, f"{name}.{clock} in lines {lines}"


# --- What data chooses -------------------------------------------------------------------------

# The engine itself starts scripts, and the call API makes targets of its own.
CHOOSES = {"yateway.engine", "yateway.cli"}


@each_module
def test_no_data_selects_a_script(module: str) -> None:
    """Guarantee F5: on the module's side nothing puts `external/...` together."""
    if ".".join(module.split(".")[:2]) in CHOOSES:
        return
    found = [
        node.lineno
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.JoinedStr | ast.BinOp) and "external/" in ast.unparse(node)
    ]
    assert not found, f"external/ put together in lines {found}"


# --- What is public, and how long it may be ----------------------------------------------------


def public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


@each_module
def test_public_names_are_declared(module: str) -> None:
    names = vars(importlib.import_module(module))
    if any(not name.startswith("_") for name in public_names(TREES[module])):
        assert "__all__" in names, f"{module} has no __all__"
    # That it is sorted, the linter sees to.
    declared = names.get("__all__", [])
    missing = [name for name in declared if name not in names]
    assert not missing, f"{module} declares {missing}"
    assert len(declared) == len(set(declared)), f"{module} declares a name twice"


@each_module
def test_the_budget_is_kept(module: str) -> None:
    assert len(SOURCES[module].read_text().splitlines()) <= 500, f"{module} is over 500 lines"
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} in line {node.lineno} has {length} lines"


# --- What the repository keeps to itself -------------------------------------------------------

# Put together here, so that this file passes too.
PRIVATE = [f"/{folder}/" for folder in ("root", "work", "opt/pypi")]
PRIVATE += [f"{host}.org" for host in ("pypi", "pythonhosted", "npmjs", "deb.debian")]


def test_no_file_names_a_machine_or_a_registry() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [
        f"{name}: {needle}"
        for name in listed.split("\0")
        if (ROOT / name).is_file()
        for text in [(ROOT / name).read_text(errors="replace")]
        for needle in PRIVATE
        if needle in text
    ]
    assert not found, "\n".join(found)


# --- What text from elsewhere can do -----------------------------------------------------------

#: What reads regular expressions; it has no name that is public.
PARSER: Any = importlib.import_module("re._parser")
#: What would run text, or read objects out of it.
RUNS_TEXT = {"eval", "exec", "compile", "pickle", "marshal", "shelve", "os.system", "os.popen"}


@each_module
def test_no_text_becomes_code(module: str) -> None:
    """Nothing is evaluated, unpickled or given to a shell (guarantee F11)."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in RUNS_TEXT, f"{called} in line {node.lineno}"
            shell = [k.value for k in node.keywords if k.arg == "shell"]
            assert not shell, f"a shell in line {node.lineno}"
    assert not {name.split(".")[0] for name in imports(module)} & RUNS_TEXT


def unbounded(parsed: Iterable[Any], inside: bool = False) -> bool:
    """Tell whether a parsed expression repeats without end what repeats without end."""
    for operation, argument in parsed:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            _, most, inner = argument
            endless = most > 1000
            if (endless and inside) or unbounded(inner, inside or endless):
                return True
        elif name == "SUBPATTERN":
            if unbounded(argument[-1], inside):
                return True
        elif name == "BRANCH" and any(unbounded(each, inside) for each in argument[1]):
            return True
    return False


@pytest.mark.parametrize(
    ("pattern", "bad"), [("(a+)+", True), ("(a*|b)*c", True), ("(a+b)?c+", False)]
)
def test_nested_repeats_are_found(pattern: str, bad: bool) -> None:
    assert unbounded(PARSER.parse(pattern)) == bad


@each_module
def test_no_expression_takes_for_ever(module: str) -> None:
    """No repeat inside of a repeat: text from elsewhere could take exponential time (F11)."""
    found = [
        f"{value.pattern!r}"
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, re.Pattern) and unbounded(PARSER.parse(value.pattern))
    ]
    assert not found, f"{module} has {found}"
