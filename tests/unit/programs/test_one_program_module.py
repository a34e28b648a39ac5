"""A program of RELION's is one module: written into the folder, it is served by all that deals with programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacycle import programs
from stacycle.errors import ProgramFailed, UserError
from stacycle.files.cache import Cache
from stacycle.jobs import job
from stacycle.preflight import environment
from stacycle.programs import container, program, software
from stacycle.programs.command import Command
from stacycle.provenance import record

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
NAME = "relion_tomo_flip"
MODULE = """
from dataclasses import replace

from stacycle.checks.outcome import check_counts
from stacycle.checks.state import check_tables
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.programs import shared
from stacycle.programs.program import CompletionMarker


def argv(*, state, out, axis, threads):
    line = ["relion_tomo_flip", "--i", state, "--o", shared.folder_name(out), "--axis", axis, "--j", threads]
    return shared.line(line)


def check_axis(task):
    if task.get("--axis") not in "xyz":
        raise UserError("relion_tomo_flip: --axis is not x, y or z; give one.")


def check_flipped(task):
    check_counts(task.files, task.made)


PROGRAM = replace(
    shared.TOMOGRAPHY,
    name="relion_tomo_flip",
    state_checks=(check_tables,),
    input_checks=(check_axis,),
    output_checks=(check_flipped,),
    must_not_change=("tomograms",),
    maps=("flipped.mrc",),
    completion_marker=CompletionMarker("temp/*.star"),
)
"""
EXECUTABLE = """#!PYTHON
import shutil, sys
from pathlib import Path
argv = sys.argv[1:]
if "--version" in argv:
    sys.exit(print("RELION version: 5.0.1"))
if "--help" in argv:
    flags = ("--i", "--o", "--j", "--only_do_unfinished")
    sys.exit(print(*(f"   {flag} (x) : text" for flag in flags), sep="\\n"))
out = Path(argv[argv.index("--o") + 1])
script = Path("misbehaves").read_text() if Path("misbehaves").exists() else ""
lines = Path("extract/particles.star").read_text()
(out / "particles.star").write_text(lines)
shutil.copyfile("average/merged.mrc", out / "flipped.mrc")
(out / "optimisation_set.star").write_text(
    Path("extract/optimisation_set.star").read_text().replace("extract/particles", "flip/particles")
)
exec(script)
"""
LOSE_A_PARTICLE = '(out / "particles.star").write_text(lines.rstrip().rpartition("\\n")[0] + "\\n")'
OTHER_TOMOGRAMS = """
text = Path("input/tomograms.star").read_text()
(out / "tomograms.star").write_text(text.replace("300.0", "200.0"))
made = out / "optimisation_set.star"
made.write_text(made.read_text().replace("input/tomograms", "flip/tomograms"))
"""
BREAK_OFF = '(out / "temp").mkdir(); (out / "temp/TS_01.star").write_text("data_"); sys.exit("out of luck")'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with particles and an average, and the made-up program: its module, and what runs."""
    for source in ("input", "extract", "average"):
        (tmp_path / source).mkdir()
        for path in (GOLDEN / source).iterdir():
            (tmp_path / source / path.name).symlink_to(path)
    modules, executables = tmp_path / "modules", tmp_path / "bin"
    modules.mkdir()
    executables.mkdir()
    (modules / "flip.py").write_text(MODULE)
    (executables / NAME).write_text(EXECUTABLE.replace("PYTHON", sys.executable))
    (executables / NAME).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs, "__path__", [*programs.__path__, str(modules)])
    program.all_programs.cache_clear()
    record.adopt("extract/optimisation_set.star")
    yield tmp_path
    program.all_programs.cache_clear()
    sys.modules.pop("stacycle.programs.flip", None)


def argv(axis: str = "x", threads: int = 1) -> list[str]:
    build = sys.modules["stacycle.programs.flip"].argv if program.all_programs() else None
    return build(state="extract/optimisation_set.star", out="flip", axis=axis, threads=threads)


def run(misbehaves: str = "", **settings) -> dict:
    """Run it as a job; returns the job's record."""
    Path("misbehaves").write_text(misbehaves)
    made = [f"flip/{name}" for name in ("particles.star", "optimisation_set.star", "flipped.mrc")]
    engine = {"kind": "relion", "bin": str(Path("bin").absolute())}
    try:
        job.run(argv(**settings), "flip", engine=engine, expected_outputs=made)
    finally:
        found = json.loads(Path("flip/job.json").read_text()) if Path("flip/job.json").exists() else {}
    return found


def test_preflight_looks_for_it_and_looks_up_its_flags() -> None:
    assert NAME in software.all_names()
    engine = {"kind": "relion", "bin": str(Path("bin").absolute())}
    command = Command.of(argv())
    used = {NAME: {*command.flags, command.record.continue_flag}}
    rows = list(environment.check_software(engine, used, Cache("cache.json")))
    assert [row.found for row in rows if row.level == environment.PROBLEM] == [
        f"{NAME} of RELION 5.0.1 does not know --axis"
    ]


def test_its_inputs_are_checked_before_it_runs() -> None:
    with pytest.raises(UserError, match="--axis is not x, y or z"):
        run(axis="w")
    table = Path("extract/particles.star")
    text = table.read_text()
    table.unlink()
    table.write_text(text.replace("TS_01", "TS_99"))
    record.adopt("extract/optimisation_set.star")
    with pytest.raises(UserError, match=r"TS_99, which input/tomograms\.star does not have"):
        run()
    assert not Path("flip/run.out").exists()


def test_its_outputs_are_checked_after_it_ran() -> None:
    with pytest.raises(ProgramFailed, match=r"ended without an error, but flip/particles\.star has"):
        run(LOSE_A_PARTICLE)


def test_its_state_and_maps_are_recorded_and_what_it_must_not_change_is_guarded() -> None:
    run()
    state = json.loads(Path("flip/state.json").read_text())
    assert state["parent"]["path"] == "extract"
    assert list(state["maps"]) == ["flipped.mrc"]
    assert state["counts"]["in"] == state["counts"]["out"] == 64
    with pytest.raises(ProgramFailed, match=r"went on with the tomograms flip/tomograms\.star"):
        run(OTHER_TOMOGRAMS, axis="y")


def test_what_has_finished_is_kept_and_threads_change_nothing() -> None:
    run()
    run(threads=2)
    assert not Path("flip.previous1").exists()
    run(axis="y")
    assert Path("flip.previous1/flipped.mrc").exists()


def test_what_was_cut_off_continues_without_the_tomograms_that_are_not_done() -> None:
    with pytest.raises(ProgramFailed, match="out of luck"):
        run(BREAK_OFF)
    found = run()
    assert found["runs"][-1]["continued_from"] == "unfinished tomograms"
    assert found["executed"][-1] == "--only_do_unfinished"
    assert not Path("flip/temp/TS_01.star").exists()


def test_a_container_shows_it_the_files_that_its_state_names() -> None:
    folders = container.folders_of(argv())
    assert os.path.realpath("input/tilt_series") in folders
