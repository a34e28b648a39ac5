"""Shares: a command of the tomography programs on some of the tomograms, and what several of these leave as one job.

A share has the particles of its tomograms, and all tomograms, so that nothing else differs. Its files take the place of
those that the program leaves of each tomogram, and the program itself does what is to be done of all together.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stacycle.files import mrc, star, trajectories
from stacycle.files.atomic import write_text
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES
from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.files.star_labels import PARTICLE_NAME, SUBSET
from stacycle.programs import mpi
from stacycle.programs.command import Command
from stacycle.programs.program import Continuation

if TYPE_CHECKING:
    import numpy as np

_TEMP = "temp"  # where a program keeps what it has of each tomogram
_TOMOGRAM, _MOTION = "rlnTomoName", "motion.star"


def command_of_share(command: Command, particles: str, folder: Path, tomograms: int) -> Command:
    """A command on the `particles` of so many `tomograms`, which writes into `folder`. An average is not made, only
    what it is made of; its ranks would not leave that, so it has one."""
    state, names = command.state(), command.record.state_flags
    assert names is not None
    files = replace(state, particles=particles)
    flags = {flag: values for flag, values in command.flags.items() if flag not in names}
    flags |= {getattr(names, kind): [path] for kind in KINDS if (path := getattr(files, kind))}
    flags["--o"] = [f"{folder}/"]
    ranks = min(command.ranks, tomograms)
    if no_result := command.record.only_sums:
        flags, ranks = flags | {no_result: []}, 1
    alone = replace(command, launcher=(), program=command.kind, flags=flags)
    launcher = shlex.join(command.launcher[:-2])
    return Command.of(mpi.with_mpi(alone.argv, ranks, launcher))


def write_share(particles: str, number: int, of: int, path: Path, without: Collection[str] = ()) -> list[str]:
    """Write the particles of one share (from 1) `of` so many to `path`, of all tomograms but those `without`. Returns
    the names of its tomograms; none if there are fewer tomograms than shares. UserError if the particles cannot be
    read."""
    tables = star.read(particles, {"particles": [_TOMOGRAM]})
    rows = tables["particles"]
    counts = rows[_TOMOGRAM].value_counts(sort=False)
    left = [(str(name), int(count)) for name, count in counts.items() if name not in without]
    mine = dealt(left, of)[number - 1]
    if mine:
        kept = rows[rows[_TOMOGRAM].isin(mine)].reset_index(drop=True)
        star.write(path, {**tables, "particles": kept})
    return mine


def dealt(tomograms: Sequence[tuple[str, int]], shares: int) -> list[list[str]]:
    """Tomograms, name and number of particles, dealt out so that the shares have about as many particles."""
    found: list[list[str]] = [[] for _ in range(shares)]
    loads = [0] * shares
    for name, particles in sorted(tomograms, key=lambda one: -one[1]):
        least = loads.index(min(loads))
        found[least].append(name)
        loads[least] += particles
    return found


def merge_tomograms(command: Command, folder: Path, shares: Sequence[Path]) -> Continuation:
    """Take the files of each tomogram from the shares; the program goes on from there."""
    for share in shares:
        _take_files(share / _TEMP, folder / _TEMP)
    return Continuation([*command.argv, command.record.continue_flag], start="shares of the tomograms")


def merge_sums(command: Command, folder: Path, shares: Sequence[Path]) -> Continuation:
    """Add up the sums of the shares; the program makes the average of them, as if it had just done all tomograms."""
    import numpy as np

    state = command.state()
    halves = (0, 1) if SUBSET in star.columns(state.particles, "particles") else (0,)
    last = star.count(state.tomograms, "global") - 1
    for kind in ("data", "ctf"):
        for half in halves:
            parts = [path for share in shares for path in share.glob(f"{_TEMP}/sum_*_{kind}_half{half}.mrc")]
            total = np.asarray(sum(mrc.voxels(path).astype(np.float64) for path in parts))
            _write_sum(folder, last, kind, half, total)
        if len(halves) == 1:  # by this file RELION sees how far a run was, and reads it
            _write_sum(folder, last, kind, 1, np.zeros_like(total))
    alone = replace(command, launcher=(), program=command.kind)
    return Continuation([*alone.argv, command.record.continue_flag], start="the sums of the shares")


def _write_sum(folder: Path, last: int, kind: str, half: int, values: np.ndarray) -> None:
    mrc.write_map(folder / _TEMP / f"sum_{last}_{kind}_half{half}.mrc", values, 1.0)


def merge_images(images: str) -> Callable[[Command, Path, Sequence[Path]], Continuation]:
    """What puts the extracted particles of shares together, and the folder `images` of their images. Nothing is left to
    run: the program would read all tilt series again."""

    def merge(command: Command, folder: Path, shares: Sequence[Path]) -> Continuation:
        for share in shares:
            _take_files(share / images, folder / images)
        tables = [star.read(share / PARTICLES) for share in shares]
        state = command.state()
        merged = _joined(tables, [f"{share}/" for share in shares], f"{folder}/", state.tomograms)
        star.write(folder / PARTICLES, merged)
        motion = _motion(shares, folder)
        OptimisationSet(str(folder / PARTICLES), state.tomograms, motion).write(folder / OPTIMISATION_SET)
        return Continuation([], start="the particles of the shares")

    return merge


def _joined(tables: Sequence[star.Tables], before: Sequence[str], now: str, tomograms: str) -> star.Tables:
    """The particles of all shares in the order of the tomograms; images that lay in folders `before` are in `now`."""
    import pandas as pd

    rows = []
    for one, folder in zip(tables, before, strict=True):
        table = one["particles"].copy()
        for label in table.columns:
            if label.endswith("Name") and table[label].astype(str).str.contains(folder, regex=False).any():
                table[label] = table[label].str.replace(folder, now, regex=False)
        rows.append(table)
    order = {name: at for at, name in enumerate(star.column(tomograms, _TOMOGRAM))}
    joined = pd.concat(rows, ignore_index=True)
    joined = joined.iloc[joined[_TOMOGRAM].map(order).argsort(kind="stable")].reset_index(drop=True)
    return {**tables[0], "particles": joined}


def _motion(shares: Sequence[Path], folder: Path) -> str | None:
    """Write the trajectories of the particles that are left, where a share lost some; the path, None without any."""
    tables, changed = dict[str, str](), False
    for share in shares:
        path = OptimisationSet.read(share / OPTIMISATION_SET).trajectories
        if path is None:
            return None
        changed = changed or Path(path).parent == share
        names = star.columns(share / PARTICLES, "particles", [PARTICLE_NAME])[PARTICLE_NAME]
        tables |= trajectories.of_particles(path, names)
    if not changed:
        return path
    write_text(folder / _MOTION, trajectories.to_text(tables))
    return str(folder / _MOTION)


def _take_files(before: Path, now: Path) -> None:
    """Move all files below a folder to the same places below another."""
    for path in sorted(before.rglob("*")):
        if path.is_file():
            new = now / path.relative_to(before)
            new.parent.mkdir(parents=True, exist_ok=True)
            path.replace(new)
