"""What goes into a program and what came out of it, looked at: RELION's exit status is not enough.

`before` refuses inputs that RELION accepts in silence, or notices only after hours; `after` refuses results that are
not what was asked for, whatever the exit status. Both read headers, sizes and columns of text, and voxels of single
maps only, so that 50,000 particles take a second or two. `docs/faults.md` lists the faults, one by one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stacycle.checks import plausible
from stacycle.errors import ProgramFailed, UserError, some
from stacycle.files import image_files, mrc, star
from stacycle.files.star_labels import (
    ANGLES,
    CENTRED,
    CORNER,
    OPTICS,
    ORIGINS,
    PIXEL,
    SERIES,
    SIZE,
    SUBSET,
    TILT,
    TOMOGRAM,
    TURNS,
)
from stacycle.programs.command import Command
from stacycle.recipe.auto import estimation_box, series_pixel

Columns = dict[str, list[str]]

_POSE = [*ANGLES, *TURNS, *ORIGINS]
_ABOVE_0 = {"rlnVoltage", PIXEL, "rlnImagePixelSize", *SIZE}
# What a program fits for each tilt.
_FITTED = [*TILT[:-1], "rlnCtfScalefactor"]
DEFOCUS_SEARCH = 3000.0  # Å: relion_tomo_refine_ctf's default of --d0 and --d1
MOST_OF_SEARCH = 3.0  # times as far as was searched, the fit after the search does not go
# The FSC that counts: without a mask there is only the second.
_FSC = ["rlnFourierShellCorrelationCorrected", "rlnFourierShellCorrelationUnmaskedMaps"]
# What a program says that means a fault, though its exit status is 0, and what to do.
_FAULTS = {
    r"Option (--\S+)\s+is not a valid RELION argument": "does not know {0} and ignored it; use RELION 5",
    r"belonging to the following undefined tomograms: (.+)": (
        "left out the particles of {0}, which the tomograms file does not have; use particles and tomograms of one run"
    ),
    r"solvent mask box size: (\d+) is not the same": "cut the mask of {0} px to another box; make a fitting one",
    r"solvent mask minimum: (\S+) or maximum: (\S+) are outside": (
        "clipped the mask's values {0} to {1} to 0..1; make the mask again"
    ),
}
_DROPPED = re.compile(r"!(\d+|One) particles? (?:were|was) removed because")
# A run on GPUs says so for each thread, and then that its CPU instructions run too.
_ON_GPU = re.compile(r"mapped to device \S")
_NO_GPU = re.compile(r"Running CPU instructions|do NOT have support for GPUs")


def before(command: Command) -> None:
    """UserError if an input of the program is damaged, or does not fit the others."""
    task = Task(command)
    for check in _BEFORE.get(command.kind, ()):
        check(task)


def check_state(files: star.OptimisationSet) -> None:
    """UserError if any program's checks of particles, tomograms, tilt series and their images refuse this state."""
    state = Inputs.of(files)
    for check in (_check_tomograms, _check_particles, _check_optics, _check_trajectories, _check_tilt_images):
        check(state)
    series_pixel(files.tomograms)
    if SUBSET in state.particles:
        _check_two_halves(state)


def after(command: Command, makes: Sequence[str | Path], lines: Sequence[str]) -> None:
    """ProgramFailed if the program, which ended with exit status 0, did not make what it should have made.

    `makes` are the files that must be there; `lines` is what the program said.
    """
    try:
        _check_lines(command, lines)
        missing = [str(path) for path in makes if not Path(path).is_file() or Path(path).stat().st_size == 0]
        if missing:
            last = f" Its last words were: {' | '.join(lines[-3:])}" if lines else " It said nothing."
            raise UserError(f"it did not write {', '.join(missing)}.{last}")
        task = Task(command, lines)
        for check in _AFTER.get(command.kind, ()):
            check(task)
    except UserError as error:
        raise ProgramFailed(f"{command.program} ended without an error, but {error}") from None


