"""The house's order: no module imports from a higher floor, none in a circle, and none is long, but tables of data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
# Packages and modules, lowest first. What stands on one floor may import each other, without a circle.
FLOORS = {
    "stacycle": (
        "__init__ errors snakemake_api workflow",
        "files",
        "recipe",
        "checks diagnosis",
        "programs",
        "provenance resources",
        "jobs inputs relion_project",
        "decisions exports scoring",
        "steps",
        "preflight progress",
        "report cleanup",
        "cli",
        "__main__",
    ),
    "staengine": (
        "__init__ errors",
        "files",
        "cli ranks",
        "numerics",
        "tilt_series",
        "fits refinement simulation",
        "programs",
        "__main__",
    ),
}
MOST_LINES = 350
TABLES = {"stacycle.diagnosis.known_faults"}  # of data


def modules(package: str) -> dict[str, Path]:
    """The modules of a package by their names; `a.b` for a/b/__init__.py."""
    paths = sorted((SOURCE / package).rglob("*.py"))
    names = (".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


def imports(package: str) -> dict[str, set[str]]:
    """Module -> the modules of its package that it imports, in functions too."""
    known = modules(package)
    return {name: {one for one in _imported(path, known) if one != name} for name, path in known.items()}


def _imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield name if name in known else node.module


def floor(module: str) -> int:
    """The floor of a module, by the package or module below the top that it belongs to."""
    package, *inner = module.split(".")
    room = inner[0] if inner else "__init__"
    return next(number for number, rooms in enumerate(FLOORS[package]) if room in rooms.split())


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_has_a_floor(package: str) -> None:
    for module in modules(package):
        floor(module)


@pytest.mark.parametrize("package", FLOORS)
def test_no_module_imports_from_a_higher_floor(package: str) -> None:
    found = {
        f"{module} imports {one}"
        for module, imported in imports(package).items()
        for one in imported
        if floor(one) > floor(module)
    }
    assert found == set()


@pytest.mark.parametrize("package", FLOORS)
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    downwards = {
        module: {one for one in imported if floor(one) <= floor(module)}
        for module, imported in imports(package).items()
    }
    try:
        TopologicalSorter(downwards).prepare()
    except CycleError as error:
        pytest.fail(" imported by ".join(error.args[1]))


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    found = {
        name
        for package in FLOORS
        for name, path in modules(package).items()
        if name not in TABLES and len(path.read_text().splitlines()) > MOST_LINES
    }
    assert found == set()


def test_the_engine_shares_no_code_with_stacycle() -> None:
    text = "".join(path.read_text() for path in modules("staengine").values())
    assert not re.findall(r"(?:from|import) (?:stacycle|snakemake)", text)


def test_the_programs_of_the_engine_import_no_other_program() -> None:
    split = {"staengine.programs.refine", "staengine.programs.postprocess"}  # of two modules each
    for module, imported in imports("staengine").items():
        if module.startswith("staengine.programs.") and module not in split:
            assert not any(one.startswith("staengine.programs.") for one in imported), module
