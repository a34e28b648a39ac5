"""The command line of relion_refine and relion_refine_mpi: each flag is used, has no effect, or is refused."""

from __future__ import annotations

from types import SimpleNamespace

from staengine.cli import Flag, no_effect, parse, unsupported
from staengine.errors import EngineError

CHOICES = {
    "--o": Flag("value", "", "root of the output files"),
    "--ios": Flag("value", "", "input optimisation_set.star"),
    "--i": Flag("value", "", "input particles.star, instead of or over that of --ios"),
    "--tomograms": Flag("value", "", "tomograms.star"),
    "--trajectories": Flag("value", "", "motion.star, of which the stacks were extracted; only passed on"),
    "--continue": Flag("value", "", "optimiser.star of the iteration to continue from"),
    "--ref": Flag("value", "", "reference map"),
    "--ref_angpix": Flag("value", -1.0, "pixel size of the reference (default: its header's)"),
    "--trust_ref_size": Flag("switch", help="bring the reference to the pixel and box of the data"),
    "--firstiter_cc": Flag(
        "switch", help="first iteration by cross-correlation: the reference has no absolute scale"
    ),
    "--ini_high": Flag("value", -1.0, "low-pass filter of the reference in Å"),
    "--iter": Flag("value", -1, "number of iterations (default 25)"),
    "--K": Flag("value", 1, "number of classes"),
    "--tau2_fudge": Flag("value", -1.0, "T: weight of the data against the prior (default 1)"),
    "--particle_diameter": Flag("value", -1.0, "diameter of the circular mask in Å"),
    "--zero_mask": Flag("switch", help="zeros outside the circular mask instead of noise"),
    "--maskedge": Flag("value", 5.0, "soft edge of masks in pixels"),
    "--flatten_solvent": Flag("switch", help="mask the reference after each iteration"),
    "--solvent_mask": Flag("value", "", "mask to do that with"),
    "--solvent_mask2": Flag("value", "", "second mask: each map gets its average inside it there"),
    "--solvent_correct_fsc": Flag("switch", help="FSC of masked halves, corrected for the mask"),
    "--ctf": Flag("switch", help="CTF correction; always on"),
    "--strict_highres_exp": Flag("value", -1.0, "resolution limit of the expectation step in Å"),
    "--oversampling": Flag("value", 1, "times that the grid is split in the fine pass"),
    "--healpix_order": Flag("value", 2, "angular sampling: 60 / 2^order degrees"),
    "--sigma_ang": Flag("value", -1.0, "width of the prior on angles: local searches within 3 sigma"),
    "--offset_range": Flag("value", 6.0, "radius of the offset search in pixels"),
    "--offset_step": Flag("value", 2.0, "step of the offset search in pixels"),
    "--offset": Flag("value", 10.0, "first width of the prior on offsets in Å"),
    "--skip_align": Flag("switch", help="only classify, poses stay"),
    "--sym": Flag("value", "C1", "point group"),
    "--auto_refine": Flag("switch", help="3D auto-refinement"),
    "--split_random_halves": Flag("switch", help="in two independent halves"),
    "--auto_local_healpix_order": Flag("value", 4, "local searches from this order on"),
    "--auto_ignore_angles": Flag("switch", help="sample finer though angles still change"),
    "--auto_resol_angles": Flag("switch", help="sample finer as soon as the resolution needs it"),
    "--grad": Flag(
        "switch", help="mini-batches and steps along a gradient instead of expectation-maximisation"
    ),
    "--denovo_3dref": Flag("switch", help="first references from the particles at random orientations"),
    "--auto_sampling": Flag(
        "switch", help="sample finer in the final iterations, if the map tells angles so well"
    ),
    "--grad_ini_frac": Flag("value", 0.3, "part of the iterations at the start, coarse and forgiving"),
    "--grad_fin_frac": Flag("value", 0.2, "part of the iterations at the end, at the final resolution"),
    "--grad_ini_resol": Flag("value", -1.0, "first resolution in Å (default: 3/5 of --particle_diameter)"),
    "--grad_fin_resol": Flag("value", -1.0, "final resolution in Å (default: 1/6 of --particle_diameter)"),
    "--grad_ini_subset": Flag("value", -1, "particles of the first iterations (default 200)"),
    "--grad_fin_subset": Flag("value", -1, "particles of the final iterations (default 1000)"),
    "--grad_stepsize": Flag("value", -1.0, "step along the gradient (default 0.9, falling to 0.5)"),
    "--mu": Flag("value", 0.9, "momentum of a run of 200 iterations; shorter ones forget sooner"),
    "--maxsig": Flag("value", -1, "most poses of a particle that are searched finely (--grad: 100 a class)"),
    "--sigma_tilt": Flag(
        "value", -1.0, "width in degrees of the prior on tilt angles, of --grad (default: none)"
    ),
    "--force_converge": Flag("switch", help="with --continue: the next iteration is the last"),
    "--auto_iter_max": Flag("value", 999, "iterations at most"),
    "--low_resol_join_halves": Flag("value", -1.0, "join the halves up to this resolution in Å"),
    "--norm": Flag("switch", help="accepted; RELION does not correct norms of tilt series either"),
    "--scale": Flag("switch", help="refine the contrast of each tilt series"),
    "--pad": Flag("value", 2, "padding factor of transforms"),
    "--random_seed": Flag("value", -1, "seed (default: drawn from the clock)"),
    "--adaptive_fraction": Flag("value", 0.999, "part of the probability that goes into the fine pass"),
    "--coarse_size": Flag("value", -1, "image size of the coarse pass (default: what its sampling needs)"),
    "--incr_size": Flag("value", 10, "shells beyond the current resolution that are used"),
    "--fix_sigma_noise": Flag("switch", help="keep the noise spectra"),
    "--fix_sigma_offset": Flag("switch", help="keep the width of the prior on offsets"),
    "--j": Flag("value", 1, "threads (per half set with relion_refine_mpi)"),
}
NO_EFFECT = {
    **no_effect(pool=1, dont_combine_weights_via_disc=False, no_parallel_disc_io=False),
    **no_effect(preread_images=False, onthefly_shifts=False, scratch_dir="", keep_free_scratch=10.0),
    **no_effect(reuse_scratch=False, keep_scratch=False, cpu=False, free_gpu_memory=0.0, verb=1),
    **no_effect(no_norm=False, no_scale=False, dont_check_norm=False, failsafe_threshold=40.0),
    **no_effect(nr_parts_sigma2noise=-1, print_metadata_labels=False),
    **no_effect(grad_write_iter=10),
    "--gpu": Flag("optional_value", "", "accepted; the embedded engine has no GPU"),
}
REFUSED = {
    **unsupported("--tau2_fudge_scheme", "--lowpass_mask", "--lowpass", "--tau"),
    **unsupported("--local_symmetry", "--center_classes", "--psi_step", "--limit_tilt"),
    **unsupported("--relax_sym", "--offset_range_x", "--offset_range_y", "--offset_range_z", "--perturb"),
    **unsupported("--sigma_rot", "--sigma_psi", "--skip_rotate"),
    **unsupported("--bimodal_psi", "--helix", "--fourier_mask", "--pad_ctf", "--ctf_intact_first_peak"),
    **unsupported("--ctf_uncorrected_ref", "--ctf_phase_flipped", "--only_flip_phases"),
    **unsupported("--som", "--fast_subsets", "--NN", "--strict_lowres_exp", "--always_cc"),
    **unsupported("--skip_maximize", "--blush", "--external_reconstruct", "--allow_coarser_sampling"),
    **unsupported("--dont_skip_gridding", "--normalised_subtomo", "--skip_subtomo_multi"),
    **unsupported("--ctf3d_not_squared", "--grad_em_iters", "--grad_min_resol", "--grad_stepsize_scheme"),
}
FLAGS = CHOICES | NO_EFFECT | REFUSED