# What is read


@dataclass(frozen=True)
class Inputs:
    """The state that a command line names: an optimisation set, or particles, tomograms and trajectories alone."""

    particles_file: str
    tomograms_file: str
    trajectories_file: str | None

    @classmethod
    def of(cls, files: star.OptimisationSet) -> Inputs:
        """The files of a state."""
        return cls(files.particles, files.tomograms, files.trajectories)

    @cached_property
    def particles(self) -> Columns:
        """The particles' columns. UserError without any row."""
        return _filled(self.particles_file, "particles", ["rlnTomoName"])

    @cached_property
    def optics(self) -> Columns:
        """The optics groups' columns; empty for picks, which have none."""
        if "optics" not in dict(star.blocks(self.particles_file)):
            return {}
        return _filled(self.particles_file, "optics", ["rlnOpticsGroup"])

    @cached_property
    def tomograms(self) -> Columns:
        """The tomograms' columns."""
        return _filled(self.tomograms_file, "global", ["rlnTomoName", PIXEL, SERIES])

    @cached_property
    def series(self) -> dict[str, tuple[str, Columns]]:
        """Of each tomogram, its tilt series' STAR file and columns, a row per tilt."""
        names, files = (self.tomograms[label] for label in ("rlnTomoName", SERIES))
        labels = ["rlnMicrographName", *TILT]
        return {name: (file, _filled(file, name, labels)) for name, file in zip(names, files, strict=True)}

    @property
    def series_pixel(self) -> float:
        """Å per px of the tilt series."""
        _check_numbers(self.tomograms_file, self.tomograms, [PIXEL])
        return float(self.tomograms[PIXEL][0])

    @property
    def box_and_pixel(self) -> tuple[int, float]:
        """Box (px) and pixel size (Å) of the particles' images. UserError if optics groups tell none, or several."""
        labels = ["rlnImageSize", "rlnImagePixelSize"]
        if not set(labels) <= set(self.optics):
            raise UserError(
                f"{self.particles_file}: table data_optics tells no box and pixel size",
                "extract the particles first",
            )
        _check_numbers(self.particles_file, self.optics, labels)
        boxes, pixels = (set(map(float, self.optics[label])) for label in labels)
        if len(boxes) > 1 or len(pixels) > 1:
            raise UserError(
                f"{self.particles_file}: its optics groups differ in box or pixel size", "extract all alike"
            )
        return int(boxes.pop()), pixels.pop()


@dataclass(frozen=True)
class Task:
    """A command line, and what it names as particles and tomograms: read once, by the first check that looks."""

    command: Command
    lines: Sequence[str] = ()  # what the program said

    @cached_property
    def files(self) -> Inputs:
        """The state that goes in. UserError if the command line names no particles or tomograms."""
        files = self.command.state()
        if not files.particles or not files.tomograms:
            raise UserError(f"{self.command.program}: is given no particles or no tomograms", "give both")
        return Inputs.of(files)

    def get(self, flag: str) -> str:
        """The value of a flag that must have one."""
        value = self.command.get(flag)
        if not value:
            raise UserError(f"{self.command.program}: {flag} has no value", "give it one")
        return value


def _filled(path: str, name: str, labels: Collection[str] = ()) -> Columns:
    """The columns of a table that has rows."""
    table = star.columns(path, name, labels)
    if not next(iter(table.values()), []):
        raise UserError(f"{path}: table data_{name} has no row", "was it written completely?")
    return table


def _check_numbers(path: str, table: Columns, labels: Iterable[str]) -> None:
    """UserError if a value of one of these columns, where the table has it, is no finite number, or must be above 0."""
    for label in labels:
        least, kind = (0.0, "a number above 0") if label in _ABOVE_0 else (-math.inf, "a finite number")
        values = enumerate(table.get(label, []), 1)
        if bad := next(((row, value) for row, value in values if not _is_sound(value, least)), None):
            raise UserError(
                f"{path}: {label} is {bad[1] or 'empty'} in row {bad[0]}, not {kind}",
                "correct it or make it again",
            )


