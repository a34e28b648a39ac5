"""The engine's house: no import upwards, no circle, nothing of stacycle, no module too long to read."""

import ast
from pathlib import Path

import pytest

import staengine

ENGINE = Path(staengine.__file__).parent
FLOORS = [
    {"errors"},
    {"files", "cli"},
    {"numerics"},
    {"tilt_series"},
    {"refinement", "fits", "simulation"},
    {"programs"},
    {"__main__"},
]
MODULES = {
    ".".join(("staengine", *path.relative_to(ENGINE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ENGINE.rglob("*.py"))
}
LONGEST = 350


def imported(name: str) -> set[str]:
    """Modules that a module imports, wherever in it: those of the engine whole, of others the package."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in MODULES else str(node.module) for module in inner}
    return {module if module.startswith("staengine") else module.partition(".")[0] for module in found}


def floor(name: str) -> int:
    """-1 for the package itself, which holds nothing but its docstring."""
    room = name.split(".")[1] if "." in name else None
    return -1 if room is None else next(i for i, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_own_package_and_lower_floors(name):
    own = name.split(".")[1] if "." in name else None
    for module in imported(name):
        assert module.partition(".")[0] not in ("stacycle", "snakemake"), f"{name} imports {module}"
        if module.startswith("staengine"):
            lower = floor(module) < floor(name)
            assert lower or module.split(".")[1] == own, f"{name} imports {module}, which is not below it"


def test_no_import_goes_in_a_circle():
    waiting = {name: imported(name) & set(MODULES) for name in MODULES}
    while free := {name for name, needs in waiting.items() if not needs}:
        waiting = {name: needs - free for name, needs in waiting.items() if name not in free}
    assert not waiting, f"in a circle, or above one: {', '.join(waiting)}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_read_in_one_go(name):
    assert len(MODULES[name].read_text().splitlines()) <= LONGEST


def test_the_mains_of_programs_import_no_other_program():
    split = {"staengine.programs.refine_mpi", "staengine.programs.refine"}  # one program in three modules
    for name in sorted(name for name in MODULES if name.startswith("staengine.programs.")):
        others = {module for module in imported(name) if module.startswith("staengine.programs.")}
        assert not others or name in split, f"{name} imports {others}"
