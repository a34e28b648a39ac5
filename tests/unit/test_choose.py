"""From runs to the files that the next step starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from stacycle import choose, star
from stacycle.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "data"


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


@pytest.fixture
def align(tmp_path: Path) -> Path:
    """A sweep of one variant: RELION's own K = 1 run, which sampled at 7.5 degrees."""
    (tmp_path / "T1").symlink_to(GOLDEN / "align")
    return tmp_path


def same(ours, theirs) -> None:
    """Tables with the same columns and values; 300 and 300.0 are the same."""
    assert_frame_equal(ours, theirs, check_dtype=False)


def chosen(folder: Path, iteration: int | str = "auto", sampling: float = 7.5) -> choose.Chosen:
    return choose.alignment(folder, {"T1": [1, 1]}, iteration, "auto", "rounds.bin4.align", sampling=sampling)


def test_the_chosen_iteration_of_an_alignment_is_what_goes_on(align: Path, tmp_path: Path) -> None:
    choose.go_on_from(chosen(align, iteration=4), tmp_path)
    state = star.read_optimisation_set(tmp_path / "optimisation_set.star")
    assert state.particles == str(tmp_path / "particles.star")
    assert state.tomograms == "input/tomograms.star"
    ours, theirs = star.read(tmp_path / "particles.star"), star.read(GOLDEN / "align/run_it004_data.star")
    same(ours["particles"], theirs["particles"])


def test_a_sampling_too_coarse_for_the_images_is_warned_of(align: Path) -> None:
    warnings = chosen(align, sampling=7.5).decision.warnings
    assert any("rounds.bin4.align.sampling" in warning for warning in warnings)
    assert not any("sampling" in warning for warning in chosen(align, sampling=3.7).decision.warnings)


def test_selecting_classes_keeps_their_particles_and_the_tables_about_images() -> None:
    particles = star.read(GOLDEN / "classify/run_it010_data.star")
    kept = choose.keep_classes(particles, [1, 3])
    assert set(kept["particles"]["rlnClassNumber"]) <= {1, 3}
    assert len(kept["particles"]) == particles["particles"]["rlnClassNumber"].isin([1, 3]).sum() > 0
    same(kept["optics"], particles["optics"])
    same(kept["general"], particles["general"])


def test_a_selection_is_written_as_relions_own_selection(tmp_path: Path) -> None:
    """RELION's Select keeps data_general and data_optics; so must what is written, read back."""
    particles = star.read(GOLDEN / "classify/run_it010_data.star")
    origin = star.OptimisationSet("elsewhere.star", "input/tomograms.star")
    choose.write_state(choose.keep_classes(particles, [1]), origin, tmp_path)
    ours, relions = star.read(tmp_path / "particles.star"), star.read(GOLDEN / "select/particles.star")
    assert list(ours) == list(relions) == ["general", "optics", "particles"]
    same(ours["optics"], relions["optics"])
    assert list(ours["particles"]) == list(relions["particles"])


def test_a_classification_without_a_complete_iteration_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "T1_K2").mkdir()
    with pytest.raises(UserError, match="no complete iteration"):
        choose.classification(
            tmp_path, {"T1_K2": [1, 2]}, "auto", "auto", "class3d", consensus="", diameter=1, lowpass=1
        )