def _is_sound(value: str, least: float) -> bool:
    try:
        return least < float(value) < math.inf
    except ValueError:
        return False


# Before


def _check_state(task: Task) -> None:
    """Particles, tomograms, tilt series and trajectories, by their numbers and names."""
    _check_tomograms(task.files)
    _check_particles(task.files)
    _check_optics(task.files)
    _check_trajectories(task.files)


def _check_images(task: Task) -> None:
    """The images that the program reads: the particles' stacks, or the tilt series."""
    check = _check_stacks if task.command.kind == "relion_refine" else _check_tilt_images
    check(task.files)


def _check_particles(files: Inputs) -> None:
    """Positions, poses, names and tomograms of the particles."""
    path, table = files.particles_file, files.particles
    position = next((labels for labels in (CENTRED, CORNER) if set(labels) <= set(table)), CENTRED)
    if missing := [label for label in (*position, *ANGLES) if label not in table]:
        raise UserError(f"{path}: table data_particles has no column {', '.join(missing)}", "add it")
    _check_numbers(path, table, [*position, *_POSE])
    for label in ("rlnTomoParticleName", "rlnImageName"):
        _check_once(path, table, label)
    if unknown := set(table["rlnTomoName"]) - set(files.series):
        raise UserError(
            (
                f"{path}: has particles of tomogram {some(sorted(unknown), 3)}, which {files.tomograms_file} does "
                "not have"
            ),
            "use the tomograms that the particles were picked in",
        )
    for name, visible in set(zip(table["rlnTomoName"], table.get("rlnTomoVisibleFrames", []), strict=False)):
        _, tilts = files.series[name]
        if visible.count(",") + 1 != len(tilts["rlnTomoYTilt"]):
            raise UserError(
                (
                    f"{path}: tells of {visible.count(',') + 1} tilts of {name} which show a particle or not, but "
                    f"{files.tomograms_file} has {len(tilts['rlnTomoYTilt'])}"
                ),
                "extract again",
            )


def _check_optics(files: Inputs) -> None:
    """The optics groups: one for each particle, with the pixel sizes of the tilt series and the binning."""
    path, table = files.particles_file, files.optics
    if not table and "rlnOpticsGroup" not in files.particles:  # picks
        return
    labels = ("rlnImagePixelSize", PIXEL, "rlnTomoSubtomogramBinning")
    _check_numbers(path, table, [*OPTICS, "rlnImageSize", *labels])
    groups = files.particles.get("rlnOpticsGroup", [""])
    if strange := set(groups) - set(table.get("rlnOpticsGroup", [])):
        raise UserError(
            (
                f"{path}: has particles of optics group {some(sorted(strange), 3) or 'none'}, which data_optics does "
                "not have"
            ),
            "extract again",
        )
    for size in table.get(PIXEL, []):
        if not _same(float(size), files.series_pixel):
            raise UserError(
                (
                    f"{path}: was made from tilt series of {float(size):g} Å, but those of {files.tomograms_file} "
                    f"have {files.series_pixel:g} Å"
                ),
                "use the tomograms that it was made from",
            )
    for sizes in zip(*(table.get(label, []) for label in labels), strict=False):
        image, series, binning = map(float, sizes)
        if not _same(image, series * binning):
            raise UserError(
                f"{path}: says {image:g} Å for images of {series:g} Å binned {binning:g} times",
                "extract again",
            )


