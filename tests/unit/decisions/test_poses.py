"""Which poses go on after a step, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions import apply_poses
from stacycle.decisions.half_maps import Comparison
from stacycle.decisions.poses import kept_poses
from stacycle.files import mrc, star
from stacycle.files.job_folder import HALF_MAPS, MERGED, OPTIMISATION_SET, PARTICLES, STATE_FILE, TOMOGRAMS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES, CENTRED, ORIGINS, PARTICLE_NAME, SUBSET
from stacycle.provenance import record

BOX, PIXEL = 24, 5.0


def compared(gain: float) -> Comparison[str]:
    """Poses after a step whose FSC is higher by `gain` in each of 8 shells, of which 6 have signal."""
    before = np.array([1, 0.95, 0.9, 0.8, 0.6, 0.4, 0.3, 0, 0])
    return Comparison({"before": before, "after": before + gain}, np.full(9, 0.02), BOX * PIXEL)


@pytest.mark.parametrize(
    ("gain", "kept"), [(0.1, "after"), (0.0, "after"), (-0.005, "after"), (-0.1, "before")]
)
def test_poses_are_rolled_back_only_where_those_before_are_better_for_sure(gain: float, kept: str) -> None:
    decision = kept_poses(compared(gain))
    assert (decision.choice, decision.by) == ({"poses": kept}, "rule")
    assert decision.rolled_back == (kept == "before")
    assert [bool(decision.warnings), decision.reason.startswith("Rolled back")] == [kept == "before"] * 2
    table = decision.candidates.set_index("poses")
    assert table["kept"].to_dict() == {"before": kept == "before", "after": kept == "after"}
    assert table.loc["after", "area"] - table.loc["before", "area"] == pytest.approx(8 * gain)


@pytest.mark.parametrize(("choice", "gain"), [("before", 0.1), ("after", -0.1)])
def test_the_config_has_the_last_word_and_the_rule_is_told(choice: str, gain: float) -> None:
    decision = kept_poses(compared(gain), choice, "rounds.bin4.align.poses")
    assert (decision.choice, decision.by, decision.warnings) == ({"poses": choice}, "config", [])
    assert "rounds.bin4.align.poses" in decision.reason
    assert "standard errors" in decision.reason


def write_state(folder: str, angle: float, **columns: list) -> str:
    """A state of four particles, all with one rot and origin, in `folder`."""
    names = [f"A/{n}" for n in range(4)]
    table = {"rlnTomoName": ["A"] * 4, PARTICLE_NAME: names} | {label: [0.0] * 4 for label in CENTRED}
    table |= {ANGLES[0]: [angle] * 4, ANGLES[1]: [0.0] * 4, ANGLES[2]: [0.0] * 4} | columns
    Path(folder).mkdir()
    star.write(f"{folder}/{PARTICLES}", {"particles": pd.DataFrame(table)})
    OptimisationSet(f"{folder}/{PARTICLES}", TOMOGRAMS).write(f"{folder}/{OPTIMISATION_SET}")
    record.adopt(f"{folder}/{OPTIMISATION_SET}")
    return f"{folder}/{OPTIMISATION_SET}"


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The states before and after a step, which found half sets, rot 20 in the place of 10, and origins."""
    monkeypatch.chdir(tmp_path)
    star.write("A.star", {"A": pd.DataFrame({"rlnTomoYTilt": [0.0]})})
    tomograms = {"rlnTomoName": ["A"], "rlnTomoTiltSeriesStarFile": ["A.star"]}
    star.write(TOMOGRAMS, {"global": pd.DataFrame(tomograms)})
    found = {label: [1.0] * 4 for label in ORIGINS} | {SUBSET: [2, 2, 1, 1]}
    return write_state("extract", 10.0), write_state("refine3d", 20.0, **found)


def particles(state: str | Path) -> pd.DataFrame:
    return star.read(OptimisationSet.read(state).particles)["particles"]


def test_both_candidates_have_the_half_sets_after_the_step_and_each_its_own_poses(
    states: tuple[str, str],
) -> None:
    for poses, rot, origin in (("before", 10, 0), ("after", 20, 1)):
        apply_poses.write_candidate(*states, poses, poses)
        table = particles(f"{poses}/{OPTIMISATION_SET}").astype({SUBSET: int})
        assert set(table[ANGLES[0]]) == {rot}
        assert set(table[ORIGINS[0]]) == {origin}
        assert table[SUBSET].tolist() == [2, 2, 1, 1]


def test_poses_are_matched_by_the_particles_names() -> None:
    now = pd.DataFrame({PARTICLE_NAME: ["b", "a"], ANGLES[0]: [1.0, 2.0]})
    before = pd.DataFrame({PARTICLE_NAME: ["a", "c", "b"], ANGLES[0]: [10.0, 30.0, 20.0]})
    assert apply_poses.with_poses(now, before)[ANGLES[0]].tolist() == [20.0, 10.0]


def test_particles_without_half_sets_get_two_of_one_size(states: tuple[str, str]) -> None:
    before, _ = states
    apply_poses.write_candidate(before, before, "candidate", "after")
    assert sorted(particles(f"candidate/{OPTIMISATION_SET}")[SUBSET].astype(int)) == [1, 1, 2, 2]


@pytest.mark.parametrize("kept", ["before", "after"])
def test_what_goes_on_belongs_together_and_has_the_steps_own_names(
    states: tuple[str, str], kept: str
) -> None:
    before, made = states
    after = str(Path(made).rename("refine3d/run_optimisation_set.star"))
    apply_poses.write_candidate(before, after, "poses/before", "before")
    average = Path("poses/before/reconstruct")
    average.mkdir()
    for name in (MERGED, *HALF_MAPS):
        mrc.write_map(average / name, np.full((4, 4, 4), 1, np.float32), PIXEL)
    made_of = json.loads(Path("poses/before", STATE_FILE).read_text())
    parent = {"id": made_of["id"], "path": "poses/before"}
    (average / STATE_FILE).write_text(json.dumps(made_of | {"parent": parent}))
    maps = [f"refine3d/{name}" for name in ("run_class001.mrc", "run_half1.mrc", "run_half2.mrc")]
    for path in maps:
        mrc.write_map(path, np.full((4, 4, 4), 2, np.float32), PIXEL)
    decision = kept_poses(compared(-0.1 if kept == "before" else 0.1))
    apply_poses.write_kept(decision, average, after, maps, Path("poses"))
    table = particles(f"poses/{OPTIMISATION_SET}").astype({SUBSET: int})
    assert set(table[ANGLES[0]]) == {10 if kept == "before" else 20}
    assert table[SUBSET].tolist() == [2, 2, 1, 1]
    assert {mrc.voxels(f"poses/{Path(path).name}").max() for path in maps} == {1 if kept == "before" else 2}
    assert set(json.loads(Path("poses", STATE_FILE).read_text())["maps"]) == {
        Path(path).name for path in maps
    }
