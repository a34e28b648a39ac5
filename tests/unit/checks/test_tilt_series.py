"""Numbers of tilt series that cannot be are refused, strange ones are told, and those of good data are not."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import least_seconds

from stacycle.checks import doubts
from stacycle.checks.ranges import check_possible
from stacycle.checks.tilt_series import check_series
from stacycle.checks.tomograms import Summary, check_together, check_tomograms, summarise
from stacycle.errors import UserError
from stacycle.files import star

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
SHAPE, PIXEL = (4092, 5760), 1.35  # px (y, x), Å
IN_ORDER_OF_TILT = "as if it were counted in the order of the angles"


def dose_symmetric(step: float, most: float) -> np.ndarray:
    """Angles as acquired: 0, 3, -3, -6, 6, 9, ..."""
    sides = [np.arange(sign * step, sign * (most + step / 2), sign * step) for sign in (1, -1)]
    pairs = zip(*sides, strict=True)
    return np.r_[0.0, [x for n, (a, b) in enumerate(pairs) for x in ((a, b) if n % 2 == 0 else (b, a))]]


def bidirectional(step: float, most: float) -> np.ndarray:
    return np.r_[np.arange(-15, most + step / 2, step), np.arange(-15 - step, -most - step / 2, -step)]


def unidirectional(step: float, most: float) -> np.ndarray:
    return np.arange(most, -most - step / 2, -step)


def from_the_end(step: float, most: float) -> np.ndarray:
    """Dose-symmetric, and the first tilt taken once more at the end."""
    return np.r_[dose_symmetric(step, most), 0.0]


SCHEMES: list[Callable[[float, float], np.ndarray]] = [dose_symmetric, bidirectional, from_the_end]


def series(angles: np.ndarray | None = None, seed: int = 0, **columns: object) -> pd.DataFrame:
    """A good tilt series of 41 tilts, in the order of the angles, with other values for some columns."""
    rng = np.random.default_rng(seed)
    angles = dose_symmetric(3, 60) if angles is None else angles
    n = len(angles)
    table = pd.DataFrame(
        {
            "rlnMicrographPreExposure": 3.0 * np.arange(n),
            "rlnTomoNominalStageTiltAngle": angles + rng.normal(0, 0.01, n),
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": angles,
            "rlnTomoZRot": 84 + 0.2 * np.sin(np.radians(angles)),
            "rlnTomoXShiftAngst": rng.normal(0, 60, n),
            "rlnTomoYShiftAngst": 200 * np.sin(np.radians(angles)) + rng.normal(0, 30, n),
            "rlnDefocusU": 39400 + rng.normal(0, 800, n),
            "rlnDefocusV": 38800 + rng.normal(0, 800, n),
            "rlnDefocusAngle": rng.uniform(-90, 90, n),
            "rlnCtfScalefactor": np.cos(np.radians(angles)),
        }
    ).sort_values("rlnTomoYTilt", kind="stable", ignore_index=True)
    return table.assign(**columns)


def put(label: str, rows: list[int], value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[rows, label] = value
        return table

    return edit


def times(label: str, factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(**{label: table[label] * factor})


def messages(found: Iterable[doubts.Doubt]) -> tuple[list[str], list[str]]:
    problems, warned = doubts.messages(found)
    return list(map(str, problems)), list(map(str, warned))


def told(table: pd.DataFrame, shape: tuple[int, int] | None = SHAPE) -> tuple[list[str], list[str]]:
    return messages(check_series("TS_01", "a/TS_01.star", table, shape, PIXEL))


def refusals(edit: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    return told(edit(series()))[0]


def warnings(edit: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    problems, warned = told(edit(series()))
    assert not problems
    return warned


# Good data


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("step", "most"), [(3, 60), (2, 60), (2, 70), (3, 51), (5, 60)])
@pytest.mark.parametrize("pretilt", [0.0, 11.0, -18.0])
def test_a_good_series_of_any_scheme_raises_no_doubt(scheme, step, most, pretilt):
    angles = scheme(step, most) + pretilt
    table = series(angles, seed=int(most), rlnTomoNominalStageTiltAngle=np.sort(angles) - pretilt)
    assert told(table) == ([], [])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_unidirectional_series_is_only_asked_whether_it_is_one(sign):
    problems, warned = told(series(sign * unidirectional(3, 60)))
    assert not problems
    assert len(warned) == 1
    assert IN_ORDER_OF_TILT in warned[0]
    assert warned[0].endswith("unless the series was taken in this order.")


def random_scheme(rng: np.random.Generator) -> np.ndarray:
    scheme = SCHEMES[rng.integers(len(SCHEMES))]
    return scheme(rng.choice([2, 3]), rng.choice([54, 60, 66])) + rng.choice([0, rng.uniform(-20, 20)])


def removed(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Without a few of the tilts, in another order of rows."""
    keep = rng.choice(len(table), len(table) - rng.integers(0, 8), replace=False)
    return table.iloc[keep]


