"""Every known failure gets its own cause and cure in plain sentences, a healthy log none, and no log a traceback."""

from __future__ import annotations

import io
import json
import re
import string
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacycle import __main__ as cli
from stacycle.diagnosis import known_faults
from stacycle.diagnosis.explain import explain
from stacycle.jobs.output import clean_lines

DATA = Path(__file__).parents[2] / "golden" / "data"
FAILURES = DATA / "failures"
MORE_FAILURES = DATA / "more_failures"
TABLES = (
    *known_faults.OUTSIDE,
    *known_faults.UNMET,
    *known_faults.FAULTS,
    *known_faults.VAGUE,
    *known_faults.ENDINGS,
    *known_faults.CRASHES,
    *known_faults.WARNINGS,
)

# RELION 5.0.1's own failures: what the cause must say, what the cure must say, the retry.
GOLDEN = {
    "all_tomograms_unknown": ("Not one particle belongs to a tomogram", "Compare rlnTomoName", None),
    "auto_refine_two_ranks": ("at least 3 MPI ranks .* started with 2", "at least 3 ranks", None),
    "auto_refine_without_mpi": ("without MPI", "at least 3 MPI ranks", None),
    "ctf_refine_mask_mismatch": ("mask has a box of 24 px, .* half maps have 96 px", "mask", None),
    "ctf_refine_no_half_sets": ("do not belong to half sets", "Refine3D", None),
    "disk_full": ("could not be written .* at tomogram 1 of 2.* full", "Free space", None),
    "gpu_without_cuda": ("built without GPU support", "GPU build", None),
    "mask_box_mismatch_postprocess": ("box of 24 px for half maps of 96 px", "mask", None),
    "mask_box_mismatch_refine": ("mask has a box of 40 px, the reference 24 px", "mask", None),
    "mask_values_outside_0_1": ("values from 3 to 3 instead of 0 to 1", "mask step", None),
    "missing_coordinate_column": ("no coordinates", "rlnCenteredCoordinateXAngst", None),
    "missing_particles": ("extract/nothing.star does not exist", "path", None),
    "missing_reference": ("map nowhere/merged.mrc .* does not exist", "path", None),
    "missing_subtomogram": (
        "extracted particle extract/Subtomograms/TS_02/10_stack2d.mrcs does not exist",
        "Extract",
        None,
    ),
    "missing_tilt_images": (
        "tilt images input/tilt_series/TS_01.mrcs do not exist",
        "tilt series' STAR",
        None,
    ),
    "missing_tilt_series_star": (
        "tilt series' STAR file input/tilt_series/TS_77.star does not exist",
        "rlnTomoTiltSeriesStarFile",
        None,
    ),
    "mpirun_no_slots": ("start 99 ranks, more than there are cores", "fewer", None),
    "out_of_memory": ("ran out of memory: it wanted 4.96445 GB", "smaller box", "fewer_threads"),
    "postprocess_missing_half": ("half map select/half1.mrc does not exist", "half maps", None),
    "reference_box_mismatch": ("box of 40 px, but the particles have 24 px", "trust_ref_size", None),
    "reference_pixel_mismatch": ("pixel size of 7 Å, but the particles have 20 Å", "trust_ref_size", None),
    "skip_align_many_classes": ("200 classes without alignment", "fewer classes", None),
    "some_tomograms_unknown": ("were left out: TS_98", "rlnTomoName", None),
    "truncated_subtomogram": ("no fault", "cut short before a program starts", None),
    "unknown_flag": ("does not know the option --lowpas ", "spelling", None),
    "zero_sum_of_weights": ("particle 272 at all in iteration 5 of 10", "Search more widely", None),
}

# RELION 5.0.1's failures of stages beside the tutorial's: what the cause must say; None where the log shows no error.
MORE_GOLDEN = {
    "align_symmetry_missing_model": "ini_k2/run_it051_model.star does not exist",
    "bin_below_one": None,
    "continue_multibody": "angular sampling is not the one that it has now",
    "global_search_without_firstiter_cc": None,
    "initial_model_mpi": "runs on one only",
    "locres_mask_mismatch": "mask and the maps do not have the same box",
    "multibody_final_optimiser": "end of a refinement .* half sets are joined",
    "only_do_unfinished_truncated_temp": None,
    "optimisation_set_missing_file": None,
    "python_import_without_environment": "Python that this RELION was built to use",
    "revert_into_missing_folder": None,
    "subtract_other_particles": "no tomograms' STAR file was given",
    "subtract_stack2d_silent": None,
    "subtract_stack2d_then_refine": "fewer images than .* tilts",
    "tomogram_unknown_name": "TS_99 was asked for",
    "unknown_symmetry": "does not know the symmetry X9",
}

