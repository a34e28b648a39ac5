"""The runs of a classification: their command lines."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stacycle.files.optimisation_set import OptimisationSet
from stacycle.recipe.auto import State
from stacycle.steps import class3d

SETTINGS = {"seed": None, "lowpass": 50, "highres_limit": 80, "iterations": 1, "mask_diameter": 300}


@pytest.mark.parametrize(("seed", "seeds"), [(None, [None, 2, 3]), (7, [7, 8, 9])])
def test_repeated_runs_start_from_different_random_classes(seed: int | None, seeds: list[int | None]) -> None:
    job = SimpleNamespace(
        input=SimpleNamespace(state=["state"], reference="map", resolution=[]),
        output=["results/bin4/class3d/T1_K3/run_it001_data.star"],
        params=SimpleNamespace(symmetry="C1", settings=SETTINGS | {"seed": seed}),
    )
    reader = SimpleNamespace(state=lambda path: State(path, OptimisationSet("p", "t"), 32, 16))
    found = []
    for variant in ([1, 3], [1, 3, 2], [1, 3, 3]):
        job.params.variant = variant
        found.append(class3d.arguments(job, {"pool": 30, "scratch": None}, reader)["seed"])
    assert found == seeds