@pytest.mark.parametrize("seed", range(60))
def test_good_series_as_they_are_acquired_and_refined_raise_no_doubt(seed):
    rng = np.random.default_rng(seed)
    angles = random_scheme(rng)
    n, axis, defocus = len(angles), rng.choice([0, 84, -96, 179.5, -4]), rng.choice([500, 9000, 25000, 60000])
    gradient = rng.uniform(-1500, 1500) * np.sin(np.radians(np.sort(angles))) * (defocus > 8000)
    table = series(
        angles,
        seed,
        rlnTomoNominalStageTiltAngle=np.sort(angles),
        rlnTomoZRot=(axis + rng.uniform(-1.5, 1.5, n) + 180) % 360 - 180 if axis else 0.0,
        rlnTomoXShiftAngst=rng.normal(rng.uniform(-300, 300), 150, n),
        rlnTomoYShiftAngst=rng.normal(0, 150, n)
        + rng.uniform(-600, 600) * np.sin(np.radians(np.sort(angles))),
        rlnDefocusU=defocus * rng.normal(1, 0.04, n) + gradient + 150,
        rlnDefocusV=defocus * rng.normal(1, 0.04, n) + gradient - 150 * (defocus > 1000),
        rlnCtfScalefactor=rng.uniform(0.28, 1.2, n),
    )
    assert told(removed(table, rng)) == ([], [])


@pytest.mark.parametrize("path", ["input", "cycle/ctf/input"])
@pytest.mark.parametrize("name", ["TS_01", "TS_02"])
def test_relions_own_tilt_series_refined_or_not_raise_no_doubt(path, name):
    table = star.read(GOLDEN / path / "tilt_series" / f"{name}.star")[name]
    doubts = check_series(name, "TS.star", table, (320, 320), 5.0)
    assert messages(doubts) == ([], [])


def test_a_value_that_cannot_be_is_not_reported_as_a_strange_one_too():
    assert told(put("rlnTomoYTilt", [6], 1e24)(series()))[1] == []
    assert told(put("rlnMicrographPreExposure", [6], 1e24)(series()))[1] == []


def test_tilts_without_a_defocus_are_recognised_by_one_column_of_two():
    both = put("rlnDefocusU", [6], 0.0)(put("rlnDefocusV", [6], 0.0)(series()))
    assert [one.split()[1] for one in told(both)[0]] == ["rlnDefocusU"]
    assert [one.split()[1] for one in told(put("rlnDefocusV", [7], 0.0)(both))[0]] == [
        "rlnDefocusU",
        "rlnDefocusV",
    ]


def test_a_series_of_three_tilts_is_not_judged_by_its_own():
    table = series(np.array([-60.0, 0, 60]), rlnTomoXShiftAngst=0.0, rlnTomoYShiftAngst=0.0, rlnDefocusU=3e4)
    assert told(table) == ([], [])


def test_numbers_that_are_none_are_left_to_other_checks():
    table = series().astype({"rlnTomoYTilt": object})
    table.loc[3, "rlnTomoYTilt"] = "x12"
    table.loc[4, "rlnDefocusU"] = np.nan
    assert told(table) == ([], [])


# What cannot be


