"""Creating a mask: what relion_mask_create is given, and what is said of its mask."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stacycle.decisions.decision import Decision
from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.files.job_folder import STATE_FILE
from stacycle.provenance.identity import digest, record_of
from stacycle.recipe.step_settings import Mask
from stacycle.steps import mask
from staengine.programs import mask_create

PIXEL = 7.64
SETTINGS = {"threshold": "auto", "lowpass": "auto", "extend": "auto", "soft_edge": "auto"}
RECORD = {
    "id": "1",
    "parent": None,
    "particles": ["p", "1"],
    "tomograms": ["t", "1"],
    "trajectories": None,
    "maps": {},
}


def ball(specks: bool) -> np.ndarray:
    """A ball, and smaller ones of the same density apart from it."""
    z, y, x = np.indices((48, 48, 48)) - 24
    density = z**2 + y**2 + x**2 < 10**2
    for at in ((-16, 0, 0), (0, 16, 12)) if specks else ():
        density |= (z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < 2.5**2
    return density.astype(np.float32)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A job whose map lies in a folder with the record of its state; the resolution reached is the tutorial's."""
    monkeypatch.chdir(tmp_path)
    for folder in ("average", "mask", "select"):
        Path(folder).mkdir()
    Path("average", STATE_FILE).write_text(json.dumps(RECORD))
    Path("select", STATE_FILE).write_text('{"resolution": 24.448}')
    params = SimpleNamespace(settings=SETTINGS, diameter=350, key="rounds.bin4.mask")
    return SimpleNamespace(
        input=SimpleNamespace(map="average/merged.mrc", resolution=[f"select/{STATE_FILE}"], earlier=[]),
        output=Outputs("mask/mask.mrc"),
        params=params,
        threads=1,
    )


class Outputs(tuple):
    """Snakemake's: by name and by number."""

    def __new__(cls, mask: str) -> Outputs:
        return super().__new__(cls, (mask,))

    @property
    def mask(self) -> str:
        return self[0]


def test_a_map_without_dust_is_given_as_it_is_with_the_tutorials_numbers(job: Any) -> None:
    mrc.write_map(job.input.map, ball(specks=False), PIXEL)
    decision, settings = mask.decide(job)
    mask.prepare(job, settings)
    assert mask.command(job, {}) == [
        *("relion_mask_create", "--i", "average/merged.mrc", "--o", "mask/mask.mrc", "--lowpass", "25"),
        *("--ini_threshold", f"{decision.choice['threshold']:g}"),
        *("--extend_inimask", "3", "--width_soft_edge", "3", "--j", "1"),
    ]
    assert not Path("mask_density").exists()


def test_dust_is_removed_from_the_map_and_not_from_what_it_was_made_of(job: Any) -> None:
    mrc.write_map(job.input.map, ball(specks=True), PIXEL)
    before = digest(job.input.map)
    _, settings = mask.decide(job)
    mask.prepare(job, settings)
    command = mask.command(job, {})
    assert command[2] == "mask_density/density.mrc"
    assert "--lowpass" not in command, "it is low-passed already"
    mask_create.main(command[1:])
    inside = mrc.voxels(job.output.mask) > 0.5
    assert inside[ball(specks=False) > 0].all()
    assert not inside[(ball(specks=True) - ball(specks=False)) > 0].any()
    assert digest(job.input.map) == before


def test_the_map_without_dust_belongs_to_the_state_that_the_average_is_of(job: Any) -> None:
    mrc.write_map(job.input.map, ball(specks=True), PIXEL)
    mask.prepare(job, mask.decide(job)[1])
    record = record_of("mask_density")
    assert record is not None
    assert (record["id"], record["parent"]) == ("1", {"id": "1", "path": "average"})
    assert record["maps"] == {"density.mrc": digest("mask_density/density.mrc")}


def test_what_the_config_says_is_left_as_it_is(job: Any) -> None:
    mrc.write_map(job.input.map, ball(specks=False), PIXEL)
    job.params.settings = {"threshold": 0.4, "lowpass": 30, "extend": 0, "soft_edge": 5}
    assert mask.command(job, {})[5:-2] == [
        *("--lowpass", "30", "--ini_threshold", "0.4", "--extend_inimask", "0", "--width_soft_edge", "5")
    ]


def test_all_of_a_mask_is_auto_by_default() -> None:
    assert Mask().model_dump(exclude_none=True) == SETTINGS


@pytest.mark.parametrize(
    ("volume", "said"), [(0.5, "may be cut off"), (0.8, None), (1.4, None), (2, "solvent may be inside")]
)
def test_a_mask_is_compared_with_the_one_before(job: Any, volume: float, said: str | None) -> None:
    job.input.earlier = ["earlier/mask.mrc"]
    mrc.write_map("earlier/mask.mrc", np.full((8, 8, 8), 0.5), 2 * PIXEL)
    mrc.write_map(job.output.mask, np.full((16, 16, 16), volume / 2), PIXEL)
    decision, changed = mask.compared(job, Decision("Mask threshold", {}, "rule", ""))
    assert decision.numbers["mask_volume"] == pytest.approx(volume / 2 * (16 * PIXEL) ** 3)
    assert decision.warnings == changed
    assert [said in warning for warning in changed] == ([True] if said else [])


def test_a_sphere_is_made_a_mask_as_it_is_and_no_threshold_is_sought(job: Any) -> None:
    mrc.write_map(job.input.map, ball(specks=True), PIXEL)
    job.input.shape = []
    sphere = {"sphere": {"center": [0, 60, 0], "radius": 70}}
    job.params.settings = SETTINGS | sphere
    decision, settings = mask.decide(job)
    mask.prepare(job, settings)
    assert mask.argv(job, settings) == [
        *("relion_mask_create", "--i", "mask_density/density.mrc", "--o", "mask/mask.mrc"),
        *("--ini_threshold", "0.5", "--extend_inimask", "0", "--width_soft_edge", "3", "--j", "1"),
    ]
    assert mask_create.main(mask.argv(job, settings)[1:]) in (0, None)
    made = mrc.voxels("mask/mask.mrc")
    assert decision.numbers["volume"] == pytest.approx(4 / 3 * np.pi * 70**3, rel=0.05)
    inside = made.sum(dtype=float) * PIXEL**3
    assert 1 < inside / decision.numbers["volume"] < 1.8  # the soft edge lies around the sphere
    job.params.settings |= {"threshold": 0.1}
    with pytest.raises(UserError, match=r"rounds\.bin4\.mask\.threshold: a shape of 0 and 1 is cut at 0\.5"):
        mask.decide(job)
