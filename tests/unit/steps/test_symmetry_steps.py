"""The steps align_symmetry and expand, by their functions, with the embedded engine's programs on simulated data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import symmetry as simulated
from stacycle.checks.state import _check_names, check_state
from stacycle.decisions import apply, apply_symmetry
from stacycle.decisions.agreement import spectra
from stacycle.errors import ProgramFailed, UserError
from stacycle.files import mrc, relion_output, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES, ORIGINS, SUBSET, TURNS
from stacycle.inputs.orientations import to_angles, to_rotation
from stacycle.jobs import job
from stacycle.programs import reconstruct_particle, refine
from stacycle.programs.align_symmetry import solution
from stacycle.programs.command import Command
from stacycle.programs.verify import check_outputs
from stacycle.provenance import record
from stacycle.provenance.identity import record_of
from stacycle.steps import align_symmetry, expand
from staengine import __main__ as engine
from staengine.numerics import rotation
from staengine.simulation.simulate import SimulationSettings, simulate

EMBEDDED = {"kind": "embedded", "bin": None}
BOX, PIXEL, DIAMETER, RESOLUTION = 48, 10.0, 220.0, 40.0


def run(*words: str) -> None:
    assert engine.main(list(words)) == 0


def averaged(state: str, out: str, group: str) -> NDArray[Any]:
    run(
        *("relion_tomo_reconstruct_particle", "--i", state, "--theme", "classic", "--o", f"{out}/"),
        *("--b", str(BOX), "--bin", "1", "--sym", group),
    )
    return np.array(mrc.voxels(f"{out}/merged.mrc"))


def project(folder: Path, group: str) -> NDArray[Any]:
    """Extracted particles of a group whose axes lie anywhere, and their C1 average, in a folder; the true map."""
    rng = np.random.default_rng(3)
    truth = simulated.turned_at_random(simulated.particle(simulated.Case(group, group), rng), rng)
    truth = np.where(truth > 0.05 * truth.max(), truth, 0)
    truth = rotation.shifted(truth, -rotation.centre_of_mass(truth))  # as the simulator puts it
    mrc.write_map("true.mrc", np.where(truth > 0.02 * truth.max(), truth, 0), PIXEL)
    series = {"tomos": 2, "size": 128, "depth": 60, "angpix": PIXEL, "tilt_step": 10.0, "snr": 2.0}
    picks = {"particles": 20, "junk": 0, "fraction_b": 0, "angle_error": 3.0, "position_error": 4.0}
    simulate(
        SimulationSettings(o=Path(), root=".", map="true.mrc", diameter=DIAMETER, seed=4, **series, **picks)  # type: ignore[arg-type]
    )
    OptimisationSet("particles.star", "tomograms.star").write("optimisation_set.star")
    words = ["--i", "optimisation_set.star", "--theme", "classic", "--o", "extract/", "--b", str(BOX)]
    run("relion_tomo_subtomo", *words, "--bin", "1", "--stack2d")
    tables = star.read("extract/particles.star")
    tables["particles"][SUBSET] = tables["particles"].index % 2 + 1
    star.write("extract/particles.star", tables)
    record.adopt("extract/optimisation_set.star")
    averaged("extract/optimisation_set.star", "average", "C1")
    return truth


def aligned(group: str) -> str:
    """The map that the step's program makes, of a job as its rule has it."""
    settings, out = {"lowpass": RESOLUTION}, f"{group}/map/aligned.mrc"
    given = SimpleNamespace(map="average/merged.mrc", resolution=[])
    params = SimpleNamespace(settings=settings, symmetry=group)
    argv = align_symmetry.command(SimpleNamespace(input=given, output=[out], params=params), EMBEDDED)
    job.run(argv, f"{group}/map", engine=EMBEDDED, expected_outputs=[out])
    return out