# Faults that golden has not: status, log lines as RELION, MPI, CUDA and batch systems write them; cause, retry.
CUDA_TAIL = (
    "in: /src/relion/src/acc/cuda/cuda_settings.h, line 65\nERROR: \n\nA GPU-function failed to execute."
)
ABORT = "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 1."
SETUP = " === RELION MPI setup ===\n + Number of MPI processes                 = 1\n + Leader      (0) runs on host = a"
OTHERS = [
    (
        143,
        "slurmstepd: error: *** JOB 71 ON n5 CANCELLED AT 2026-11-22T10:00:00 DUE TO TIME LIMIT ***",
        "wall-time limit",
        None,
    ),
    (None, "TERM_RUNLIMIT: job killed after reaching LSF run time limit.", "wall-time limit", None),
    (271, "=>> PBS: job killed: walltime 3639 exceeded limit 3600", "wall-time limit", None),
    (143, "", "told to stop from outside", None),
    (-15, " Expectation iteration 7 of 25", "told to stop .* in iteration 7 of 25", None),
    (130, "", "keyboard", None),
    (
        1,
        "slurmstepd: error: *** STEP 71.0 ON n5 CANCELLED AT 2026-11-22T10:00:00 ***",
        "cancelled the job",
        None,
    ),
    (
        255,
        "FATAL:   container creation failed: mount hook function failure: no such file or directory",
        "Apptainer could not start the container, and says: container creation failed",
        None,
    ),
    (
        1,
        "slurmstepd: error: *** JOB 7 ON n5 CANCELLED AT 2026-11-22T10:00:00 DUE TO PREEMPTION ***",
        "higher priority",
        None,
    ),
    (
        1,
        "slurmstepd: error: *** JOB 7 ON n5 CANCELLED AT 2026-11-22T10:00:00 DUE TO NODE FAILURE ***",
        "lost a node",
        "continue",
    ),
    (
        1,
        "ORTE has lost communication with a remote daemon.\n  HNP daemon   : [[64112,0],0] on node a",
        "lost a node",
        "continue",
    ),
    (
        1,
        "[n1][[1,1],2][btl_tcp_frag.c:241] mca_btl_tcp_frag_recv: readv failed: Connection timed out (110)",
        "network",
        "continue",
    ),
    (137, "", "killed from outside.*memory", "fewer_threads"),
    (-9, " + Tomogram 3 / 40: ", "killed from outside at tomogram 3 of 40", "fewer_threads"),
    (
        1,
        "mpirun noticed that process rank 2 with PID 0 on node a exited on signal 9 (Killed).",
        "killed",
        "fewer_threads",
    ),
    (
        1,
        "slurmstepd: error: Detected 1 oom_kill event in StepId=1.batch. Some of the step tasks have been OOM Killed.",
        "more memory than it was given",
        "fewer_threads",
    ),
    (
        1,
        "slurmstepd: error: Detected 1 oom-kill event(s) in step 3.batch cgroup.",
        "more memory than",
        "fewer_threads",
    ),
    (
        1,
        "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
        "more memory than",
        "fewer_threads",
    ),
    (
        134,
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
        "ran out of memory",
        "fewer_threads",
    ),
    (1, "in: memory.cpp, line 33\nERROR: \nError in askMemory", "ran out of memory", "fewer_threads"),
    (
        1,
        "ERROR: out of memory in /src/acc/cuda/custom_allocator.cuh at line 435 (error-code 2)\n" + CUDA_TAIL,
        "GPU ran out",
        None,
    ),
    (
        1,
        "ERROR: CudaCustomAllocator out of memory\n [requestedSpace:  44135424 B]\nERROR: \nYou ran out of memory",
        "GPU ran out",
        None,
    ),
    (1, "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "GPU ran out", None),
    (
        1,
        "ERROR: CUDA driver version is insufficient for CUDA runtime version in a.cpp at line 126 (error-code 35)\n"
        + CUDA_TAIL,
        "driver is older",
        None,
    ),
    (
        1,
        "ERROR: no CUDA-capable device is detected in ml_optimiser.cpp at line 1143 (error-code 100)\n"
        + CUDA_TAIL,
        "no GPU that it can use",
        None,
    ),
    (
        1,
        "ERROR: \nYou have no GPUs compatible with RELION (CUDA/HIP-capable with supported GPU targets",
        "no GPU that",
        None,
    ),
    (
        1,
        "ERROR: an illegal memory access was encountered in b.cuh at line 672 (error-code 700)\n" + CUDA_TAIL,
        "GPU crashed",
        "continue",
    ),
    (
        1,
        "KERNEL_ERROR: invalid configuration argument in b.cu at line 12 (error-code 9)\n" + CUDA_TAIL,
        "GPU failed",
        None,
    ),
    (1, "ERROR: \nNo space left on device", "disk or your quota", None),
    (1, "cp: error writing 'x.mrc': Disk quota exceeded", "disk or your quota", None),
    (
        1,
        "in: ml_model.cpp, line 624\nERROR: \nMlModel::write: Cannot write file: r/run_it001_model.star",
        "r/run_it001_model.star could not be written",
        None,
    ),
    (1, "a/b.mrcs: Stale file handle", "lost track of a file", "continue"),
    (1, "a/b.mrcs: Stale NFS file handle", "lost track of a file", "continue"),
    (1, "read: Input/output error", "disk or file server failed", None),
    (
        1,
        "TIFFOpen: a/b.eer: Too many open files.\nERROR: \nCannot read file a/b.eer It does not exist",
        "More files were open",
        None,
    ),
    (
        126,
        "bash: line 1: /sw/relion_refine: Permission denied",
        "Access to /sw/relion_refine was refused",
        None,
    ),
    (
        1,
        "PermissionError: [Errno 13] Permission denied: 'results/x y.star'",
        "Access to results/x y.star was",
        None,
    ),
    (
        1,
        "PermissionError: [Errno 13] Permission denied: '/root/.cache/torch/hub'",
        "weights of its network",
        None,
    ),
    (127, "bash: relion_refine: command not found", "program relion_refine is not there", None),
    (127, "/bin/sh: 1: mpirun: not found", "program mpirun is not there", None),
    (
        1,
        'Lmod has detected the following error: The following module(s) are unknown: "relion/5.0"',
        "module relion/5.0 does not",
        None,
    ),
    (
        127,
        "relion_refine: error while loading shared libraries: libcufft.so.10: cannot open shared object file",
        "built with libcufft.so.10",
        None,
    ),
    (
        127,
        "relion: symbol lookup error: relion: undefined symbol: _ZN8Fl_ImageC2Eiii",
        "another version",
        None,
    ),
    (
        1,
        "relion_refine: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by relion_refine)",
        "GLIBC_2.34 is missing",
        None,
    ),
    (
        1,
        f"{SETUP}\n{SETUP}\nERROR: \nMlOptimiserMpi: at least 3 MPI processes are required when",
        "does not belong to the MPI",
        None,
    ),
    (
        1,
        "ERROR: \nMlOptimiserMpi: the number of MPI processes must be an odd number when gold-standard",
        "odd number",
        None,
    ),
    (
        1,
        "ERROR: \nalign_mpi: this program needs to be run with at least two MPI processes!",
        "single MPI rank",
        None,
    ),
    (
        1,
        "but OMPI was not built with SLURM's PMI support and therefore cannot execute.",
        "launcher .* do not fit",
        None,
    ),
    (1, "mpirun has detected an attempt to run as root.", "does not run as root", None),
    (
        1,
        "ModuleNotFoundError: No module named 'relion_blush'\nSomething went wrong in the external Python call...",
        "Blush",
        None,
    ),
    (1, "ModuleNotFoundError: No module named 'filelock'", "Python module filelock", None),
    (
        -6,
        "corrupted size vs. prev_size\n[gpu:1] *** Process received signal ***\n[gpu:1] Signal: Aborted (6)",
        "damaged its own memory",
        "combine_via_disc",
    ),
    (
        134,
        "*** Error in `relion_refine_mpi': double free or corruption (!prev): 0x01 ***",
        "damaged its own",
        "combine_via_disc",
    ),
    (139, "", "segmentation fault", None),
    (-11, " Expectation iteration 2 of 25", "crashed in iteration 2 of 25", None),
    (
        1,
        "[gpu5:137016] Signal: Segmentation fault (11)\n[gpu5:137016] Failing at address: 0x28",
        "segmentation fault",
        None,
    ),
    (135, "", "bus error", "continue"),
    (-7, "", "bus error", "continue"),
    (132, "", "another kind of processor", None),
    (-4, "", "another kind of processor", None),
    (
        1,
        "Option --ios\tis not a valid RELION argument\nERROR: \nMetaDataTable::read: File x does not exist",
        "too old",
        None,
    ),
    (1, "ERROR: \nERROR: Argument --j not found or invalid argument", "option --j", None),
    (
        1,
        "ERROR: \nNo orientation was found as better than any other.\n\nA particle image was",
        "No orientation fits",
        None,
    ),
    (
        1,
        "ERROR: \nBackProjector::reconstruct: ERROR: unexpectedly small, yet non-zero sigma2 value",
        "noise estimate",
        None,
    ),
    (
        1,
        "ERROR: \nPostprocessing::run ERROR: FSC curve never drops below randomize_fsc_at.",
        "never falls below 0.8",
        None,
    ),
    (
        1,
        "ERROR: relion_postprocess: the unmasked FSC never falls below --randomize_at_fsc 0.8: check",
        "never falls below 0.8",
        None,
    ),
    (
        1,
        "ERROR: \nERROR: one of your half sets has no segments. Is rlnRandomSubset set to 1 or 2",
        "half sets is empty",
        None,
    ),
    (1, "ERROR: there are no particles in a b/particles.star", "no particle in a b/particles.star", None),
    (1, "ERROR: \nLabel rlnDefocusU not present in TS_1", "lacks the column rlnDefocusU", None),
    (
        1,
        "ERROR: \nA line in the STAR file contains fewer columns than the number of labels. Expected = 9 Found = 4",
        "has fewer values",
        None,
    ),
    (1, "ERROR: \nRELION does not support CR+LF as a new line code.", "Windows line ends", None),
    (1, "ERROR: \nrwMRC: error in reading header of image r/half1.mrc", "r/half1.mrc is damaged", None),
    (
        1,
        "ERROR: \nreadMRC: Image number 50 exceeds stack size 10 of image a.mrcs",
        "holds 10 images, but image 50",
        None,
    ),
    (1, "ERROR: \nreadMRC: unsupported MRC mode 1937006958", "mode 1937006958", None),
    (1, "ERROR: \ntranslate ERROR: translate only valid for 2D or 3D arrays", "parallel disc I/O", None),
    (1, "ERROR: \nNo tomogram named 'TS_9' found in the set", "tomogram TS_9, which is not in", None),
    (
        0,
        " Warning: scratch space full on g03.em. Remaining 1727 particles will be read from where they were.",
        "g03.em is full: 1727 particles",
        None,
    ),
    (
        0,
        "   !15 particles were removed because they were too close to the edge in all images.",
        "15 particles were left out",
        None,
    ),
    (1, "sh: 1: gs: not found\n ERROR in executing: gs -sDEVICE=pdfwrite", "Ghostscript", None),
    (
        1,
        "No protocol specified\nqt.qpa.xcb: could not connect to display\n"
        + ABORT.splitlines()[1]
        + "\nexited on signal 11",
        "segmentation",
        None,
    ),
    (
        1,
        "mpirun was unable to find the specified executable file, and therefore",
        "mpirun could not start",
        None,
    ),
    (1, "ERROR: \nMlOptimiserMpi: at least 3 MPI processes are required when", "started with fewer", None),
    (1, "ERROR: \nno particles found that belong to any of the defined tomograms.", "Not one particle", None),
    (
        1,
        "ERROR: \nPostprocessing::mask ERROR: mask and input maps do not have the same size!",
        "same box",
        None,
    ),
    (1, "ERROR: \nPostprocessing::mask ERROR: mask values not in range [0,1]!", "no mask", None),
    (1, "ERROR: \nThe two half reconstructions are not of the same size!", "two half maps", None),
    (1, "ERROR: \nArray_by_array: different shapes (+)", "different box sizes", None),
    (1, "ERROR: \nThe input filename does not contain 'half1' or 'half2'", "neither 'half1'", None),
    (
        1,
        "ERROR: \nOne cannot use --split_random_halves with more than 1 reference... You could first classify, and",
        "one reference only",
        None,
    ),
    (
        1,
        "ERROR: \nERROR: rlnMicrographScaleCorrection is very high. Did you normalize",
        "not normalised",
        None,
    ),
    (1, "ERROR: \nZero orientations fall within the local angular search.", "so narrow", None),
    (1, "MultidimArray shape:  Empty MultidimArray!", "without content", None),
    (1, "ERROR: \ndiff2 is not a number", "No orientation fits", None),
    (136, "", "divided by zero", None),
    (1, "ERROR: \nBUG: cannot find name for particle...", "picks, not particles", None),
    (134, "", "without saying why", None),
    (129, "", "terminal or connection", None),
    (152, "", "limit of CPU time", None),
    (153, " + Tomogram 1 / 2: ", "larger than .* at tomogram 1 of 2", None),
    (1, "ERROR: \nERROR: output directory does not exist!", "output folder does not exist", None),
    (1, "ERROR: \nError in textToInteger", "a word where .* a number", None),
    (1, "ERROR: \nERROR!!! zero sum of weights....", "No orientation fits", None),
    (
        0,
        "WARNING: you cannot use accelerators (like the GPU) when skipping alignments.",
        "ran it on CPUs",
        None,
    ),
    (0, " + WARNING: solvent mask pixel size: 3.8 is not the same as", r"pixel size \(3.8 Å\)", None),
    (0, "   !The input particles have no rlnRandomSubset to specify halfsets, joining", "no half maps", None),
    (0, " WARNING: Using tau2_fudge of 4, which will lead to inflated resolution", "A T of 4", None),
    (0, "$ relion_refine --gpu  --j 2\n Running CPU instructions in double precision.", "used none", None),
    (
        137,
        "slurmstepd: error: *** JOB 7 ON n CANCELLED AT x DUE TO TIME LIMIT ***\nKilled",
        "wall-time",
        None,
    ),
]


def golden(name: str) -> tuple[str, int, list[str]]:
    folder = (FAILURES if name in GOLDEN else MORE_FAILURES) / name
    program = re.search(r"relion_\w+", (folder / "command").read_text())[0]
    with open(folder / "log", newline="") as log:
        return program, int((folder / "exit_code").read_text()), list(clean_lines(log))


def test_all_of_relions_own_failures_are_covered(record_property) -> None:
    assert set(GOLDEN) == {folder.name for folder in FAILURES.iterdir()}
    known = [explain(*golden(name)).known for name in GOLDEN]
    record_property("failures of RELION 5.0.1 explained", f"{sum(known)} of {len(known)}")
    record_property("faults in the table of stacycle diagnose", len(TABLES))
    assert all(known)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_failure_of_relion_gets_the_right_cause_and_cure(name: str) -> None:
    cause, cure, retry = GOLDEN[name]
    found = explain(*golden(name))
    assert re.search(cause, found.cause), found.cause
    assert re.search(cure, found.cure), found.cure
    assert found.retry == retry
    failed = "outside" if name == "disk_full" else "fault"
    assert found.kind == (failed if golden(name)[1] else "none" if "truncated" in name else "warning")


@pytest.mark.parametrize("name", GOLDEN)
def test_the_log_alone_is_enough(name: str) -> None:
    program, status, lines = golden(name)
    alone, known = explain("", None, lines), explain(program, status, lines)
    assert alone.kind == known.kind
    if name == "missing_reference":  # which kind of file it is, only the program tells
        assert "file nowhere/merged.mrc does not exist or cannot be opened" in alone.cause
    else:
        assert alone.cause.removeprefix("The program") == known.cause.removeprefix(program)


def test_failures_of_further_stages_are_explained_if_their_logs_show_an_error() -> None:
    assert set(MORE_GOLDEN) == {folder.name for folder in MORE_FAILURES.iterdir()}
    for name, cause in MORE_GOLDEN.items():
        found = explain(*golden(name))
        if cause is None:
            assert found.kind in ("none", "warning"), name
        else:
            assert found.kind == "fault", name
            assert re.search(cause, found.cause), found.cause


def test_different_failures_have_different_sentences() -> None:
    causes = [
        explain(*golden(name)).cause
        for name in [*GOLDEN, *(name for name in MORE_GOLDEN if MORE_GOLDEN[name])]
    ]
    assert len(set(causes)) == len(causes)


@pytest.mark.parametrize(("status", "log", "cause", "retry"), OTHERS)
def test_a_fault_that_others_met_is_known(
    status: int | None, log: str, cause: str, retry: str | None
) -> None:
    found = explain("relion_refine_mpi", status, log.split("\n"))
    assert re.search(cause, found.cause), found.cause
    assert found.retry == retry
    assert found.known
    assert found.cure


@pytest.mark.parametrize("name", sorted(path.name for path in (DATA / "logs").glob("*.log")))
def test_a_healthy_log_is_no_failure(name: str) -> None:
    with open(DATA / "logs" / name, newline="") as log:
        lines = list(clean_lines(log))
    assert explain("relion_refine", 0, lines).kind in ("none", "warning")
    assert explain("", None, lines).kind in ("none", "warning")
    failed = explain("relion_refine", 1, [*lines, *"abcdefgh"])
    assert failed.kind == "unknown", failed.cause  # nothing that a healthy log says is the cause of a failure


def test_the_cause_is_named_and_not_what_came_of_it() -> None:
    _, _, lines = golden("missing_reference")
    after = [
        *ABORT.split("\n"),
        "terminate called after throwing an instance of 'RelionError'",
        "Signal: Aborted (6)",
    ]
    after += [
        "exited on signal 11 (Segmentation fault)",
        "[a] mca_btl_tcp_frag_recv: readv failed: Connection reset",
    ]
    assert explain("relion_refine_mpi", 139, [*lines, *after, *lines]) == explain(
        "relion_refine_mpi", 1, lines
    )


def test_what_healthy_runs_say_too_is_not_the_cause() -> None:
    said = ["failed to open /dev/dri/renderD128: Permission denied", "No protocol specified"]
    assert "segmentation" in explain("relion_refine", 139, said).cause


def test_a_program_that_ended_well_did_not_fail_for_a_word_in_its_log() -> None:
    assert explain("relion_refine", 0, ["x: Input/output error", "retried, Killed"]).kind == "none"
    assert explain("relion_refine", 0, ["ERROR:", "Input/output error"]).kind == "outside"


def test_the_particle_that_is_named_is_the_last_before_the_error() -> None:
    lines = ["part_id= 7", "part_id= 8", "ERROR!!! zero sum of weights...."]
    assert "particle 8 " in explain("relion_refine", 1, lines).cause


def test_a_gpu_that_is_used_is_no_fault() -> None:
    lines = [
        "$ relion_refine --gpu 0",
        " Thread 0 mapped to device 0",
        " Running CPU instructions in double precision.",
    ]
    assert explain("relion_refine", 0, lines).kind == "none"


def test_an_error_that_relion_got_over_by_itself_is_not_the_cause() -> None:
    mended = "WARNING: Exception (ERROR: \nNo orientation was found as better than any other.\n\nA particle\n"
    mended += " ) handled by switching to fail-safe mode."
    assert explain("relion_refine", 0, mended.split("\n")).kind == "none"
    assert "segmentation" in explain("relion_refine", 139, mended.split("\n")).cause


def test_an_unknown_fault_is_reported_in_relions_own_words() -> None:
    found = explain(
        "relion_refine",
        1,
        ["in: src/a.cpp, line 3", "ERROR: ", "ERROR: the moon is full", "=== Backtrace  ==="],
    )
    told = "the moon is full. relion_refine said so (a.cpp, line 3)."
    assert (found.cause, found.known, found.retry) == (told, False, None)
    assert "search" in found.cure
    assert "last words were: a | b | c" in explain("relion_refine", 3, ["0", "a", "b", "c"]).cause
    assert "said nothing" in explain("relion_refine", 3, []).cause


RANK = [
    "in: /opt/relion/src/ml_optimiser.cpp, line 8130",
    "ERROR: ",
    "the moon is full",
    "=== Backtrace  ===",
]
READING = " Running CPU instructions in double precision."
NOISE = [
    "terminate called after throwing an instance of 'RelionError'",
    "*** Error in `relion_refine_mpi': double free or corruption (!prev): 0x01 ***",
    "[gpu5:137016] Signal: Segmentation fault (11)",
    ABORT.split("\n")[0],
    "mpirun noticed that process rank 2 with PID 0 on node a exited on signal 9 (Killed).",
    "slurmstepd: error: *** STEP 71.0 ON n5 CANCELLED AT 2026-11-22T10:00:00 ***",
    "[n1][[1,1],2][btl_tcp_frag.c:241] mca_btl_tcp_frag_recv: readv failed: Connection timed out (110)",
]


@pytest.mark.parametrize(
    ("before", "phase"),
    [
        ([], ""),
        ([READING], " while it read its inputs"),
        (
            [READING, " Estimating initial noise spectra from at most 10 particles "],
            " while it estimated the noise",
        ),
        ([READING, " Expectation iteration 3 of 25"], " while it did the expectation of iteration 3 of 25"),
        (
            [" Expectation iteration 3 of 25", " Maximization..."],
            " while it did the maximisation of iteration 3 of 25",
        ),
        ([" + Initialising:", " + Tomogram 2 / 7: "], " while it worked on tomogram 2 / 7"),
        ([" + Tomogram 7 / 7: ", " + Writing output data"], " while it wrote its results"),
    ],
)
def test_a_sentence_that_no_table_knows_is_reported_with_program_and_phase(
    before: list[str], phase: str
) -> None:
    found = explain("relion_refine_mpi", 1, [*before, *RANK])
    assert found.cause.startswith(f"the moon is full. relion_refine_mpi said so{phase}")
    assert found.cause.endswith("(ml_optimiser.cpp, line 8130).")
    assert found.kind == "unknown"


@pytest.mark.parametrize(
    "status", [1, 134, 137, 139, 143, -6, -9, -11, -15]
)  # srun gives that of the ranks it ended
@pytest.mark.parametrize("noise", NOISE)
def test_a_symptom_never_hides_what_relion_said(noise: str, status: int) -> None:
    alone = explain("relion_refine_mpi", 1, RANK)
    assert explain("relion_refine_mpi", status, [*RANK, noise]) == alone
    assert explain("relion_refine_mpi", status, [*RANK, *NOISE]) == alone
    assert explain("relion_refine_mpi", status, [*RANK[:-1], noise]) == alone  # built without backtraces
    assert (
        "the moon is full" in explain("relion_refine_mpi", status, ["ERROR: the moon is full", noise]).cause
    )


def test_the_first_sentence_is_the_cause_and_later_ones_came_of_it() -> None:
    later = ["ERROR:", "Cannot read file a.mrc It does not exist"]
    assert "the moon" in explain("relion_refine_mpi", 1, [*RANK, *later]).cause
    assert "a.mrc" in explain("relion_refine_mpi", 1, [*later, *RANK]).cause


def test_a_reference_that_is_no_number_is_not_taken_for_a_crash() -> None:
    said = [" part_id= 17", "in: src/ml_optimiser.cpp, line 8131", "ERROR: "]
    said += [
        "ERROR: zero non-zero weights were encountered...",
        "=== Backtrace  ===",
        "corrupted size vs. prev_size",
    ]
    found = explain("relion_refine_mpi", 134, said)
    assert re.search("particle 17 .*nan", found.cause)
    assert found.retry is None


def test_what_says_only_that_something_broke_is_looked_past() -> None:
    mpi = [
        "  1: MPI_ERR_PROC_FAILED",
        "ERROR: ",
        "Encountered an MPI-related error, see above. Now exiting...",
    ]
    assert "could not reach another" in explain("relion_refine_mpi", 1, mpi).cause
    assert (
        "nan"
        in explain("relion_refine_mpi", 1, [*mpi, "ERROR: ", "zero non-zero weights were encountered"]).cause
    )
    assert "memory" in explain("relion_refine_mpi", 1, [*mpi, NOISE[-3]]).cause


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (
            "the provided PTX was compiled with an unsupported toolchain. in a.cpp at line 209 (error-code 222)",
            "driver is older",
        ),
        (
            "CUDA driver version is insufficient for CUDA runtime version in a.cpp at line 1 (error-code 35)",
            "driver is older",
        ),
        (
            "all CUDA-capable devices are busy or unavailable in a.cu at line 1 (error-code 46)",
            "taken by another",
        ),
        ("invalid device function in a.cu at line 1 (error-code 98)", "not built for the kind"),
        (
            "no kernel image is available for execution on the device in a.cu at line 1 (error-code 209)",
            "not built for the kind",
        ),
        ("system not yet initialized in a.cu at line 1 (error-code 802)", "does not answer"),
        ("the launch timed out and was terminated in a.cu at line 1 (error-code 702)", "too long"),
        ("uncorrectable ECC error encountered in a.cu at line 1 (error-code 214)", "hardware failed"),
        ("too many resources requested for launch in a.cu at line 1 (error-code 701)", "more at once"),
        ("the moon is full in a.cu at line 1 (error-code 12345)", "software says: the moon is full"),
    ],
)
@pytest.mark.parametrize("said", ["ERROR: ", "KERNEL_ERROR: "])
def test_cudas_own_words_are_the_cause_and_not_that_a_function_failed(
    said: str, words: str, cause: str
) -> None:
    found = explain("relion_refine_mpi", 1, [said + words, *CUDA_TAIL.split("\n")])
    assert re.search(cause, found.cause), found.cause
    assert found.known