def read_options(program: str, argv: list[str]) -> SimpleNamespace:
    """The options of a new refinement, checked. Raises EngineError."""
    options = parse(program, FLAGS, argv)
    if options.gpu is not None:
        print(
            " NOTE: the embedded engine has no GPU support; --gpu is ignored and all work is done by the CPU."
        )
    if options.grad and program.endswith("_mpi"):
        raise EngineError(
            "Gradient refinement is not supported together with MPI. Please rerun with Number of MPI processes: 1"
        )
    _require(program, options)
    options.tau2_fudge_arg = options.tau2_fudge
    if options.tau2_fudge <= 0:
        options.tau2_fudge = 4.0 if options.grad else 1.0
    options.iter = options.iter if options.iter > 0 else 25
    options.solvent_mask = "" if options.solvent_mask == "None" else options.solvent_mask
    options.solvent_mask2 = "" if options.solvent_mask2 == "None" else options.solvent_mask2
    return options


def _require(program: str, options: SimpleNamespace) -> None:
    faults = [
        (not options.o, "give --o, the root of the output files."),
        (not options.ref and not options.denovo_3dref, "give a reference map with --ref."),
        (bool(options.ref) and options.denovo_3dref, "--ref and --denovo_3dref exclude each other."),
        (options.grad and options.firstiter_cc, "--grad and --firstiter_cc exclude each other."),
        (options.grad and options.skip_align, "--grad and --skip_align exclude each other."),
        (options.grad and options.auto_refine, "--grad and --auto_refine exclude each other."),
        (options.grad and not 0 <= options.mu < 1, "--mu must be from 0 to below 1."),
        *(
            (bool(wanted) and not options.grad, f"the embedded engine has {flag} with --grad only.")
            for flag, wanted in (
                ("--denovo_3dref", options.denovo_3dref),
                ("--auto_sampling", options.auto_sampling),
                ("--sigma_tilt", options.sigma_tilt > 0),
                ("--maxsig", options.maxsig > 0),
            )
        ),
        (not options.ctf, "the images are multiplied by their CTF: give --ctf."),
        (options.particle_diameter <= 0, "give --particle_diameter, the diameter of the circular mask in Å."),
        (options.K < 1, "--K must be at least 1."),
        (options.pad < 1, "--pad must be at least 1."),
        (options.oversampling < 0, "--oversampling must not be negative."),
        (options.offset_step <= 0, "--offset_step must be positive."),
        (options.skip_align and options.auto_refine, "--skip_align and --auto_refine exclude each other."),
        (options.auto_refine and options.K > 1, "--auto_refine works with one class: leave out --K."),
        (
            options.auto_refine and not options.split_random_halves,
            "--auto_refine needs --split_random_halves.",
        ),
        (
            options.split_random_halves and not options.auto_refine,
            "--split_random_halves needs --auto_refine.",
        ),
        (
            options.solvent_correct_fsc and not options.solvent_mask,
            "--solvent_correct_fsc needs --solvent_mask.",
        ),
    ]
    for wrong, sentence in faults:
        if wrong:
            raise EngineError(f"{program}: {sentence}")
    if options.split_random_halves and not program.endswith("_mpi"):
        raise EngineError(
            "Cannot split data into random halves without using MPI: call relion_refine_mpi for --split_random_halves."
        )
