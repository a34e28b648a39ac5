"""The runs of a classification: their command lines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stacycle.files.optimisation_set import OptimisationSet
from stacycle.recipe.auto import State
from stacycle.steps import class3d

SETTINGS = {
    "mask": False,
    "seed": None,
    "lowpass": 50,
    "highres_limit": 80,
    "iterations": 1,
    "mask_diameter": 300,
}


READER = SimpleNamespace(state=lambda path: State(path, OptimisationSet("p", "t"), 32, 16))


def job_of(variant: list[int], mask: tuple[str, ...] = (), **settings: object) -> SimpleNamespace:
    """A job of a variant with these settings."""
    return SimpleNamespace(
        input=SimpleNamespace(state=["state"], reference="map", resolution=[], mask=list(mask)),
        output=["results/bin4/class3d/T1_K3/run_it001_data.star"],
        params=SimpleNamespace(symmetry="C1", settings=SETTINGS | settings, variant=variant),
        resources={},
        threads=1,
    )


def arguments(variant: list[int], **settings: Any) -> dict[str, Any]:
    """What a run of a variant with these settings is given."""
    return class3d.arguments(job_of(variant, **settings), {"pool": 30, "scratch": None}, READER)


def test_classes_are_compared_within_the_mask_that_the_job_is_given() -> None:
    assert arguments([1, 3])["mask"] is None
    assert arguments([1, 3], mask=("mask.mrc",))["mask"] == "mask.mrc"


@pytest.mark.parametrize(("seed", "seeds"), [(None, [None, 2, 3]), (7, [7, 8, 9])])
def test_repeated_runs_start_from_different_random_classes(seed: int | None, seeds: list[int | None]) -> None:
    found = [arguments(variant, seed=seed)["seed"] for variant in ([1, 3], [1, 3, 2], [1, 3, 3])]
    assert found == seeds


@pytest.mark.parametrize(("alignment", "flags"), [("local", ["--sigma_ang"]), ("global", [])])
def test_a_classification_with_alignment_is_the_gui_s_with_a_search(alignment: str, flags: list[str]) -> None:
    search = {"sampling": 3.7, "local_range": 6, "offset_range": 5, "offset_step": 1}
    job = job_of([2, 3], alignment=alignment, **search)
    argv = class3d.command(job, {"pool": 30, "scratch": None}, READER)
    assert "--skip_align" not in argv
    options = dict(zip(argv[1::2], argv[2::2], strict=False))
    assert {key: options[key] for key in ("--K", "--healpix_order", "--offset_range", "--offset_step")} == {
        "--K": "3",
        "--healpix_order": "3",
        "--offset_range": "5",
        "--offset_step": "2",
    }
    assert [flag for flag in ("--sigma_ang",) if flag in argv] == flags