@pytest.mark.parametrize(
    ("sentence", "cause", "cure"),
    [
        (
            "Invalid Spider file:  1@set1/tilt_series/TS_01.ali",
            "set1/tilt_series/TS_01.ali .*SPIDER",
            "[.]mrcs",
        ),
        (
            "Image::read ERROR: stacks of images in MRC-format should have extension .mrcs",
            "ends in .mrc;",
            "[.]mrcs",
        ),
        (
            "Label rlnTomoYTilt not present in TS_01",
            "table TS_01 of a STAR file lacks the column rlnTomoYTilt",
            "import",
        ),
        (
            "readMRC: Image number 40 exceeds stack size 39 of image 40@set1/ts/TS_01.mrcs",
            "stack set1/ts/TS_01.mrcs holds 39 images",
            "rlnMicrographName",
        ),
        (
            "readMRC: Image number 40 exceeds stack size 39 of image 40@e/TS_01/7_stack2d.mrcs",
            "particle's stack e/TS_01/7_stack2d.mrcs holds 39 images",
            "Extract the particles again",
        ),
        ("prior on psi is zero!", "rounded to 0", "continues from its last"),
        (
            "could not read data from t/TS_1.star. Does the table have the correct name: data_TS_1?",
            "data_TS_1,",
            "data_TS_1",
        ),
        (
            "NewStackHelper::writeAsStack: unable to write o/1.mrcs - empty stack.",
            "o/1.mrcs is seen in no tilt",
            "max_dose",
        ),
        (
            "ReferenceMap: r/post.star does not contain a value for rlnFourierShellCorrelationTrue",
            "r/post.star lacks",
            "mask",
        ),
        (
            "Reference map is too big: 400 pixels instead of 384",
            "box of 400 px, more than the box of 384",
            "estimation_box",
        ),
        ("ZIO::makeOutputDir: unable to create directory: o/", "folder o/ could not be made", "quota"),
        (
            "No tomograms file was found in the optimisation-set file o/o.star nor specified",
            "o/o.star names no tom",
            "inputs",
        ),
        ("ERROR: cannot execute: rm -rf /scratch/relion_volatile/", "rm -rf /scratch", "engine: {scratch"),
        (
            "x: bad trajectory lengths; expected 41 frames, found 39",
            "have 39 tilts, but the tilt series has 41",
            "none",
        ),
    ],
)
def test_a_check_of_relions_gets_its_own_cause_and_cure(sentence: str, cause: str, cure: str) -> None:
    found = explain("relion_refine", 1, ["in: src/a.cpp, line 3", "ERROR: ", sentence, "=== Backtrace  ==="])
    assert re.search(cause, found.cause), found.cause
    assert re.search(cure, found.cure), found.cure