def _check_trajectories(files: Inputs) -> None:
    """Each particle's trajectory: there, with a finite shift for each tilt."""
    path, table = files.trajectories_file, files.particles
    if not path:
        return
    shifts = dict(star.blocks(path))
    if any("nan" in each or "inf" in each for each in shifts.values()):
        raise UserError(f"{path}: has shifts that are no finite numbers", "run the polishing again")
    for name, tomogram in zip(table.get("rlnTomoParticleName", []), table["rlnTomoName"], strict=False):
        if name not in shifts:
            raise UserError(
                f"{path}: has no trajectory of particle {name} in {files.particles_file}",
                "use those of one polishing",
            )
        values = shifts[name].rpartition("_rln")[2].partition("\n")[2].partition("#")[0].split()
        wanted = len(files.series[tomogram][1]["rlnTomoYTilt"])
        if len(values) != 3 * wanted:
            raise UserError(
                f"{path}: the trajectory of {name} has {len(values) / 3:g} tilts, but {tomogram} has {wanted}",
                "run the polishing again",
            )


def _check_half_sets(task: Task) -> None:
    """Two half sets where the program needs them, or makes a map of each if there are any."""
    if SUBSET in task.files.particles or task.command.kind in ("relion_tomo_refine_ctf", "relion_tomo_align"):
        _check_two_halves(task.files)


def _check_two_halves(files: Inputs) -> None:
    path, halves = files.particles_file, Counter(files.particles.get(SUBSET, []))
    if {half.partition(".")[0] for half in halves} != {"1", "2"}:  # also where it was written as 1.000000
        found = ", ".join(f"{count} in {half}" for half, count in sorted(halves.items())) or "no such column"
        raise UserError(
            f"{path}: its particles are not in two half sets, 1 and 2 of rlnRandomSubset ({found})",
            "take the particles of a refine3d",
        )


def _check_tomograms(files: Inputs) -> None:
    """The tomograms' table, and that of each tilt series: their names and numbers."""
    path, table = files.tomograms_file, files.tomograms
    _check_once(path, table, "rlnTomoName")
    _check_numbers(path, table, TOMOGRAM)
    for row, hand in enumerate(table.get("rlnTomoHand", []), 1):
        if abs(float(hand)) != 1:
            raise UserError(f"{path}: rlnTomoHand is {hand} in row {row}, not 1 or -1", "correct it")
    plausible.check_possible(path, table)
    for file, tilts in files.series.values():
        _check_once(file, tilts, "rlnMicrographName")
        _check_numbers(file, tilts, ["rlnTomoXTilt", *TILT, "rlnCtfScalefactor"])
        plausible.check_possible(file, tilts)


def _check_tilt_images(files: Inputs) -> None:
    """The image files of each tilt series that has particles: complete, of one size, with all tilts."""
    headers: dict[str, mrc.Header] = {}
    for tomogram in dict.fromkeys(files.particles["rlnTomoName"]):
        file, tilts = files.series[tomogram]
        sizes = set()
        for name in tilts["rlnMicrographName"]:
            number, image, _ = image_files.parse_image_name(name)
            if image not in headers:
                headers[image] = mrc.header(image, exact=False)
            found = headers[image]
            sizes.add((found.nx, found.ny))
            if number is not None and not 1 <= number <= found.sections:
                raise UserError(
                    f"{file}: there is no {name}, for {image} has {found.sections} tilts", "correct it"
                )
        if len(sizes) > 1:
            told = " and ".join(f"{x} x {y}" for x, y in sorted(sizes))
            raise UserError(f"{file}: its tilt images differ in size, {told} px", "make them alike")


def _check_stacks(files: Inputs) -> None:
    """Each particle's stack: complete, with the optics groups' box and an image per visible tilt."""
    path, table = files.particles_file, files.particles
    box, _ = files.box_and_pixel
    if "rlnImageName" not in table:
        raise UserError(
            f"{path}: table data_particles has no column rlnImageName", "extract the particles first"
        )
    visible = table.get("rlnTomoVisibleFrames") or [""] * len(table["rlnImageName"])
    for image, tilts in zip(table["rlnImageName"], visible, strict=True):
        found = mrc.header(image)
        if (found.nx, found.ny) != (box, box):
            raise UserError(
                f"{image}: has images of {found.nx} x {found.ny} px, but {path} says {box}", "extract again"
            )
        if tilts and found.sections != tilts.count("1"):
            raise UserError(
                (
                    f"{image}: has {found.sections} images, but {path} says {tilts.count('1')} tilts show the "
                    "particle"
                ),
                "extract again",
            )


