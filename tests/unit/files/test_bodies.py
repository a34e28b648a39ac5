"""bodies.star as RELION takes it: larger bodies first, each against another by its number."""

from __future__ import annotations

from pathlib import Path

from stacycle.files import bodies
from stacycle.files.bodies import Body

GOLDEN = Path(__file__).parents[2] / "golden/data/multibody/mb/bodies5.star"
GIVEN = [
    Body("head", "m/head.mrc", "", 10, 2),
    Body("small", "my masks/small.mrc", "head", 7.5, 15.28),
    Body("large", "m/large.mrc", "", 5, 2),
]
VOLUMES = {"head": 10.0, "small": 40.0, "large": 90.0}


def test_larger_bodies_come_first_and_turn_against_the_largest_other_one(tmp_path: Path) -> None:
    ordered = bodies.in_order(GIVEN, VOLUMES)
    assert [body.name for body in ordered] == ["large", "small", "head"]
    bodies.write(tmp_path / "bodies.star", ordered)
    rows = (tmp_path / "bodies.star").read_text().splitlines()[9:]
    assert rows == ["m/large.mrc 2 5 2", '"my masks/small.mrc" 3 7.5 15.28', "m/head.mrc 1 10 2"]
    assert bodies.names(tmp_path / "bodies.star") == ["large", "small", "head"]
    assert bodies.masks(tmp_path / "bodies.star") == ["m/large.mrc", "my masks/small.mrc", "m/head.mrc"]


def test_a_file_that_relion_read_is_written_likewise(tmp_path: Path) -> None:
    two = [Body("a", "mb/body1.mrc", "b", 5, 2), Body("b", "mb/body2.mrc", "a", 5, 2)]
    bodies.write(tmp_path / "bodies.star", two)
    ours, theirs = (
        (path.read_text().partition("data_")[2]).split() for path in (tmp_path / "bodies.star", GOLDEN)
    )
    assert theirs[7:9] == ["_rlnBodySigmaOffset", "#4"], "in px, which 5.0.1 reads and drops"
    assert ours == [*theirs[:7], "_rlnBodySigmaOffsetAngst", *theirs[8:]]
    assert bodies.masks(GOLDEN) == ["mb/body1.mrc", "mb/body2.mrc"]
