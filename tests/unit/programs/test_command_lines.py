"""The command lines are the tutorial's, and only ever hold flags that RELION 5 knows."""

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacycle.errors import UserError
from stacycle.programs import (
    align,
    flex_analyse,
    local_resolution,
    mask_create,
    mpi,
    multibody,
    postprocess,
    reconstruct_particle,
    refine,
    refine_ctf,
    subtomo,
)
from stacycle.programs.command import Command
from stacycle.recipe import geometry

HERE = Path(__file__).parents[1]


def commands(path):
    """Name -> command of a file of the tutorial's jobs."""
    lines = (HERE.parent / path).read_text().splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


CYCLE = commands("workflow/data/cycle_commands.txt")
TUTORIAL = commands("unit/data/tutorial_commands.txt") | {
    step: CYCLE[step] for step in ("reference", "ctfrefine", "polish")
}
CLI = json.loads((HERE.parent / "golden" / "cli.json").read_text())

PIXEL = 1.91 * 4
BOX = geometry.box(350, PIXEL)
MASK_DIAMETER = geometry.mask_diameter(BOX, PIXEL)
LIMIT = geometry.estep_limit(PIXEL)
RUN = {"symmetry": "C1", "pool": 10, "threads": "N", "scratch": "$TMPDIR"}
CLASS3D = {"iterations": 25, "mask_diameter": MASK_DIAMETER, "highres_limit": LIMIT, "T": 1}

COMMANDS = {
    "extract": subtomo.argv(
        particles="particles_fuse_AreT.star",
        tomograms="tomograms_fuse_AreT.star",
        out="Extract/job006",
        box=BOX,
        binning=4,
        threads="N",
    ),
    "reconstruct": reconstruct_particle.argv(
        state="Extract/job003/optimisation_set.star",
        out="Reconstruct/job005/",
        box=BOX,
        binning=4,
        symmetry="C1",
        threads="N",
    ),
    "align": refine.align(
        state="Extract/job006/optimisation_set.star",
        reference="Reconstruct/job005/merged.mrc",
        out="Class3D/job009/run",
        lowpass=50,
        sampling=7.5,
        local_range=4,
        offset_range=2,
        offset_step=1,
        gpu="",
        **CLASS3D,
        **RUN,
    ),
    "class3d": refine.class3d(
        state="Class3D/job009/run_it020_optimisation_set.star",
        reference="Class3D/job009/run_it020_class001.mrc",
        out="Class3D/job011/run",
        classes=6,
        lowpass=geometry.initial_lowpass(21.075862),
        **CLASS3D,
        **RUN,
    ),
    "mask": mask_create.argv(
        map="Class3D/job011/run_it019_class003.mrc",
        out="MaskCreate/job010/mask.mrc",
        lowpass=geometry.mask_lowpass(24.448),
        threshold=0.00294,
        extend=3,
        soft_edge=3,
        threads="N",
    ),
    "refine3d": refine.refine3d(
        particles="Select/job014/particles.star",
        tomograms="tomograms_1n2.star",
        reference="Class3D/job011/run_it019_class003.mrc",
        mask="MaskCreate/job010/mask.mrc",
        out="Refine3D/job017/run",
        lowpass=geometry.initial_lowpass(24.448),
        mask_diameter=MASK_DIAMETER,
        sampling=7.5,
        local_sampling=7.5,
        offset_range=2,
        offset_step=1,
        gpu="",
        **RUN,
    ),
    "reference": reconstruct_particle.argv(
        state="Refine3D/job017/run_optimisation_set.star",
        out="Reconstruct/job020",
        box=geometry.bin1_box(BOX, 4),
        binning=1,
        symmetry="C1",
        threads="N",
    ),
    "ctfrefine": refine_ctf.argv(
        state="Refine3D/job017/run_optimisation_set.star",
        half_maps=["Reconstruct/job020/half1.mrc", "Reconstruct/job020/half2.mrc"],
        mask="MaskCreate/job021/mask.mrc",
        postprocess="PostProcess/job022/postprocess.star",
        out="CtfRefine/job024",
        box=geometry.estimation_box(geometry.bin1_box(BOX, 4)),
        defocus=True,
        search_range=4000,
        regularisation=0.1,
        scale="tilt",
        threads="N",
    ),
    "polish": align.argv(
        state="CtfRefine/job024/optimisation_set.star",
        half_maps=["Reconstruct/job028/half1.mrc", "Reconstruct/job028/half2.mrc"],
        mask="MaskCreate/job021/mask.mrc",
        postprocess="PostProcess/job031/postprocess.star",
        out="Polish/job",
        box=geometry.estimation_box(geometry.bin1_box(BOX, 4)),
        max_error=5,
        shift_only=False,
        motion=True,
        sigma_velocity=0.2,
        sigma_divergence=5000,
        gaussian_decay=False,
        threads="N",
    ),
    "postprocess": postprocess.argv(
        half_map="Refine3D/job017/run_half1_class001_unfil.mrc",
        mask="MaskCreate/job010/mask.mrc",
        out="PostProcess/job019/postprocess",
        bfactor=-200,
    ),
}