def fsc(density: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.floating]:
    """Of the shells up to 25 Å, within a sphere around the particle."""
    inside = np.linalg.norm(np.indices(density.shape) - BOX // 2, axis=0) < 0.6 * DIAMETER / PIXEL
    cross, a, b = spectra(density * inside, truth * inside)
    return (cross / np.sqrt(a * b))[1 : int(BOX * PIXEL / 25)]


@pytest.mark.parametrize(("group", "wrong"), [("C6", ["C5", "C7", "D6"]), ("D2", ["D3"])])
def test_particles_are_turned_to_the_axes_and_their_symmetrised_average_is_better(
    group: str, wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truth, state = project(tmp_path, group), "extract/optimisation_set.star"
    made = aligned(group)
    decision = apply_symmetry.tested(made, group, DIAMETER, RESOLUTION, "auto", "least")
    assert decision.numbers["agreement"] > 0.6  # measured: 0.77 of C6, 0.85 of D2
    apply_symmetry.write_turned(state, made, group)

    after = f"{group}/optimisation_set.star"
    without, untouched = averaged(after, "c1", "C1"), averaged(state, "untouched", group)
    symmetrised = averaged(after, "symmetrised", group)
    back = apply_symmetry.turn_of(made).inv().as_matrix()  # to where the true map lies
    before, with_it, wrong_axes = (
        float(fsc(density, truth).mean())
        for density in (mrc.voxels("average/merged.mrc"), rotation.turned(symmetrised, back), untouched)
    )
    assert with_it > before + 0.05  # measured: 0.75 over 0.68 of C6, 0.75 over 0.67 of D2
    assert wrong_axes < before - 0.2  # measured: 0.39 of C6, 0.40 of D2
    assert (
        np.corrcoef(without.ravel(), mrc.voxels(f"{group}/reference.mrc").ravel())[0, 1] > 0.9
    )  # measured: 0.93

    old, new = (star.read(OptimisationSet.read(one).particles)["particles"] for one in (state, after))
    assert old.drop(columns=ANGLES).equals(new.drop(columns=ANGLES))
    assert record_of(group)["counts"] == {"in": 40, "out": 40, "dropped": {}}  # type: ignore[index]
    for other in wrong:
        with pytest.raises(UserError, match=f"no {other} symmetry"):
            apply_symmetry.tested(aligned(other), other, DIAMETER, RESOLUTION, "auto", "least")


# ---------------------------------------------------------------- copies of particles


def expanded(state: str, group: str) -> str:
    """The state of the copies that the step makes, of a job as its rule has it."""
    params = SimpleNamespace(settings={"symmetry": "auto"}, symmetry=group)
    out = "expand/optimisation_set.star"
    one = SimpleNamespace(input=SimpleNamespace(state=[state]), output=[out], params=params)
    copies = "expand/copies/particles.star"
    job.run(expand.command(one, EMBEDDED), "expand/copies", engine=EMBEDDED, expected_outputs=[copies])
    expand.write_state(state, copies, "expand", expand.group_of(one))
    return out


def test_copies_make_the_symmetrised_average_without_symmetry_and_can_be_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, "C6")
    state = "extract/optimisation_set.star"
    apply_symmetry.write_turned(state, aligned("C6"), "C6")
    turned = "C6/optimisation_set.star"
    copies = expanded(turned, "C6")
    record_of_copies = record_of("expand")
    assert record_of_copies is not None
    assert record_of_copies["counts"] == {"in": 40, "out": 240, "dropped": {}}
    assert record_of_copies["half_sets"] == {"1": 120, "2": 120}
    check_state(OptimisationSet.read(copies))

    argv = reconstruct_particle.argv(
        state=copies, out="c1", box=BOX, binning=1, symmetry="C1", threads=1, snr=0
    )
    job.run(argv, "c1", engine=EMBEDDED, expected_outputs=["c1/merged.mrc"])
    of_copies, symmetrised = mrc.voxels("c1/merged.mrc"), averaged(turned, "symmetrised", "C6")
    like = np.corrcoef(of_copies.ravel(), symmetrised.ravel())[0, 1]
    assert like > 0.98  # measured: 0.996; 0.815 without copies
    assert np.corrcoef(averaged(turned, "alone", "C1").ravel(), symmetrised.ravel())[0, 1] < like - 0.03

    argv = refine.class3d(
        **{"state": copies, "reference": "c1/merged.mrc", "out": "class3d/run", "T": 1, "classes": 2},
        **{"iterations": 3, "lowpass": 60, "mask_diameter": 280, "highres_limit": 40, "symmetry": "C1"},
        **{"seed": 1, "pool": 10, "threads": 2, "scratch": None},
    )
    job.run(argv, "class3d", engine=EMBEDDED, expected_outputs=["class3d/run_it003_data.star"])
    assert 0 <= relion_output.moved("class3d", 3) < 1
    found = star.read("class3d/run_it003_data.star")
    selected = apply.of_classes(found, [1])
    Path("select").mkdir()
    dropped = apply.write_selected(selected, OptimisationSet.read(copies), "select")
    kept = int((found["particles"]["rlnClassNumber"].astype(int) == 1).sum())
    assert dropped == {"in classes that were not selected": 240 - kept}  # and none as a particle picked twice
    check_state(OptimisationSet.read("select/optimisation_set.star"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda rows: pd.concat([rows, rows[:1]]), "stands there twice"),
        (lambda rows: rows.assign(rlnCenteredCoordinateXAngst=np.arange(len(rows))), "stands there twice"),
        (lambda rows: rows.assign(rlnRandomSubset=np.arange(len(rows)) % 2 + 1), "stands there twice"),
    ],
)
def test_a_row_twice_is_no_copy(damage: Any, sentence: str, tmp_path: Path) -> None:
    """Copies of RELION's own lie on one place, in one half set, and each in another pose."""
    golden = Path(__file__).parents[2] / "golden/data/symmetry/symd/expanded.star"
    tables = star.read(golden)
    _check_names(str(golden), star.columns(golden, "particles"))
    rows = tables["particles"]
    rows["rlnRandomSubset"] = 1
    tables["particles"] = damage(rows).reset_index(drop=True)
    star.write(tmp_path / "damaged.star", tables)
    with pytest.raises(UserError, match=sentence):
        _check_names("damaged.star", star.columns(tmp_path / "damaged.star", "particles"))