@pytest.mark.parametrize(
    ("label", "value", "unit"),
    [
        ("rlnTomoYTilt", 1567301525373690323140608.0, "a tilt angle lies within -90 to 90 degrees"),
        ("rlnTomoYTilt", -90.5, "a tilt angle lies within -90 to 90 degrees"),
        ("rlnTomoNominalStageTiltAngle", 91, "a tilt angle lies within -90 to 90 degrees"),
        ("rlnTomoXTilt", 361, "an angle lies within -360 to 360 degrees"),
        ("rlnTomoZRot", -400, "an angle lies within -360 to 360 degrees"),
        ("rlnTomoXShiftAngst", 8000, "more than the image of 7776 Å"),
        ("rlnTomoYShiftAngst", -5600, "more than the image of 5524 Å"),
        ("rlnDefocusU", 0, "a defocus is above 0"),
        ("rlnDefocusV", -39000, "a defocus is above 0"),
        ("rlnDefocusU", 2e6, "below 1000000 Å"),
        ("rlnDefocusAngle", 1e5, "an angle lies within -360 to 360 degrees"),
        ("rlnMicrographPreExposure", -3, "an exposure lies within 0 to 1000 e/Å²"),
        ("rlnMicrographPreExposure", 12000, "an exposure lies within 0 to 1000 e/Å²"),
        ("rlnCtfScalefactor", -1, "a contrast scale is not negative"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_row(label, value, unit):
    told_once = refusals(put(label, [6], value))
    assert len(told_once) == 1
    assert told_once[0].startswith(f"a/TS_01.star: {label} is ")
    assert " in row 7, " in told_once[0]
    assert unit in told_once[0]
    assert "; " in told_once[0]


@pytest.mark.parametrize("label", ["rlnDefocusU", "rlnDefocusV"])
@pytest.mark.parametrize(
    ("factor", "fault"),
    [(1e-4, "3.95, as if it were in µm; multiply"), (1e-10, "3.95e-06, as if it were in m; multiply")],
)
def test_a_defocus_in_another_unit_is_refused(label, factor, fault):
    assert refusals(lambda table: table.assign(**{label: 39500 * factor}))[0] == (
        f"a/TS_01.star: {label} of TS_01 has the median {fault} it by {round(1 / factor)} to have Å."
    )


def test_a_defocus_in_micrometres_is_reported_once_for_both_columns():
    both = refusals(lambda table: times("rlnDefocusU", 1e-4)(times("rlnDefocusV", 1e-4)(table)))
    assert len(both) == 1


def test_a_defocus_in_nanometres_is_warned_of_but_not_one_of_a_phase_plate():
    in_nm = times("rlnDefocusU", 0.1)(times("rlnDefocusV", 0.1)(series()))
    assert "as if it were in nm" in told(in_nm)[1][0]
    assert told(in_nm.assign(rlnPhaseShift=90.0)) == ([], [])


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (put("rlnTomoYTilt", list(range(41)), 12.0), "rlnTomoYTilt is 12 in all 41 tilts"),
        (times("rlnTomoYTilt", np.pi / 180), "as if it were in radians"),
    ],
)
def test_tilt_angles_that_are_alike_or_in_radians_are_refused(edit, fault):
    assert fault in refusals(edit)[0]


# A tilt and its series


def test_defocus_far_from_the_others_is_reported_with_values_and_median():
    table = put("rlnDefocusU", [20], 146011.7383)(
        put("rlnDefocusU", [0, 1], 0.0)(series(rlnDefocusU=39377.0))
    )
    problems, warned = told(table)
    assert (
        "rlnDefocusU of 3 of 41 tilts of TS_01 is far from the others' (0, 0, 146012 Å; median 39400) "
        "in rows 1, 2, 21; estimate" in warned[0]
    )
    assert "rlnDefocusU is 0 in rows 1, 2, but a defocus is above 0" in problems[0]


def test_defocus_far_in_both_columns_is_reported_once():
    both = warnings(lambda t: put("rlnDefocusU", [5], 9e4)(put("rlnDefocusV", [5], 9.1e4)(t)))
    assert len(both) == 1
    later = warnings(lambda t: put("rlnDefocusU", [5], 9e4)(put("rlnDefocusV", [5, 8], 9.1e4)(t)))
    assert any("rlnDefocusV of 2 of 41" in one for one in later)


def test_rows_of_excluded_tilts_are_recognised_by_their_axis():
    def excluded(table):
        table.loc[[0, 1, 39, 40], ["rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]] = 0.0
        return table

    expected = (
        "rlnTomoZRot of 4 of 41 tilts of TS_01 is far from the others' (0, median 83.4) in rows 1, 2, 40, 41; "
        "were they excluded from the alignment? Remove these rows."
    )
    assert told(excluded(series(rlnTomoZRot=83.4)))[1] == [f"a/TS_01.star: {expected}"]
    assert "were they excluded" in told(excluded(series(rlnTomoZRot=4.0)))[1][0]  # an axis near 0
    assert told(excluded(series(rlnTomoZRot=0.0)))[1] == []  # where 0 tells nothing


def test_an_axis_across_the_turn_of_the_circle_is_one_axis():
    around = np.where(np.arange(41) % 2, 179.0, -179.0)
    assert told(series(rlnTomoZRot=around)) == ([], [])
    assert "in row 4;" in told(put("rlnTomoZRot", [3], 84.0)(series(rlnTomoZRot=around)))[1][0]


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (put("rlnTomoXTilt", [6], 20), "rlnTomoXTilt of 1 of 41 tilts of TS_01 is far from the others' (20°"),
        (put("rlnTomoXTilt", list(range(41)), 40), "seldom above 30 degrees"),
        (put("rlnTomoZRot", [6], -96), "of 1 of 41 tilts of TS_01 is far from the others' (-96, median 84)"),
        (put("rlnTomoXShiftAngst", [6], 2700), "rlnTomoXShiftAngst of 1 of 41 tilts of TS_01 is far"),
        (put("rlnTomoXShiftAngst", list(range(41)), 4000), "the tomogram's centre lies outside the image"),
        (put("rlnDefocusV", [6], 20000), "rlnDefocusV of 1 of 41 tilts of TS_01 is far"),
        (put("rlnMicrographPreExposure", [6], 900), "rlnMicrographPreExposure of 1 of 41 tilts of TS_01 is far"),
        (times("rlnMicrographPreExposure", 5), "is it in e/nm²?"),
        (put("rlnCtfScalefactor", [6], 0), "rlnCtfScalefactor is 0 in row 7"),
        (put("rlnTomoYTilt", [3, 4, 5], 0), "rlnTomoYTilt of TS_01 is the same in rows 4, 5, 6"),
        (put("rlnMicrographPreExposure", [3, 4, 5], 0), "rlnMicrographPreExposure of TS_01 is the same in rows"),
        (lambda t: t.assign(rlnTomoXShiftAngst=0, rlnTomoYShiftAngst=0), "are 0 in all 41 tilts of TS_01"),
        (lambda t: t.assign(rlnDefocusU=3e4, rlnDefocusV=3e4), "rlnDefocusU is 30000 Å in all 41 tilts of TS_01"),
        (lambda t: t.assign(rlnDefocusV=15000.0 + np.arange(41)), "rlnDefocusU and rlnDefocusV of TS_01 differ by"),
        (lambda t: t.assign(rlnTomoZRot=np.linspace(-90, 90, 41)), "varies by more than 10 degrees"),
        (lambda t: t.assign(rlnPhaseShift=np.linspace(0.5, 1.6, 41)), "as if it were in radians"),
        (put("rlnTomoYTilt", [6], 41.5), "is not rlnTomoNominalStageTiltAngle plus the others' offset of "),
        (times("rlnTomoNominalStageTiltAngle", -1), "rlnTomoYTilt of TS_01 falls where rlnTomoNominalStage"),
    ],
)  # fmt: skip
def test_a_strange_number_is_reported_and_not_refused(edit, fault):
    warned = warnings(edit)
    assert any(fault in one for one in warned), warned
    assert all("; " in one for one in warned)


def test_a_tilt_far_from_any_other_angle_is_reported_but_no_gap_of_missing_tilts():
    table = series(dose_symmetric(3, 30)).drop(columns="rlnTomoNominalStageTiltAngle")
    assert told(table.drop(index=[3, 4, 5, 6, 7])) == ([], [])
    assert "rlnTomoYTilt of 1 of 21 tilts of TS_01 is far" in told(put("rlnTomoYTilt", [20], 88)(table))[1][0]


@pytest.mark.parametrize(
    ("exposure", "fault"),
    [
        (np.full(41, 3.0), "is the same in all tilts: no dose weighting"),
        (3.0 * np.arange(41), IN_ORDER_OF_TILT),
        (3.0 * np.arange(40, -1, -1), IN_ORDER_OF_TILT),
        (120 - series()["rlnMicrographPreExposure"], "does not rise away from the angle that it starts at"),
        (np.random.default_rng(1).permutation(3.0 * np.arange(41)), "does not rise away"),
        (np.linspace(2.01, 1.57, 41), "as if it were each image's own"),
    ],
)
def test_exposures_that_no_scheme_gives_are_reported(exposure, fault):
    warned = warnings(lambda table: table.assign(rlnMicrographPreExposure=np.asarray(exposure)))
    assert len(warned) == 1
    assert fault in warned[0]


def test_the_same_fault_of_many_series_is_reported_once():
    doubts = [
        doubt
        for number in range(50)
        for doubt in check_series(
            f"TS_{number:03}", f"TS_{number:03}.star", put("rlnDefocusU", [2], 9e4)(series(seed=number))
        )
    ]
    problems, warned = messages(doubts)
    assert not problems
    far = [one for one in warned if "is far from the others'" in one]
    assert len(far) == 1
    assert "(and so in 49 more: TS_001, TS_002, TS_003, TS_004 and 45 more); estimate" in far[0]


def test_five_hundred_tomograms_are_looked_at_in_a_second_or_two():
    many = [series(dose_symmetric(2, 60), seed) for seed in range(500)]

    def look() -> None:
        doubts = [x for i, one in enumerate(many) for x in check_series(f"{i}", "", one, SHAPE, PIXEL)]
        summaries = [summarise(str(i), one, SHAPE) for i, one in enumerate(many)]
        doubts += check_together(tomograms(*map(str, range(500))), summaries)
        assert doubts == []

    assert least_seconds(look, limit=4) < 4


# The tomograms' table


def tomograms(*names: str, **columns: object) -> pd.DataFrame:
    table = {
        "rlnTomoName": names or ("TS_01", "TS_02", "TS_03"),
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnTomoTiltSeriesPixelSize": 1.35,
        "rlnTomoHand": -1.0,
        "rlnTomoSizeX": 4092,
        "rlnTomoSizeY": 5760,
        "rlnTomoSizeZ": 2000.0,
    }
    return pd.DataFrame(table).assign(**columns)


def of_tomograms(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    shapes = dict.fromkeys(table.rlnTomoName, SHAPE)
    return messages(check_tomograms("tomograms.star", table, shapes))


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"rlnVoltage": 200.0, "rlnSphericalAberration": 0.01, "rlnAmplitudeContrast": 0.07},
        {"rlnTomoTiltSeriesPixelSize": 10.52, "rlnTomoHand": 1},
        {"rlnTomoSizeX": 3838, "rlnTomoSizeY": 3710, "rlnTomoImportFractionalDose": 3.0},
    ],
)
def test_the_settings_of_common_microscopes_raise_no_doubt(columns):
    assert of_tomograms(tomograms(**columns)) == ([], [])


