"""Who may import whom, and the shape of modules, read from the source with ast."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("src/quotaloop", "jobs", "pipelines")
ENGINES = {"pyspark", "mrjob", "great_expectations"}
ROOF = "src/quotaloop/cli/"
SESSIONS = "jobs/spark/runtime.py"
MOST_LINES = 300
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import: whole names, and whether it is done only when a function runs (or a type checker reads)."""

    line: int
    names: tuple[str, ...]
    lazy: bool

    def of(self, *packages: str) -> bool:
        """Is it of one of these packages or something in them?"""
        return any(name == package or name.startswith(f"{package}.") for name in self.names for package in packages)


def imports(tree: ast.AST, package: str = "") -> Iterator[Import]:
    """All imports of a module that lies in ``package``."""
    yield from _imports(tree, package, lazy=False)


def _imports(node: ast.AST, package: str, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield Import(child.lineno, tuple(alias.name for alias in child.names), lazy)
        elif isinstance(child, ast.ImportFrom):
            parts = package.split(".") if child.level else []
            parts = parts[: len(parts) - child.level + 1] + ([child.module] if child.module else [])
            source = ".".join(parts)
            yield Import(child.lineno, (source, *(f"{source}.{alias.name}" for alias in child.names)), lazy)
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types(child)
            yield from _imports(child, package, lazy=lazy or inner)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def opens_sessions(tree: ast.AST) -> bool:
    """Does a module say ``SparkSession.builder`` or make a ``SparkContext``?"""
    return any(
        (
            isinstance(node, ast.Attribute)
            and node.attr == "builder"
            and ast.unparse(node.value).endswith("SparkSession")
        )
        or (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("SparkContext", "SparkSession"))
        for node in ast.walk(tree)
    )


def undocumented(tree: ast.Module, name: str) -> Iterator[str]:
    """The module, its public classes and functions, and their public methods that have no docstring.

    A method that a class takes over from a base outside the standard protocol is documented there.
    """
    if tree.body and not ast.get_docstring(tree):
        yield name
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{name}:{node.lineno} {node.name}"
            if isinstance(node, ast.ClassDef):
                yield from _undocumented_methods(node, name)


def _undocumented_methods(node: ast.ClassDef, name: str) -> Iterator[str]:
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            decorators = {ast.unparse(decorator) for decorator in child.decorator_list}
            if not ast.get_docstring(child) and not decorators & {"override", "typing.override", "overload"}:
                yield f"{name}:{child.lineno} {node.name}.{child.name}"


@cache
def _modules() -> dict[str, ast.Module]:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _package(name: str) -> str:
    return ".".join(Path(name.removeprefix("src/")).parent.parts)


def _in(*rooms: str) -> Iterator[tuple[str, Import]]:
    for name, tree in _modules().items():
        if name.startswith(tuple(f"{room}/" for room in rooms)):
            for found in imports(tree, _package(name)):
                yield name, found


def _where(name: str, found: Import) -> str:
    return f"{name}:{found.line} imports {found.names[0]}"


def test_imports_are_seen_wherever_they_stand() -> None:
    source = """
import pyspark.sql as s
from . import near
from ..over import thing
if TYPE_CHECKING:
    from jobs.work import Work
class A:
    def f(self):
        try:
            from pipelines import loop
        except ImportError:
            import mrjob
"""
    found = list(imports(ast.parse(source), "jobs.spark"))
    assert [(item.names, item.lazy) for item in found] == [
        (("pyspark.sql",), False),
        (("jobs.spark", "jobs.spark.near"), False),
        (("jobs.over", "jobs.over.thing"), False),
        (("jobs.work", "jobs.work.Work"), True),
        (("pipelines", "pipelines.loop"), True),
        (("mrjob",), True),
    ]
    assert found[0].of("pyspark")
    assert not found[0].of("pys")


def test_the_library_imports_no_engine_and_nobody_here() -> None:
    forbidden = ("jobs", "pipelines", "fastapi", *ENGINES)
    bad = [_where(*item) for item in _in("src/quotaloop") if not item[0].startswith(ROOF) and item[1].of(*forbidden)]
    assert bad == []


def test_the_roof_imports_jobs_and_pipelines_inside_functions_alone_and_no_engine() -> None:
    roof = [item for item in _in("src/quotaloop") if item[0].startswith(ROOF)]
    bad = [_where(*item) for item in roof if item[1].of("jobs", "pipelines") and not item[1].lazy]
    bad += [_where(*item) for item in roof if item[1].of("fastapi", *ENGINES)]
    assert bad == []


def test_jobs_import_neither_pipelines_nor_the_command_line() -> None:
    forbidden = ("pipelines", "quotaloop.cli")
    assert [_where(*item) for item in _in("jobs") if item[1].of(*forbidden)] == []


def test_pipelines_import_no_engine_and_not_the_command_line() -> None:
    forbidden = ("quotaloop.cli", *ENGINES)
    assert [_where(*item) for item in _in("pipelines") if item[1].of(*forbidden)] == []


def test_nothing_imports_the_tests_or_the_sample() -> None:
    assert [_where(*item) for item in _in(*ROOMS) if item[1].of("tests", "sample", "data", "bench")] == []


def test_sessions_are_seen() -> None:
    assert opens_sessions(ast.parse("sql.SparkSession.builder.getOrCreate()"))
    assert opens_sessions(ast.parse("pyspark.SparkContext()"))
    assert not opens_sessions(ast.parse("SparkSession.getActiveSession()"))


def test_one_module_opens_spark_sessions() -> None:
    assert [name for name, tree in _modules().items() if opens_sessions(tree)] == [SESSIONS]


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {part.removesuffix(".py") for name in _modules() for part in name.split("/")}
    assert names & VAGUE == set()


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_longer_than_three_hundred_lines(room: str) -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / room).rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_what_is_not_documented_is_seen() -> None:
    source = '''
def open_(): ...
def _hidden(): ...
class Box:
    """A box."""
    def size(self): ...
    @override
    def taken_over(self): ...
'''
    assert list(undocumented(ast.parse(source), "m")) == ["m", "m:2 open_", "m:6 Box.size"]


def test_every_module_and_public_name_has_a_docstring() -> None:
    assert [where for name, tree in _modules().items() for where in undocumented(tree, name)] == []