def _check_numbers_of_particles(task: Task) -> None:
    """Enough particles for the classes, or for two half sets."""
    path, table = task.files.particles_file, task.files.particles
    split = "--split_random_halves" in task.command.flags
    number, least = len(table["rlnTomoName"]), 4 if split else int(task.command.get("--K") or 1)
    if number < least:
        what = "two half sets" if split else f"{least} classes"
        raise UserError(
            f"{path}: {number} particles are too few for {what}", "take more particles, or fewer classes"
        )
    if split:
        _check_half_sets(task)


def _check_reference(task: Task) -> None:
    """Reference and mask of a refinement, against the particles' images."""
    files = task.files
    for path in filter(None, map(task.command.get, ("--ref", "--solvent_mask"))):
        mrc.check_size(
            path, *files.box_and_pixel, f"the particles in {files.particles_file} have", "make it again"
        )
    if reference := task.command.get("--ref"):
        mrc.check_values(reference)
    if mask := task.command.get("--solvent_mask"):
        mrc.check_mask_values(mask)


def _check_map(task: Task) -> None:
    mrc.box_and_pixel(task.get("--i"))
    mrc.check_values(task.get("--i"))


def _check_half_maps(task: Task) -> None:
    """The two half maps, each other's equals but not the same, and the mask that fits them."""
    first, second = task.command.half_maps()
    if not (first and second):
        raise UserError(f"{task.command.program}: is not given two half maps", "give both")
    for half in (first, second):
        mrc.box_and_pixel(half)
        mrc.check_values(half)
    mrc.check_same(second, first, "take both from one reconstruction")
    if Path(first).name.replace("half2", "half1") == Path(second).name != Path(first).name:
        raise UserError(f"{first}: is given as the first half map and {second} as the second", "swap them")
    if (mrc.voxels(first) == mrc.voxels(second)).all():
        raise UserError(f"{second}: is the same map as {first}", "take the halves of one refinement")
    if mask := task.command.get("--mask"):
        mrc.check_mask(mask, first)
        mrc.check_mask_values(mask)
    if "--fsc" in task.command.flags and not _same(mrc.box_and_pixel(first)[1], task.files.series_pixel):
        raise UserError(
            (
                f"{first}: has {mrc.box_and_pixel(first)[1]:g} Å/px, but the tilt series that are compared with it "
                f"have {task.files.series_pixel:g} Å"
            ),
            "reconstruct it unbinned",
        )


def _check_fsc(task: Task) -> None:
    """The FSC that weighs the references: readable, and of their box and pixel size."""
    path, reference = task.get("--fsc"), task.get("--ref1")
    shells = _check_curves(path)
    box, pixel = mrc.box_and_pixel(reference)
    if len(shells) != box // 2 + 1 or not _same(shells[1], box * pixel):
        raise UserError(
            f"{path}: its FSC is not of the box and pixel size of {reference}", "postprocess that one"
        )


def _check_curves(path: str) -> list[float]:
    """The resolutions (Å) of the shells of a `postprocess.star`, whose FSC must be finite."""
    table = _filled(path, "fsc", ["rlnAngstromResolution"])
    curve = next((label for label in _FSC if label in table), _FSC[0])
    if curve not in table:
        raise UserError(f"{path}: table data_fsc has no column {curve}", "run the post-processing again")
    _check_numbers(path, table, ["rlnAngstromResolution", curve])
    return list(map(float, table["rlnAngstromResolution"]))


def _check_estimation_box(task: Task) -> None:
    if box := task.command.get("--b"):
        estimation_box(int(box), task.get("--ref1"), "--b")