@pytest.mark.parametrize("step", TUTORIAL)
def test_a_step_runs_the_tutorials_command_flag_by_flag_in_its_order(step):
    expected = shlex.split(TUTORIAL[step])
    if expected[0] == "mpirun":
        assert mpi.with_mpi(COMMANDS[step], 3) == ["mpirun", "-n", "3", *expected[3:]]
    else:
        assert COMMANDS[step] == expected


# Of a run that goes on: --help does not list them, but the source declares them.
CONTINUED = {
    "--continue": {"kind": "value"},
    "--multibody_masks": {"kind": "value"},
    "--reconstruct_subtracted_bodies": {"kind": "switch"},
}


def check_flags(argv):
    """Every flag is known to the program, and has a value exactly if the program wants one."""
    unlisted = Command.of(argv).record.unlisted_flags
    flags = CLI[argv[0]] | {flag: CONTINUED[flag] for flag in unlisted}
    rest = argv[1:]
    seen = set()
    while rest:
        flag, *rest = rest
        assert flag in flags, f"{argv[0]} does not know {flag}"
        assert flag not in seen, f"{flag} stands there twice"
        seen.add(flag)
        kind = flags[flag]["kind"]
        if kind != "switch":
            assert rest, f"{flag} has no value"
            assert rest[0] or kind == "optional_value", (
                f"{flag} has an empty value, which the shell would lose"
            )
            rest = rest[1:]


