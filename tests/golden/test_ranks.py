"""The embedded engine's programs on several MPI ranks: the results of one process, as RELION's have them.

RELION 5.0.1 on two ranks: stacks, CTF refinement and polishing identical, averages to 1e-7 (its own output).
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staengine.tilt_series.star import read_star

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "data"
REFERENCE = ["--ref1", "half1.mrc", "--ref2", "half2.mrc", "--mask", "mask.mrc"]
REFERENCE += ["--fsc", "cycle/ctf_post/postprocess.star", "--b", "96"]
STATE = ["--i", "cycle/ctf/optimisation_set.star"]
CLASSES = [
    *("--ios", "refine/run_optimisation_set.star", "--ref", "refine/run_class001.mrc", "--firstiter_cc"),
    *("--trust_ref_size", "--ini_high", "60", "--ctf", "--iter", "3", "--tau2_fudge", "2", "--K", "2"),
    *("--particle_diameter", "330", "--flatten_solvent", "--zero_mask", "--norm", "--scale", "--sym", "C1"),
    *("--skip_align", "--random_seed", "1", "--pad", "2"),
]
COMMANDS = {
    "relion_tomo_subtomo": [
        *("--p", "input/particles.star", "--t", "input/tomograms.star", "--b", "24", "--bin", "4", "--float16"),
        *("--stack2d", "--o", "OUT/"),
    ],
    "relion_tomo_reconstruct_particle": [*STATE, "--b", "24", "--bin", "4", "--o", "OUT/"],
    "relion_tomo_refine_ctf": [*STATE, *REFERENCE, "--do_defocus", "--do_scale", "--per_frame_scale", "--o", "OUT/"],
    "relion_tomo_align": [*STATE, *REFERENCE, "--r", "5", "--motion", "--s_vel", "0.2", "--o", "OUT/"],
    "relion_refine": [*CLASSES, "--o", "OUT/run"],
    "relion_postprocess": [
        *("--locres", "--i", "refine/run_half1_class001_unfil.mrc", "--o", "OUT/relion", "--angpix", "20"),
        *("--locres_sampling", "60", "--locres_randomize_at", "100", "--locres_minres", "200"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the golden input, and unbinned half maps and a mask in it."""
    return with_references(tmp_path_factory.mktemp("ranks"))


def with_references(folder):
    """The folder, with the golden input in it, unbinned half maps and a mask."""
    for name in ("input", "refine", "cycle", "extract", "mask"):
        (folder / name).symlink_to(GOLDEN / name)
    average = ["relion_tomo_reconstruct_particle", *STATE, "--b", "96", "--j", "2", "--o", "./"]
    mask = "--lowpass 30 --ini_threshold 3.1 --extend_inimask 4 --width_soft_edge 6"
    for words in (average, ["relion_mask_create", "--i", "merged.mrc", "--o", "mask.mrc", *mask.split()]):
        subprocess.run([sys.executable, "-m", "staengine", *words], cwd=folder, check=True)
    return folder


def start(folder, program, out, *before, **environment):
    """A program that writes to a folder, started there."""
    (folder / out).mkdir(exist_ok=True)
    words = [word.replace("OUT", out) for word in COMMANDS[program.removesuffix("_mpi")]]
    threads = [] if "postprocess" in program else ["--j", "1"]
    command = [sys.executable, "-m", "staengine", *before, program, *words, *threads]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def launched(folder, program, out, size):
    """As srun starts ranks: processes that know their numbers by the environment alone."""
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(size)}
    return [start(folder, program, out, **step, SLURM_PROCID=str(rank)) for rank in range(size)]


@pytest.mark.parametrize("program", COMMANDS)
def test_ranks_make_what_one_process_makes(project, program):
    name = program.removeprefix("relion_")
    processes = [
        start(project, program, f"{name}_1"),
        start(project, f"{program}_mpi", f"{name}_2", "--ranks", "2"),
        *launched(project, f"{program}_mpi", f"{name}_3", 3),
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, said
    assert said[3:] == ["", ""]  # as in RELION, only the leader speaks
    one, *others = (project / f"{name}_{number}" for number in (1, 2, 3))
    files = sorted(
        path.relative_to(one) for path in one.rglob("*") if "temp" not in path.parts and path.is_file()
    )
    assert files
    for other in others:
        for file in files:
            same(one / file, other / file, exactly=program not in ("relion_refine",))


def same(one: Path, other: Path, exactly: bool) -> None:
    """The same tables, but for the names of folders and the curves that only a leader has; the same maps to 1e-6."""
    if one.suffix in (".mrc", ".mrcs"):
        mine, theirs = mrcfile.read(one).astype(float), mrcfile.read(other).astype(float)
        assert np.abs(mine - theirs).max() <= 1e-6 * np.abs(mine).max(), one
    elif one.suffix == ".star" and not one.name.endswith(("_fscs.star", "optimiser.star")):
        mine, theirs = read_star(one), read_star(other)
        assert mine.keys() == theirs.keys()
        for table in mine:
            if hasattr(mine[table], "select_dtypes"):
                a, b = (tables[table].select_dtypes("number").to_numpy(float) for tables in (mine, theirs))
                np.testing.assert_allclose(a, b, rtol=0 if exactly else 1e-4, atol=0 if exactly else 1e-4)


def test_the_error_of_a_rank_is_said_once(project):
    broken = project / "broken"
    broken.mkdir()
    for file in ("particles.star", "tomograms.star"):
        (broken / file).write_text((GOLDEN / "input" / file).read_text())
    tomograms = (broken / "tomograms.star").read_text()
    series = (project / "input/tilt_series/TS_02.star").read_text()
    (broken / "TS_02.star").write_text(series.replace(".mrc", "_gone.mrc"))
    (broken / "tomograms.star").write_text(
        tomograms.replace("input/tilt_series/TS_02.star", "broken/TS_02.star")
    )
    words = ["--p", "broken/particles.star", "--t", "broken/tomograms.star", "--b", "24", "--bin", "4"]
    command = [sys.executable, "-m", "staengine", "--ranks", "2", "relion_tomo_subtomo_mpi", *words]
    command += ["--stack2d", "--o", "broken/out/"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("ERROR") == 1
    assert "_gone.mrc" in done.stderr


def test_all_ranks_end_when_one_is_killed(project):
    processes = launched(project, "relion_tomo_align_mpi", "killed", 2)
    while "Tomogram 1 / 1" not in processes[0].stdout.readline():  # when they have met, and work
        assert processes[0].poll() is None
    processes[1].send_signal(signal.SIGKILL)
    said, _ = processes[0].communicate(timeout=120)
    assert processes[0].returncode == 1
    assert "rank 1 has ended before its work was done" in said


def test_a_tomogram_program_takes_no_single_rank(project):
    process = start(project, "relion_tomo_subtomo_mpi", "single")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "relion_tomo_subtomo_mpi needs at least two MPI processes; run relion_tomo_subtomo instead" in said