@pytest.mark.parametrize(
    ("label", "value", "fault"),
    [
        ("rlnVoltage", 300000, "is 300000 in row 2, but the voltage is in kV"),
        ("rlnVoltage", 0.3, "the voltage is in kV"),
        ("rlnVoltage", -300, "the voltage is in kV"),
        ("rlnSphericalAberration", 2700000, "is in mm, 0 to 10"),
        ("rlnSphericalAberration", -2.7, "is in mm, 0 to 10"),
        ("rlnAmplitudeContrast", 10, "is a fraction, 0 to 1"),
        ("rlnAmplitudeContrast", -0.1, "is a fraction, 0 to 1"),
        ("rlnTomoTiltSeriesPixelSize", 1.35e-10, "a pixel of a tilt series has 0.1 to 50 Å"),
        ("rlnTomoTiltSeriesPixelSize", -1.35, "a pixel of a tilt series has 0.1 to 50 Å"),
        ("rlnTomoTiltSeriesPixelSize", 135, "a pixel of a tilt series has 0.1 to 50 Å"),
        ("rlnTomoHand", 0, "is 0 in row 2, not 1 or -1"),
        ("rlnTomoSizeX", 0, "a tomogram has 1 to 100000 px"),
        ("rlnTomoSizeZ", 400.5, "is 400.5 in row 2, not a whole number of px"),
        ("rlnTomoImportFractionalDose", -3, "an exposure lies within 0 to 1000 e/Å²"),
    ],
)
def test_settings_that_cannot_be_are_refused(label, value, fault):
    table = tomograms(rlnTomoImportFractionalDose=3.0)
    problems, _ = of_tomograms(table.assign(**{label: [table[label][0], value, table[label][2]]}))
    assert len(problems) == 1
    assert problems[0].startswith(f"tomograms.star: {label} is ")
    assert fault in problems[0]


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"rlnVoltage": 290.0}, "as in no common microscope"),
        ({"rlnSphericalAberration": 0.0}, "only in microscopes with a corrector"),
        ({"rlnAmplitudeContrast": 0.7}, "is it in percent?"),
        ({"rlnTomoTiltSeriesPixelSize": 0.135}, "is it in nm"),
        ({"rlnTomoSizeX": 1023, "rlnTomoSizeY": 1440}, "rlnTomoSizeX and rlnTomoSizeY are 1023 and 1440"),
    ],
)
def test_unlikely_settings_are_reported(columns, fault):
    problems, warned = of_tomograms(tomograms(**columns))
    assert not problems
    assert len(warned) == 1
    assert fault in warned[0]


