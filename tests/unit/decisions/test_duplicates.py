"""Particles on one place: at which distance they are one, which of them stays, and what is written of it."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from stacycle.decisions import apply
from stacycle.decisions.duplicates import Removal, remove_duplicates
from stacycle.errors import ProgramFailed
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import CENTRED, ORIGINS, TURNS
from stacycle.provenance import record

KEY = "rounds.bin4.duplicates.distance"
GOLDEN = Path(__file__).parents[2] / "golden" / "data"


def table(places: np.ndarray, **columns: object) -> pd.DataFrame:
    """Particles (n) of one tomogram at places (n, 3), with half sets in turn."""
    count = len(places)
    names = {"rlnTomoName": "TS_01", "rlnTomoParticleName": [f"TS_01/{row}" for row in range(1, count + 1)]}
    halves = {"rlnRandomSubset": np.arange(count) % 2 + 1}
    return pd.DataFrame(names | dict(zip(CENTRED, places.T, strict=True)) | halves | columns)


def removed(particles: pd.DataFrame, wanted: float | str = "auto", diameter: float = 230) -> Removal:
    return remove_duplicates(particles, diameter=diameter, least=5.4, wanted=wanted, key=KEY)  # type: ignore[arg-type]


def lattice(spacing: float, copies: int, error: float, seed: int, occupied: float = 1) -> np.ndarray:
    """Places (n, 3) of a hexagonal lattice on a membrane, where each site was found `copies` times with an error."""
    rng = np.random.default_rng(seed)
    sites = np.array(
        [(spacing * (i + j / 2), spacing * j * 3**0.5 / 2, 0) for i, j in product(range(20), repeat=2)]
    )
    sites = np.repeat(sites[rng.random(len(sites)) < occupied], copies, 0)
    return sites + rng.normal(0, error, sites.shape)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("spacing", "copies", "error", "occupied"),
    [(74, 3, 4, 1), (74, 3, 8, 1), (74, 1, 4, 1), (74, 2, 4, 0.5), (45, 2, 3, 1), (300, 3, 8, 1)],
)
def test_auto_leaves_one_particle_on_each_site_of_a_lattice(
    spacing: float, copies: int, error: float, occupied: float, seed: int
) -> None:
    """Half of the diameter would take neighbours away: 115 Å, where a lattice's sites are 74 Å apart."""
    places = lattice(spacing, copies, error, seed, occupied)
    found = removed(table(places))
    sites = len(places) // copies
    assert found.decision.choice["kept"] == pytest.approx(sites, rel=0.04)
    if error <= 4:
        assert found.decision.choice["kept"] == sites


def test_auto_is_half_of_the_diameter_where_no_neighbours_are_nearer() -> None:
    found = removed(table(np.array([[0, 0, 0], [20, 0, 0], [900, 0, 0]], float)))
    assert found.decision.choice == {"distance": 115, "removed": 1, "kept": 2}
    assert found.decision.reason == (
        "Half of the diameter, as no neighbours are nearer: 1 of 3 particles lie nearer than 115 Å to one that stays; "
        "of those on one place the first, as nothing tells which is better, is kept."
    )


def test_auto_among_particles_at_random_is_a_tenth_of_the_diameter_or_little_more() -> None:
    """Junk has no least distance: what overlaps less is not taken for one."""
    rng = np.random.default_rng(3)
    found = removed(table(rng.uniform(-1000, 1000, (20_000, 3))))
    assert 23 <= found.decision.choice["distance"] < 30


def test_none_near_another_is_said() -> None:
    found = removed(table(np.array([[0, 0, 0], [300, 0, 0]], float)), 60)
    assert found.decision.choice == {"distance": 60, "removed": 0, "kept": 2}
    assert found.decision.by == "config"
    assert found.decision.reason == (
        f"The config asks for it ({KEY}): no particle lies nearer than 60 Å to another, and none is left out."
    )
    assert not len(found.removed)
    assert found.stays.all()


