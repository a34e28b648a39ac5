"""Bodies of a multi-body refinement that drift are refused: RELION's own, and made-up ones that settle are not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from stacycle.decisions import body_motions
from stacycle.decisions.body_motions import OFFSETS, Motion
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.star_labels import ANGLES
from stacycle.inputs.orientations import to_angles, to_rotation

GOLDEN = Path(__file__).parents[2] / "golden/data/multibody/mb/job4"
PIXEL = 20
NAMES = ["large", "small"]
CENTRES = {"large": 40.0, "small": 82.5}  # Å from the centre of the box, of run_bodies.bild
STILL = to_rotation([0.0, 90.0, 0.0])


def test_what_relions_bodies_have_in_common_is_their_distance_from_the_centre_in_each_iteration() -> None:
    motions = body_motions.of_run(GOLDEN, NAMES)
    first = {one.body: one for one in motions if one.iteration == 1}
    for body, distance in CENTRES.items():
        assert first[body].together == pytest.approx(distance, rel=0.04)  # measured: 40.7, 79.9 Å
    last = {one.body: one for one in motions if one.iteration == 4}
    assert last["small"].offset == pytest.approx(
        224.5, abs=0.1
    )  # FACTS: 225 Å after three iterations that search
    assert last["large"].offset == pytest.approx(83.6, abs=0.1)


def test_relions_bodies_on_2d_stacks_are_refused_with_the_body_that_drifts_most() -> None:
    with pytest.raises(UserError) as raised:
        body_motions.refuse_drift("results/bin2/multibody", body_motions.of_run(GOLDEN, NAMES), PIXEL)
    assert str(raised.value) == (
        "results/bin2/multibody: the body small drifts: after iteration 4 its offsets are 224 Å (rms), 220 Å in all "
        "particles alike, which is beyond the 24 Å that were searched; do not use it; focus on the body instead: "
        "parts: [small] (docs: States and parts)."
    )


@pytest.mark.parametrize("last", [1, 2, 4])
@pytest.mark.parametrize("body", NAMES)
def test_each_body_of_it_is_refused_by_itself_and_after_any_iteration(body: str, last: int) -> None:
    motions = [
        one for one in body_motions.of_run(GOLDEN, NAMES) if one.body == body and one.iteration <= last
    ]
    with pytest.raises(UserError, match=f"the body {body} drifts: after iteration {last}"):
        body_motions.refuse_drift("job", motions, PIXEL)


@pytest.mark.parametrize("searched", [60.0, 1200.0])
def test_a_wide_search_does_not_hide_it(searched: float) -> None:
    """As with the GUI's 3 px; or with 1200 Å, where a growth beyond a pixel in each iteration tells."""
    wide = [
        replace(one, searched=searched, reach=searched * 1.5) for one in body_motions.of_run(GOLDEN, NAMES)
    ]
    with pytest.raises(UserError, match="the body small drifts"):
        body_motions.refuse_drift("job", wide, PIXEL)


def run_of(folder: Path, offsets: list[np.ndarray], turns: list[Rotation], axes: Rotation) -> Path:
    """A run in which one body has these offsets, (n, 3) in Å in the particles' own axes, and the other none."""
    folder.mkdir()
    for number, (moved, turned) in enumerate(zip(offsets, turns, strict=True), 1):
        tables = {"particles": pd.DataFrame(to_angles(axes), columns=ANGLES)}
        for body, (vectors, turn) in enumerate(
            ((0 * moved, Rotation.identity(len(moved))), (moved, turned)), 1
        ):
            table = pd.DataFrame(axes.apply(vectors), columns=OFFSETS)
            table[ANGLES] = to_angles(turn * STILL)
            tables[f"images_body_{body}"] = table
        star.write(folder / f"run_it{number:03d}_data.star", tables)
        search = star.simple(rlnOffsetRange=60.0, rlnOffsetStep=30.0)
        star.write(folder / f"run_it{number:03d}_sampling.star", {"sampling_general": search})
    return folder


