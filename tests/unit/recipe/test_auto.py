"""What `auto` means for a step, from its images and the resolution reached before it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.recipe.auto import (
    State,
    estimation_box,
    lowpass,
    read_state,
    resolution,
    resolve_auto,
    series_pixel,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
TUTORIAL = State("", OptimisationSet("", ""), box=84, pixel=7.64)


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
    state = OptimisationSet(str(tmp_path / "particles.star"), "input/tomograms.star")
    state.write(tmp_path / "set.star")
    with pytest.raises(UserError, match=r"24 px of 20 Å, 32 px of 20 Å"):
        read_state(str(tmp_path / "set.star"))


def test_auto_gives_the_tutorials_numbers() -> None:
    settings = {"mask_diameter": "auto", "highres_limit": "auto", "lowpass": 50}
    assert resolve_auto(settings, TUTORIAL, []) == {"mask_diameter": 570, "highres_limit": 15, "lowpass": 50}


def test_the_sampling_follows_from_the_accuracy_that_is_known(tmp_path: Path) -> None:
    settings = {"sampling": "auto", "local_sampling": "auto", "lowpass": 50}
    assert resolve_auto(settings, TUTORIAL, []) == settings | {"sampling": 7.5, "local_sampling": 7.5}
    (tmp_path / "state.json").write_text(json.dumps({"accuracy": [1.0, 3.0]}))
    for told, sampling in ((str(tmp_path / "state.json"), 1.8), ("refine/run_it001_half1_model.star", 0.1)):
        found = resolve_auto(settings, TUTORIAL, [], [told])
        assert (found["sampling"], found["local_sampling"]) == (sampling, sampling)
    offsets = {"offset_range": "auto", "offset_step": "auto", "lowpass": 50}
    assert resolve_auto(offsets, TUTORIAL, []) == offsets | {"offset_range": 2, "offset_step": 1}
    found = resolve_auto(offsets, TUTORIAL, [], [str(tmp_path / "state.json")])
    assert (found["offset_range"], found["offset_step"]) == (2, 0.5)
    wide = resolve_auto(offsets | {"offset_step": 3}, TUTORIAL, [])
    assert (wide["offset_range"], wide["offset_step"]) == (3, 3)
    coarser = resolve_auto(settings | {"sampling": 30, "local_sampling": 7.5}, TUTORIAL, [], [told])
    assert (coarser["sampling"], coarser["local_sampling"]) == (30, 7.5)


def test_what_the_config_says_is_left_as_it_is() -> None:
    settings = {"mask_diameter": 500, "highres_limit": None, "lowpass": 30, "seed": 3}
    assert resolve_auto(settings, TUTORIAL, []) == settings


def test_the_low_pass_follows_from_the_resolution_that_was_reached() -> None:
    assert resolution("postprocess/postprocess.star") == 40.0
    assert lowpass("auto", ["postprocess/postprocess.star"]) == 45


def test_a_map_carries_no_low_pass_beyond_its_own_nyquist() -> None:
    """A cycle at bin 1 may have reached 5 Å; images of 20 Å pixels carry 40 Å."""
    assert lowpass("auto", ["postprocess/postprocess.star"], pixel=30) == 70


def with_resolution(folder: Path, resolution: float | None) -> str:
    (folder / "state.json").write_text(json.dumps({"resolution": resolution}))
    return str(folder / "state.json")


def test_a_class_without_a_resolution_leaves_the_one_reached_before(tmp_path: Path) -> None:
    """At low T the largest and best class can have resolution inf, which a decision gives as none."""
    none = with_resolution(tmp_path, None)
    assert lowpass("auto", [none, "postprocess/postprocess.star"]) == 45
    with pytest.raises(UserError, match="lowpass"):
        lowpass("auto", [none])
    assert resolution(with_resolution(tmp_path, 12.4)) == 12.4


def test_without_a_resolution_the_low_pass_has_to_be_given() -> None:
    with pytest.raises(UserError, match="lowpass"):
        lowpass("auto", [])


def test_neither_states_nor_lineage_wait_for_pandas() -> None:
    """The overhead of a job is 0.3 s; pandas alone takes longer."""
    loaded = (
        "import sys, stacycle.recipe.auto\n"
        "from stacycle.provenance import audit, origin, record\n"
        "print({'pandas', 'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_estimation_box_is_at_least_that_of_the_reference(tmp_path: Path) -> None:
    half = str(tmp_path / "half1.mrc")
    mrcfile.write(half, np.zeros((96, 96, 96), np.int8), voxel_size=2)
    assert estimation_box("auto", half, "key") == 108
    assert estimation_box(96, half, "key") == 96
    with pytest.raises(UserError, match=r"key: 64 px is smaller than the 96 px of the reference .*half1"):
        estimation_box(64, half, "key")
