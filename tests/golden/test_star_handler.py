"""Duplicates beside those of `relion_star_handler --remove_duplicates` of RELION 5.0.1, which keeps the later row."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacycle.decisions.duplicates import remove_duplicates
from stacycle.files import star
from stacycle.provenance.particles import near_pairs

GOLDEN = Path(__file__).parent / "data/duplicates"
DISTANCE = 100  # Å, as its command asks


@pytest.mark.parametrize(("given", "removed", "duplicates"), [("in", "out1", 6), ("in_origin", "out4", 5)])
def test_of_each_pair_that_relion_finds_one_stays_and_only_needed_ones_go(
    given: str, removed: str, duplicates: int
) -> None:
    """In `in_origin` an origin of 200 Å takes one copy away. RELION also removes TS_01/30, 83 Å from a copy that a
    better one stays for: nothing is near TS_01/30 when that is gone."""
    particles = star.read(GOLDEN / f"{given}.star")["particles"]
    relions = set(star.read(GOLDEN / f"{removed}_removed.star")["particles"]["rlnTomoParticleName"])
    found = remove_duplicates(particles, diameter=180, least=20, wanted=DISTANCE, key="distance")
    assert len(found.removed) == duplicates == len(relions) - 1
    pairs = set(zip(found.removed["kept_particle"], found.removed["removed_particle"], strict=True))
    copied = relions - {"TS_01/30"}
    assert pairs == {(name, f"{name}dup") for name in copied}  # equal in quality, so the first stays
    stay = particles[found.stays]
    assert not len(near_pairs({label: list(stay[label]) for label in stay}, DISTANCE)[0])


def test_auto_finds_the_copies_alone() -> None:
    particles = star.read(GOLDEN / "in.star")["particles"]
    found = remove_duplicates(particles, diameter=180, least=20, wanted="auto", key="distance")
    assert set(found.removed["distance"].round(1)) == {30.0}
    assert found.decision.choice["removed"] == 6
    assert 30 < found.decision.choice["distance"] < 83