# All series


def together(
    table: pd.DataFrame | None = None, edit: Callable[[str, pd.DataFrame], pd.DataFrame] = lambda _, t: t
) -> tuple[list[str], list[str]]:
    """What ten series are told, of which `edit` changes some."""
    table = tomograms(*(f"TS_{i:02}" for i in range(10))) if table is None else table
    summaries = [
        summarise(name, edit(name, series(seed=i)), SHAPE) for i, name in enumerate(table.rlnTomoName)
    ]
    return messages(check_together(table, summaries))


def test_series_that_are_alike_raise_no_doubt():
    assert together() == ([], [])


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda t: t.assign(rlnTomoZRot=t.rlnTomoZRot - 180), ", turned by 180 degrees (-96°; median 84°)"),
        (lambda t: t.assign(rlnTomoZRot=4.0), "of TS_03 is far from the others' (4°; median 84°)"),
        (lambda t: t.assign(rlnDefocusU=1500.0), "The median defocus of TS_03 is far from the others' (1500 Å; med"),
        (lambda t: t.assign(rlnMicrographPreExposure=t.rlnMicrographPreExposure * 3), "The total exposure"),
        (lambda t: t[:9], "The number of tilts of TS_03 is far from the others' (9; median 41)"),
    ],
)  # fmt: skip
def test_a_series_unlike_the_others_is_reported(edit, fault):
    problems, warned = together(edit=lambda name, table: edit(table) if name == "TS_03" else table)
    assert not problems
    assert any(fault in one for one in warned), warned