def test_too_few_copies_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    golden = Path(__file__).parents[2] / "golden/data/symmetry/symd"
    tables = star.read(golden / "expanded.star")
    tables["particles"] = tables["particles"][:-1]
    star.write("copies.star", tables)
    words = ["--i", str(golden / "ex/particles.star"), "--o", "copies.star", "--sym", "C6"]
    with pytest.raises(
        ProgramFailed, match=r"copies\.star has 125 rows, but 21 particles have 126 copies in C6"
    ):
        check_outputs(Command.of(["relion_particle_symmetry_expand", *words]), ["copies.star"], [])


# ---------------------------------------------------------------- turned particles

TURN = to_rotation([[40, 60, -20]])[0]


def particles() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    labels = [*ANGLES, *TURNS]
    return pd.DataFrame({label: rng.uniform(0, 180, 6) for label in labels} | {ORIGINS[0]: 3.0, SUBSET: 1})


def test_the_orientation_in_the_tomogram_is_that_of_the_turned_map_whatever_the_subtomograms_turn() -> None:
    """A point of the particle stays where it is: A_subtomogram · A_angles takes it there."""
    before, after = particles(), apply_symmetry.turned(particles(), TURN)
    point = np.array([3.0, -5, 8])
    places = [
        (to_rotation(table[TURNS]) * to_rotation(table[ANGLES])).apply(at)
        for table, at in ((before, point), (after, TURN.apply(point)))
    ]
    np.testing.assert_allclose(*places, atol=1e-9)
    assert after.drop(columns=ANGLES).equals(before.drop(columns=ANGLES))


def test_priors_are_turned_too_and_those_that_are_missing_are_the_angles() -> None:
    table = particles()
    table["rlnAngleTiltPrior"], table["rlnAnglePsiPrior"] = 90.0, table[ANGLES[2]] + 5
    after = apply_symmetry.turned(table, TURN)
    expected = (
        to_rotation(np.stack([table[ANGLES[0]], np.full(6, 90.0), table["rlnAnglePsiPrior"]], 1)) * TURN.inv()
    )
    angles = to_angles(expected)
    np.testing.assert_allclose(after["rlnAngleTiltPrior"], angles[:, 1], atol=1e-9)
    np.testing.assert_allclose(after["rlnAnglePsiPrior"], angles[:, 2], atol=1e-9)
    assert "rlnAngleRotPrior" not in after


def test_the_angles_are_those_that_the_program_said_last() -> None:
    said = [
        " The best solution is ROT = 1 TILT = 2 PSI = 3",
        " The refined solution is ROT = 4 TILT = 5 PSI = 6.5 DIFF2= 7",
    ]
    assert solution(said) == (4, 5, 6.5)
    with pytest.raises(UserError, match="did not tell by which angles"):
        solution(said[:1])


def test_a_map_that_is_not_a_whole_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("average").mkdir()
    mrc.write_map("average/merged.mrc", np.zeros((16,) * 3, np.float32), PIXEL)
    with pytest.raises((UserError, ProgramFailed), match=r"merged\.mrc"):
        aligned("C2")


def test_the_aligned_map_turned_as_relion_says_is_that_of_the_turned_particles() -> None:
    """RELION 5.0.1's own: its angles of the C1 map, and the particles that were turned by them."""
    golden = Path(__file__).parents[2] / "golden/data/symmetry"
    said = (golden / "logs/align_symmetry_of_c1_map.log").read_text().splitlines()
    before, after = (
        star.read(golden / f"symd/{name}.star")["particles"]
        for name in ("particles_tilted", "particles_al_AT")
    )
    found = apply_symmetry.turned(before, to_rotation(solution(said)))
    apart = (to_rotation(found[ANGLES]).inv() * to_rotation(after[ANGLES])).magnitude()
    assert np.degrees(apart).max() < 0.01


@pytest.fixture
def relions_map(tmp_path: Path) -> Path:
    """RELION 5.0.1's C1 map of C6 particles, on the axes that it found."""
    golden = Path(__file__).parents[2] / "golden/data/symmetry"
    said = (golden / "logs/align_symmetry_of_c1_map.log").read_text().splitlines()
    path, turn = golden / "symd/trec_C1/merged.mrc", to_rotation(solution(said)).as_matrix()
    pixel = mrc.header(path).pixel
    mrc.write_map(tmp_path / "aligned.mrc", rotation.turned(mrc.voxels(path), turn), pixel)
    return tmp_path / "aligned.mrc"


@pytest.mark.parametrize("group", ["C6", "C3", "C2"])
def test_relions_own_map_of_c6_particles_has_that_symmetry(group: str, relions_map: Path) -> None:
    found = apply_symmetry.tested(relions_map, group, 240, 60, "auto", "least")
    assert found.numbers["agreement"] > 0.6


@pytest.mark.parametrize("group", ["C5", "C7", "C12", "D6"])
def test_relions_own_map_of_c6_particles_has_no_other_symmetry(group: str, relions_map: Path) -> None:
    with pytest.raises(UserError, match=f"no {group} symmetry"):
        apply_symmetry.tested(relions_map, group, 240, 60, "auto", "least")
