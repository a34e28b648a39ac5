"""What the report says first."""

from dataclasses import replace
from math import nan

import pytest
from test_resolution import resolutions_of

from stacycle.decisions.decision import BEFORE
from stacycle.report import overview
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution

LAST = MapResolution(
    round="bin4",
    step="Polishing, cycle 1",
    cycle=1,
    binning=1,
    resolution=5.0,
    nyquist=4.0,
    at_nyquist=False,
    kept="motion",
    particles_in=nan,
    particles=nan,
    box=96,
    pixel_size=2.0,
    area=nan,
    mask="m",
    mask_volume=nan,
    state="s",
)


def test_the_finest_rung_is_named_if_it_is_not_the_last(tmp_path):
    said = overview.reached(resolutions_of(tmp_path, (1, 7, "m"), (1, 5, "m"), (1, 6, "m")))
    assert said.endswith("; the finest was 5.00 Å (bin4, Polishing, cycle 1).")
    assert overview.reached(resolutions_of(tmp_path, (1, 7, "m"))) == "7.00 Å (bin4, Polishing, cycle 1)."


def test_a_coarser_rung_and_notes_on_the_config_are_among_the_warnings(tmp_path):
    project = Project(notes=["rounds.bin2: not finer."])
    rows = resolutions_of(tmp_path, (1, 5, "m"), (1, 6, "m"), (2, 8, "m"))
    assert [(one.where, one.text) for one in overview.warnings(project, rows)] == [
        ("config", "rounds.bin2: not finer."),
        ("bin4, Polishing, cycle 1", "coarser than the step before, 5.00 Å"),
    ]


def test_a_part_has_a_row_but_is_neither_the_last_map_nor_what_the_next_one_is_compared_with(tmp_path):
    rows = resolutions_of(
        tmp_path, (1, 7, "m"), (1, 6, "m"), (1, 4, "head"), (1, 5, "body"), parts=("", "", "head", "body")
    )
    assert [row.part for row in rows] == ["", "", "head", "body"]
    assert not any(
        note.warns for row in rows for note in row.notes
    )  # body is finer than the whole, if not than head
    assert overview.headline(Project(), rows)[0].value == "6.00 Å"
    assert overview.summary(Project(), rows)["Reached"] == [
        "From 7.00 Å (bin4, Polishing, cycle 1) to 6.00 Å (bin4, Polishing, cycle 1)."
    ]


@pytest.mark.parametrize(
    ("binning", "last", "said"),
    [
        (1, {"at_nyquist": True}, "the data's own limit"),
        (4, {"cycle": 0, "binning": 4, "at_nyquist": True, "kept": ""}, "add cycle to rounds.bin4.steps"),
        (4, {}, "add a round of binning 2 after bin4"),
        (1, {"kept": "motion"}, "rounds.bin4.cycle.repeat: 2"),
        (1, {"kept": BEFORE}, "another one of the same particles will hardly help"),
    ],
)
def test_what_comes_next_follows_from_the_last_rung(binning, last, said):
    rounds = [{"name": "bin4", "binning": binning, "steps": []}]
    assert said in overview.what_next(Project(rounds=rounds), [replace(LAST, **last)])


def test_a_round_that_stops_early_is_what_comes_next():
    rounds = [
        {"name": "bin4", "binning": 4, "steps": []},
        {"name": "bin2", "binning": 2, "steps": ["extract"]},
    ]
    assert "let rounds.bin2.steps go as far as cycle" in overview.what_next(Project(rounds=rounds), [LAST])