def test_a_warning_of_a_healthy_run_is_not_why_a_program_failed_long_after() -> None:
    gs = "sh: 1: gs: not found"
    assert "Ghostscript" in explain("relion_postprocess", 1, ["a", gs]).cause
    assert "said nothing" not in explain("relion_postprocess", 1, [gs, *"abcdefgh"]).cause
    assert explain("relion_postprocess", 1, [gs, *"abcdefgh"]).kind == "unknown"


def test_an_exception_that_nothing_caught_is_reported_in_its_own_words() -> None:
    said = [
        "terminate called after throwing an instance of 'std::length_error'",
        "  what():  vector::_M_default_append",
    ]
    found = explain("relion_refine", 134, [" Expectation iteration 3 of 25", *said, "Signal: Aborted (6)"])
    assert found.cause.startswith(
        "vector::_M_default_append. relion_refine said so while it did the expectation of it"
    )
    assert explain("relion_refine", 134, [*RANK, *said]).cause.startswith("the moon is full")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "slurmstepd: error: execve(): relion_refine_mpi: No such file or directory",
            "relion_refine_mpi is not there",
        ),
        ("Host key verification failed.", "on another node"),
        ("libgomp: Thread creation failed: Resource temporarily unavailable", "limit of processes"),
        (
            "srun: error: Unable to create step for job 7: More processors requested than permitted",
            "SLURM refused",
        ),
        ("Bind to: CORE would result in binding more processes than cpus on a resource", "bind more ranks"),
        ("=   KILLED BY SIGNAL: 9 (Killed)", "killed from outside"),
        ("=   EXIT CODE: 139", "segmentation fault"),
        ("[n1:1] *** An error occurred in MPI_Bcast", "could not reach another"),
    ],
)
def test_what_mpi_and_the_batch_system_say_is_explained(said: str, cause: str) -> None:
    found = explain("relion_refine_mpi", 1, ["a", said])
    assert cause in found.cause


