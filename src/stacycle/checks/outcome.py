"""What came out of a program against what went in: what is lost, and numbers that were forgotten."""

from __future__ import annotations

from collections import Counter

from stacycle.checks.state import POSE, check_tomograms, check_trajectories
from stacycle.checks.tables import StateFiles, check_numbers, is_zero
from stacycle.errors import UserError
from stacycle.files import star, trajectories
from stacycle.files.star import Columns
from stacycle.files.star_labels import CENTRED, TILT

# What a program fits for each tilt.
_FITTED = [*TILT[:-1], "rlnCtfScalefactor"]


def check_counts(files: StateFiles, made: StateFiles, dropped: int = 0) -> None:
    """UserError unless the particles that went in came out, but for as many as the program said it dropped."""
    before, after = Counter(files.particles["rlnTomoName"]), Counter(made.particles["rlnTomoName"])
    if not after <= before or before.total() != after.total() + dropped:
        more = f" and {dropped} were dropped" if dropped else ""
        found = f"{made.particles_file} has {after.total()} particles{more}"
        fault = f"{found}, but {files.particles_file} has {before.total()}"
        raise UserError(fault, "delete the folder and run it again")


def check_tilts_refined(files: StateFiles, made: StateFiles) -> None:
    """Tomograms, tilts and particles in = out, with finite numbers."""
    check_counts(files, made)
    check_numbers(made.particles_file, made.particles, [*CENTRED, *POSE])
    if made.tomograms["rlnTomoName"] != files.tomograms["rlnTomoName"]:
        fault = f"{made.tomograms_file} has other tomograms than {files.tomograms_file}"
        raise UserError(fault, "run it again")
    check_tomograms(made)
    check_trajectories(made)
    for name, (path, tilts) in made.series.items():
        before = files.series[name][1]
        if tilts["rlnMicrographName"] != before["rlnMicrographName"]:
            fault = f"{made.tomograms_file}: the tilts of {name} are not those it had"
            raise UserError(fault, "run it again")
        _check_not_forgotten(path, before, tilts)
    _check_particles_moved(files, made)


def _check_not_forgotten(path: str, before: Columns, after: Columns) -> None:
    """UserError if a column of a tilt series is 0 for all tilts, which it was not: of a file that was cut off."""
    for label in [*_FITTED, "rlnTomoXTilt"]:
        if label in before and label in after and is_zero(after[label]) and not is_zero(before[label]):
            fault = f"{label} is 0 for all tilts, as of a temporary file that was cut off"
            raise UserError(f"{path}: {fault}", "run it again")


def _check_particles_moved(files: StateFiles, made: StateFiles) -> None:
    """UserError if all particles of a tomogram sit in its very centre, but did not before."""
    if made.particles_file == files.particles_file:
        return
    for label in CENTRED:
        before, after = (_by_tomogram(one.particles, label) for one in (files, made))
        for name, values in after.items():
            if is_zero(values) and not is_zero(before.get(name, ["0"])):
                fault = f"{made.particles_file}: {label} is 0 for all particles of {name}"
                raise UserError(fault, "run it again")


def check_motion(made: StateFiles) -> None:
    """UserError if no particle of a tomogram moves at all, though its motion was fitted."""
    if not made.trajectories_file:
        return
    shifts = dict(star.blocks(made.trajectories_file))
    names = _by_tomogram(made.particles, "rlnTomoParticleName")
    for tomogram, particles in names.items():
        if all(is_zero(trajectories.shifts(shifts.get(name, ""))) for name in particles):
            fault = f"{made.trajectories_file}: no particle of {tomogram} moves at all"
            raise UserError(fault, "run it again")


def _by_tomogram(particles: Columns, label: str) -> Columns:
    """The values of a column by the tomogram of the particles; none without that column."""
    found: Columns = {}
    for name, value in zip(particles["rlnTomoName"], particles.get(label, []), strict=False):
        found.setdefault(name, []).append(value)
    return found
