"""RELION 5's command lines, one builder per step: what its GUI would run for the same settings.

Each returns an argument list. File names are relative to the project folder, where RELION must be started.
Keywords are named as in `config/config.yaml`, with what is `auto` there worked out (`stacycle.recipe.geometry`).
`gpu` is None for the CPU, "" for all GPUs, else RELION's list; `scratch` is None or a folder that exists.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

from stacycle.errors import UserError
from stacycle.recipe.geometry import healpix_order, number, sigma_ang

SCALES: dict[str | None, list | bool] = {  # how the contrast scale is refined
    "tilt": ["--do_scale", "--per_frame_scale"],
    "tomogram": ["--do_scale", "--per_tomogram_scale"],
    None: False,
}
FEWEST_WITH_HALVES = 3  # MPI ranks: a leader, and one for each half
_OVERSAMPLING = 1  # the GUI's samplings and offset steps are those of the oversampled grid


def extract(
    *,
    particles: str,
    tomograms: str,
    trajectories: str | None = None,
    out: str,
    box: int,
    binning: float,
    crop: int | None = None,
    max_dose: float | None = None,
    min_frames: int = 1,
    float16: bool = True,
    threads: int,
) -> list[str]:
    """Extract subtomograms as 2D stacks into the folder `out`."""
    return _line(
        ["relion_tomo_subtomo", "--p", particles, "--t", tomograms],
        ["--mot", trajectories],
        ["--theme", "classic", "--o", _folder(out), "--b", box],
        ["--crop", crop],
        ["--bin", binning],
        ["--max_dose", max_dose],
        ["--min_frames", min_frames],
        float16 and ["--float16"],
        ["--stack2d", "--j", threads],
    )


def reconstruct(
    *,
    state: str,
    out: str,
    box: int,
    binning: float,
    symmetry: str,
    snr: float = 0,
    threads: int,
) -> list[str]:
    """Reconstruct the average of the particles at the poses that they have, into the folder `out`."""
    return _line(
        ["relion_tomo_reconstruct_particle", "--i", state, "--theme", "classic", "--o", _folder(out)],
        ["--b", box, "--bin", binning],
        snr > 0 and ["--SNR", snr],
        ["--j", threads, "--j_out", threads, "--j_in", 1, "--sym", symmetry],
    )


def align(
    *,
    sampling: float,
    local_range: float | None,
    offset_range: float,
    offset_step: float,
    **common: Any,
) -> list[str]:
    """Class3D with alignment: searches within `local_range` degrees of the pose so far; None: everywhere."""
    return _class3d(
        ["--oversampling", _OVERSAMPLING, "--healpix_order", healpix_order(sampling, _OVERSAMPLING)],
        ["--sigma_ang", None if local_range is None else sigma_ang(local_range)],
        _offsets(offset_range, offset_step),
        **common,
    )


def class3d(**common: Any) -> list[str]:
    """Class3D without alignment, for which RELION takes no GPU."""
    return _class3d(["--skip_align"], **common, gpu=None)


def _class3d(
    *sampling: list | bool,
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
    """`out` is the root of the output's names, such as `results/bin4/align/T1/run`."""
    return _line(
        ["relion_refine", "--o", out, "--ios", state],
        _reference(reference, absolute_greyscale, lowpass),
        _computing(scratch, pool),
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


def mask_create(
    *, map: str, out: str, lowpass: float, threshold: float, extend: int, soft_edge: int, threads: int
) -> list[str]:
    """Create a mask from a map: filtered, cut at the threshold, extended and given a soft edge (px)."""
    return _line(
        ["relion_mask_create", "--i", map, "--o", out, "--lowpass", lowpass, "--ini_threshold", threshold],
        ["--extend_inimask", extend, "--width_soft_edge", soft_edge, "--j", threads],
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
    """Refine two independent half sets; `out` is the root of the output's names. Run `with_mpi`."""
    return _line(
        ["relion_refine_mpi", "--o", out, "--auto_refine", "--split_random_halves"],
        ["--i", particles, "--tomograms", tomograms],
        ["--trajectories", trajectories],
        _reference(reference, absolute_greyscale, lowpass),
        blush and ["--blush"],
        _computing(scratch, pool),
        finer_faster and ["--auto_ignore_angles", "--auto_resol_angles"],
        _ctf(ctf_intact_first_peak),
        ["--particle_diameter", mask_diameter, "--flatten_solvent", "--zero_mask"],
        ["--solvent_mask", mask],
        mask is not None and solvent_correct_fsc and ["--solvent_correct_fsc"],
        ["--oversampling", _OVERSAMPLING, "--healpix_order", healpix_order(sampling, _OVERSAMPLING)],
        ["--auto_local_healpix_order", healpix_order(local_sampling, _OVERSAMPLING)],
        _offsets(offset_range, offset_step),
        ["--sym", symmetry, "--low_resol_join_halves", join_halves, "--norm", "--scale"],
        ["--random_seed", seed],
        ["--j", threads],
        ["--gpu", gpu],
    )


def postprocess(
    *,
    half_map: str,
    mask: str | None,
    out: str,
    bfactor: float | None,
    autob_lowres: float = 10,
    skip_fsc_weighting: bool = False,
) -> list[str]:
    """Resolution and sharpening from the first half map (RELION finds the second by its name).

    `bfactor` (Å², negative sharpens) of None is estimated from resolutions finer than `autob_lowres` Å.
    """
    return _line(
        ["relion_postprocess"],
        ["--mask", mask],
        ["--i", half_map, "--o", out, "--angpix", -1],
        ["--auto_bfac", "--autob_lowres", autob_lowres] if bfactor is None else ["--adhoc_bfac", bfactor],
        skip_fsc_weighting and ["--skip_fsc_weighting"],
    )


def refine_ctf(
    *,
    defocus: bool,
    search_range: float,
    regularisation: float | None,
    scale: str | None,
    threads: int,
    **against: Any,
) -> list[str]:
    """Refine the tilts' defocus and contrast scale.

    Defoci are searched within `search_range` Å of those so far, with `regularisation` lambda towards the tilt
    series' mean (None: none). `scale` is one of SCALES.
    """
    return _line(
        ["relion_tomo_refine_ctf", *_against(**against)],
        defocus and ["--do_defocus", "--d0", -search_range, "--d1", search_range],
        defocus and regularisation is not None and ["--do_reg_defocus", "--lambda", regularisation],
        SCALES[scale],
        ["--j", threads],
    )


def polish(
    *,
    max_error: float,
    shift_only: bool,
    motion: bool,
    sigma_velocity: float,
    sigma_divergence: float,
    gaussian_decay: bool,
    threads: int,
    **against: Any,
) -> list[str]:
    """Realign tilt series by their particles, within `max_error` px.

    With `motion` particles move too, with priors on velocity (Å per unit dose) and divergence (Å); with `shift_only`
    tilt images are only shifted as a whole, without motion.
    """
    motion = motion and not shift_only
    return _line(
        ["relion_tomo_align", *_against(**against), "--r", max_error],
        shift_only and ["--shift_only"],
        motion and ["--motion", "--s_vel", sigma_velocity, "--s_div", sigma_divergence],
        motion and gaussian_decay and ["--sq_exp_ker"],
        ["--j", threads],
    )


def with_mpi(argv: list[str], ranks: int, launcher: str = "mpirun") -> list[str]:
    """The command on several MPI ranks: the launcher (with its own options) and the program's `_mpi` build.

    UserError for fewer than the three ranks (a leader, and one for each half) that split halves need.
    """
    if "--split_random_halves" in argv and ranks < FEWEST_WITH_HALVES:
        raise UserError(
            f"refine3d needs at least {FEWEST_WITH_HALVES} MPI ranks but was given {ranks}",
            "raise ranks in the profile",
        )
    if ranks == 1:
        return argv
    return [*shlex.split(launcher), "-n", str(ranks), argv[0].removesuffix("_mpi") + "_mpi", *argv[1:]]


def mpi_settings(launcher: Sequence[str]) -> dict[str, str]:
    """The environment with which a plain `mpirun -n N` of Open MPI (4: OMPI_, 5: PRTE_) starts N ranks on a machine.

    By itself it refuses more ranks than cores or tasks, binds each rank to few cores, whatever its threads, and in a
    SLURM job asks for the list of nodes, which Snakemake's job step does not hand on. What the user has set stays;
    other launchers, and options of mpirun, are the user's own affair.
    """
    if tuple(launcher[:-1]) != ("mpirun", "-n"):
        return {}
    settings = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
    }
    if "SLURM_NODELIST" not in os.environ:
        settings |= {"OMPI_MCA_ras": "^slurm", "PRTE_MCA_ras": "^slurm"}
    return {name: value for name, value in settings.items() if name not in os.environ}


def _against(
    *, state: str, half_maps: Sequence[str], mask: str, postprocess: str, out: str, box: int
) -> list[Any]:
    """What CTF refinement and polishing compare the particles with; `box` (px) is that for estimation."""
    references = ["--ref1", half_maps[0], "--ref2", half_maps[1], "--mask", mask, "--fsc", postprocess]
    return ["--i", state, *references, "--theme", "classic", "--o", _folder(out), "--b", box]


def _reference(reference: str, absolute_greyscale: bool, lowpass: float) -> list:
    cc = [] if absolute_greyscale else ["--firstiter_cc"]
    return ["--ref", reference, *cc, "--trust_ref_size", "--ini_high", lowpass]


def _computing(scratch: str | None, pool: int) -> list:
    scratch_dir = ["--scratch_dir", scratch] if scratch else []
    return ["--dont_combine_weights_via_disc", *scratch_dir, "--pool", pool, "--pad", 2]


def _ctf(intact_first_peak: bool) -> list:
    return ["--ctf", "--ctf_intact_first_peak"] if intact_first_peak else ["--ctf"]


def _offsets(range_px: float, step_px: float) -> list:
    return ["--offset_range", range_px, "--offset_step", step_px * 2**_OVERSAMPLING]


def _line(*parts: list | bool) -> list[str]:
    """Join the parts; one that is false, or a flag whose value is None, is left out."""
    kept = [part for part in parts if isinstance(part, list) and part and part[-1] is not None]
    return [number(item) if isinstance(item, float) else str(item) for part in kept for item in part]


def _folder(path: str) -> str:
    return path.rstrip("/") + "/"