def test_a_very_long_log_is_searched_in_no_time() -> None:
    lines = [
        f" CurrentResolution= {number} Angstroms, and more words of a usual line" for number in range(50_000)
    ]
    before = time.process_time()
    assert explain("relion_refine", 1, lines).kind == "unknown"
    assert "the moon is full" in explain("relion_refine", 1, [*lines, *RANK]).cause
    assert "killed" in explain("relion_refine", 1, [*lines, "Killed"]).cause
    assert time.process_time() - before < 5


def test_no_particles_is_a_fault_although_relion_exits_0() -> None:
    said = ["The input STAR file a/b.star does not contain any particles! Exiting..."]
    found = explain("relion_refine", 0, said)
    assert (found.kind, "no particle in a/b.star" in found.cause) == ("fault", True)


def test_the_sentences_of_every_fault_can_be_filled() -> None:
    for fault in TABLES:
        groups = {name.rstrip(string.digits) for name in re.compile(fault.sign + fault.detail).groupindex}
        fields = {
            name
            for text in (fault.cause, fault.cure)
            for _, name, _, _ in string.Formatter().parse(text)
            if name
        }
        assert fields <= groups | {"where", "program"}, fault.cause
        if fault.signal:
            assert fields <= {"where", "program"}, fault.cause
        assert fault.cause.endswith(".")
        assert fault.cure.endswith(".")
        assert fault.retry in (None, "continue", "combine_via_disc", "fewer_threads")


