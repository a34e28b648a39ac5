"""The tutorial replayed: the default config, a stand-in for RELION with the tutorial's numbers, and its commands.

The whole workflow runs once. What it decides on those numbers must be what the tutorial's author decided, and each
command that it ran must be the tutorial's, flag by flag and in its order, with our file names in place of the author's.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import fake_relion
import pandas as pd
import pytest
from conftest import ROOT, Project
from small_inputs import write_inputs

from stacycle import job, star

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("replay")]

TUTORIAL = dict(
    line.split("\t")
    for line in (ROOT / "tests/unit/data/tutorial_commands.txt").read_text().splitlines()
    if not line.startswith("#")
)
CLI = json.loads((ROOT / "tests/golden/cli.json").read_text())
BIN4 = "results/bin4/"
OURS = {  # file names of the tutorial's jobs -> ours; the first that fits is taken
    "particles_fuse_AreT.star": "results/inputs/particles.star",
    "tomograms_fuse_AreT.star": "results/inputs/tomograms.star",
    "tomograms_1n2.star": "results/inputs/tomograms.star",
    "Extract/job003/": BIN4 + "extract/",
    "Extract/job006/": BIN4 + "extract/",
    "Reconstruct/job005/": BIN4 + "reconstruct/",
    "Class3D/job009/run_it020_optimisation_set.star": BIN4 + "align/optimisation_set.star",
    "Class3D/job009/run_it020_class001.mrc": BIN4 + "align/reference.mrc",
    "Class3D/job009/": BIN4 + "align/T1/",
    "Class3D/job011/run_it019_class003.mrc": BIN4 + "select/reference.mrc",
    "Class3D/job011/": BIN4 + "class3d/T1_K6/",
    "Select/job014/": BIN4 + "select/",
    "MaskCreate/job010/": BIN4 + "mask/",
    "Refine3D/job017/": BIN4 + "refine3d/",
    "PostProcess/job019/": BIN4 + "postprocess/",
}


@dataclass(frozen=True)
class Replay:
    """The finished project, the scratch folder, and the commands that it ran; those of mpirun apart."""

    folder: Path
    scratch: Path
    commands: list[list[str]]
    mpi_commands: list[list[str]]

    def decision(self, step: str) -> dict:
        return json.loads((self.folder / BIN4 / step / "decision.json").read_text())

    def particles(self, name: str) -> star.Tables:
        return star.read(self.folder / BIN4 / name)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    root = tmp_path_factory.mktemp("tutorial")
    relion = fake_relion.install(root / "relion")
    mpi = fake_relion.install(root / "mpi", programs=("mpirun",))
    scratch, folder = root / "scratch", root / "project"
    scratch.mkdir()
    sets = [write_inputs(folder, f"gain{number}", particles=110, seed=number) for number in (1, 2)]
    config = {
        "inputs": sets,
        "particle": {"diameter": 350, "symmetry": "C1"},
        "engine": {"kind": "relion", "bin": str(relion)},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        patch.setenv("PATH", str(mpi), prepend=":")
        done = Project(folder, config).snakemake()
    assert done.returncode == 0, done.stderr[-6000:]
    return Replay(folder, scratch, fake_relion.recorded(relion), fake_relion.recorded(mpi))


def ours(word: str, replay: Replay) -> str:
    """A word of the tutorial's command as it must read in ours; ranks and threads as of 2 cores."""
    for theirs, here in OURS.items():
        if word.startswith(theirs):
            return here + word.removeprefix(theirs)
    threshold = f"{replay.decision('mask')['choice']['threshold']:g}"
    return {"$TMPDIR": str(replay.scratch), "0.00294": threshold, "N": "2", "M": "3"}.get(word, word)


def command(program: str, out: str, replay: Replay) -> list[str]:
    """The one recorded command of a program whose --o starts with `out`."""
    found = [line for line in replay.commands if line[0] == program and f" --o {out}" in " ".join(line)]
    assert len(found) == 1, f"{program} --o {out} was run {len(found)} times"
    return found[0]


@pytest.mark.parametrize("step", [step for step in TUTORIAL if step != "refine3d"])
def test_each_step_runs_the_tutorials_command_flag_by_flag(step: str, replay: Replay) -> None:
    expected = [ours(word, replay) for word in shlex.split(TUTORIAL[step])]
    assert command(expected[0], expected[expected.index("--o") + 1], replay) == expected


