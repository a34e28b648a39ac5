"""What `auto` means for a step, from its images and the resolution reached before it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from stacycle import star
from stacycle.errors import UserError
from stacycle.state import State, lowpass, read_state, resolution, series_pixel, settle, write_state_file

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
TUTORIAL = State("", star.OptimisationSet("", ""), box=84, pixel=7.64)


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


def test_a_state_knows_box_and_pixel_size_of_its_images() -> None:
    state = read_state("extract/optimisation_set.star")
    assert (state.box, state.pixel) == (24, 20.0)
    assert series_pixel(state.files.tomograms) == 5.0


def test_optics_groups_of_different_boxes_are_refused(tmp_path: Path) -> None:
    particles = star.read("extract/particles.star")
    particles["optics"] = particles["optics"].loc[[0, 0]].reset_index(drop=True)
    particles["optics"]["rlnImageSize"] = [24, 32]
    star.write(tmp_path / "particles.star", particles)
    state = star.OptimisationSet(str(tmp_path / "particles.star"), "input/tomograms.star")
    star.write_optimisation_set(tmp_path / "set.star", state)
    with pytest.raises(UserError, match=r"24 px of 20 Å, 32 px of 20 Å"):
        read_state(str(tmp_path / "set.star"))


def test_auto_gives_the_tutorials_numbers() -> None:
    settings = {"mask_diameter": "auto", "highres_limit": "auto", "lowpass": 50}
    assert settle(settings, TUTORIAL, []) == {"mask_diameter": 570, "highres_limit": 15, "lowpass": 50}


def test_what_the_config_says_is_left_as_it_is() -> None:
    settings = {"mask_diameter": 500, "highres_limit": None, "lowpass": 30, "seed": 3}
    assert settle(settings, TUTORIAL, []) == settings


def test_the_low_pass_follows_from_the_resolution_that_was_reached() -> None:
    assert resolution("postprocess/postprocess.star") == 40.0
    assert lowpass("auto", ["postprocess/postprocess.star"]) == 45


def test_a_map_carries_no_low_pass_beyond_its_own_nyquist() -> None:
    """A cycle at bin 1 may have reached 5 Å; images of 20 Å pixels carry 40 Å."""
    assert lowpass("auto", ["postprocess/postprocess.star"], pixel=30) == 70


def write_state(folder: Path, resolution: float = 12.5) -> bytes:
    """The state file of RELION's own polished state, with one map."""
    folder.mkdir(exist_ok=True)
    star.write_optimisation_set(
        folder / "optimisation_set.star",
        star.OptimisationSet("extract/particles.star", "input/tomograms.star"),
    )
    (folder / "half1.mrc").write_bytes(b"map")
    write_state_file(folder, ["half1.mrc"], resolution)
    return (folder / "state.json").read_bytes()


def test_a_class_without_a_resolution_leaves_the_one_reached_before(tmp_path: Path) -> None:
    """At low T the largest and best class can have resolution inf, which a decision gives as none."""
    write_state(tmp_path, math.inf)
    assert lowpass("auto", [str(tmp_path / "state.json"), "postprocess/postprocess.star"]) == 45
    with pytest.raises(UserError, match="lowpass"):
        lowpass("auto", [str(tmp_path / "state.json")])


def test_a_state_file_is_the_same_for_the_same_content_and_tells_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("extract", tmp_path / "extract", ignore=shutil.ignore_patterns("Subtomograms"))
    shutil.copytree("input", tmp_path / "input", ignore=shutil.ignore_patterns("*.mrcs"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "decision"
    told = write_state(folder)
    assert write_state(folder) == told
    assert write_state(folder, 12.4) != told
    assert resolution(str(folder / "state.json")) == 12.4
    for path in (Path("extract/particles.star"), Path("input/tilt_series/TS_02.star")):
        kept = path.read_text()
        path.write_text(kept + "\n")
        assert write_state(folder) != told
        path.write_text(kept)
    assert write_state(folder) == told


def test_without_a_resolution_the_low_pass_has_to_be_given() -> None:
    with pytest.raises(UserError, match="lowpass"):
        lowpass("auto", [])
