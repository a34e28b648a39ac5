"""The command line of a local resolution, and what is looked at before and after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stacycle.errors import ProgramFailed, UserError
from stacycle.files import mrc
from stacycle.programs import local_resolution, mpi, verify
from stacycle.programs.command import Command
from stacycle.recipe import geometry

BOX, PIXEL = 24, 10.0
GUI = (
    "relion_postprocess --locres --i run_half1.mrc --o locres/relion --angpix -1 --adhoc_bfac -100 --mask mask.mrc "
    "--locres_sampling 40 --locres_maskrad 20 --locres_edgwidth 40 --locres_randomize_at 60 --locres_minres 80"
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two half maps of 24 px of 10 Å, a mask, and the maps that a run left."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name in ("run_half1", "run_half2"):
        mrc.write_map(f"{name}.mrc", rng.normal(size=(BOX,) * 3), PIXEL)
    mask = np.zeros((BOX,) * 3)
    mask[8:16, 8:16, 8:16] = 1
    mrc.write_map("mask.mrc", mask, PIXEL)
    local(rng.uniform(22, 60, (BOX,) * 3) * (mask + 1 > 0))
    mrc.write_map("locres/relion_locres_filtered.mrc", rng.normal(size=(BOX,) * 3), PIXEL)


def local(values: np.ndarray, pixel: float = PIXEL) -> None:
    mrc.write_map("locres/relion_locres.mrc", values, pixel)


def command(**changes: str) -> Command:
    words = GUI.split()
    for flag, value in changes.items():
        words[words.index(f"--{flag}") + 1] = value
    return Command.of(words)


def check_outputs() -> None:
    made = ["locres/relion_locres.mrc", "locres/relion_locres_filtered.mrc"]
    verify.check_outputs(command(), made, [])


def test_the_command_is_the_guis_with_what_it_leaves_to_defaults() -> None:
    auto = geometry.local_resolution(resolution_A=20, pixel_A=10, box_px=48, diameter_A=230)
    argv = local_resolution.argv(
        half_map="run_half1.mrc", mask="mask.mrc", out="locres/relion", bfactor=-100, **auto
    )
    assert argv == GUI.split()
    assert mpi.with_mpi(argv, 4)[:4] == ["mpirun", "-n", "4", "relion_postprocess_mpi"]


def test_without_a_mask_no_flag_for_it_is_left() -> None:
    argv = local_resolution.argv(
        half_map="h",
        mask=None,
        out="o",
        bfactor=0,
        sampling=25,
        mask_radius=12.5,
        edge_width=25,
        randomise_at=25,
        coarsest=50,
    )
    assert "--mask" not in argv


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"locres_sampling": "5"}, "a sampling of 5 Å is no whole pixel in these half maps of 10 Å/px"),
        ({"locres_sampling": "3", "locres_maskrad": "2"}, "RELION would never end; take 30 Å or more"),
        ({"locres_maskrad": "120"}, "spheres of radius 120 Å do not fit into the box of 240 Å"),
        ({"locres_randomize_at": "20"}, "phases beyond 20 Å are none in these half maps"),
        ({"locres_minres": "20"}, "all resolutions would be 20 Å, the coarsest, for these half maps"),
    ],
)
def test_lengths_that_mean_nothing_are_refused_with_the_key(changes: dict[str, str], sentence: str) -> None:
    verify.check_inputs(command())
    with pytest.raises(UserError, match=sentence) as raised:
        verify.check_inputs(command(**changes))
    assert "local_resolution." in str(raised.value)


def test_relions_own_defaults_are_refused_at_the_binning_where_they_mean_nothing() -> None:
    """At 20 Å/px phases are random beyond 25 Å: never."""
    for name in ("run_half1", "run_half2", "mask"):
        mrc.write_map(f"{name}.mrc", np.array(mrc.voxels(f"{name}.mrc")), 20)
    defaults = {"locres_sampling": "25", "locres_maskrad": "12.5", "locres_edgwidth": "25"}
    with pytest.raises(UserError, match="phases beyond 25 Å are none"):
        verify.check_inputs(command(**defaults, locres_randomize_at="25", locres_minres="50"))


def test_a_mask_of_another_box_is_refused_before_hours_of_work() -> None:
    mrc.write_map("mask.mrc", np.array(mrc.voxels("mask.mrc"))[2:-2, 2:-2, 2:-2], PIXEL)
    with pytest.raises(UserError, match=r"mask\.mrc: 20 px of 10 Å, but run_half1\.mrc has 24 px"):
        verify.check_inputs(command())


def test_maps_that_a_run_left_are_looked_at() -> None:
    check_outputs()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((BOX,) * 3), "all its voxels are 0"),
        (np.full((BOX,) * 3, np.nan), "are no finite numbers"),
        (np.linspace(-1, 1, BOX**3).reshape((BOX,) * 3) - 1, "its resolutions are not above 0 Å"),
        (np.linspace(5, 60, BOX**3).reshape((BOX,) * 3), "run from 5 to 60 Å, not within 20 to 80 Å"),
        (np.linspace(30, 99, BOX**3).reshape((BOX,) * 3), "run from 30 to 99 Å, not within 20 to 80 Å"),
        (np.eye(BOX)[:, :, None] * np.full(BOX, 80.0), "all its resolutions are 80 Å, the coarsest"),
    ],
)
def test_a_map_that_says_nothing_is_refused(values: np.ndarray, sentence: str) -> None:
    local(values)
    with pytest.raises(ProgramFailed, match=sentence):
        check_outputs()


def test_maps_of_another_pixel_size_are_refused() -> None:
    local(np.array(mrc.voxels("locres/relion_locres.mrc")), pixel=1.0)
    with pytest.raises(ProgramFailed, match=r"24 px of 1 Å, but run_half1\.mrc has 24 px of 10 Å"):
        check_outputs()


@pytest.mark.parametrize("pixel", [1.35, 1.91, 5, 7.64, 10, 20])
@pytest.mark.parametrize("over_nyquist", [1, 1.2, 1.5, 2, 3])
@pytest.mark.parametrize("diameter", [120, 230, 350])
def test_auto_always_means_something(pixel: float, over_nyquist: float, diameter: float) -> None:
    """Whole pixels apart, spheres in the box, phases random within the band, and room for what is coarser."""
    box = max(16, 4 * round(2 * diameter / pixel / 4))
    reached = min(over_nyquist * 2 * pixel, box * pixel / 4)
    found = geometry.local_resolution(resolution_A=reached, pixel_A=pixel, box_px=box, diameter_A=diameter)
    assert round(found["sampling"] / pixel) >= 1
    assert found["sampling"] >= min(25, 3 * pixel)
    assert found["mask_radius"] < box * pixel / 2
    assert reached < found["randomise_at"] <= box * pixel / 2
    assert found["randomise_at"] <= found["coarsest"]
    if reached <= 25 / 3:
        own = {"sampling": 25, "mask_radius": 12.5, "edge_width": 25, "randomise_at": 25, "coarsest": 50}
        assert found == own, "RELION's own, as far as they do"


def test_a_given_sampling_takes_the_spheres_with_it() -> None:
    found = geometry.local_resolution(resolution_A=4, pixel_A=2, box_px=128, diameter_A=120, sampling_A=40)
    assert (found["sampling"], found["mask_radius"], found["edge_width"], found["coarsest"]) == (
        40,
        20,
        40,
        80,
    )


def test_a_map_without_any_resolution_still_has_lengths() -> None:
    found = geometry.local_resolution(resolution_A=float("inf"), pixel_A=10, box_px=24, diameter_A=120)
    assert all(np.isfinite(list(found.values())))