def test_refine3d_runs_the_tutorials_command_on_three_ranks(replay: Replay) -> None:
    expected = [ours(word, replay) for word in shlex.split(TUTORIAL["refine3d"])]
    expected[expected.index("--j") + 1] = "1"  # 2 cores for the two halves
    (run,) = replay.mpi_commands
    assert [*run[:3], Path(run[3]).name, *run[4:]] == expected


def test_the_sweep_runs_the_tutorials_classification_with_each_T(replay: Replay) -> None:
    at = "--tau2_fudge"
    runs = {line[line.index(at) + 1]: line for line in replay.commands if "--skip_align" in line}
    assert set(runs) == {"0.5", "1", "2", "4"}
    for tau, line in runs.items():
        expected = [word.replace("/T1_K6/", f"/T{tau}_K6/") for word in runs["1"]]
        expected[expected.index(at) + 1] = tau
        assert line == expected


def test_every_program_ran_as_often_as_the_tutorial_wants_it(replay: Replay) -> None:
    names = [line[0] for line in replay.commands]
    once = set(fake_relion.PROGRAMS) - {"relion_refine"}
    assert {name: names.count(name) for name in once} == dict.fromkeys(once, 1)
    assert names.count("relion_refine") == 1 + 4


def test_no_flag_is_emitted_that_relion_would_ignore(replay: Replay) -> None:
    for program, *words in replay.commands:
        flags = [word for word in words if word.startswith("--")]
        assert set(flags) <= set(CLI[program])
        assert len(flags) == len(set(flags)), f"a flag of {program} stands there twice"


def test_the_tutorials_numbers_lead_to_its_authors_choices(replay: Replay) -> None:
    assert replay.decision("align")["choice"] == {"variant": "T1", "iteration": 20}
    assert replay.decision("class3d")["choice"] == {"variant": "T1_K6", "iteration": 19}
    assert replay.decision("select")["choice"]["classes"] == [2, 3, 5, 6]
    assert replay.decision("select")["numbers"]["resolution"] == pytest.approx(24.448)


def test_classification_starts_from_the_chosen_iteration_of_the_alignment(replay: Replay) -> None:
    align = replay.folder / BIN4 / "align"
    reference = (align / "reference.mrc").read_bytes()
    assert reference == (align / "T1/run_it020_class001.mrc").read_bytes()
    assert reference != (align / "T1/run_it019_class001.mrc").read_bytes()
    assert set(replay.particles("align/particles.star")["particles"]["rlnOriginXAngst"]) == {20}


def test_refinement_starts_from_the_good_classes_of_the_chosen_iteration(replay: Replay) -> None:
    classified = replay.particles("class3d/T1_K6/run_it019_data.star")
    selected = replay.particles("select/particles.star")
    good = classified["particles"]["rlnClassNumber"].isin([2, 3, 5, 6])
    assert 0 < good.sum() < len(good)
    classified["particles"] = classified["particles"][good].reset_index(drop=True)
    for table in ("general", "optics", "particles"):
        pd.testing.assert_frame_equal(
            selected[table], classified[table], check_dtype=False, obj=f"data_{table}"
        )


def test_the_box_and_pixel_are_those_of_the_tutorials_text(replay: Replay) -> None:
    optics = replay.particles("select/particles.star")["optics"]
    assert set(optics["rlnImageSize"]) == {84}
    assert set(optics["rlnImagePixelSize"]) == {7.64}


def test_two_gain_references_are_fused_under_unique_names(replay: Replay) -> None:
    tomograms = star.read(replay.folder / "results/inputs/tomograms.star")["global"]
    assert list(tomograms["rlnTomoName"]) == ["TS_01", "set2_TS_01"]
    assert tomograms["rlnOpticsGroupName"].is_unique


def test_particles_are_copied_to_the_systems_tmp_only_if_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")  # as Snakemake sets it for its jobs where it was not set
    assert job.scratch_folder("$TMPDIR") is None
    assert job.scratch_folder("/tmp") == "/tmp"
    assert job.scratch_folder("$TMPDIR/mine") == "/tmp/mine"
