"""Checks of a state: particles, tomograms, tilt series and trajectories, each alone and against the others.

RELION accepts most of these faults in silence, or notices them after hours. Headers, sizes and columns of text are
read, so that 50,000 particles take a second or two. `docs/faults.md` lists the faults, one by one.
"""

from __future__ import annotations

from collections import Counter

from stacycle.checks.images import check_tilt_images
from stacycle.checks.ranges import check_possible
from stacycle.checks.tables import StateFiles, check_numbers, check_once, same_pixel
from stacycle.errors import UserError, some
from stacycle.files import star, trajectories
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star import Columns
from stacycle.files.star_labels import (
    ANGLES,
    CENTRED,
    CORNER,
    OPTICS,
    ORIGINS,
    PIXEL,
    SUBSET,
    TILT,
    TOMOGRAM,
    TURNS,
)
from stacycle.recipe.auto import series_pixel

POSE = [*ANGLES, *TURNS, *ORIGINS]


def check_state(files: OptimisationSet) -> None:
    """UserError if any program's checks of particles, tomograms, tilt series and their images refuse this state."""
    state = StateFiles.of(files)
    check_tables(state)
    check_tilt_images(state)
    series_pixel(files.tomograms)
    check_half_sets_if_any(state)


def check_tables(files: StateFiles) -> None:
    """Particles, tomograms, tilt series and trajectories, by their numbers and names."""
    check_tomograms(files)
    check_particles(files)
    check_optics(files)
    check_trajectories(files)


def check_particles(files: StateFiles) -> None:
    """Positions, poses, names and tomograms of the particles."""
    path, table = files.particles_file, files.particles
    position = next((labels for labels in (CENTRED, CORNER) if set(labels) <= set(table)), CENTRED)
    if missing := [label for label in (*position, *ANGLES) if label not in table]:
        raise UserError(f"{path}: table data_particles has no column {', '.join(missing)}", "add it")
    check_numbers(path, table, [*position, *POSE])
    _check_names(path, table)
    if unknown := set(table["rlnTomoName"]) - set(files.series):
        fault = f"tomogram {some(sorted(unknown), 3)}, which {files.tomograms_file} does not have"
        cure = "use the tomograms that the particles were picked in"
        raise UserError(f"{path}: has particles of {fault}", cure)
    for name, visible in set(zip(table["rlnTomoName"], table.get("rlnTomoVisibleFrames", []), strict=False)):
        _, tilts = files.series[name]
        if visible.count(",") + 1 != len(tilts["rlnTomoYTilt"]):
            raise UserError(
                f"{path}: tells of {visible.count(',') + 1} tilts of {name} which show a particle or not, but "
                f"{files.tomograms_file} has {len(tilts['rlnTomoYTilt'])}",
                "extract again",
            )


def _check_names(path: str, table: Columns) -> None:
    """UserError if a particle is there twice, but as copies that were made of it: on one place, in other poses."""
    labels = [label for label in ("rlnTomoParticleName", "rlnImageName") if label in table]
    if all(len(set(table[label])) == len(table[label]) for label in labels):
        return
    place = [label for label in (*labels, *CENTRED, SUBSET) if label in table]
    places = list(zip(*(table[label] for label in place), strict=True))
    poses = set(zip(places, *(table[label] for label in ANGLES), strict=True))
    if len(poses) < len(places) or any(len(set(table[label])) != len(set(places)) for label in labels):
        for label in labels:
            check_once(path, table, label)


def check_optics(files: StateFiles) -> None:
    """The optics groups: one for each particle, with the pixel sizes of the tilt series and the binning."""
    path, table = files.particles_file, files.optics
    if not table and "rlnOpticsGroup" not in files.particles:  # picks
        return
    labels = ("rlnImagePixelSize", PIXEL, "rlnTomoSubtomogramBinning")
    check_numbers(path, table, [*OPTICS, "rlnImageSize", *labels])
    groups = files.particles.get("rlnOpticsGroup", [""])
    if strange := set(groups) - set(table.get("rlnOpticsGroup", [])):
        raise UserError(
            f"{path}: has particles of optics group {some(sorted(strange), 3) or 'none'}, which data_optics does "
            "not have",
            "extract again",
        )
    for size in table.get(PIXEL, []):
        if not same_pixel(float(size), files.series_pixel):
            now = f"those of {files.tomograms_file} have {files.series_pixel:g} Å"
            fault = f"was made from tilt series of {float(size):g} Å, but {now}"
            raise UserError(f"{path}: {fault}", "use the tomograms that it was made from")
    for sizes in zip(*(table.get(label, []) for label in labels), strict=False):
        image, series, binning = map(float, sizes)
        if not same_pixel(image, series * binning):
            fault = f"says {image:g} Å for images of {series:g} Å binned {binning:g} times"
            raise UserError(f"{path}: {fault}", "extract again")


def check_trajectories(files: StateFiles) -> None:
    """Each particle's trajectory: there, with a finite shift for each tilt."""
    path, table = files.trajectories_file, files.particles
    if not path:
        return
    shifts = dict(star.blocks(path))
    if any("nan" in each or "inf" in each for each in shifts.values()):
        raise UserError(f"{path}: has shifts that are no finite numbers", "run the polishing again")
    for name, tomogram in zip(table.get("rlnTomoParticleName", []), table["rlnTomoName"], strict=False):
        if name not in shifts:
            fault = f"has no trajectory of particle {name} in {files.particles_file}"
            raise UserError(f"{path}: {fault}", "use those of one polishing")
        values = trajectories.shifts(shifts[name])
        wanted = len(files.series[tomogram][1]["rlnTomoYTilt"])
        if len(values) != 3 * wanted:
            fault = f"the trajectory of {name} has {len(values) / 3:g} tilts, but {tomogram} has {wanted}"
            raise UserError(f"{path}: {fault}", "run the polishing again")


def check_half_sets_if_any(files: StateFiles) -> None:
    """Two half sets if there are any, as where a program makes a map of each."""
    if SUBSET in files.particles:
        check_half_sets(files)


def check_half_sets(files: StateFiles) -> None:
    path, halves = files.particles_file, Counter(files.particles.get(SUBSET, []))
    if {half.partition(".")[0] for half in halves} != {"1", "2"}:  # also where it was written as 1.000000
        found = ", ".join(f"{count} in {half}" for half, count in sorted(halves.items())) or "no such column"
        fault = f"its particles are not in two half sets, 1 and 2 of rlnRandomSubset ({found})"
        raise UserError(f"{path}: {fault}", "take the particles of a refine3d")


def check_tomograms(files: StateFiles) -> None:
    """The tomograms' table, and that of each tilt series: their names and numbers."""
    path, table = files.tomograms_file, files.tomograms
    check_once(path, table, "rlnTomoName")
    check_numbers(path, table, TOMOGRAM)
    for row, hand in enumerate(table.get("rlnTomoHand", []), 1):
        if abs(float(hand)) != 1:
            raise UserError(f"{path}: rlnTomoHand is {hand} in row {row}, not 1 or -1", "correct it")
    check_possible(path, table)
    for file, tilts in files.series.values():
        check_once(file, tilts, "rlnMicrographName")
        check_numbers(file, tilts, ["rlnTomoXTilt", *TILT, "rlnCtfScalefactor"])
        check_possible(file, tilts)