@pytest.mark.parametrize("axis", [179.9, -4.0, 84.0])
def test_axes_near_each_other_on_the_circle_raise_no_doubt(axis):
    def turned(name: str, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(rlnTomoZRot=(axis + int(name[-1]) / 5 + 180) % 360 - 180)

    assert together(edit=turned) == ([], [])


@pytest.mark.parametrize(
    ("label", "value"), [("rlnTomoHand", 1.0), ("rlnVoltage", 200.0), ("rlnSphericalAberration", 1.4)]
)
def test_mixed_settings_are_reported_with_the_tomograms_that_have_them(label, value):
    table = tomograms(*(f"TS_{i:02}" for i in range(10)))
    table.loc[[2, 5], label] = value
    problems, warned = together(table)
    assert not problems
    assert len(warned) == 1
    assert f"{label} is " in warned[0]
    assert "in 8 tomograms, but " in warned[0]
    assert "in TS_02, TS_05; " in warned[0]


@pytest.mark.parametrize(
    ("other", "refused", "warned"), [(1.35, False, False), (1.3505, False, True), (1.357, True, False)]
)
def test_pixel_sizes_are_refused_where_the_jobs_would_refuse_them(other, refused, warned):
    problems, warning = together(tomograms(rlnTomoTiltSeriesPixelSize=[1.35, 1.35, other]))
    assert [bool(problems), bool(warning)] == [refused, warned]


def test_images_of_another_binning_are_reported_but_not_those_of_another_camera():
    def one(name: str, shape: tuple[int, int]) -> Summary:
        return summarise(name, series(), shape)

    cameras = [
        one("TS_01", SHAPE),
        one("TS_02", SHAPE),
        one("TS_03", (4096, 4096)),
        one("TS_04", SHAPE[::-1]),
    ]
    assert check_together(tomograms(), cameras) == []
    binned = messages(check_together(tomograms(), [*cameras, one("TS_05", (2046, 2880))]))[1]
    assert (
        "The tilt images of TS_05 have another size than the others' (2880 x 2046 px, not 5760 x 4092)"
        in binned[0]
    )


# Before each job


def test_refined_values_are_taken_before_a_job_and_impossible_ones_are_not():
    refined = series(rlnDefocusU=-120.0, rlnCtfScalefactor=-0.1)  # near focus, and an empty image
    check_possible("TS.star", {label: list(map(str, refined[label])) for label in refined})
    with pytest.raises(UserError, match=r"TS\.star: rlnTomoYTilt is 95 in row 3, but a tilt angle lies"):
        check_possible("TS.star", put("rlnTomoYTilt", [2], 95)(series()))
