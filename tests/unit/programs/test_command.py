"""What a command line of RELION's names: the state that it works on, and its half maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs.command import Command


@pytest.fixture(autouse=True)
def optimisation_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    OptimisationSet("p.star", "t.star", "m.star").write("set.star")


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("relion_refine_mpi --ios set.star", OptimisationSet("p.star", "t.star", "m.star")),
        ("relion_refine --ios set.star --i q.star", OptimisationSet("q.star", "t.star", "m.star")),
        ("relion_refine --i q.star --tomograms u.star", OptimisationSet("q.star", "u.star")),
        ("relion_tomo_align --i set.star", OptimisationSet("p.star", "t.star", "m.star")),
        ("relion_tomo_subtomo --i set.star --mot n.star", OptimisationSet("p.star", "t.star", "n.star")),
        ("relion_tomo_subtomo --p q.star --t u.star", OptimisationSet("q.star", "u.star")),
        ("relion_postprocess --i half1.mrc", OptimisationSet("", "")),
    ],
)
def test_flags_of_their_own_come_before_the_optimisation_set(line: str, state: OptimisationSet) -> None:
    assert Command.of(line.split()).state() == state


@pytest.mark.parametrize(
    ("line", "halves"),
    [
        ("relion_postprocess --i half1/run_half1.mrc", ("half1/run_half1.mrc", "half1/run_half2.mrc")),
        ("relion_postprocess --i half1.mrc --i2 other.mrc", ("half1.mrc", "other.mrc")),
        ("relion_tomo_refine_ctf --i set.star --ref1 a.mrc --ref2 b.mrc", ("a.mrc", "b.mrc")),
        ("relion_refine --ios set.star", ("", "")),
    ],
)
def test_the_second_half_map_is_found_by_the_name_of_the_first(line: str, halves: tuple[str, str]) -> None:
    assert Command.of(line.split()).half_maps() == halves
