"""relion_refine and relion_refine_mpi: Class3D with and without alignment, and auto-refinement (Refine3D).

`gpu` is None for the CPU, "" for all GPUs, else RELION's list; `scratch` is None or a folder that exists; `out` is the
root of the output's names, such as `results/bin4/align/T1/run`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacycle.checks import maps
from stacycle.checks.images import check_stacks
from stacycle.checks.outcome import check_counts
from stacycle.checks.state import POSE, check_half_sets_if_any, check_tables
from stacycle.checks.tables import StateFiles, check_numbers, filled
from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.job_folder import OPTIMISATION_SET
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import CENTRED
from stacycle.programs import refine_iterations, shared
from stacycle.programs.command import Command
from stacycle.programs.program import Program, StateFlags
from stacycle.programs.task import Task
from stacycle.recipe.geometry import healpix_order, sigma_ang

FEWEST_WITH_HALVES = 3  # MPI ranks: a leader, and one for each half
OVERSAMPLING = 1  # the GUI's samplings and offset steps are those of the oversampled grid


def align(
    *, sampling: float, local_range: float | None, offset_range: float, offset_step: float, **common: Any
) -> list[str]:
    """Class3D with alignment: searches within `local_range` degrees of the pose so far; None: everywhere."""
    return _class3d(
        ["--oversampling", OVERSAMPLING, "--healpix_order", healpix_order(sampling, OVERSAMPLING)],
        ["--sigma_ang", None if local_range is None else sigma_ang(local_range)],
        offsets(offset_range, offset_step),
        **common,
    )


def class3d(**common: Any) -> list[str]:
    """Class3D without alignment, for which RELION takes no GPU."""
    return _class3d(["--skip_align"], **common, gpu=None)


def _class3d(
    *sampling: shared.Part,
    state: str,
    reference: str,
    mask: str | None = None,
    out: str,
    T: float,
    classes: int = 1,
    iterations: int,
    lowpass: float,
    mask_diameter: float,
    highres_limit: float | None,
    symmetry: str,
    absolute_greyscale: bool = False,
    ctf_intact_first_peak: bool = False,
    blush: bool = False,
    seed: int | None = None,
    pool: int,
    threads: int,
    gpu: str | None,
    scratch: str | None,
) -> list[str]:
    return shared.line(
        ["relion_refine", "--o", out, "--ios", state],
        _reference(reference, absolute_greyscale, lowpass),
        computing(scratch, pool),
        _ctf(ctf_intact_first_peak),
        ["--iter", iterations, "--tau2_fudge", T, "--particle_diameter", mask_diameter, "--K", classes],
        ["--flatten_solvent", "--zero_mask"],
        ["--strict_highres_exp", highres_limit],
        blush and ["--blush"],
        ["--solvent_mask", mask],
        *sampling,
        ["--sym", symmetry, "--norm", "--scale"],
        ["--random_seed", seed],
        ["--j", threads],
        ["--gpu", gpu],
    )


def initial_model(
    *,
    state: str,
    out: str,
    iterations: int,
    T: float,
    sampling: float,
    offset_range: float,
    offset_step: float,
    mask_diameter: float,
    seed: int,
    pool: int,
    threads: int,
    gpu: str | None,
    scratch: str | None,
) -> list[str]:
    """A model made of particles without angles, by gradient descent, in C1. RELION runs it as one process only."""
    return shared.line(
        ["relion_refine", "--o", out, "--iter", iterations, "--grad", "--denovo_3dref", "--ios", state],
        ["--ctf", "--K", 1, "--sym", "C1", "--flatten_solvent", "--zero_mask"],
        computing(scratch, pool, pad=1),
        ["--particle_diameter", mask_diameter, "--oversampling", OVERSAMPLING],
        ["--healpix_order", healpix_order(sampling, OVERSAMPLING)],
        offsets(offset_range, offset_step),
        ["--auto_sampling", "--tau2_fudge", T],
        ["--random_seed", seed],
        ["--j", threads],
        ["--gpu", gpu],
    )


def refine3d(
    *,
    particles: str,
    tomograms: str,
    trajectories: str | None = None,
    reference: str,
    mask: str | None = None,
    out: str,
    lowpass: float,
    mask_diameter: float,
    sampling: float,
    local_sampling: float,
    offset_range: float,
    offset_step: float,
    symmetry: str,
    solvent_correct_fsc: bool = True,
    finer_faster: bool = True,
    join_halves: float = 40,
    absolute_greyscale: bool = False,
    ctf_intact_first_peak: bool = False,
    blush: bool = False,
    seed: int | None = None,
    pool: int,
    threads: int,
    gpu: str | None,
    scratch: str | None,
) -> list[str]:
    """Refine3D: two independent half sets. Run `mpi.with_mpi`."""
    return shared.line(
        ["relion_refine_mpi", "--o", out, "--auto_refine", "--split_random_halves"],
        ["--i", particles, "--tomograms", tomograms],
        ["--trajectories", trajectories],
        _reference(reference, absolute_greyscale, lowpass),
        blush and ["--blush"],
        computing(scratch, pool),
        finer_faster and ["--auto_ignore_angles", "--auto_resol_angles"],
        _ctf(ctf_intact_first_peak),
        ["--particle_diameter", mask_diameter, "--flatten_solvent", "--zero_mask"],
        ["--solvent_mask", mask],
        mask is not None and solvent_correct_fsc and ["--solvent_correct_fsc"],
        ["--oversampling", OVERSAMPLING, "--healpix_order", healpix_order(sampling, OVERSAMPLING)],
        ["--auto_local_healpix_order", healpix_order(local_sampling, OVERSAMPLING)],
        offsets(offset_range, offset_step),
        ["--sym", symmetry, "--low_resol_join_halves", join_halves, "--norm", "--scale"],
        ["--random_seed", seed],
        ["--j", threads],
        ["--gpu", gpu],
    )


def _reference(reference: str, absolute_greyscale: bool, lowpass: float) -> list[Any]:
    cc = [] if absolute_greyscale else ["--firstiter_cc"]
    return ["--ref", reference, *cc, "--trust_ref_size", "--ini_high", lowpass]


def computing(scratch: str | None, pool: int, pad: int = 2) -> list[Any]:
    """How relion_refine reads and sums: with a scratch folder if there is one."""
    scratch_dir = ["--scratch_dir", scratch] if scratch else []
    return ["--dont_combine_weights_via_disc", *scratch_dir, "--pool", pool, "--pad", pad]


def _ctf(intact_first_peak: bool) -> list[Any]:
    return ["--ctf", "--ctf_intact_first_peak"] if intact_first_peak else ["--ctf"]


def offsets(range_px: float, step_px: float) -> list[Any]:
    """The search for positions, its step that of the oversampled grid."""
    return ["--offset_range", range_px, "--offset_step", step_px * 2**OVERSAMPLING]


def _check_ranks(flags: Mapping[str, list[str]], ranks: int) -> None:
    """UserError for fewer than the three ranks that split halves need."""
    if "--split_random_halves" in flags and ranks < FEWEST_WITH_HALVES:
        fault = f"refine3d needs at least {FEWEST_WITH_HALVES} MPI ranks but was given {ranks}"
        raise UserError(fault, "raise ranks in the profile")


def _check_number_of_particles(task: Task) -> None:
    """Enough particles for the classes, or for two half sets."""
    path, table = task.files.particles_file, task.files.particles
    split = "--split_random_halves" in task.command.flags
    number, fewest = len(table["rlnTomoName"]), 4 if split else int(task.command.get("--K") or 1)
    if number < fewest:
        what = "two half sets" if split else f"{fewest} classes"
        fault = f"{path}: {number} particles are too few for {what}"
        raise UserError(fault, "take more particles, or fewer classes")
    if split:
        check_half_sets_if_any(task.files)


def _check_reference(task: Task) -> None:
    """Reference and mask, against the particles' images."""
    maps.check_reference(task.files, task.command.get("--ref"), task.command.get("--solvent_mask"))