PAIRS = np.array([[0, 0, 0], [9, 0, 0], [500, 0, 0], [509, 0, 0]], float)
WORSE_FIRST = [0.2, 0.9, 0.3, 0.8]


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"score": WORSE_FIRST, "rlnMaxValueProbDistribution": WORSE_FIRST[::-1]}, "score"),
        (
            {"score": [1, np.nan, 1, 1], "rlnMaxValueProbDistribution": WORSE_FIRST},
            "rlnMaxValueProbDistribution",
        ),
        (
            {"rlnMaxValueProbDistribution": WORSE_FIRST, "rlnLogLikeliContribution": WORSE_FIRST[::-1]},
            "rlnMaxValueProbDistribution",
        ),
        ({"rlnLogLikeliContribution": [-30, -20, 3e5, 4e5]}, "rlnLogLikeliContribution"),
        ({}, ""),
        ({"rlnMaxValueProbDistribution": [1, 1, 1, 1]}, "first of equals"),
    ],
)
def test_the_better_one_stays_by_the_first_quality_that_all_have(columns: dict, label: str) -> None:
    found = removed(table(PAIRS, **columns), 20)
    better = [True, False, True, False] if label in ("", "first of equals") else [False, True, False, True]
    assert found.stays.tolist() == better
    assert (label or "nothing tells").removeprefix("first of equals") in found.decision.reason
    if label in columns:
        assert (found.removed[f"kept_{label}"] > found.removed[f"removed_{label}"]).all()


def test_a_chain_keeps_what_is_near_none_that_stays() -> None:
    """The middle one is best: both ends go. It is worst: both ends stay."""
    chain = np.array([[0, 0, 0], [15, 0, 0], [30, 0, 0]], float)
    best = removed(table(chain, score=[1, 2, 1]), 20)
    assert best.stays.tolist() == [False, True, False]
    assert best.removed["kept_particle"].tolist() == ["TS_01/2", "TS_01/2"]
    assert best.removed["distance"].tolist() == [15, 15]
    assert removed(table(chain, score=[2, 1, 2]), 20).stays.tolist() == [True, False, True]


def test_particles_of_other_tomograms_are_not_near() -> None:
    assert removed(table(PAIRS, rlnTomoName=["a", "b", "a", "b"]), 20).stays.all()


def test_places_are_coordinates_less_origins_in_the_frame_of_the_subtomogram() -> None:
    """Two apart by their coordinates, which the origins bring together, once the frame is turned."""
    turn = [40.0, 60.0, -20.0]
    origin = Rotation.from_euler("ZYZ", turn, degrees=True).apply(
        [80.0, 0, 0]
    )  # RELION's matrix is the inverse
    columns = dict(zip(ORIGINS, np.stack([np.zeros(3), origin]).T, strict=True))
    columns |= dict(zip(TURNS, np.stack([np.zeros(3), turn]).T, strict=True))
    places = np.array([[0, 0, 0], [80, 0, 0]], float)
    assert removed(table(places, **columns), 5).stays.tolist() == [True, False]
    assert removed(table(places, **{label: columns[label] for label in ORIGINS}), 5).stays.all()


def test_what_went_is_told_with_what_stays_for_it_and_halves() -> None:
    found = removed(table(PAIRS, score=WORSE_FIRST), 20)
    assert found.removed.to_dict("records")[0] == {
        "tomogram": "TS_01",
        "distance": 9.0,
        "removed_particle": "TS_01/1",
        "removed_half": 1,
        "removed_score": 0.2,
        "kept_particle": "TS_01/2",
        "kept_half": 2,
        "kept_score": 0.9,
    }
    assert found.decision.numbers == {"particles": 2, "rejected": 2, "in_both": 2, "half1": 0, "half2": 2}


