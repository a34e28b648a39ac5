"""The cycle's sweeps: what is checked before hours are spent, and what is kept afterwards."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.decisions import apply_cycle
from stacycle.decisions.decision import Decision
from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs.command import Command
from stacycle.provenance import origin, record
from stacycle.recipe.rounds import Start

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
VARIANTS = {"good": {"max_error": 5}, "broken": {"max_error": 3}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_map(path: Path | str, box: int = 32, pixel: float = 5.0) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.full((box,) * 3, zlib.crc32(str(path).encode()) % 2**24, np.float32))
        file.voxel_size = pixel
    return str(path)


@pytest.mark.parametrize(("box", "pixel"), [(30, 5.0), (32, 5.1)])
def test_a_mask_of_another_box_or_pixel_size_is_refused(box: int, pixel: float) -> None:
    half = write_map("half1.mrc")
    mrc.check_mask(write_map("mask.mrc"), half)
    with pytest.raises(
        UserError, match=rf"mask\.mrc: {box} px of {pixel:g} Å, but half1\.mrc has 32 px of 5 Å"
    ):
        mrc.check_mask(write_map("mask.mrc", box, pixel), half)


def test_a_file_that_is_no_map_is_refused() -> None:
    Path("mask.mrc").write_text("no map")
    with pytest.raises(UserError, match=r"mask\.mrc: cannot be read as an MRC map"):
        mrc.check_mask("mask.mrc", write_map("half1.mrc"))


@pytest.fixture
def sweep(project: Path) -> tuple[Path, Start]:
    """A CTF-refinement sweep of two variants, one of which failed, and what it started from (RELION's own FSCs)."""
    for name in ("input", "refine"):
        shutil.copytree(GOLDEN / name, project / name, ignore=shutil.ignore_patterns("run_it*", "*.mrcs"))
    record.adopt("refine/run_optimisation_set.star")
    state = OptimisationSet.read("refine/run_optimisation_set.star")
    before = made_of("refine/run_optimisation_set.star", "before", "before")
    folder = project / "polish"
    tomograms = Path("polish/good/tomograms.star")
    tomograms.parent.mkdir(parents=True)
    tomograms.write_text(Path("input/tomograms.star").read_text().replace("input/tilt", "polish/good/tilt"))
    shutil.copytree("input/tilt_series", "polish/good/tilt_series")
    series = star.read("polish/good/tilt_series/TS_01.star")
    series["TS_01"]["rlnDefocusU"] += 100.0
    star.write("polish/good/tilt_series/TS_01.star", series)
    replace(state, tomograms=str(tomograms)).write(folder / "good/optimisation_set.star")
    ran("relion_tomo_refine_ctf --i refine/run_optimisation_set.star --o polish/good/", "polish/good")
    made_of(
        "polish/good/optimisation_set.star",
        "polish/good/reconstruct",
        "polish_post",
        "polish/good/postprocess",
    )
    (folder / "broken/postprocess").mkdir(parents=True)
    fail(folder / "broken")
    return folder, before


def made_of(state: str, maps: str, fsc: str, postprocess: str = "") -> Start:
    """Maps of a state in the folder `maps`, and RELION's FSC of that name as theirs, with their records."""
    halves = [write_map(f"{maps}/half{n}.mrc") for n in (1, 2)]
    merged = write_map(f"{maps}/merged.mrc")
    ran(f"relion_tomo_reconstruct_particle --i {state} --o {maps}/", maps)
    postprocess = postprocess or f"{maps}/postprocess"
    Path(postprocess).mkdir()
    shutil.copy(GOLDEN / f"cycle/{fsc}/postprocess.star", postprocess)
    ran(f"relion_postprocess --i {halves[0]} --o {postprocess}/postprocess", postprocess)
    return Start([state], halves, merged, f"{postprocess}/postprocess.star")


def ran(command: str, folder: str) -> None:
    record.of_program(Command.of(command.split()), folder)


def fail(variant: Path) -> None:
    (variant / "postprocess/job.json").write_text(
        json.dumps({"ended_well": False, "cause": "out of memory."})
    )
    for name in ("optimisation_set.star", "postprocess/postprocess.star"):
        (variant / name).write_bytes(b"")


def test_a_failed_variant_does_not_take_the_others_down(sweep: tuple[Path, Start]) -> None:
    decision = apply_cycle.choose_variant(*sweep, VARIANTS, "auto", "key")
    assert decision.choice == {"variant": "good"}
    failed = decision.candidates.set_index("variant").loc["broken", "failed"]
    assert "out of memory" in failed


def test_if_all_variants_failed_they_are_tried_again_next_time(sweep: tuple[Path, Start]) -> None:
    folder, before = sweep
    fail(folder / "good")
    with pytest.raises(UserError, match="out of memory"):
        apply_cycle.choose_variant(folder, before, VARIANTS, "auto", "key")
    assert not (folder / "good/optimisation_set.star").exists()
    assert not (folder / "broken/optimisation_set.star").exists()


def keep(sweep: tuple[Path, Start], variant: str) -> Path:
    folder, before = sweep
    folder = folder.relative_to(Path.cwd())
    decision = Decision("Variant", {"variant": variant}, "rule", "", numbers={"resolution": 28.2})
    apply_cycle.write_chosen(decision, folder, before)
    return folder


@pytest.mark.parametrize(("kept", "maps"), [("good", "polish/good/reconstruct"), ("before", "before")])
def test_what_is_kept_gets_stable_names(sweep: tuple[Path, Start], kept: str, maps: str) -> None:
    folder = keep(sweep, kept)
    for name in ("half1.mrc", "half2.mrc", "merged.mrc"):
        assert (folder / name).read_bytes() == Path(maps, name).read_bytes()
    assert OptimisationSet.read(folder / "optimisation_set.star").particles == "refine/run_data.star"
    assert json.loads((folder / "state.json").read_text())["resolution"] == 28.2
    origin = "before" if kept == "before" else "polish_post"
    assert (folder / "postprocess.star").read_text() == (
        GOLDEN / f"cycle/{origin}/postprocess.star"
    ).read_text()


def test_tilt_series_that_are_kept_lie_in_the_decisions_folder_and_are_the_same_state(
    sweep: tuple[Path, Start],
) -> None:
    """Programs write theirs below the path of the ones they read: without this, paths grow with each cycle."""
    folder = keep(sweep, "good")
    state = OptimisationSet.read(folder / "optimisation_set.star")
    assert state.tomograms == "polish/tomograms.star"
    assert star.columns(state.tomograms, "global")["rlnTomoTiltSeriesStarFile"] == [
        f"polish/tilt_series/TS_0{n}.star" for n in (1, 2)
    ]
    record = json.loads((folder / "state.json").read_text())
    assert record["parent"] == {"id": record["id"], "path": "polish/good"}


@pytest.mark.parametrize(("kept", "start"), [("good", "polish/good"), ("before", "refine")])
def test_what_is_kept_is_what_the_next_step_may_start_from(
    sweep: tuple[Path, Start], kept: str, start: str
) -> None:
    folder = keep(sweep, kept)
    assert json.loads((folder / "state.json").read_text())["parent"]["path"] == start
    reconstruct = "relion_tomo_reconstruct_particle --i polish/optimisation_set.star --o new/"
    origin.check(Command.of(reconstruct.split()))
    half_maps = "--ref1 polish/half1.mrc --ref2 polish/half2.mrc --fsc polish/postprocess.star"
    origin.check(Command.of(f"relion_tomo_align --i polish/optimisation_set.star {half_maps} --o n/".split()))


@pytest.mark.parametrize("name", ["reconstruct/half1.mrc", "postprocess/postprocess.star"])
def test_maps_or_an_fsc_of_another_state_are_not_kept(sweep: tuple[Path, Start], name: str) -> None:
    other = {"half1.mrc": "before/half1.mrc", "postprocess.star": "before/postprocess/postprocess.star"}
    shutil.copy(other[Path(name).name], f"polish/good/{name}")
    with pytest.raises(UserError, match="is not what it was"):
        keep(sweep, "good")


def test_keeping_the_same_again_gives_the_same_record(sweep: tuple[Path, Start]) -> None:
    first = (keep(sweep, "good") / "state.json").read_bytes()
    assert (keep(sweep, "good") / "state.json").read_bytes() == first
