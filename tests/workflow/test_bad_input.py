"""What `snakemake` tells a user after a mistake: a sentence that says what, where and what to do.

One project in a folder with blanks in its name, with tomograms called 001 and 002, goes through all of it: first it
works, then things go wrong one by one, and at the end everything that was the user's is still there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import fake_relion
import mrcfile
import pandas as pd
import pytest
from conftest import Project
from small_inputs import write_inputs

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.jobs import job

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bad input")]

STEPS = ["extract", "reconstruct", "class3d", "select", "mask", "refine3d", "postprocess"]
CLASS3D = {"classes": 6, "T": [1], "iterations": 2, "lowpass": 30}
NO_CLASSES = {"steps": ["extract", "reconstruct", "mask", "refine3d", "postprocess"]}
INPUTS = "results/inputs/particles.star"
EXTRACTED = "results/bin4/extract/particles.star"


@dataclass(frozen=True)
class Workplace:
    """A project that has run to its first map, the folder of its RELION, and what the user had put there."""

    project: Project
    relion: Path
    first_run: CompletedProcess
    given: dict[Path, bytes]

    @property
    def folder(self) -> Path:
        return self.project.folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("work place")
    folder = root / "my project"
    relion = fake_relion.install(root / "relion 5")
    config = {
        "inputs": [write_inputs(folder, "gain 1", names=("001", "002"), particles=30)],
        "particle": {"diameter": 350},
        "engine": {"kind": "relion", "bin": str(relion)},
        "rounds": {"bin4": {"steps": STEPS, "class3d": CLASS3D}, "bin2": None, "bin1": None},
    }
    given = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    project = Project(folder, config)
    return Workplace(project, relion, project.snakemake("results/bin4/reconstruct/merged.mrc"), given)


def sentence(done: CompletedProcess, job: str) -> str:
    """What the failed job said on the terminal; everything else that a failure must be is asserted."""
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    found = re.search(rf"^\[{job}\] ERROR: (.*(?:\n\[{job}\] .*)*)", said, re.MULTILINE)
    assert found, said
    return found[1].replace(f"\n[{job}] ", "\n")


def refused(done: CompletedProcess, project: Path) -> str:
    """The problems that preflight found before any job was started, a line each."""
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    assert "Nothing was started" in said
    assert "Error in rule" not in said
    table = pd.read_csv(project / "results/preflight.tsv", sep="\t", keep_default_na=False)
    problems = table[table["level"] == "problem"]
    return "\n".join(
        f"{found}; {todo}" for found, todo in zip(problems["found"], problems["what to do"], strict=True)
    )


def test_blanks_in_names_of_folders_do_no_harm(workplace: Workplace) -> None:
    assert workplace.first_run.returncode == 0, workplace.first_run.stderr[-6000:]
    tomograms = star.read(workplace.folder / "results/inputs/tomograms.star")["global"]
    assert tomograms["rlnTomoTiltSeriesStarFile"].iloc[0] == "gain 1/tilt_series/001.star"
    quoted = '"gain 1/tilt_series/001.star"'  # as RELION 5.0.1 reads and writes it
    assert quoted in (workplace.folder / "results/inputs/tomograms.star").read_text()


def test_tomograms_called_001_stay_so_through_merging_and_extraction(workplace: Workplace) -> None:
    assert workplace.first_run.returncode == 0
    for name in (INPUTS, EXTRACTED):
        assert set(star.read(workplace.folder / name)["particles"]["rlnTomoName"]) == {"001", "002"}


def test_a_missing_star_file_is_refused_before_anything_is_touched(workplace: Workplace) -> None:
    inputs = [{"tomograms": "gain 1/tomograms.star", "particles": "gain 2/particles.star"}]
    done = workplace.project.snakemake(INPUTS, change={"inputs": inputs})
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said
    where = f"paths start at the project folder (--directory), {workplace.folder}; correct the path."
    assert f"gain 2/particles.star, named under inputs in the config, is not there: {where}" in said
    assert (workplace.folder / INPUTS).exists(), "the good run's results went"


def test_every_mistake_in_the_inputs_is_reported_at_once_with_its_file(workplace: Workplace) -> None:
    mistakes: dict[str, tuple[Callable[[Path], None], str]] = {
        "empty": (
            lambda f: (f / "particles.star").write_text(""),
            r"empty/particles\.star: holds no STAR table; it is empty",
        ),
        "cut": (
            lambda f: cut(f / "particles.star", 50),
            r"cut/particles\.star: .*was it cut short\?",
        ),
        "no angles": (
            lambda f: change(f / "particles.star", lambda table: table.drop(columns="rlnAnglePsi")),
            r"no angles/particles\.star: has no column rlnAnglePsi; picks need angles",
        ),
        "no hand": (
            lambda f: change(f / "tomograms.star", lambda table: table.drop(columns="rlnTomoHand")),
            r"no hand/tomograms\.star: has no column rlnTomoHand; ",
        ),
        "stranger": (
            lambda f: change(f / "particles.star", lambda table: put(table, 2, "rlnTomoName", "TS_O1")),
            r"stranger/particles\.star: tomogram TS_O1 \(row 3\) is not in stranger/tomograms\.star; "
            r"did you mean TS_01\?",
        ),
        "no images": (
            lambda f: (f / "tilt_series/TS_01.mrcs").unlink(),
            r"no images/tilt_series/TS_01\.star: image no images/tilt_series/TS_01\.mrcs is missing.*; ",
        ),
        "half copied": (
            lambda f: os.truncate(f / "tilt_series/TS_01.mrcs", 100_000),
            r"image half copied/tilt_series/TS_01\.mrcs is cut short, 100000 of \d{8} bytes; copy it again",
        ),
        "other pixel": (
            lambda f: set_pixel(f / "tilt_series/TS_01.mrcs", 1.35),
            r"image other pixel/tilt_series/TS_01\.mrcs has 1\.35 Å/px in its header, but 1\.91 in the STAR "
            r"file; correct",
        ),
        "outside": (
            lambda f: change(
                f / "particles.star", lambda table: put(table, 4, "rlnCenteredCoordinateXAngst", 5000.0)
            ),
            r"outside/particles\.star: positions outside the tomogram in row 5, .*of TS_01; check their unit",
        ),
        "twice": (
            lambda f: change(f / "particles.star", lambda table: pd.concat([table, table.iloc[[3]]])),
            r"twice/particles\.star row 4 and twice/particles\.star row 11 are the same particle.*; remove one",
        ),
    }
    sets = []
    for folder, (mistake, _) in mistakes.items():
        sets.append(write_inputs(workplace.folder, folder) | {"name": folder.replace(" ", "_")})
        mistake(workplace.folder / folder)
    results = files_of(workplace.folder / "results")
    told = refused(workplace.project.snakemake(INPUTS, change={"inputs": sets}), workplace.folder)
    for folder, (_, expected) in mistakes.items():
        assert re.search(expected, told), f"{folder}: {told}"
    assert len(told.splitlines()) == len(mistakes), told
    assert files_of(workplace.folder / "results") == results, "a mistake in an added set cost something"
    assert workplace.project.jobs(None, "results/bin4/reconstruct/merged.mrc") == []


def test_a_machine_without_relion_gets_a_sentence_on_what_to_do(workplace: Workplace) -> None:
    change = {"engine": {"bin": str(workplace.relion / "nowhere")}}
    told = refused(
        workplace.project.snakemake(INPUTS, "--forcerun", "inputs", change=change), workplace.folder
    )
    assert re.match(
        r"RELION was not found in engine\.bin, .*/nowhere; load RELION 5 .*engine\.container .*engine\.kind to emb",
        told,
    )


def test_debians_relion_3_is_not_taken_for_relion_5(workplace: Workplace) -> None:
    programs = ("relion_refine", "relion_refine_mpi", "relion_mask_create", "relion_postprocess")
    old = fake_relion.install(workplace.relion.with_name("debian"), "3.1.3", programs)
    change = {"engine": {"bin": str(old)}}
    told = refused(
        workplace.project.snakemake(INPUTS, "--forcerun", "inputs", change=change), workplace.folder
    )
    assert re.match(r"RELION 3\.1\.3 was found \(.*debian/relion_\w+\), but RELION 5 is needed; load", told)


def test_a_missing_mpirun_is_named_with_the_program_that_wants_it(workplace: Workplace, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(workplace.folder))
    engine = {"kind": "relion", "bin": str(workplace.relion)}
    argv = ["mpirun", "-n", "3", "relion_refine_mpi", "--o", "run"]
    with pytest.raises(
        UserError, match=r"mpirun was not found on the PATH, but relion_refine_mpi .*; load the MPI"
    ):
        job.run(argv, workplace.folder / "refine3d", engine=engine, expected_outputs=[])
    assert not (workplace.folder / "refine3d").exists()


def test_a_selection_that_no_class_passes_names_the_key_and_the_picture(workplace: Workplace) -> None:
    fake_relion.install(workplace.relion, relion_refine={"only_junk": True})
    told = sentence(workplace.project.snakemake("results/bin4/select/decision.json"), "bin4/select")
    assert re.match(r"rounds\.bin4\.select\.classes: none of the 6 classes .*; look at classes\.png", told)
    assert (workplace.folder / "results/bin4/select/classes.png").exists()


def test_tomograms_called_001_stay_so_through_a_classification(workplace: Workplace) -> None:
    assert workplace.project.snakemake("results/bin4/class3d/particles.star").returncode == 0
    particles = star.read(workplace.folder / "results/bin4/class3d/particles.star")["particles"]
    assert set(particles["rlnTomoName"]) == {"001", "002"}


def test_a_threshold_that_makes_an_empty_mask_is_refused_with_a_better_one(workplace: Workplace) -> None:
    settings = {"mask": {"lowpass": 25, "threshold": 99}, "refine3d": {"lowpass": 30}}
    change = {"rounds": {"bin4": {**NO_CLASSES, **settings}}}
    told = sentence(workplace.project.snakemake("results/bin4/mask/mask.mrc", change=change), "bin4/mask")
    better = re.match(
        r"rounds\.bin4\.mask\.threshold: 99 is above the highest density .*; try ([\d.]+)\.$", told
    )
    assert better, told
    change["rounds"]["bin4"]["mask"]["threshold"] = float(better[1])
    done = workplace.project.snakemake("results/bin4/mask/mask.mrc", change=change)
    assert done.returncode == 0, done.stderr
    with mrcfile.open(workplace.folder / "results/bin4/mask/mask.mrc") as file:
        assert 0 < file.data.mean() < 0.5


def test_a_program_that_fails_is_reported_with_its_own_words_and_leaves_the_last_good_run(
    workplace: Workplace,
) -> None:
    stacks = workplace.folder / "results/bin4/extract.previous1/Subtomograms"
    plans = [
        (
            {"exit": 1, "says": MPI_ABORT},
            "relion_tomo_subtomo failed with exit status 1: The file a.mrc does not exist",
        ),
        ({"leaves_out": ["results/bin4/extract/optimisation_set.star"], "says": "Done"}, LEFT_OUT),
    ]
    for plan, expected in plans:
        fake_relion.install(workplace.relion, relion_tomo_subtomo=plan)
        change = {"rounds": {"bin4": {"extract": {"max_dose": 50}}}}
        told = sentence(workplace.project.snakemake(EXTRACTED, change=change), "bin4/extract")
        assert told.replace("subtomo_mpi", "subtomo").startswith(expected)  # that where there is an mpirun
        assert MPI_ABORT.splitlines()[-1] not in told
        assert len(list(stacks.rglob("*.mrcs"))) == 60, "trying again lost the last good run"
    assert MPI_ABORT.splitlines()[-1] not in (workplace.folder / "logs/bin4/extract.log").read_text()


def test_after_all_that_the_users_files_are_what_they_were(workplace: Workplace) -> None:
    for path, content in workplace.given.items():
        assert path.read_bytes() == content, f"{path} was changed"


LEFT_OUT = (
    "relion_tomo_subtomo ended without an error, but it did not write results/bin4/extract/optimisation_set.star. "
    "Its last words were: Done"
)
MPI_ABORT = """in: image.h, line 276
ERROR:
Cannot read file a.mrc It does not exist
=== Backtrace  ===
==================
ERROR:
Cannot read file a.mrc It does not exist
--------------------------------------------------------------------------
MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD
with errorcode 1.
NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
--------------------------------------------------------------------------
[host:07166] Set MCA parameter "orte_base_help_aggregate" to 0 to see all help / error messages"""


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Edit the table of a STAR file."""
    ((name, table),) = star.read(path).items()
    star.write(path, {name: edit(table)})


def put(table: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """The table with one value replaced."""
    table.loc[row, column] = value
    return table


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """All files but those of preflight itself and links to the project's, and what tells whether they were touched."""
    found = (
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in ("preflight.tsv", ".preflight.json", "duplicates.tsv")
        and path.relative_to(folder).parts[0] != "relion"
    )
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def cut(path: Path, characters: int) -> None:
    """Take that many characters from a table's end."""
    path.write_text(path.read_text().rstrip()[:-characters])


def set_pixel(path: Path, pixel: float) -> None:
    """Another pixel size in the header of an image."""
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = pixel
