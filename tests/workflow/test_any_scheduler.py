"""The profiles for other schedulers, used: the first jobs, with stand-ins for PBS, SGE and LSF, and real SLURM.

The stand-ins record what they are asked, assign GPUs by CUDA_VISIBLE_DEVICES, and run the job elsewhere. RELION is a
stand-in too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import fake_relion
import pytest
import warm
import yaml
from conftest import ROOT
from sandbox import Slurm
from small_inputs import write_inputs

pytestmark = pytest.mark.slow

ALIGNED = "results/bin4/align/T1/run_it025_data.star"
PROGRAMS = {
    "qsub": """
        for script; do :; done  # the last argument
        case "$*" in *gpu=2*|*gpus=2*) export CUDA_VISIBLE_DEVICES=0,1;; *) unset CUDA_VISIBLE_DEVICES;; esac
        if [ ! -e "$HERE/killed" ]; then touch "$HERE/killed"; script=/dev/null; fi
        case "$*" in
          *-terse*) id=$$; export JOB_ID=$id SGE_O_WORKDIR="$PWD";;
          *) id=$$.head; export PBS_JOBID=$id PBS_O_WORKDIR="$PWD";;
        esac
        cd / && sh "$script" >/dev/null 2>&1 &
        echo $! > "$HERE/$id"
        echo $id
        """,
    "qstat": 'for id; do :; done; [ $# = 0 ] || kill -0 "$(cat "$HERE/$id")"',
    "bsub": """
        for command; do :; done
        case "$*" in *'-gpu num=2'*) export CUDA_VISIBLE_DEVICES=0,1;; *) unset CUDA_VISIBLE_DEVICES;; esac
        if LSB_JOBID=$$ sh -c "$command" >/dev/null 2>&1; then state=DONE; else state=EXIT; fi
        echo $$ $state >> "$HERE/jobs"
        echo "Job <$$> is submitted to queue <any>."
        """,
    "bjobs": 'cat "$HERE/jobs"',
    "badmin": 'echo "configuration"; echo "LSB_SHAREDIR = $HERE"; echo "LSF_CONFDIR = $HERE"',
    "lsclusters": 'echo "CLUSTER_NAME STATUS"; echo "here ok"',
    "bhist": "exit 1",
}


class Site:
    """A project on a cluster: its folder, its scheduler's profile, and the scheduler's programs."""

    def __init__(self, root: Path, name: str, gpus_per_job: int = 2) -> None:
        self.root, self.folder, self.programs = root, root / "project", root / "programs"
        relion = fake_relion.install(root / "relion")
        fake_relion.install(self.programs, programs=("mpirun",))
        config = {
            "inputs": [write_inputs(self.folder, particles=60)],
            "particle": {"diameter": 350},
            "engine": {"bin": str(relion)},
            "rounds": {
                "bin4": {
                    "steps": ["extract", "reconstruct", "align"],
                    "align": {"sampling": 7.5, "offset_step": 1},  # or a run before it tells them
                },
                "bin2": None,
                "bin1": None,
            },
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        shutil.copytree(ROOT / "profiles" / name, self.folder / "profile")
        settings = self.folder / "profile/profile.yaml"
        text = settings.read_text()
        assert "gpus_per_job: 2 " in text
        settings.write_text(text.replace("gpus_per_job: 2 ", f"gpus_per_job: {gpus_per_job} "))

    def install(self, *programs: str) -> None:
        """Put stand-ins into the PATH; each notes its arguments in a line of programs/NAME.asked."""
        for program in programs:
            path = self.programs / program
            path.write_text(
                f'#!/bin/sh\nHERE="{self.programs}"\necho "$*" >> "$HERE/{program}.asked"\n{PROGRAMS[program]}\n'
            )
            path.chmod(0o755)

    def asked(self, program: str) -> list[str]:
        return (self.programs / f"{program}.asked").read_text().splitlines()

    def run(self, target: str) -> subprocess.CompletedProcess:
        """Snakemake with the profile, as a user calls it in the project's folder."""
        command = [
            *(warm.python(), "-m", "snakemake", target, "--snakefile", str(ROOT / "Snakefile")),
            *("--profile", "profile", "--seconds-between-status-checks", "1", "--configfile", "config.yaml"),
        ]
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", "STATUS_PAUSE": "0.2"}
        return subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | environment,
        )