def test_memory_corruption_links_to_the_thread_where_it_is_known() -> None:
    assert explain("relion_refine_mpi", -6, ["corrupted size vs. prev_size"]).link.endswith(
        "3dem/relion/issues/1308"
    )


WORDS = sorted({word for _, log, _, _ in OTHERS for word in re.split(r"(\s)", log)})


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["", "relion_refine_mpi", "relion_tomo_subtomo", "{x}"]),
    st.one_of(st.none(), st.integers(-70, 300)),
    st.lists(
        st.one_of(
            st.text(), st.lists(st.sampled_from(WORDS)).map("".join), st.sampled_from([o[1] for o in OTHERS])
        )
    ),
)
def test_any_lines_get_an_answer(program: str, status: int | None, lines: list[str]) -> None:
    found = explain(program, status, lines)
    assert found.cause
    assert found.cure
    assert not re.search(r"\{\w*\}", str(found).replace(program, "") if "{" not in "".join(lines) else "")


# -- the command line


def run(capsys, *arguments: object) -> tuple[int, str]:
    status = cli.main(["diagnose", *map(str, arguments)])
    out = capsys.readouterr()
    return status, out.out + out.err


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes_as_a_log_get_a_sentence(tmp_path_factory, text: bytes) -> None:
    log = tmp_path_factory.mktemp("log") / "run.out"
    log.write_bytes(text)
    assert cli.main(["diagnose", str(log)]) in (0, 1, 2)


