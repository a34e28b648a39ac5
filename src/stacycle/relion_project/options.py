"""The fields of RELION's GUI that a command line is made of: a job's `job.star`, from which the GUI shows the job and
copies it. What has no field goes into "Additional arguments"; fields that a command does not tell keep RELION's own
values.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from stacycle.programs.command import Command
from stacycle.relion_project import kinds
from stacycle.relion_project.kinds import Kind

Options = dict[str, str]
_SAMPLINGS = (30, 15, 7.5, 3.7, 1.8, 0.9, 0.5, 0.2, 0.1)
_YES, _NO = "Yes", "No"


def _plainly(value: str) -> str:
    return value


def _sampling(order: str) -> str:
    """The GUI names the finer, oversampled step: order 3 with oversampling 1 is 3.7 degrees."""
    return f"{_SAMPLINGS[min(int(order), len(_SAMPLINGS) - 1)]:g} degrees"


def _half(value: str) -> str:
    return f"{float(value) / 2:g}"


def _three_times(value: str) -> str:
    return f"{float(value) * 3:g}"


# Fields by the flag whose value they hold, and how the value is written there.
_Fields = dict[str, tuple[str, Callable[[str], str]]]
# Fields that a flag without a value says, and flags that RELION gives by itself.
_Switches = Mapping[str, tuple[str, str]]

_STATE: _Fields = {
    "--ios": ("in_optimisation", _plainly),
    "--tomograms": ("in_tomograms", _plainly),
    "--trajectories": ("in_trajectories", _plainly),
}
_REFINE: _Fields = _STATE | {
    "--i": ("in_particles", _plainly),
    "--ref": ("fn_ref", _plainly),
    "--solvent_mask": ("fn_mask", _plainly),
    "--ini_high": ("ini_high", _plainly),
    "--sym": ("sym_name", _plainly),
    "--particle_diameter": ("particle_diameter", _plainly),
    "--tau2_fudge": ("tau_fudge", _plainly),
    "--K": ("nr_classes", _plainly),
    "--iter": ("nr_iter", _plainly),
    "--strict_highres_exp": ("highres_limit", _plainly),
    "--healpix_order": ("sampling", _sampling),
    "--auto_local_healpix_order": ("auto_local_sampling", _sampling),
    "--offset_range": ("offset_range", _plainly),
    "--offset_step": ("offset_step", _half),
    "--sigma_ang": ("sigma_angles", _three_times),
    "--pool": ("nr_pool", _plainly),
    "--multibody_masks": ("fn_bodies", _plainly),
    "--scratch_dir": ("scratch_dir", _plainly),
    "--gpu": ("gpu_ids", _plainly),
}
_TOMO: _Fields = {
    "--i": ("in_optimisation", _plainly),
    "--p": ("in_particles", _plainly),
    "--t": ("in_tomograms", _plainly),
    "--mot": ("in_trajectories", _plainly),
    "--ref1": ("in_halfmaps", _plainly),
    "--mask": ("in_refmask", _plainly),
    "--fsc": ("in_post", _plainly),
    "--b": ("box_size", _plainly),
    "--crop": ("crop_size", _plainly),
    "--bin": ("binning", _plainly),
    "--sym": ("sym_name", _plainly),
    "--snr": ("snr", _plainly),
    "--max_dose": ("max_dose", _plainly),
    "--min_frames": ("min_frames", _plainly),
    "--d1": ("focus_range", _plainly),
    "--lambda": ("lambda", _plainly),
    "--r": ("max_error", _plainly),
    "--s_vel": ("sigma_vel", _plainly),
    "--s_div": ("sigma_div", _plainly),
}
_TOMOGRAM: _Fields = {
    "--t": ("in_tiltseries", _plainly),
    "--tn": ("tomo_name", _plainly),
    "--w": ("xdim", _plainly),
    "--h": ("ydim", _plainly),
    "--d": ("zdim", _plainly),
    "--binned_angpix": ("binned_angpix", _plainly),
}
_MASK: _Fields = {
    "--i": ("fn_in", _plainly),
    "--lowpass": ("lowpass_filter", _plainly),
    "--ini_threshold": ("inimask_threshold", _plainly),
    "--extend_inimask": ("extend_inimask", _plainly),
    "--width_soft_edge": ("width_mask_edge", _plainly),
    "--angpix": ("angpix", _plainly),
}
_POST: _Fields = {
    "--i": ("fn_in", _plainly),
    "--mask": ("fn_mask", _plainly),
    "--angpix": ("angpix", _plainly),
    "--adhoc_bfac": ("adhoc_bfac", _plainly),
    "--autob_lowres": ("autob_lowres", _plainly),
    "--mtf": ("fn_mtf", _plainly),
    "--mtf_angpix": ("mtf_angpix", _plainly),
    "--low_pass": ("low_pass", _plainly),
    "--locres_sampling": ("locres_sampling", _plainly),
    "--locres_randomize_at": ("randomize_at", _plainly),
}
_SWITCHES: _Switches = {
    "--ctf": ("do_ctf_correction", _YES),
    "--zero_mask": ("do_zero_mask", _YES),
    "--solvent_correct_fsc": ("do_solvent_fsc", _YES),
    "--skip_align": ("dont_skip_align", _NO),
    "--firstiter_cc": ("ref_correct_greyscale", _NO),
    "--trust_ref_size": ("trust_ref_size", _YES),
    "--dont_combine_weights_via_disc": ("do_combine_thru_disc", _NO),
    "--no_parallel_disc_io": ("do_parallel_discio", _NO),
    "--preread_images": ("do_preread_images", _YES),
    "--blush": ("do_blush", _YES),
    "--auto_ignore_angles": ("auto_faster", _YES),
    "--allow_coarser_sampling": ("allow_coarser", _YES),
    "--float16": ("do_float16", _YES),
    "--stack2d": ("do_stack2d", _YES),
    "--do_defocus": ("do_defocus", _YES),
    "--do_reg_defocus": ("do_reg_def", _YES),
    "--do_scale": ("do_scale", _YES),
    "--per_frame_scale": ("do_frame_scale", _YES),
    "--per_tomogram_scale": ("do_tomo_scale", _YES),
    "--do_even_aberrations": ("do_even_aberr", _YES),
    "--do_odd_aberrations": ("do_odd_aberr", _YES),
    "--shift_only": ("do_shift_align", _YES),
    "--motion": ("do_motion", _YES),
    "--sq_exp_ker": ("do_sq_exp_ker", _YES),
    "--auto_bfac": ("do_auto_bfac", _YES),
    "--skip_fsc_weighting": ("do_skip_fsc_weighting", _YES),
    "--locres": ("do_relion_locres", _YES),
}
# Values that say a switch, too.
_ALSO = {
    "--adhoc_bfac": {"do_adhoc_bfac": _YES, "do_auto_bfac": _NO},
    "--i": {},
    "--p": {"use_direct_entries": _YES},
    "--tomograms": {"use_direct_entries": _YES},
    "--sigma_ang": {"do_local_ang_searches": _YES},
    "--gpu": {"use_gpu": _YES},
    "--locres": {"do_resmap_locres": _NO},
}
# Switches that are No unless a flag says Yes, of each kind: the GUI's own value may be Yes.
_OFF: Mapping[str, tuple[str, ...]] = {
    kinds.CTF_REFINE.label: ("do_defocus", "do_reg_def", "do_scale", "do_frame_scale", "do_tomo_scale"),
    kinds.POLISH.label: ("do_motion", "do_shift_align"),
    kinds.EXTRACT.label: ("do_float16", "do_stack2d"),
    kinds.TOMOGRAM.label: ("do_fourier", "ctf_intact_first_peak", "do_proj"),
    kinds.REFINE.label: ("do_ctf_correction", "do_zero_mask", "do_solvent_fsc", "trust_ref_size"),
    kinds.CLASS3D.label: ("do_ctf_correction", "do_zero_mask", "trust_ref_size"),
}
# What RELION's GUI gives to each command by itself, or has in fields that other flags fill.
_OWN = {
    *(
        "--o",
        "--j",
        "--j_in",
        "--j_out",
        "--theme",
        "--auto_refine",
        "--split_random_halves",
        "--flatten_solvent",
    ),
    *(
        "--norm",
        "--scale",
        "--oversampling",
        "--low_resol_join_halves",
        "--auto_resol_angles",
        "--pad",
        "--d0",
    ),
    *("--ref2", "--pipeline_control"),
}
_FIELDS: Mapping[str, _Fields] = {
    kinds.TOMOGRAM.label: _TOMOGRAM,
    kinds.EXTRACT.label: _TOMO,
    kinds.RECONSTRUCT.label: _TOMO,
    kinds.CTF_REFINE.label: _TOMO,
    kinds.POLISH.label: _TOMO,
    kinds.MASK.label: _MASK,
    kinds.POST.label: _POST,
    kinds.LOCAL.label: _POST,
    kinds.REFINE.label: _REFINE,
    kinds.CLASS3D.label: _REFINE,
    kinds.INITIAL.label: _REFINE,
    kinds.MULTIBODY.label: _REFINE,
}


def options(kind: Kind, command: Command, named: Callable[[str], str]) -> Options:
    """The fields of the GUI that a command line of a kind fills. `named` gives a file's name in RELION's project."""
    fields = _FIELDS.get(kind.label)
    if fields is None:
        return {
            "fn_exe": command.program,
            "other_args": shlex.join(command.argv[len(command.launcher) + 1 :]),
        }
    found: Options = dict.fromkeys(_OFF.get(kind.label, ()), _NO)
    rest: list[str] = []
    for flag, values in command.flags.items():
        if flag in fields and values:
            name, written = fields[flag]
            found[name] = named(written(values[0]))
        elif flag in _SWITCHES and not values:
            name, value = _SWITCHES[flag]
            found[name] = value
        elif flag not in _OWN:
            rest += [flag, *values]
        found |= _ALSO.get(flag, {})
    if "--pad" in command.flags and "fn_ref" in found:
        found["do_pad1"] = _YES if command.get("--pad") == "1" else _NO
    if kind not in (kinds.MASK, kinds.POST):
        found["nr_mpi"] = str(command.ranks)
    if threads := command.get("--j"):
        found["nr_threads"] = threads
    return found | {"other_args": shlex.join(rest)}