FILE = st.sampled_from(["a.star", "my data/b.star"])
NO_FILE = st.none() | FILE
LENGTH = st.floats(1, 1000) | st.integers(1, 1000)
COUNT = st.integers(1, 500)
BOOL = st.booleans()
SAMPLING = st.sampled_from(geometry.SAMPLINGS)
SEED = st.none() | st.integers(0, 2**31)
COMPUTING = {"pool": COUNT, "threads": COUNT, "scratch": st.sampled_from([None, "", "/scratch/a b"])}
GPU = st.sampled_from([None, "", "0:1"])
SYMMETRY = st.sampled_from(["C1", "D7", "O"])
REFINE = {
    "reference": FILE,
    "mask": NO_FILE,
    "out": FILE,
    "lowpass": LENGTH,
    "mask_diameter": LENGTH,
    "symmetry": SYMMETRY,
    "absolute_greyscale": BOOL,
    "ctf_intact_first_peak": BOOL,
    "blush": BOOL,
    "seed": SEED,
    **COMPUTING,
}
CLASSIFY = {
    **REFINE,
    "state": FILE,
    "T": LENGTH,
    "classes": COUNT,
    "iterations": COUNT,
    "highres_limit": st.none() | LENGTH,
}
OFFSETS = {"offset_range": LENGTH, "offset_step": LENGTH}
AGAINST = {
    "state": FILE,
    "half_maps": st.just(["half1.mrc", "half2.mrc"]),
    "mask": FILE,
    "postprocess": FILE,
    "out": FILE,
    "box": COUNT,
    "threads": COUNT,
}
POSSIBLE = {
    subtomo.argv: {
        "particles": FILE,
        "tomograms": FILE,
        "trajectories": NO_FILE,
        "out": FILE,
        "box": COUNT,
        "binning": COUNT,
        "crop": st.none() | COUNT,
        "max_dose": st.none() | LENGTH,
        "min_frames": COUNT,
        "float16": BOOL,
        "stack2d": BOOL,
        "threads": COUNT,
    },
    reconstruct_particle.argv: {
        "state": FILE,
        "out": FILE,
        "box": COUNT,
        "binning": COUNT,
        "symmetry": SYMMETRY,
        "snr": st.floats(0, 10),
        "threads": COUNT,
    },
    refine.align: {
        **CLASSIFY,
        **OFFSETS,
        "sampling": SAMPLING,
        "local_range": st.none() | LENGTH,
        "gpu": GPU,
    },
    refine.class3d: CLASSIFY,
    refine.initial_model: {
        **OFFSETS,
        **COMPUTING,
        "state": FILE,
        "out": FILE,
        "iterations": COUNT,
        "T": LENGTH,
        "sampling": SAMPLING,
        "mask_diameter": LENGTH,
        "seed": COUNT,
        "gpu": GPU,
    },
    mask_create.argv: {
        "map": FILE,
        "out": FILE,
        "lowpass": LENGTH,
        "threshold": st.floats(-1, 1),
        "extend": COUNT,
        "soft_edge": COUNT,
        "threads": COUNT,
    },
    refine.refine3d: {
        **REFINE,
        **OFFSETS,
        "particles": FILE,
        "tomograms": FILE,
        "trajectories": NO_FILE,
        "sampling": SAMPLING,
        "local_sampling": SAMPLING,
        "solvent_correct_fsc": BOOL,
        "finer_faster": BOOL,
        "join_halves": LENGTH,
        "gpu": GPU,
    },
    refine_ctf.argv: {
        **AGAINST,
        "defocus": BOOL,
        "search_range": LENGTH,
        "regularisation": st.none() | LENGTH,
        "scale": st.sampled_from(list(refine_ctf.SCALES)),
    },
    align.argv: {
        **AGAINST,
        "max_error": LENGTH,
        "shift_only": BOOL,
        "motion": BOOL,
        "sigma_velocity": LENGTH,
        "sigma_divergence": LENGTH,
        "gaussian_decay": BOOL,
    },
    postprocess.argv: {
        "half_map": FILE,
        "mask": NO_FILE,
        "out": FILE,
        "bfactor": st.none() | st.floats(-1000, 0),
        "autob_lowres": LENGTH,
        "skip_fsc_weighting": BOOL,
        "random_from": st.none() | LENGTH,
    },
    local_resolution.argv: {
        "half_map": FILE,
        "mask": NO_FILE,
        "out": FILE,
        "bfactor": st.floats(-1000, 0),
        **dict.fromkeys(("sampling", "mask_radius", "edge_width", "randomise_at", "coarsest"), LENGTH),
    },
    multibody.argv: {
        **OFFSETS,
        **COMPUTING,
        "optimiser": FILE,
        "bodies": FILE,
        "out": FILE,
        "sampling": SAMPLING.filter(lambda degrees: degrees < 30),
        "subtract": BOOL,
        "gpu": GPU,
    },
    flex_analyse.argv: {"model": FILE, "data": FILE, "bodies": FILE, "out": FILE, "components": COUNT},
}


@pytest.mark.parametrize("builder", POSSIBLE, ids=lambda builder: f"{builder.__module__}.{builder.__name__}")
@settings(deadline=None)
@given(data=st.data())
def test_no_combination_of_settings_gives_a_flag_that_relion_would_ignore(builder, data):
    argv = builder(**data.draw(st.fixed_dictionaries(POSSIBLE[builder])))
    assert all(isinstance(item, str) for item in argv)
    check_flags(argv)
    on_ranks = mpi.with_mpi(argv, 4)[3:]
    if on_ranks[0] in CLI:
        check_flags(on_ranks)