# After


def _check_lines(command: Command, lines: Sequence[str]) -> None:
    """What the program said that means a fault."""
    wants_gpu = "--gpu" in command.flags and not any(map(_ON_GPU.search, lines))
    for line in lines:
        for pattern, fault in _FAULTS.items():
            if found := re.search(pattern, line):
                raise UserError(f"it {fault.format(*found.groups())}")
        if wants_gpu and _NO_GPU.search(line):
            raise UserError("it ran on the CPU, for it was built without CUDA", "use a GPU build or no GPU")


def _check_extracted(task: Task) -> None:
    """Particles in = out + dropped, each with its stack of the box asked for."""
    files, folder = task.files, Path(task.get("--o"))
    made = Inputs(str(folder / "particles.star"), files.tomograms_file, files.trajectories_file)
    told = next((found[1] for line in task.lines if (found := _DROPPED.search(line))), "0")
    dropped = 1 if told == "One" else int(told)
    if dropped == len(files.particles["rlnTomoName"]):
        raise UserError(
            (
                f"all {dropped} particles of {files.particles_file} are too close to the edge of all tilt images for "
                f"a box of {task.get('--b')} px"
            ),
            "take a smaller one",
        )
    _check_counts(files, made, dropped)
    _check_particles(made)
    _check_stacks(made)
    box, pixel = made.box_and_pixel
    wanted = int(task.command.get("--crop") or task.command.get("--b") or box)
    size = _asked_pixel(task)
    if box != wanted or not _same(pixel, size):
        raise UserError(
            f"{made.particles_file}: says {box} px of {pixel:g} Å, but {wanted} px of {size:g} Å were asked for"
        )
    labels = ("rlnTomoVisibleFrames", "rlnTomoName", "rlnImageName")
    rows = zip(*(made.particles[label] for label in labels), strict=True)
    most = {name: image for _, name, image in sorted(rows, key=lambda row: row[0].count("1"))}
    for stack in most.values():  # of each tomogram, the one with most tilts
        mrc.check_sections(stack)


def _check_counts(files: Inputs, made: Inputs, dropped: int = 0) -> None:
    """UserError unless the particles that went in came out, but for as many as the program said it dropped."""
    before, after = Counter(files.particles["rlnTomoName"]), Counter(made.particles["rlnTomoName"])
    if not after <= before or before.total() != after.total() + dropped:
        told = f" and {dropped} were dropped" if dropped else ""
        raise UserError(
            (
                f"{made.particles_file} has {after.total()} particles{told}, but {files.particles_file} has "
                f"{before.total()}"
            ),
            "delete the folder and run it again",
        )


def _asked_pixel(task: Task) -> float:
    """The pixel size in Å that follows from the tilt series and the binning."""
    return task.files.series_pixel * float(task.command.get("--bin") or 1)


def _check_average(task: Task) -> None:
    """The average, and half maps if the particles have half sets: box and pixel size as asked."""
    files, folder = task.files, Path(task.get("--o"))
    names = ["merged.mrc", *(["half1.mrc", "half2.mrc"] if SUBSET in files.particles else [])]
    box = int(task.command.get("--crop") or task.command.get("--b") or 0)
    for name in names:
        path = str(folder / name)
        mrc.check_size(path, box, _asked_pixel(task), "the command asks for", "run it again")
        mrc.check_values(path)


