"""What a CTF refinement or a polishing changed is measured, and only that."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions import tilt_changes
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
ANGLES = np.arange(-60, 61, 6.0)


def series(**columns: object) -> pd.DataFrame:
    """A tilt series of 21 tilts, with other values for some columns."""
    table = pd.DataFrame(
        {
            "rlnMicrographName": [f"{i + 1}@TS.mrcs" for i in range(len(ANGLES))],
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": ANGLES,
            "rlnTomoZRot": 85.0,
            "rlnTomoXShiftAngst": 10.0,
            "rlnTomoYShiftAngst": -3.0,
            "rlnDefocusU": 30000.0,
            "rlnDefocusV": 29000.0,
            "rlnCtfScalefactor": 1.0,
        }
    )
    return table.assign(**columns)


def particles(n: int = 8, **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.uniform(-500, 500, (n, 3)), columns=[f"rlnCenteredCoordinate{c}Angst" for c in "XYZ"]
    )
    names = {"rlnTomoName": "TS", "rlnTomoParticleName": [f"TS/{i}" for i in range(n)]}
    return table.assign(**names, **columns)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Writes a state and gives its optimisation set."""
    monkeypatch.chdir(tmp_path)

    def write(
        name: str, tilts: pd.DataFrame | None = None, rows: pd.DataFrame | None = None, motion: str = ""
    ):
        folder = Path(name)
        star.write(folder / "TS.star", {"TS": series() if tilts is None else tilts})
        row = {"rlnTomoName": ["TS"], "rlnTomoTiltSeriesStarFile": [f"{name}/TS.star"]}
        star.write(folder / "tomograms.star", {"global": pd.DataFrame(row)})
        star.write(folder / "particles.star", {"particles": particles() if rows is None else rows})
        if motion:
            (folder / "motion.star").write_text(motion)
        trajectories = f"{name}/motion.star" if motion else None
        return OptimisationSet(f"{name}/particles.star", f"{name}/tomograms.star", trajectories)

    return write


def test_an_unchanged_state_has_no_changes(state):
    assert tilt_changes.changes(state("a"), state("b")) == {}


def test_a_common_defocus_change_is_its_mean(state):
    found = tilt_changes.changes(state("a"), state("b", series(rlnDefocusU=30500.0, rlnDefocusV=29500.0)))
    expected = {"defocus_mean": 500, "defocus_rms": 500, "defocus_largest": 500}
    assert found == pytest.approx(expected)


def test_astigmatism_is_distinguished_from_defocus(state):
    found = tilt_changes.changes(state("a"), state("b", series(rlnDefocusU=30200.0, rlnDefocusV=28800.0)))
    assert found == pytest.approx({"astigmatism_rms": 400})


def test_the_scale_range_is_that_after_the_refinement(state):
    found = tilt_changes.changes(
        state("a"), state("b", series(rlnCtfScalefactor=np.linspace(0.4, 1.2, len(ANGLES))))
    )
    assert found == pytest.approx({"scale_min": 0.4, "scale_max": 1.2})


def test_a_scale_that_was_not_recorded_before_was_1(state):
    old = series().drop(columns="rlnCtfScalefactor")
    assert tilt_changes.changes(state("a", old), state("b")) == {}
    assert (
        tilt_changes.changes(state("a", old), state("b", series(rlnCtfScalefactor=0.5)))["scale_min"] == 0.5
    )


def test_a_shift_common_to_all_tilts_is_no_change(state):
    assert tilt_changes.changes(state("a"), state("b", series(rlnTomoXShiftAngst=15.0))) == {}


def test_shifts_are_measured_about_the_mean_of_the_series(state):
    jitter = 4.0 * (-1.0) ** np.arange(len(ANGLES))
    found = tilt_changes.changes(state("a"), state("b", series(rlnTomoXShiftAngst=20 + jitter)))
    assert found["shift_rms"] == pytest.approx(jitter.std())
    assert found["shift_largest"] == pytest.approx(np.abs(jitter - jitter.mean()).max())


def test_a_turned_tilt_is_reported(state):
    turned = ANGLES.copy()
    turned[3] += 0.25
    assert tilt_changes.changes(state("a"), state("b", series(rlnTomoYTilt=turned))) == pytest.approx(
        {"angle_largest": 0.25}
    )


