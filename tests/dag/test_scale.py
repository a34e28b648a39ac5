"""The workflow at scale, simulated with the real graph of jobs (benchmarks/scale.py): GPUs and cores are kept busy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import scale

BOUND = 1.2  # x the larger of critical path, GPU work / GPUs, CPU work / cores


@pytest.mark.slow
def test_three_rounds_on_a_thousand_tomograms_take_hardly_longer_than_any_schedule_must(
    record_property: Callable,
) -> None:
    done = subprocess.run([sys.executable, scale.__file__], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == len(scale.MACHINES)
    of_nodes = {}
    for line in lines:
        machines, numbers = line[:30].strip(), line[30:].replace(" h", "").split()
        _, _, gpu_work, _, makespan, ratio, worst = numbers
        if found := re.match(r"SLURM, (\d+) x", machines):
            of_nodes[int(found[1])] = float(makespan)
        assert float(gpu_work) > 0, machines
        record_property(f"scale: {machines}", f"{makespan} h, {ratio} x the bound; other speeds: {worst} x")
        assert 1 <= float(ratio) <= BOUND, machines
        assert float(worst) <= BOUND + 0.05, machines
    assert of_nodes[4] <= 0.35 * of_nodes[1]
    assert of_nodes[16] <= 0.12 * of_nodes[1]


@dataclass(eq=False)
class Job:
    """A job of Snakemake's, as far as the simulation looks at it."""

    gpus: int
    threads: int
    rule: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="align", params={}))
    tasks: int = 1
    nodes: int = 1
    wildcards_dict: dict[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> dict[str, Any]:
        across = {"mpi": "srun", "tasks": self.tasks, "nodes": self.nodes} if self.nodes > 1 else {}
        return {"gpu": self.gpus, **across}


@pytest.fixture
def ten_hours_each(monkeypatch: pytest.MonkeyPatch) -> scale.Speed:
    """A speed at which each job takes ten hours, whatever it asks for."""
    monkeypatch.setattr(scale, "grown", lambda *_: 36000)
    return scale.Speed(1, shared_by_gpus=0, shared_by_threads=0, shared_particles=0, start_of_ranks=0)


def simulated(speed: scale.Speed, needs: dict, **machines: int) -> scale.Run:
    """A run of jobs, each with those that it needs, on such a cluster."""
    cluster = scale.Machines(**machines, cluster=True)
    return scale.simulate(SimpleNamespace(jobs=list(needs), dependencies=needs), cluster, None, speed)


def test_jobs_that_fit_run_side_by_side_and_others_wait_for_a_whole_machine(
    ten_hours_each: scale.Speed,
) -> None:
    jobs = [Job(gpus=2, threads=4) for _ in range(4)]
    run = simulated(ten_hours_each, dict.fromkeys(jobs, ()), number=2, gpus=3, cores=16)
    assert (
        round(run.makespan / 3600) == 20
    )  # one of 2 GPUs on each machine at a time: the third GPU is of no use
    assert run.gpu_work / 3600 == pytest.approx(4 * 2 * 10 / 6)
    assert run.cpu_work / 3600 == pytest.approx(4 * 4 * 10 / 32)


def test_a_job_waits_for_those_that_it_needs(ten_hours_each: scale.Speed) -> None:
    first, second, alone = (Job(gpus=0, threads=1) for _ in range(3))
    run = simulated(ten_hours_each, {first: (), second: (first,), alone: ()}, number=1, gpus=1, cores=9)
    assert round(run.makespan / 3600) == 20
    assert run.critical_path == 2 * 36000


def test_the_work_of_steps_on_images_grows_with_particles_and_that_on_maps_with_the_box() -> None:
    base = scale.demo()
    twice = replace(base, particles=2 * base.particles)
    assert scale.grown(twice, "bin1", "refine3d") == 2 * scale.times()["bin1", "refine3d"]
    assert scale.grown(twice, "bin1", "mask") == scale.times()["bin1", "mask"]
    finer = replace(base, pixel=base.pixel / 2)
    assert scale.grown(finer, "bin1", "mask") == 8 * scale.times()["bin1", "mask"]
    assert scale.grown(finer, "bin1", "refine3d") == 4 * scale.times()["bin1", "refine3d"]


def test_a_step_that_asks_for_one_gpu_more_is_faster_by_less() -> None:
    speed = scale.Speed()
    one, two, four = (speed.seconds(1000, scale.Asked(gpus, 8)) for gpus in (1, 2, 4))
    assert two < one < 2 * two
    assert four < two < 2 * four


def test_ranks_share_whole_tomograms_and_hand_on_their_volumes() -> None:
    speed = scale.Speed(shared_tomograms=1, start_of_ranks=0)
    assert speed.seconds(1000, scale.Asked(0, 8, ranks=8), tomograms=8) == pytest.approx(1000 / 8)
    assert speed.seconds(1000, scale.Asked(0, 8, ranks=8), tomograms=9) == pytest.approx(1000 * 2 / 9)
    with_volumes = speed.seconds(1000, scale.Asked(0, 8, 4, ranks=32), tomograms=32, volumes=speed.reduction)
    assert with_volumes == pytest.approx(1000 / 32 + 5)


def test_a_job_on_several_nodes_waits_until_all_have_room(ten_hours_each: scale.Speed) -> None:
    wide, narrow = Job(gpus=0, threads=1, tasks=8, nodes=2), Job(gpus=0, threads=2)
    run = simulated(ten_hours_each, {narrow: (), wide: ()}, number=2, gpus=1, cores=4)
    assert round(run.makespan / 3600) == 20
    assert run.cpu_work / 3600 == pytest.approx((2 * 10 + 8 * 10) / 8)


@pytest.mark.slow
def test_snakemake_adds_little_time_to_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    seconds = scale.overhead("--cores", "1", "--quiet", "all")
    record_property("Snakemake's own time per job, on one machine", f"{seconds:.2f} s")
    assert seconds < 2