def _check_refined(task: Task) -> None:
    """The last iteration: all its files, as many particles as went in, K classes."""
    files, root = task.files, task.get("--o")
    final, halves = f"{root}_it{int(task.command.get('--iter') or 0):03d}_", []
    if "--auto_refine" in task.command.flags:
        final, halves = f"{root}_", [f"{root}_half{half}_class001_unfil.mrc" for half in (1, 2)]
    made = StateFiles(f"{final}data.star", files.tomograms_file, files.trajectories_file)
    check_counts(files, made)
    check_numbers(made.particles_file, made.particles, [*CENTRED, *POSE, "rlnClassNumber"])
    classes = int(task.command.get("--K") or 1)
    found = filled(f"{final}model.star", "model_classes", ["rlnReferenceImage"])
    if len(found["rlnReferenceImage"]) != classes:
        number = len(found["rlnReferenceImage"])
        raise UserError(f"{final}model.star has {number} classes instead of {classes}", "run it again")
    star.columns(f"{final}optimiser.star", "optimiser_general")
    OptimisationSet.read(final + OPTIMISATION_SET)
    for path in [*(f"{final}class{k:03d}.mrc" for k in range(1, classes + 1)), *halves]:
        mrc.check_size(path, *files.box_and_pixel, "the particles have", "run it again")
        mrc.check_values(path, empty=classes > 1)


def _optimisation_set(command: Command, folder: Path) -> Path:
    """The optimisation set of the end; of a classification, that of its last iteration."""
    run = Path(command.get("--o") or "").name
    final = folder / f"{run}_{OPTIMISATION_SET}"
    if "--auto_refine" in command.flags or final.exists():
        return final
    return max(folder.glob(f"{run}_it[0-9][0-9][0-9]_{OPTIMISATION_SET}"), default=final)


PROGRAM = Program(
    "relion_refine",
    mpi=True,
    check_ranks=_check_ranks,
    state_flags=StateFlags("--ios", "--i", "--tomograms", "--trajectories"),
    reads_particle_images=True,
    state_checks=(check_tables, check_stacks),
    input_checks=(_check_number_of_particles, _check_reference),
    output_checks=(_check_refined,),
    optimisation_set=_optimisation_set,
    must_not_change=("tomograms", "trajectories"),
    moves_particles=True,
    maps=("_half[12]_class001_unfil.mrc", "_class001.mrc"),
    iterations_flag="--iter",
    iteration_tables=re.compile(r"run_it\d{3,}_\w+\.star"),
    iteration_maps=re.compile(r"run_it\d{3,}_class\d{3}\.mrc"),
    ignored_flags=frozenset(
        {
            *("--gpu", "--pool", "--cpu", "--free_gpu_memory", "--continue", "--preread_images"),
            *("--scratch_dir", "--keep_free_scratch", "--reuse_scratch", "--keep_scratch"),
            *("--dont_combine_weights_via_disc", "--no_parallel_disc_io"),
        }
    ),
    later_flags=frozenset({"--continue"}),
    go_on=refine_iterations.go_on,
)