@pytest.mark.parametrize("column", ["rlnDefocusU", "rlnTomoYShiftAngst"])
def test_a_tilt_far_from_its_neighbours_is_counted(state, column):
    rng = np.random.default_rng(1)
    step = 100.0 if "Defocus" in column else 1.0
    values = series()[column] + step * rng.normal(size=len(ANGLES))
    outliers = "defocus_outliers" if "Defocus" in column else "shift_outliers"
    assert outliers not in tilt_changes.changes(state("a"), state("b", series(**{column: values})))
    values[7] += 20 * step
    assert tilt_changes.changes(state("a"), state("c", series(**{column: values})))[outliers] == 1


def test_tilts_are_matched_by_name_not_by_row(state):
    other = series(rlnDefocusU=30000.0 + 10 * np.arange(len(ANGLES)))
    assert tilt_changes.changes(state("a", other), state("b", other[::-1])) == {}


def test_particles_move_about_the_mean_of_their_tomogram(state):
    rng = np.random.default_rng(2)
    moved = particles()
    moved["rlnCenteredCoordinateXAngst"] += 7.0
    assert tilt_changes.changes(state("a"), state("b", rows=moved)) == {}
    jump = rng.normal(size=len(moved))
    moved["rlnCenteredCoordinateZAngst"] += jump
    found = tilt_changes.changes(state("a"), state("c", rows=moved[::-1]))
    assert found == pytest.approx({"particle_rms": jump.std()})


def test_an_origin_that_became_a_coordinate_is_no_move(state):
    """Polishing writes refined positions as coordinates, origins zero."""
    rng = np.random.default_rng(3)
    origins = dict(zip([f"rlnOrigin{c}Angst" for c in "XYZ"], rng.normal(0, 5, (3, 8)), strict=True))
    angles = {f"rlnTomoSubtomogram{a}": v for a, v in (("Rot", 90.0), ("Tilt", 0.0), ("Psi", 0.0))}
    x, y, z = origins.values()
    folded = particles(**angles)  # a quarter turn about z: A · origin = (y, -x, z)
    folded["rlnCenteredCoordinateXAngst"] -= y
    folded["rlnCenteredCoordinateYAngst"] += x
    folded["rlnCenteredCoordinateZAngst"] -= z
    assert (
        tilt_changes.changes(state("a", rows=particles(**origins, **angles)), state("b", rows=folded)) == {}
    )


MOTION = """
data_general

_rlnParticleNumber  2

data_TS/1

loop_
_rlnOriginXAngst #1
_rlnOriginYAngst #2
_rlnOriginZAngst #3
  0.0  0.0  0.0
  3.0  0.0  4.0

data_TS/2

loop_
_rlnOriginXAngst #1
_rlnOriginYAngst #2
_rlnOriginZAngst #3
  0.0  0.0  0.0
 -1e-3  0.5  0.0
"""


def test_the_largest_motion_of_new_trajectories(state):
    before, after = state("a"), state("b", motion=MOTION)
    assert tilt_changes.changes(before, after) == pytest.approx({"motion_largest": 5})
    assert tilt_changes.changes(after, after) == {}


def test_other_tilts_particles_or_series_cannot_be_compared(state):
    before = state("a")
    with pytest.raises(UserError, match=r"b/TS.star: does not hold the tilts of a/TS.star"):
        tilt_changes.changes(before, state("b", series()[:20]))
    with pytest.raises(UserError, match=r"c/particles.star: does not hold the particles"):
        tilt_changes.changes(before, state("c", rows=particles(7)))
    after = state("d")
    table = pd.DataFrame({"rlnTomoName": ["TS2"], "rlnTomoTiltSeriesStarFile": ["d/TS.star"]})
    star.write("d/tomograms.star", {"global": table})
    with pytest.raises(UserError, match=r"d/tomograms.star: does not hold the tilt series"):
        tilt_changes.changes(before, after)


def test_trajectories_that_cannot_be_read_are_an_error(state):
    with pytest.raises(UserError, match=r"none.star: there is no such file"):
        tilt_changes.changes(state("a"), OptimisationSet("a/particles.star", "a/tomograms.star", "none.star"))


def test_relions_polishing_moved_tilts_by_5_angst_and_particles_by_4(monkeypatch):
    monkeypatch.chdir(GOLDEN)
    before, after = (OptimisationSet.read(f"cycle/{x}/optimisation_set.star") for x in ("ctf", "polish"))
    found = tilt_changes.changes(before, after)
    expected = {"shift_rms": 5.165, "shift_largest": 10.869, "angle_largest": 0.329, "particle_rms": 4.099}
    assert found == pytest.approx(expected | {"motion_largest": 0.441}, abs=1e-3)
