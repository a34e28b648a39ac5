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


def arguments(variant: list[int], **settings: object) -> dict[str, Any]:
    """What a run of a variant with these settings is given."""
    job = SimpleNamespace(
        input=SimpleNamespace(state=["state"], reference="map", resolution=[], mask=["mask.mrc"]),
        output=["results/bin4/class3d/T1_K3/run_it001_data.star"],
        params=SimpleNamespace(symmetry="C1", settings=SETTINGS | settings, variant=variant),
    )
    return class3d.arguments(job, {"pool": 30, "scratch": None}, READER)


def test_classes_are_compared_within_the_mask_if_the_config_wants_that() -> None:
    assert arguments([1, 3])["mask"] is None
    assert arguments([1, 3], mask=True)["mask"] == "mask.mrc"


@pytest.mark.parametrize(("seed", "seeds"), [(None, [None, 2, 3]), (7, [7, 8, 9])])
def test_repeated_runs_start_from_different_random_classes(seed: int | None, seeds: list[int | None]) -> None:
    found = [arguments(variant, seed=seed)["seed"] for variant in ([1, 3], [1, 3, 2], [1, 3, 3])]
    assert found == seeds
