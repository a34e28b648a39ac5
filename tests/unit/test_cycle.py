"""The cycle's sweeps: what is checked before hours are spent, and what is kept afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle import cycle, maps, star
from stacycle.decisions import Decision
from stacycle.errors import UserError
from stacycle.recipe import Start
from stacycle.state import check_half_sets

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
VARIANTS = {"good": {"max_error": 5}, "broken": {"max_error": 3}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_map(path: Path | str, box: int = 32, pixel: float = 5.0) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.full((box,) * 3, hash(str(path)) % 100, np.float32))
        file.voxel_size = pixel
    return str(path)


def write_particles(path: str, subsets: list[int] | None) -> str:
    table = star.read(GOLDEN / "refine/run_data.star")
    table["particles"] = table["particles"].head(4).drop(columns="rlnRandomSubset")
    if subsets:
        table["particles"]["rlnRandomSubset"] = subsets
    star.write(path, table)
    return path


def test_half_sets_are_needed_both_of_them() -> None:
    check_half_sets(write_particles("both.star", [1, 2, 1, 2]))
    for subsets in (None, [1, 1, 1, 1]):
        with pytest.raises(UserError, match=r"none\.star: .*half sets.*run refine3d before cycle"):
            check_half_sets(write_particles("none.star", subsets))


@pytest.mark.parametrize(("box", "pixel"), [(30, 5.0), (32, 5.1)])
def test_a_mask_of_another_box_or_pixel_size_is_refused(box: int, pixel: float) -> None:
    half = write_map("half1.mrc")
    maps.check_mask(write_map("mask.mrc"), half)
    with pytest.raises(
        UserError, match=rf"mask\.mrc: {box} px of {pixel:g} Å, but half1\.mrc has 32 px of 5 Å"
    ):
        maps.check_mask(write_map("mask.mrc", box, pixel), half)


def test_a_file_that_is_no_map_is_told_so() -> None:
    Path("mask.mrc").write_text("no map")
    with pytest.raises(UserError, match=r"mask\.mrc: cannot be read as an MRC map"):
        maps.check_mask("mask.mrc", write_map("half1.mrc"))


def test_the_estimation_box_is_at_least_that_of_the_reference() -> None:
    half = write_map("half1.mrc", box=96)
    assert maps.estimation_box("auto", half, "key") == 108
    assert maps.estimation_box(96, half, "key") == 96
    with pytest.raises(UserError, match="key: 64 px is smaller than the 96 px of the reference half1"):
        maps.estimation_box(64, half, "key")


@pytest.fixture
def sweep(project: Path) -> tuple[Path, Start]:
    """A polishing sweep of two variants, one of which failed, and what it started from (RELION's own FSCs)."""
    for name in ("input", "refine"):
        (project / name).symlink_to(GOLDEN / name)
    state = star.OptimisationSet("refine/run_data.star", "input/tomograms.star")
    star.write_optimisation_set("before.star", state)
    halves = [write_map(f"before/half{n}.mrc") for n in (1, 2)]
    before = Start(
        ["before.star"], halves, write_map("before/merged.mrc"), str(GOLDEN / "cycle/before/postprocess.star")
    )
    folder = project / "polish"
    for name in ("half1", "half2", "merged"):
        write_map(folder / "good/reconstruct" / f"{name}.mrc")
    for name in VARIANTS:
        (folder / name / "postprocess").mkdir(parents=True)
    shutil.copy(GOLDEN / "cycle/polish_post/postprocess.star", folder / "good/postprocess")
    star.write_optimisation_set(folder / "good/optimisation_set.star", state)
    fail(folder / "broken")
    return folder, before


def fail(variant: Path) -> None:
    (variant / "postprocess/job.json").write_text(
        json.dumps({"ended_well": False, "cause": "out of memory."})
    )
    for name in ("optimisation_set.star", "postprocess/postprocess.star"):
        (variant / name).write_bytes(b"")


def test_a_failed_variant_does_not_take_the_others_down(sweep: tuple[Path, Start]) -> None:
    decision = cycle.decide(*sweep, VARIANTS, "auto", "key")
    assert decision.choice == {"variant": "good"}
    failed = decision.candidates.set_index("variant").loc["broken", "failed"]
    assert "out of memory" in failed


def test_if_all_variants_failed_they_are_tried_again_next_time(sweep: tuple[Path, Start]) -> None:
    folder, before = sweep
    fail(folder / "good")
    with pytest.raises(UserError, match="out of memory"):
        cycle.decide(folder, before, VARIANTS, "auto", "key")
    assert not (folder / "good/optimisation_set.star").exists()
    assert not (folder / "broken/optimisation_set.star").exists()


@pytest.mark.parametrize(("kept", "maps"), [("good", "polish/good/reconstruct"), ("before", "before")])
def test_what_is_kept_gets_stable_names(sweep: tuple[Path, Start], kept: str, maps: str) -> None:
    folder, before = sweep
    cycle.keep(
        Decision("Variant", {"variant": kept}, "rule", "", numbers={"resolution": 28.2}), folder, before
    )
    for name in ("half1.mrc", "half2.mrc", "merged.mrc"):
        assert (folder / name).read_bytes() == Path(maps, name).read_bytes()
    assert star.read_optimisation_set(folder / "optimisation_set.star").particles == "refine/run_data.star"
    assert json.loads((folder / "state.json").read_text())["resolution"] == 28.2
    origin = "before" if kept == "before" else "polish_post"
    assert (folder / "postprocess.star").read_text() == (
        GOLDEN / f"cycle/{origin}/postprocess.star"
    ).read_text()
