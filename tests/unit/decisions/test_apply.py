"""From runs to the files that the next step starts from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from stacycle.decisions import apply
from stacycle.errors import UserError
from stacycle.files import star, star_labels
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs.command import Command
from stacycle.provenance import record

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


ALIGN = "relion_refine --ios extract/optimisation_set.star --ref average/merged.mrc --o T1/run"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELION's own K = 1 run, which sampled at 7.5 degrees, as a sweep of one variant, and what it started from."""
    for name in ("extract", "align", "classify", "input"):
        not_needed = shutil.ignore_patterns("Subtomograms", "*.mrcs", "phantom*")
        shutil.copytree(GOLDEN / name, tmp_path / name.replace("align", "T1"), ignore=not_needed)
    monkeypatch.chdir(tmp_path)
    for path in Path("T1").glob("*_optimisation_set.star"):
        path.write_text(path.read_text().replace("align/", "T1/"))
    record.adopt("extract/optimisation_set.star")
    record.of_program(Command.of(ALIGN.split()), "T1")


@pytest.fixture
def align(tmp_path: Path) -> Path:
    return tmp_path


def same(ours, theirs) -> None:
    """Tables with the same columns and values; 300 and 300.0 are the same."""
    assert_frame_equal(ours, theirs, check_dtype=False)


def chosen(folder: Path, iteration: int | str = "auto", sampling: float | str = 7.5) -> apply.Chosen:
    return apply.choose_alignment(
        folder, {"T1": [1, 1]}, iteration, "auto", "rounds.bin4.align", sampling=sampling
    )


def test_the_chosen_iteration_of_an_alignment_is_what_the_next_step_gets(align: Path, tmp_path: Path) -> None:
    apply.write_chosen(chosen(align, iteration=4), tmp_path)
    state = OptimisationSet.read(tmp_path / "optimisation_set.star")
    assert state.particles == str(tmp_path / "particles.star")
    assert state.tomograms == "input/tomograms.star"
    ours, theirs = star.read(tmp_path / "particles.star"), star.read(GOLDEN / "align/run_it004_data.star")
    same(ours["particles"], theirs["particles"])


def test_a_sampling_too_coarse_for_the_images_is_warned_of(align: Path) -> None:
    warnings = chosen(align, sampling=15).decision.warnings
    assert any("rounds.bin4.align.sampling" in warning for warning in warnings)
    for good in (7.5, "auto"):
        assert not any("sampling" in warning for warning in chosen(align, sampling=good).decision.warnings)


def test_selecting_classes_keeps_their_particles_and_the_tables_about_images() -> None:
    particles = star.read(GOLDEN / "classify/run_it010_data.star")
    kept = apply.of_classes(particles, [1, 3])
    assert set(kept["particles"]["rlnClassNumber"]) <= {1, 3}
    assert len(kept["particles"]) == particles["particles"]["rlnClassNumber"].isin([1, 3]).sum() > 0
    same(kept["optics"], particles["optics"])
    same(kept["general"], particles["general"])


@pytest.fixture
def classified() -> OptimisationSet:
    """The state that RELION's classification left."""
    path = "classify/run_it010_optimisation_set.star"
    record.adopt(path)
    return OptimisationSet.read(path)


def test_a_selection_is_written_as_relions_own_selection(tmp_path: Path, classified: OptimisationSet) -> None:
    """RELION's Select keeps data_general and data_optics; so must what is written, read back."""
    particles = star.read(classified.particles)
    dropped = apply.write_selected(apply.of_classes(particles, [1]), classified, tmp_path)
    ours, relions = star.read(tmp_path / "particles.star"), star.read(GOLDEN / "select/particles.star")
    assert list(ours) == list(relions) == ["general", "optics", "particles"]
    same(ours["optics"], relions["optics"])
    assert list(ours["particles"]) == list(relions["particles"])
    counts = json.loads((tmp_path / "state.json").read_text())["counts"]
    lost = counts["in"] - counts["out"]
    assert counts["out"] == len(ours["particles"])
    assert dropped == {"in classes that were not selected": lost}


def test_a_particle_picked_twice_is_selected_once(tmp_path: Path, classified: OptimisationSet) -> None:
    """Two picks of one particle are a few Å apart once they are aligned; in both half sets they would feign an FSC."""
    particles = star.read(classified.particles)
    rows = particles["particles"]
    same_place = ["rlnTomoName", *star_labels.CENTRED, *star_labels.ORIGINS]
    rows.loc[1, same_place] = rows.loc[0, same_place]
    rows.loc[1, "rlnOriginXAngst"] += 19.0  # an unbinned pixel is 5 Å
    dropped = apply.write_selected(particles, classified, tmp_path)
    kept = star.read(tmp_path / "particles.star")["particles"]
    assert set(rows["rlnTomoParticleName"]) - set(kept["rlnTomoParticleName"]) == {
        rows.loc[1, "rlnTomoParticleName"]
    }
    assert dropped == {"picked twice": 1}


def test_an_alignment_is_recorded_as_made_from_what_the_run_started_from(align: Path, tmp_path: Path) -> None:
    """Not from the run's last iteration: more iterations after the chosen one make no other state."""
    apply.write_chosen(chosen(align, iteration=4), tmp_path)
    record = json.loads((tmp_path / "state.json").read_text())
    assert record["parent"]["path"] == "extract"
    assert record["parent"]["id"] == json.loads(Path("extract/state.json").read_text())["id"]


def test_a_classification_without_a_complete_iteration_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "T1_K2").mkdir()
    with pytest.raises(UserError, match="no complete iteration"):
        apply.choose_classification(
            tmp_path, {"T1_K2": [1, 2]}, "auto", "auto", "class3d", consensus="", diameter=1, lowpass=1
        )


def test_a_choice_without_maps_does_not_wait_for_scipy() -> None:
    loaded = "import sys, stacycle.decisions.apply; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