def _check_refined(task: Task) -> None:
    """The last iteration: all its files, as many particles as went in, K classes."""
    files, root = task.files, task.get("--o")
    final, halves = f"{root}_it{int(task.command.get('--iter') or 0):03d}_", []
    if "--auto_refine" in task.command.flags:
        final, halves = f"{root}_", [f"{root}_half{half}_class001_unfil.mrc" for half in (1, 2)]
    made = Inputs(f"{final}data.star", files.tomograms_file, files.trajectories_file)
    _check_counts(files, made)
    _check_numbers(made.particles_file, made.particles, [*CENTRED, *_POSE, "rlnClassNumber"])
    classes = int(task.command.get("--K") or 1)
    found = _filled(f"{final}model.star", "model_classes", ["rlnReferenceImage"])
    if len(found["rlnReferenceImage"]) != classes:
        raise UserError(
            f"{final}model.star has {len(found['rlnReferenceImage'])} classes instead of {classes}",
            "run it again",
        )
    star.columns(f"{final}optimiser.star", "optimiser_general")
    star.read_optimisation_set(f"{final}optimisation_set.star")
    for path in [*(f"{final}class{k:03d}.mrc" for k in range(1, classes + 1)), *halves]:
        mrc.check_size(path, *files.box_and_pixel, "the particles have", "run it again")
        mrc.check_values(path, empty=classes > 1)


def _check_mask_made(task: Task) -> None:
    mask = task.get("--o")
    mrc.check_mask(mask, task.get("--i"))
    mrc.check_mask_values(mask)


def _check_postprocessed(task: Task) -> None:
    root, half = task.get("--o"), task.get("--i")
    general = star.columns(f"{root}.star", "general", ["rlnFinalResolution"])
    _check_numbers(f"{root}.star", general, ["rlnFinalResolution"])
    shells = _check_curves(f"{root}.star")
    if len(shells) != mrc.box_and_pixel(half)[0] // 2 + 1:
        raise UserError(f"{root}.star: its FSC has {len(shells)} shells, not those of {half}", "run it again")
    for path in (f"{root}.mrc", *([f"{root}_masked.mrc"] if task.command.get("--mask") else [])):
        mrc.check_same(path, half, "run it again")
        mrc.check_values(path)


def _check_tilts_refined(task: Task) -> None:
    """Tomograms, tilts and particles in = out, with finite numbers."""
    files = task.files
    made = Inputs.of(star.read_optimisation_set(f"{task.get('--o')}optimisation_set.star"))
    _check_counts(files, made)
    _check_numbers(made.particles_file, made.particles, [*CENTRED, *_POSE])
    if made.tomograms["rlnTomoName"] != files.tomograms["rlnTomoName"]:
        raise UserError(
            f"{made.tomograms_file} has other tomograms than {files.tomograms_file}", "run it again"
        )
    _check_tomograms(made)
    _check_trajectories(made)
    for name, (_, tilts) in made.series.items():
        if tilts["rlnMicrographName"] != files.series[name][1]["rlnMicrographName"]:
            raise UserError(
                f"{made.tomograms_file}: the tilts of {name} are not those it had", "run it again"
            )
        _check_not_forgotten(made.series[name][0], files.series[name][1], tilts)
        if task.command.kind == "relion_tomo_refine_ctf":
            _check_defocus(task, made.series[name][0], files.series[name][1], tilts)
    _check_particles_moved(files, made)
    if "--motion" in task.command.flags:
        _check_motion(made)


def _check_not_forgotten(path: str, before: Columns, after: Columns) -> None:
    """UserError if a column of a tilt series is 0 for all tilts, which it was not: of a file that was cut off."""
    for label in [*_FITTED, "rlnTomoXTilt"]:
        if label in before and label in after and _is_zero(after[label]) and not _is_zero(before[label]):
            raise UserError(
                f"{path}: {label} is 0 for all tilts, as of a temporary file that was cut off", "run it again"
            )


def _check_defocus(task: Task, path: str, before: Columns, after: Columns) -> None:
    """UserError if the defocus of a tilt (Å) is one that no refinement finds: 0, or far outside of the search."""
    flags = task.command
    search = max(
        abs(float(flags.get("--d0") or -DEFOCUS_SEARCH)), abs(float(flags.get("--d1") or DEFOCUS_SEARCH))
    )
    most = max(MOST_OF_SEARCH * search, DEFOCUS_SEARCH)
    for label in ("rlnDefocusU", "rlnDefocusV"):
        for row, (old, new) in enumerate(
            zip(map(float, before[label]), map(float, after[label]), strict=True), 1
        ):
            if (new == 0 != old) or abs(new - old) > most:
                raise UserError(
                    f"{path}: {label} is {new:g} Å in row {row}, and was {old:g}, which no refinement makes of it",
                    "run it again",
                )