def job(lines: list[str], rule: str) -> list[str]:
    """Those of the submissions that are of a rule."""
    return [
        line for line in lines if f"sta-{rule} " in line or f"rule_{rule}:" in line or f"rule_{rule}_" in line
    ]


QSUB = {  # what is asked for an extraction, an alignment, and a first job that is submitted again
    "pbs": [
        "-q cpu -l select=1:ncpus=8:ngpus=0:mem=16000mb -l walltime=28800 ",
        "-q gpu -l select=1:ncpus=16:ngpus=2:mem=32000mb -l walltime=43200 ",
        "mem=4000mb -l walltime=3600 ",
        "mem=6000mb -l walltime=7200 ",
    ],
    "sge": [  # memory is of each core
        "-q cpu -pe smp 8 -l gpu=0 -l mem_free=2000M,h_rt=28800 ",
        "-q gpu -pe smp 16 -l gpu=2 -l mem_free=2000M,h_rt=43200 ",
        "-l mem_free=4000M,h_rt=3600 ",
        "-l mem_free=6000M,h_rt=7200 ",
    ],
}


@pytest.mark.parametrize("name", QSUB)
def test_qsub_gets_queue_cores_gpus_memory_and_time_and_a_job_that_vanishes_is_submitted_again_with_more(
    name: str, tmp_path: Path
) -> None:
    """The first job is killed before it notes anything."""
    site = Site(tmp_path, name)
    site.install("qsub", "qstat")
    done = site.run(ALIGNED)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (site.folder / ALIGNED).exists()
    jobs = [line for rule in ("extract", "align", "inputs") for line in job(site.asked("qsub"), rule)]
    assert len(jobs) == len(QSUB[name])
    for line, asked in zip(jobs, QSUB[name], strict=True):
        assert asked in line


def test_lsf_gets_queue_cores_gpus_memory_and_minutes_of_each_job(tmp_path: Path) -> None:
    site = Site(tmp_path, "lsf")
    site.install("bsub", "bjobs", "badmin", "lsclusters", "bhist")
    conf = site.programs / "lsbatch/here/configdir"
    conf.mkdir(parents=True)
    (conf / "lsb.params").write_text("DEFAULT_QUEUE = normal\n")
    done = site.run(ALIGNED)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (site.folder / ALIGNED).exists()
    (extract,), (align,) = (job(site.asked("bsub"), rule) for rule in ("extract", "align"))
    assert " -q cpu -W 480 -n 8 -R rusage[mem=2000.0] -R span[hosts=1] -cwd" in extract
    assert (
        " -q gpu -W 720 -n 16 -R rusage[mem=2000.0] -R span[hosts=1] -gpu num=2:j_exclusive=yes -cwd" in align
    )


def test_slurm_as_any_submit_command_runs_jobs_in_the_cpu_and_the_gpu_partition(tmp_path: Path) -> None:
    slurm = Slurm()  # the sandbox, or this test is left out
    site = Site(tmp_path, "sbatch", gpus_per_job=1)
    with slurm.gpus():
        done = site.run(ALIGNED)
    assert done.returncode == 0, done.stderr[-3000:]
    for rule, partition, gpus in (("extract", "cpu", "gpu:0"), ("align", "gpu", "gpu:1")):
        (log,) = (site.folder / "logs/sbatch").glob(f"sta-{rule}-*.log")
        number = log.stem.rpartition("-")[2]
        known = subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True).stdout
        assert f"Partition={partition} " in known
        assert f"TresPerJob=gres:{gpus}" in known
