"""The resolution by step, as the report and `results/ladder.tsv` have it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from golden_project import step
from scipy import ndimage

from stacycle.files import mrc, star
from stacycle.report import resolution
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution


def resolutions_of(
    folder: Path, *steps: tuple[int, float, str], parts: tuple[str, ...] = ()
) -> list[MapResolution]:
    """The rows of maps of (binning, resolution, mask), with 2 Å pixels at binning 1; `parts` are those of the last."""
    found, of = [], ["", *[""] * len(steps), *parts][-len(steps) :]
    for number, (binning, finest, mask) in enumerate(steps):
        path = folder / f"{number}/postprocess.star"
        nyquist, shells = 4 * binning, 48 // binning
        frequency = [max(k, 0.01) / (nyquist * shells) for k in range(shells + 1)]
        curves = {"rlnResolution": frequency, "rlnAngstromResolution": [1 / f for f in frequency]}
        general = star.simple(rlnFinalResolution=finest, rlnMaskName=mask)
        star.write(path, {"general": general, "fsc": pd.DataFrame(curves)})
        polished = step("Polishing", "", "", cycle=1 if binning == 1 else 0, binning=binning)
        found.append(polished | {"postprocess": str(path), "state": str(path), "part": of[number]})
    rounds = [{"name": f"bin{binning}", "binning": binning, "steps": []} for binning in (4, 2)]
    return resolution.resolutions(Project(rounds=rounds, steps_with_resolution=found))


def notes_of(rows: list[MapResolution]) -> list[str]:
    """The notes as `results/ladder.tsv` has them."""
    return list(resolution.to_table(rows)["note"])


def test_at_nyquist_a_note_says_to_continue_unless_the_data_end_there(tmp_path):
    rows = resolutions_of(tmp_path, (4, 16, "m"), (2, 8, "m"), (1, 4.1, "m"), (1, 4, "m"))
    assert notes_of(rows) == [
        "Nyquist of binning 4: go on to bin2",
        "finer than the step before, 16.00 Å (not quite comparable: another binning and box); "
        "Nyquist of binning 2: go on to a finer binning",
        "finer than the step before, 8.00 Å (not quite comparable: another binning and box)",
        "Nyquist of binning 1: the data's own limit",
    ]


def test_a_coarser_rung_is_said_and_what_makes_it_not_comparable(tmp_path):
    rows = resolutions_of(
        tmp_path, (1, 5, "m"), (1, 6, "m"), (1, 7, "other"), (2, 9, "other"), (2, 8, "m"), (1, 5, "m")
    )
    assert notes_of(rows) == [
        "",
        "coarser than the step before, 5.00 Å",
        "coarser than the step before, 6.00 Å (not quite comparable: another mask)",
        "coarser than the step before, 7.00 Å (not quite comparable: another binning and box)",
        "finer than the step before, 9.00 Å (not quite comparable: another mask); "
        "Nyquist of binning 2: go on to a finer binning",
        "finer than the step before, 8.00 Å (not quite comparable: another binning and box)",
    ]


def test_a_map_that_cannot_show_what_was_reached_before_is_not_called_coarser(tmp_path):
    _, note = notes_of(resolutions_of(tmp_path, (1, 5, "m"), (2, 8, "m")))
    assert note.startswith("the step before had 5.00 Å, which this binning cannot show; Nyquist of binning 2")


def test_beside_a_rung_stands_how_much_larger_its_mask_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, inside in (("tight", 4), ("wide", 6)):
        values = np.zeros((8, 8, 8), np.float32)
        values[:inside, :inside, :inside] = 1
        mrc.write_map(name, values, 2.0)
    rows = resolutions_of(tmp_path, (1, 6, "tight"), (1, 5, "wide"))
    assert [row.mask_volume for row in rows] == [64 * 8, 216 * 8]
    said = "finer than the step before, 6.00 Å (not quite comparable: another mask, 3.4 times as large)"
    assert notes_of(rows) == ["", said]


def test_a_rung_that_is_finer_within_a_tighter_mask_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, inside in (("wide", 19), ("tight", 18), ("alike", 18)):
        values = np.zeros((20, 20, 20), np.float32)
        values[:inside, :inside, :inside] = 1
        mrc.write_map(name, values, 2.0)
    rows = resolutions_of(tmp_path, (1, 11.64, "wide"), (1, 11.13, "tight"), (1, 11, "alike"))
    said = "finer than the step before, 11.64 Å (not quite comparable: another mask, 15% smaller)"
    assert [[(note.text, note.warns) for note in row.notes] for row in rows] == [
        [],
        [(said, True)],
        [
            (
                "finer than the step before, 11.13 Å (not quite comparable: another mask of the same volume)",
                False,
            )
        ],
    ]


def test_the_first_and_the_last_map_are_compared_within_one_mask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, n = np.random.default_rng(1), 24
    signal = ndimage.gaussian_filter(rng.normal(size=(n, n, n)), 1.5)
    mask = np.zeros((n, n, n), np.float32)
    mask[6:18, 6:18, 6:18] = 1
    mrc.write_map("mask.mrc", mask, 2.0)
    (row,), rows = resolutions_of(tmp_path, (1, 6, "mask.mrc")), []
    for name, noise in (("coarse", 0.3), ("fine", 0.03)):
        halves = tuple(f"{name}{half}.mrc" for half in (1, 2))
        for path in halves:
            mrc.write_map(path, (signal + noise * rng.normal(size=signal.shape)).astype(np.float32), 2.0)
        rows.append(replace(row, box=n, half_maps=halves))
    first, before, after = resolution.within_one_mask(rows)
    assert first is rows[0]
    assert before > 1.2 * after
    assert resolution.within_one_mask([replace(rows[0], box=12), rows[1]]) is None
    Path("mask.mrc").unlink()
    assert resolution.within_one_mask(rows) is None