def test_what_is_switched_off_leaves_no_flag_behind():
    argv = refine.class3d(
        state="a", reference="b", out="c", lowpass=20, classes=2, **CLASS3D, **{**RUN, "scratch": ""}
    )
    assert "--scratch_dir" not in argv, "an empty value would swallow the next flag"
    assert "--gpu" not in argv, "RELION refuses a GPU without alignment"
    common = {
        "reference": "c",
        "out": "d",
        "lowpass": 20,
        "mask_diameter": 100,
        "sampling": 7.5,
        "local_sampling": 7.5,
    }
    argv = refine.refine3d(
        particles="a", tomograms="b", offset_range=2, offset_step=1, gpu=None, **common, **RUN, mask=None
    )
    assert "--solvent_correct_fsc" not in argv, "there is no mask to correct for"
    assert "--gpu" not in argv


def test_an_initial_model_is_made_by_the_command_of_the_gui():
    argv = refine.initial_model(
        state="Extract/job006/optimisation_set.star",
        out="InitialModel/job007/run",
        iterations=200,
        T=4,
        sampling=15,
        offset_range=6,
        offset_step=1,
        mask_diameter=330,
        seed=1,
        pool=3,
        threads=1,
        gpu="",
        scratch=None,
    )
    gui = (
        "relion_refine --o InitialModel/job007/run --iter 200 --grad --denovo_3dref "
        "--ios Extract/job006/optimisation_set.star --ctf --K 1 --sym C1 --flatten_solvent --zero_mask "
        "--dont_combine_weights_via_disc --pool 3 --pad 1 --particle_diameter 330 --oversampling 1 --healpix_order 1 "
        "--offset_range 6 --offset_step 2 --auto_sampling --tau2_fudge 4 --j 1"
    )
    ours = " ".join(argv).replace(" --random_seed 1", "").replace(" --gpu ", " ").rstrip()
    assert ours.removesuffix(" --gpu") == gui


def test_a_variant_of_the_cycle_has_just_the_flags_of_what_it_does():
    ctf = {
        "state": "s",
        "half_maps": ["1", "2"],
        "mask": "m",
        "postprocess": "p",
        "out": "o",
        "box": 96,
        "threads": 1,
    }
    scale = refine_ctf.argv(**ctf, defocus=False, search_range=4000, regularisation=0.1, scale="tilt")
    assert not {"--do_defocus", "--do_reg_defocus", "--lambda"} & set(scale)
    motion = {"motion": True, "sigma_velocity": 0.2, "sigma_divergence": 5000, "gaussian_decay": True}
    shifts = align.argv(**ctf, max_error=5, shift_only=True, **motion)
    assert "--shift_only" in shifts
    assert not {"--motion", "--s_vel", "--sq_exp_ker"} & set(shifts)


def test_large_seeds_are_not_rounded():
    argv = refine.class3d(state="a", reference="b", out="c", lowpass=20, seed=123456789, **CLASS3D, **RUN)
    assert argv[argv.index("--random_seed") + 1] == "123456789"


def test_mpi_puts_the_launcher_before_the_mpi_build_of_the_program():
    assert mpi.with_mpi(["relion_refine", "--o", "x"], 1) == ["relion_refine", "--o", "x"]
    assert mpi.with_mpi(["relion_refine", "--o", "x"], 2, "srun --mpi=pmix") == [
        *["srun", "--mpi=pmix", "-n", "2", "relion_refine_mpi", "--o", "x"]
    ]


def test_refinement_of_two_halves_wants_three_ranks():
    with pytest.raises(UserError, match="at least 3 MPI ranks but was given 2"):
        mpi.with_mpi(COMMANDS["refine3d"], 2)
