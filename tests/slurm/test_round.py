"""The demo's bin4 round on a real SLURM with a CPU and a GPU partition, by the SLURM profile; and the same one here.

On an eighth of the demo's voxels. Its CTF refinement and polishing once more across two nodes, one of them killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import yaml
from conftest import ROOT, Project, overlay, simulate
from sandbox import Job, Slurm, process_of, wait_for

from staengine.tilt_series.star import read_star

pytestmark = pytest.mark.slow

DEMO = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
ONCE = {"class3d": {"classes": 3, "T": [0.1, 0.5, 2], "repeats": 1}}
BIN4 = overlay(DEMO, {"rounds": {"bin4": ONCE, "bin2": None, "bin1": None}})
SMALL = {"tomos": 1, "tilt_step": 12, "size": 336, "depth": 160, "angpix": 5}
DATA = yaml.safe_load((ROOT / "config/demo_data.yaml").read_text()) | SMALL
GPUS_PER_JOB = 1  # of two: a sweep's jobs run side by side
# The options of sbatch for each job, by its name in SLURM: partition, minutes, MB, CPUs, GPUs.
SUBMITTED = {
    "sta-inputs": ("cpu", 60, 4000, 1, 0),
    "sta-inputs-tomogram": ("cpu", 60, 16000, 8, 0),
    "sta-bin4-extract": ("cpu", 480, 16000, 8, 0),
    "sta-bin4-reconstruct": ("cpu", 240, 16000, 8, 0),
    "sta-bin4-align_probe": ("gpu", 720, 32000, 8, 1),
    "sta-bin4-align-T1_it008": ("gpu", 720, 32000, 8, 1),
    "sta-bin4-align-T4_it008": ("gpu", 720, 32000, 8, 1),
    "sta-bin4-align_poses-before-reconstruct": ("cpu", 240, 32000, 8, 0),
    "sta-bin4-align_poses-after-reconstruct": ("cpu", 240, 32000, 8, 0),
    "sta-bin4-class3d-T0.1_K3": ("cpu", 1440, 32000, 8, 0),
    "sta-bin4-class3d-T0.5_K3": ("cpu", 1440, 32000, 8, 0),
    "sta-bin4-class3d-T2_K3": ("cpu", 1440, 32000, 8, 0),
    "sta-bin4-mask": ("cpu", 60, 8000, 4, 0),
    "sta-bin4-refine3d": ("gpu", 1440, 64000, 8, 1),
    "sta-bin4-refine3d_poses-before-reconstruct": ("cpu", 240, 32000, 8, 0),
    "sta-bin4-refine3d_poses-after-reconstruct": ("cpu", 240, 32000, 8, 0),
    "sta-bin4-postprocess": ("cpu", 60, 8000, 1, 0),
    "sta-bin4-score": ("cpu", 120, 4000, 8, 0),
    "sta-bin4-cycle1-reference": ("cpu", 480, 64000, 8, 0),
    "sta-bin4-cycle1-mask": ("cpu", 60, 16000, 4, 0),
    "sta-bin4-cycle1-postprocess": ("cpu", 60, 16000, 1, 0),
    "sta-bin4-cycle1-ctfrefine-regularised": ("cpu", 1440, 64000, 8, 0),
    "sta-bin4-cycle1-ctfrefine-unregularised": ("cpu", 1440, 64000, 8, 0),
    "sta-bin4-cycle1-ctfrefine-regularised-reconstruct": ("cpu", 480, 64000, 8, 0),
    "sta-bin4-cycle1-ctfrefine-unregularised-reconstruct": ("cpu", 480, 64000, 8, 0),
    "sta-bin4-cycle1-ctfrefine-regularised-postprocess": ("cpu", 60, 16000, 1, 0),
    "sta-bin4-cycle1-ctfrefine-unregularised-postprocess": ("cpu", 60, 16000, 1, 0),
    "sta-bin4-cycle1-polish-motion": ("cpu", 1440, 64000, 8, 0),
    "sta-bin4-cycle1-polish-no_motion": ("cpu", 1440, 64000, 8, 0),
    "sta-bin4-cycle1-polish-motion-reconstruct": ("cpu", 480, 64000, 8, 0),
    "sta-bin4-cycle1-polish-no_motion-reconstruct": ("cpu", 480, 64000, 8, 0),
    "sta-bin4-cycle1-polish-motion-postprocess": ("cpu", 60, 16000, 1, 0),
    "sta-bin4-cycle1-polish-no_motion-postprocess": ("cpu", 60, 16000, 1, 0),
}


@dataclass
class Round:
    """A finished round: its folder, and the jobs that made it as SLURM knew them, by name."""

    folder: Path
    jobs: dict[str, Job]

    def record(self, folder: str) -> dict:
        """What the job of a folder under results/ recorded of its last run."""
        return json.loads((self.folder / "results" / folder / "job.json").read_text())["runs"][-1]

    def choices(self) -> dict[str, object]:
        """What each decision chose, by its file; a mask's threshold, of several threads' sums, to three digits."""
        files = sorted((self.folder / "results").glob("**/decision.json"))
        chosen = {
            str(file.relative_to(self.folder)): json.loads(file.read_text())["choice"] for file in files
        }
        return {
            file: {
                key: float(f"{value:.3g}") if isinstance(value, float) else value
                for key, value in choice.items()
            }
            for file, choice in chosen.items()
        }

    def map(self, name: str) -> np.ndarray:
        return mrcfile.read(self.folder / "results" / name)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Round, Round]:
    """The round of the same data on SLURM, and by this machine alone; both at once, which takes less time."""
    slurm = Slurm()
    data = tmp_path_factory.mktemp("data")
    simulate(data, **DATA)
    there, here = (Project(tmp_path_factory.mktemp(name), BIN4) for name in ("slurm", "here"))
    for one in (there, here):
        for name in ("set1", "set2"):
            (one.folder / name).symlink_to(data / name)
    with ThreadPoolExecutor() as pool, slurm.gpus(), slurm.watched(there) as jobs:
        local = pool.submit(here.snakemake)
        for done in (slurm.snakemake(there, gpus_per_job=GPUS_PER_JOB), local.result()):
            assert done.returncode == 0, done.stderr
    return Round(there.folder, {job["JobName"]: job for job in jobs.values()}), Round(here.folder, {})


@pytest.fixture
def on_slurm(rounds: tuple[Round, Round]) -> Round:
    return rounds[0]


@pytest.fixture
def here(rounds: tuple[Round, Round]) -> Round:
    return rounds[1]


def test_each_step_asks_sbatch_for_what_the_table_says(on_slurm: Round):
    asked = {
        name: (
            job["Partition"],
            minutes(job["TimeLimit"]),
            megabytes(job["MinMemoryNode"]),
            int(job["NumCPUs"]),
            int(job.get("TresPerJob", "0").split(":")[-1]),
        )
        for name, job in on_slurm.jobs.items()
    }
    assert asked == SUBMITTED


def test_each_gpu_job_was_assigned_one_gpu_and_no_cpu_job_any(on_slurm: Round):
    """As the program found it in its environment (CUDA_VISIBLE_DEVICES)."""
    found = {
        "-".join(("sta", *record.relative_to(on_slurm.folder / "results").parts[:-1])): json.loads(
            record.read_text()
        )["runs"][-1]["gpus"]
        for record in on_slurm.folder.glob("results/**/job.json")
    }
    for name, gpus in found.items():
        on_gpu = (
            next(job["Partition"] for job_name, job in on_slurm.jobs.items() if job_name.startswith(name))
            == "gpu"
        )
        assert len(gpus) == (GPUS_PER_JOB if on_gpu else 0), name
    assert set().union(*found.values()) == {"0", "1"}


def test_a_sweep_of_two_computes_on_both_gpus_at_once(on_slurm: Round):
    first, second = (on_slurm.record(f"bin4/align/{variant}") for variant in ("T1", "T4"))
    assert set(first["gpus"] + second["gpus"]) == {"0", "1"}
    assert max(first["started"], second["started"]) < min(first["ended"], second["ended"])


def test_all_jobs_ended_well_at_the_first_attempt(on_slurm: Round):
    assert {job["JobState"] for job in on_slurm.jobs.values()} == {"COMPLETED"}


def test_the_decisions_are_those_of_a_local_run(on_slurm: Round, here: Round):
    assert len(here.choices()) >= 7
    assert on_slurm.choices() == here.choices()


@pytest.mark.parametrize("name", ["refine3d/run_class001.mrc", "cycle1/polish/merged.mrc"])
def test_the_maps_are_those_of_a_local_run(on_slurm: Round, here: Round, name: str, record_property):
    same = np.corrcoef(on_slurm.map(f"bin4/{name}").ravel(), here.map(f"bin4/{name}").ravel())[0, 1]
    record_property(f"SLURM and local, correlation of bin4/{name}", f"{same:.6f}")
    assert same > 0.99


# Four nodes, which the two variants of each step share.
ACROSS = {"slurm_partition": "pair", "nodes_per_job": 4, "cores_per_job": 2}
FITS = {"ctfrefine": "ctfrefine/regularised", "polish": "polish/motion"}


@pytest.fixture
def again(here: Round, tmp_path: Path) -> Project:
    """The finished round without what CTF refinement and polishing made of one variant each."""
    project = Project(tmp_path / "project", BIN4)
    shutil.copytree(here.folder, project.folder, symlinks=True, dirs_exist_ok=True)
    for variant in FITS.values():
        shutil.rmtree(project.folder / "results/bin4/cycle1" / variant)
    return project


def fitted(folder: Path, variant: str) -> dict[str, np.ndarray]:
    """The numbers of each tilt series that a variant made."""
    found = sorted((folder / "results/bin4/cycle1" / variant).glob("**/tilt_series/*.star"))
    return {
        path.name: next(iter(read_star(path).values())).select_dtypes("number").to_numpy() for path in found
    }


def targets(*steps: str) -> list[str]:
    made = [f"results/bin4/cycle1/{FITS[step]}/optimisation_set.star" for step in steps]
    return [*made, "--allowed-rules", *steps]


def test_ctf_refinement_and_polishing_across_two_nodes_are_those_of_a_local_run(again: Project, here: Round):
    slurm = Slurm()
    with slurm.watched(again) as jobs:
        done = slurm.snakemake(again, *targets(*FITS), **ACROSS)
    assert done.returncode == 0, done.stderr
    nodes = {job["JobName"]: job["NumNodes"] for job in jobs.values()}
    for variant in FITS.values():
        assert nodes[f"sta-bin4-cycle1-{variant.replace('/', '-')}"] == "2"
        run = json.loads((again.folder / "results/bin4/cycle1" / variant / "job.json").read_text())
        assert (run["runs"][-1]["ranks"], run["runs"][-1]["threads"]) == (2, 1)
        mine, theirs = fitted(again.folder, variant), fitted(here.folder, variant)
        assert mine.keys() == theirs.keys()
        assert len(mine) == 2
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_a_fit_that_is_killed_across_two_nodes_goes_on_with_the_tomograms_that_are_left(
    again: Project, here: Round
):
    slurm, folder = Slurm(), again.folder / "results/bin4/cycle1" / FITS["ctfrefine"]
    arguments = targets("ctfrefine")
    with (
        slurm.watched(again) as jobs,
        slurm.started(again, *arguments, "--retries", "1", **ACROSS) as snakemake,
    ):
        log = folder / "run.out"
        wait_for(lambda: log.exists() and "Tomogram 1 / 1" in log.read_text())  # both have met, and work
        second = wait_for(
            lambda: process_of("relion_tomo_refine_ctf_mpi", "SLURM_PROCID=1", "SLURM_STEP_NUM_TASKS=2")
        )
        os.kill(second, signal.SIGSTOP)
        wait_for(lambda: list(folder.glob("temp/*.npz")))  # the leader's tomogram is done
        number = wait_for(lambda: next(iter(jobs), None))
        subprocess.run(["scancel", number], check=True)
        said, _ = snakemake.communicate(timeout=300)
    assert snakemake.returncode == 0, said
    runs = json.loads((folder / "job.json").read_text())["runs"]
    assert [run["continued_from"] for run in runs] == [None, "unfinished tomograms"]
    mine, theirs = (fitted(one, FITS["ctfrefine"]) for one in (again.folder, here.folder))
    assert len(theirs) == 2
    for name in theirs:
        np.testing.assert_array_equal(mine[name], theirs[name])


def minutes(limit: str) -> int:
    """SLURM's [days-]hours:minutes:seconds in minutes."""
    days, _, rest = limit.rpartition("-")
    hours, mins, _ = map(int, rest.split(":"))
    return (int(days or 0) * 24 + hours) * 60 + mins


def megabytes(memory: str) -> int:
    """SLURM's 62.50G or 4000M in MB."""
    return round(float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]])
