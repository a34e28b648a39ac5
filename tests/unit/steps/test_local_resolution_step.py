"""The lengths of a local resolution follow from the post-processing before it, whose half maps must be the newest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stacycle.errors import UserError
from stacycle.steps import local_resolution

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
AUTO = dict.fromkeys(("sampling", "mask_radius", "edge_width", "randomise_at", "coarsest", "bfactor"), "auto")


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


def job(folder: str = "refine", **settings: float) -> Any:
    halves = [f"{folder}/run_half{half}_class001_unfil.mrc" for half in (1, 2)]
    given = SimpleNamespace(half_maps=halves, mask=["mask/mask.mrc"], fsc="postprocess/postprocess.star")
    params = SimpleNamespace(settings=AUTO | settings, diameter=180, key="rounds.bin4.local_resolution")
    output = ["results/bin4/local_resolution/relion_locres.mrc"]
    resources = {"ranks": 4} if "ranks" in settings else {}
    params.settings.pop("ranks", None)
    return SimpleNamespace(input=given, params=params, output=output, threads=1, resources=resources)


def test_auto_follows_from_the_resolution_and_b_factor_of_the_post_processing() -> None:
    """RELION's: 40 Å, Nyquist of 20 Å/px, sharpened by -200 Å²."""
    assert local_resolution.settings(job()) == {
        "sampling": 60,
        "mask_radius": 30,
        "edge_width": 60,
        "randomise_at": 120,
        "coarsest": 120,
        "bfactor": -200,
    }


def test_what_the_config_gives_stays_and_takes_the_rest_with_it() -> None:
    found = local_resolution.settings(job(sampling=80, coarsest=100, bfactor=0))
    assert (found["sampling"], found["mask_radius"], found["edge_width"]) == (80, 40, 80)
    assert (found["coarsest"], found["bfactor"]) == (100, 0)


def test_ranks_of_the_profile_are_those_of_the_program() -> None:
    argv = local_resolution.command(job(), {"kind": "embedded"})
    assert argv[:2] == ["relion_postprocess", "--locres"]
    assert "results/bin4/local_resolution/relion" in argv
    assert local_resolution.command(job(ranks=4), {"kind": "embedded"})[:4] == [
        "mpirun",
        "-n",
        "4",
        "relion_postprocess_mpi",
    ]


def test_half_maps_other_than_those_that_were_post_processed_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"postprocess\.star is of refine/.*, not of the newest half maps, later/"
    ):
        local_resolution.settings(job("later"))