def test_much_that_goes_and_uneven_half_sets_are_warned_of() -> None:
    places = np.zeros((10, 3)) + np.arange(10)[:, None] * [1.0, 0, 0]
    found = removed(table(places), 50)
    assert found.decision.choice["kept"] == 1
    assert found.decision.warnings[0].startswith("90% of the particles are left out as duplicates")
    places = np.repeat(np.arange(6)[:, None] * [500.0, 0, 0], 2, 0)
    found = removed(table(places, score=[1, 2] * 5 + [2, 1]), 50)
    assert found.decision.warnings == [
        "The half sets have 1 and 5 particles without duplicates: no longer about the same."
    ]


def test_the_histogram_counts_pairs_by_distance_and_those_of_both_halves() -> None:
    histogram = removed(table(PAIRS)).decision.candidates
    at = histogram[(histogram["from"] <= 9) & (histogram["to"] > 9)]
    assert at[["pairs", "in both halves"]].to_numpy().tolist() == [[2, 2]]
    assert histogram["pairs"].sum() == 2


def test_200_000_particles_take_seconds() -> None:
    rng = np.random.default_rng(0)
    many = table(rng.uniform(-3000, 3000, (200_000, 3)), score=rng.random(200_000))
    many["rlnTomoName"] = [f"TS_{row % 50}" for row in range(len(many))]
    begin = time.perf_counter()
    found = removed(many, 115)
    took = time.perf_counter() - begin
    assert 1000 < found.decision.choice["removed"] < 100_000
    assert took < 10  # 0.7 s on an idle core


# ------------------------------------------------------------ the state that goes on


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OptimisationSet:
    """RELION's own refinement, of which some particles have a copy."""
    monkeypatch.chdir(tmp_path)
    tables = star.read(GOLDEN / "duplicates/in.star")
    Path("input").symlink_to(GOLDEN / "input")
    Path("before").mkdir()
    star.write("before/particles.star", tables)
    found = OptimisationSet("before/particles.star", "input/tomograms.star")
    found.write("before/optimisation_set.star")
    record.adopt("before/optimisation_set.star")
    return found


def test_the_state_has_the_rest_in_its_order_and_half_sets_and_none_in_both(state: OptimisationSet) -> None:
    particles = star.read(state.particles)
    found = removed(particles["particles"], diameter=180)
    Path("after").mkdir()
    apply.write_once(particles, found.stays, state, "after")
    left = star.read(OptimisationSet.read("after/optimisation_set.star").particles)
    rows = particles["particles"][found.stays].reset_index(drop=True)
    pd.testing.assert_frame_equal(left["particles"], rows, check_dtype=False)
    assert list(left) == list(particles)
    told = json.loads(Path("after/state.json").read_text())["counts"]
    assert told == {"in": 70, "out": 64, "dropped": {"on one place with a better one": 6}}
    again = removed(left["particles"], diameter=180)
    assert again.decision.choice["removed"] == 0


def test_scores_are_those_of_particles_of_the_same_name(state: OptimisationSet) -> None:
    particles = star.read(state.particles)["particles"]
    names = particles["rlnTomoParticleName"]
    scores = pd.DataFrame({"rlnTomoParticleName": names[::-1], "score": np.arange(70)[::-1] / 10})
    star.write("scores.star", {"scores": scores})
    found = apply.with_scores(particles, ["scores.star"])
    assert found["score"].tolist() == [row / 10 for row in range(70)]
    assert apply.with_scores(particles, []) is particles
    star.write("scores.star", {"scores": scores[1:]})
    assert apply.with_scores(particles, ["scores.star"])["score"].isna().sum() == 1


def test_a_particle_in_another_half_set_would_be_refused(state: OptimisationSet) -> None:
    particles = star.read(state.particles)
    particles["particles"]["rlnRandomSubset"] = 3 - particles["particles"]["rlnRandomSubset"]
    Path("after").mkdir()
    with pytest.raises(ProgramFailed, match="another half set"):
        apply.write_once(particles, np.ones(70, bool), state, "after")