def hinge(
    seed: int, shares: tuple[float, ...], drift: float = 0.0, share_of_one: float = 0.5
) -> tuple[list, list, Rotation]:
    """Offsets and turns of a hinge with two states, found by `shares` in turn; `drift` in Å per iteration besides."""
    random = np.random.default_rng(seed)
    axes, state = (
        Rotation.random(40, random_state=seed),
        random.choice([-1, 1], 40, p=[1 - share_of_one, share_of_one])[:, None],
    )
    true = state * np.array([18.0, 0, 5]) + random.normal(0, 4, (40, 3))
    angles = state[:, 0] * 12 + random.normal(0, 2, 40)
    offsets = [share * true + n * np.array([0, drift, 0]) for n, share in enumerate(shares, 1)]
    turns = [Rotation.from_euler("y", share * angles[:, None], degrees=True) for share in shares]
    return offsets, turns, axes


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pixel", [10, 1.5])
def test_a_hinge_that_is_found_step_by_step_is_accepted(tmp_path: Path, seed: int, pixel: float) -> None:
    found = body_motions.of_run(run_of(tmp_path / "run", *hinge(seed, (0.6, 0.85, 0.95, 1))), NAMES)
    body_motions.refuse_drift("job", found, pixel)
    last = found[-1]
    assert (last.body, last.iteration) == ("small", 4)
    assert last.offset == pytest.approx(np.hypot(18, 5), rel=0.15)
    assert last.turn == pytest.approx(12, rel=0.15)
    assert last.together < 8
    still = found[-2]
    assert (still.offset, still.together, round(still.turn, 3)) == (0, 0, 0)
    said = body_motions.summary(found)
    assert said.reason.startswith("After 4 iterations bodies move against the consensus (rms): large by 0 Å")
    assert said.choice == {"iteration": 4}
    assert list(said.candidates["body"]) == ["large", "small"] * 4


def test_a_state_that_most_particles_have_is_no_drift(tmp_path: Path) -> None:
    shares = (0.6, 0.85, 0.95, 1)
    found = body_motions.of_run(run_of(tmp_path / "run", *hinge(1, shares, share_of_one=0.8)), NAMES)
    assert found[-1].together > 10
    body_motions.refuse_drift("job", found, 1.5)


def test_motion_that_is_found_slowly_is_no_drift_if_most_of_it_is_each_particles_own(tmp_path: Path) -> None:
    found = body_motions.of_run(
        run_of(tmp_path / "run", *hinge(1, (0.34, 0.67, 1), share_of_one=0.65)), NAMES
    )
    assert 1.5 < found[-1].together < found[-1].offset / 2
    body_motions.refuse_drift("job", found, 1.5)


@pytest.mark.parametrize("drift", [4.0, 30.0])
def test_a_drift_is_seen_beside_true_motion_even_if_it_is_small_in_each_iteration(
    tmp_path: Path, drift: float
) -> None:
    shares = (0.6, 0.85, 0.95, 1)
    found = body_motions.of_run(run_of(tmp_path / "run", *hinge(2, shares, drift)), NAMES)
    with pytest.raises(UserError, match="the body small drifts"):
        body_motions.refuse_drift("job", found, 10)


def test_offsets_that_no_search_can_have_found_are_refused() -> None:
    first = Motion(1, "head", offset=90, together=3, changed=90, searched=60, reach=75, turn=4)
    with pytest.raises(UserError, match="and they changed by 90 Å in iteration 1, where 60 Å were searched"):
        body_motions.refuse_drift("job", [first], 10)
    body_motions.refuse_drift("job", [replace(first, changed=74)], 10)


def test_a_run_that_was_cut_off_or_lacks_a_body_is_told(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no iteration of bodies is there"):
        body_motions.of_run(tmp_path / "none", NAMES)
    shutil.copytree(GOLDEN, tmp_path / "run")
    with pytest.raises(UserError, match=r"run_it001_data.star: has no table data_images_body_3"):
        body_motions.of_run(tmp_path / "run", [*NAMES, "third"])