def test_the_command_tells_cause_cure_link_and_the_last_clean_lines(capsys) -> None:
    status, out = run(capsys, FAILURES / "zero_sum_of_weights" / "log")
    assert status == 0
    assert out.startswith("Cause: No orientation fits particle 272")
    assert "\nCure: Search" in out
    assert "\nKnown: https://github.com/3dem/relion/issues/991\n" in out
    assert out.endswith("  ERROR!!! zero sum of weights....\n")


def test_a_failure_without_explanation_is_exit_status_1(capsys, tmp_path) -> None:
    log = tmp_path / "x.log"
    log.write_text("ERROR: the moon is full\n")
    assert run(capsys, log)[0] == 1


def test_a_job_folder_gives_log_program_and_exit_status(capsys, tmp_path) -> None:
    (tmp_path / "run.out").write_text(
        "# 2026-11-22T10:00:00+0000 $ mpirun -n 3 relion_refine_mpi --o x\n 1/ 2 sec\r"
    )
    record = {"command": "relion_refine_mpi --o x", "runs": [{"exit_status": 1}, {"exit_status": -11}]}
    (tmp_path / "job.json").write_text(json.dumps(record))
    for log in (tmp_path, tmp_path / "run.out"):
        status, out = run(capsys, log)
        assert status == 0
        assert "relion_refine_mpi crashed (segmentation fault)" in out
    assert "killed from outside" in run(capsys, tmp_path, "--exit-code", 137)[1]
    (tmp_path / "run.out").unlink()
    assert "relion_refine_mpi crashed" in run(capsys, tmp_path)[1]