def _check_particles_moved(files: Inputs, made: Inputs) -> None:
    """UserError if all particles of a tomogram sit in its very centre, but did not before."""
    if made.particles_file == files.particles_file:
        return
    for label in CENTRED:
        before, after = (_by_tomogram(one.particles, label) for one in (files, made))
        for name, values in after.items():
            if _is_zero(values) and not _is_zero(before.get(name, ["0"])):
                raise UserError(
                    f"{made.particles_file}: {label} is 0 for all particles of {name}", "run it again"
                )


def _check_motion(made: Inputs) -> None:
    """UserError if no particle of a tomogram moves at all, though its motion was fitted."""
    if not made.trajectories_file:
        return
    shifts = dict(star.blocks(made.trajectories_file))
    names = _by_tomogram(made.particles, "rlnTomoParticleName")
    for tomogram, particles in names.items():
        rows = (
            shifts.get(name, "").rpartition("_rln")[2].partition("\n")[2].partition("#")[0].split()
            for name in particles
        )
        if all(map(_is_zero, rows)):
            raise UserError(
                f"{made.trajectories_file}: no particle of {tomogram} moves at all", "run it again"
            )


def _by_tomogram(particles: Columns, label: str) -> Columns:
    """The values of a column by the tomogram of the particles; none without that column."""
    found: Columns = {}
    for name, value in zip(particles["rlnTomoName"], particles.get(label, []), strict=False):
        found.setdefault(name, []).append(value)
    return found


def _is_zero(values: Iterable[str]) -> bool:
    """Whether all of these are numbers, and 0."""
    return all(_is_sound(value, -math.inf) and float(value) == 0 for value in values)


def _check_once(path: str, table: Columns, label: str) -> None:
    """UserError if a name stands in that column twice."""
    values = table.get(label, [])
    if len(set(values)) < len(values):
        twice = next(value for value, count in Counter(values).items() if count > 1)
        raise UserError(f"{path}: {label} {twice} stands there twice", "remove one of the two rows")


def _same(size: float, other: float) -> bool:
    """Whether two pixel sizes are the same."""
    return math.isclose(size, other, rel_tol=mrc.SAME_PIXEL)


_Check = Callable[[Task], None]
_TILTS: tuple[_Check, ...] = (_check_state, _check_images)
_REFERENCES: tuple[_Check, ...] = (_check_half_maps, _check_fsc, _check_estimation_box)
_BEFORE: dict[str, tuple[_Check, ...]] = {
    "relion_tomo_subtomo": _TILTS,
    "relion_tomo_reconstruct_particle": (*_TILTS, _check_half_sets),
    "relion_tomo_refine_ctf": (*_TILTS, _check_half_sets, *_REFERENCES),
    "relion_tomo_align": (*_TILTS, _check_half_sets, *_REFERENCES),
    "relion_refine": (
        *(_check_state, _check_numbers_of_particles),
        *(_check_reference, _check_images),
    ),
    "relion_mask_create": (_check_map,),
    "relion_postprocess": (_check_half_maps,),
}
_AFTER: dict[str, tuple[_Check, ...]] = {
    "relion_tomo_subtomo": (_check_extracted,),
    "relion_tomo_reconstruct_particle": (_check_average,),
    "relion_tomo_refine_ctf": (_check_tilts_refined,),
    "relion_tomo_align": (_check_tilts_refined,),
    "relion_refine": (_check_refined,),
    "relion_mask_create": (_check_mask_made,),
    "relion_postprocess": (_check_postprocessed,),
}
