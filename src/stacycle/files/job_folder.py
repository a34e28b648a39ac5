"""The names of the files in a job's folder: RELION's, and those that stacycle adds."""

from __future__ import annotations

import re
from pathlib import Path

# What stacycle notes of a job.
PROGRAM_OUTPUT = "run.out"  # all that the program said; Snakemake deletes a job's log when it starts it again
JOB_FILE = "job.json"  # what was run, when, of which inputs, and how it ended
DECISION = "decision.json"
STATE_FILE = "state.json"  # what a state is made of, by content
HOW_FAR = "iterations.json"  # how many iterations a classification did, and why no more
REMOVED = "removed.json"  # what the clean-up removed
SLAB = "tomogram.json"  # which slab of a tomogram was made for the page, or why none was
EXTENT = "extent.json"  # the size of an average beside the particle's diameter

# A state, and maps of it.
OPTIMISATION_SET = "optimisation_set.star"
PARTICLES = "particles.star"
TOMOGRAMS = "tomograms.star"
MERGED = "merged.mrc"
HALF_MAPS = ("half1.mrc", "half2.mrc")
POSTPROCESS = "postprocess.star"
REFERENCE = "reference.mrc"

# A run of relion_refine: run_data.star and such, and the same of each iteration.
FINAL_DATA = "run_data.star"
_ITERATION = re.compile(r"run_it(\d{3})_.*")
_CLASS_MAP = re.compile(r"run_it(\d{3})_class(\d{3})\.mrc")


def iteration(number: int, name: str) -> str:
    """The file of an iteration: 7, `data.star` -> `run_it007_data.star`."""
    return f"run_it{number:03d}_{name}"


def every_iteration(name: str) -> str:
    """A pattern for the files of all iterations: `data.star` -> `run_it[0-9][0-9][0-9]_data.star`."""
    return f"run_it[0-9][0-9][0-9]_{name}"


def iteration_of(path: str | Path) -> int:
    """The iteration that a file is of. ValueError if its name has none."""
    found = _ITERATION.fullmatch(Path(path).name)
    if found is None:
        raise ValueError(f"{path}: is not named after an iteration (run_itNNN_...).")
    return int(found[1])


def class_of(path: str | Path) -> tuple[int, int] | None:
    """Iteration and class (from 1) of a class map, `run_it010_class003.mrc`; None if it has another name."""
    found = _CLASS_MAP.fullmatch(Path(path).name)
    return (int(found[1]), int(found[2])) if found else None