def test_only_the_last_start_of_a_program_counts(capsys, tmp_path) -> None:
    log = tmp_path / "align.log"
    first = "$ relion_refine --o x\nERROR:\nNo space left on device\n"
    log.write_text(
        first + "$ relion_refine --o x --continue y\nERROR:\nCannot read file a.mrc It does not exist\n"
    )
    assert "The map a.mrc (reference or mask) does not exist" in run(capsys, log)[1]


def test_progress_bars_and_terminal_codes_are_not_shown(capsys, tmp_path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(
        b'  3/  8 sec ....~~(,_,">o]\r  8/  8 sec ....~~(,_,">\r\x1b[31mred\x1b[0m\x07\n\x00\xff\n'
    )
    out = run(capsys, log, "--exit-code", 5)[1]
    assert "~~(" not in out
    assert "\x1b" not in out
    assert "  red\n" in out


def test_a_huge_log_is_read_from_its_end(capsys, tmp_path) -> None:
    log = tmp_path / "x.log"
    with open(log, "wb") as file:
        file.truncate(100_000_000)  # sparse: zeros, as a file server leaves them
        file.seek(0, 2)
        file.write(b"ok so far\n" * 200_000 + b"ERROR:\nCan not close image file \n")
    assert "could not be written to the end" in run(capsys, log)[1]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "not a job's folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(bytes(range(256)) * 100), "binary"),
    ],
)
def test_a_log_that_cannot_be_used_is_reported_in_a_sentence(capsys, tmp_path, make, sentence: str) -> None:
    make(tmp_path / "x.log")
    status, out = run(capsys, tmp_path / "x.log")
    assert status == 2
    assert sentence in out


def test_standard_input_is_a_log_too(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"ERROR:\nstd::bad_alloc\n")))
    assert "ran out of memory" in run(capsys, "-")[1]


def test_a_job_record_that_was_cut_short_is_not_needed(capsys, tmp_path) -> None:
    (tmp_path / "run.out").write_text("Bus error\n")
    for record in ('{"runs": [', "[]", '{"runs": []}', '{"exit_status": "x"}'):
        (tmp_path / "job.json").write_text(record)
        assert "bus error" in run(capsys, tmp_path)[1]


@pytest.mark.parametrize("arguments", [[], ["diagnose"], ["diagnose", "x", "--exit-code", "y"], ["heal"]])
def test_a_wrong_command_line_is_exit_status_2(arguments: list[str]) -> None:
    assert cli.main(arguments) == 2
