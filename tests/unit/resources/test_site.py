"""What each step computes on, what a profile makes of it, and how a job divides what it was given."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.resources import Resources

from stacycle.errors import UserError
from stacycle.resources import site as resources_site
from stacycle.resources.gpus import POOL
from stacycle.resources.site import (
    CPU,
    GPU,
    ONE_GPU,
    PARTICLES,
    TOMOGRAMS,
    Layout,
    Site,
    layout,
    layout_of_shares,
)
from stacycle.steps import registry

ROOT = Path(__file__).parents[3]
CLUSTER = {
    "slurm_partition": "cpu",
    "gpu_job_slurm_partition": "gpu",
    "gpu_job_constraint": "a100",
    "gpus_per_job": 2,
    "max_runtime": 2880,
    "max_mem_mb": 100_000,
}


def test_steps_are_routed_as_the_tutorial_lists_them() -> None:
    devices = registry.devices()
    for step in ("extract", "reconstruct", "ctfrefine", "polish", "mask", "class3d"):
        assert devices[step] == CPU
    assert {step for step, device in devices.items() if device != CPU} == {
        *("align", "class3d_aligned", "refine3d", "initial_model", "multibody")
    }
    assert devices["initial_model"] == ONE_GPU
    assert devices["align"] == devices["class3d_aligned"] == devices["refine3d"] == GPU


def test_every_rule_that_may_be_queued_is_routed_and_none_routes_by_itself() -> None:
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    blocks = re.split(r"^(rule|checkpoint|use rule \w+ as) (\w+)", rules, flags=re.M)[1:]
    for kind, name, body in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        if kind in ("rule", "checkpoint"):
            assert ("localrule: True" in body) != ("**queue(" in body), name
    assert not re.search(r"\bgpu=|partition=", rules)
    assert set(re.findall(r'\*\*queue\("(\w+)"\)', rules)) <= set(registry.devices())


def test_gpu_steps_take_what_the_profile_says_of_gpu_jobs() -> None:
    site = Site(CLUSTER)
    assert site.gpus(GPU) == 2
    assert site.resources(GPU) == {"slurm_partition": "gpu", "constraint": "a100"}
    assert site.gpus(CPU) == 0
    assert site.resources(CPU) == {}


def test_an_initial_model_takes_one_gpu_at_most() -> None:
    assert Site(CLUSTER).gpus(ONE_GPU) == 1
    assert Site({"gpus_per_job": 0}).gpus(ONE_GPU) == 0


def test_one_key_sends_everything_to_the_cpus() -> None:
    site = Site(CLUSTER | {"gpus_per_job": 0})
    assert [site.gpus(device) for device in (CPU, ONE_GPU, GPU)] == [0, 0, 0]
    assert all(site.resources(device) == {} for device in (CPU, ONE_GPU, GPU))


@pytest.mark.parametrize(
    ("cards", "variants", "each"), [(4, 1, 4), (4, 2, 2), (4, 3, 1), (2, 5, 1), (0, 1, 0), (0, 4, 0)]
)
def test_the_runs_of_a_sweep_share_the_gpus_of_a_workstation(cards: int, variants: int, each: int) -> None:
    site = Site({}, pool=[str(number) for number in range(cards)])
    assert site.gpus(GPU, variants) == each
    assert site.gpus(GPU) == cards


def test_a_workstation_gives_a_job_no_more_gpus_than_it_has() -> None:
    assert Site({"gpus_per_job": 8}, pool=["0", "1"]).gpus(GPU) == 2


def test_a_cluster_that_says_nothing_gives_a_job_one_gpu() -> None:
    assert Site({}).gpus(GPU) == 1


def workflow_of(limits: dict, defaults: dict, jobs: int | None = None) -> Any:
    """As much of Snakemake's workflow as tells what the profile says."""
    given = Resources.from_mapping(limits)
    return SimpleNamespace(
        resource_settings=SimpleNamespace(
            default_resources=Resources.from_mapping(defaults), cores=16, nodes=jobs
        ),
        global_resources=given,
        is_main_process=True,
        register_resource=given.__setitem__,
    )


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setenv(POOL, "left over")


def test_the_gpus_of_a_workstation_are_found_and_scheduler_and_jobs_know_them(two_cards: None) -> None:
    workflow = workflow_of({}, {})
    assert resources_site.site_of(workflow).gpus(GPU) == 2
    assert (workflow.global_resources["gpu"].value, os.environ[POOL]) == (2, "2,5")


@pytest.mark.parametrize("limit", [0, 1])
def test_a_profile_can_have_fewer_of_them_used_at_a_time(two_cards: None, limit: int) -> None:
    workflow = workflow_of({"gpu": limit}, {})
    assert resources_site.site_of(workflow).gpus(GPU) == limit
    assert (workflow.global_resources["gpu"].value, os.environ[POOL]) == (limit, "2,5")


def test_the_gpus_of_a_login_node_are_not_the_clusters(two_cards: None) -> None:
    workflow = workflow_of({}, {"gpus_per_job": 4}, jobs=50)
    assert resources_site.site_of(workflow).gpus(GPU) == 4
    assert POOL not in os.environ
    assert workflow.global_resources.get("gpu").value is None


def test_cores_go_with_gpus() -> None:
    assert Site({}).cores(8, gpus=0) == 8
    assert Site({}).cores(8, gpus=4) == 32
    assert Site({"cores_per_gpu": 6}).cores(8, gpus=4) == 24


def test_jobs_leave_cores_for_every_gpu_of_the_machine() -> None:
    site = Site({}, pool=["0", "1", "2", "3"], all_cores=16)
    assert site.cores(8, gpus=1) == 4
    assert site.cores(8, gpus=4) == 16
    assert Site({}, pool=["0"], all_cores=64).cores(8, gpus=1) == 8
    assert Site({}, pool=["0", "1"], all_cores=1).cores(8, gpus=1) == 1


def test_the_runs_of_a_sweep_share_the_cores_of_a_workstation() -> None:
    here = Site({}, pool=[], all_cores=16)
    assert [here.cores(8, concurrent_jobs=variants) for variants in (1, 3, 4, 20)] == [16, 5, 4, 1]
    assert Site({}, pool=[], all_cores=128).cores(8) == 32
    assert Site({}).cores(8, concurrent_jobs=4) == 8
    assert Site({"cores_per_job": 24}).cores(8, concurrent_jobs=4) == 24


def test_wall_time_and_memory_grow_with_the_attempt_up_to_the_queues_limits() -> None:
    site = Site(CLUSTER)
    assert [site.wall_time(1000, attempt) for attempt in (1, 2, 3)] == [1000, 2000, 2880]
    assert [site.memory(64_000, attempt) for attempt in (1, 2, 3)] == [64_000, 96_000, 100_000]
    assert [Site({}).wall_time(1000, attempt) for attempt in (1, 2, 3)] == [1000, 2000, 3000]
    assert site.wall_time(5000, 1) == 2880


@pytest.mark.parametrize("value", ["two", -1, "2 * attempt"])
def test_a_profile_that_gives_no_number_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"gpus_per_job in the profile is .*whole number from"):
        Site({"gpus_per_job": value})


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({"gpu": 2}, 2),
        ({"gres": "gpu:2"}, 2),
        ({"gres": "gpu:a100:4", "gpu": 0}, 4),
        ({"gres": "gpu"}, 1),
        ({"gres": "lscratch:100", "gpu": 1}, 1),
        ({"gpu": 0}, 0),
        ({}, 0),
    ],
)
def test_gpus_are_counted_whichever_way_they_are_asked_for(resources: dict, count: int) -> None:
    assert resources_site.gpus(resources) == count


def test_a_gres_string_says_how_many_gpus_a_job_has() -> None:
    site = Site(CLUSTER | {"gpu_job_gres": "gpu:a100:4"})
    assert (site.gpus(GPU), site.resources(GPU)["gres"]) == (4, "gpu:a100:4")
    assert Site({"gpu_job_gres": "gpu:4"}).gpus(GPU) == 4
    assert Site(CLUSTER | {"gpu_job_gres": "gpu:4", "gpus_per_job": 0}).gpus(GPU) == 0


@pytest.mark.parametrize(
    ("resources", "cores", "halves", "expected"),
    [
        ({}, 8, False, Layout(0, 1, 8)),  # class3d on CPUs
        ({}, 32, False, Layout(0, 5, 8)),  # on more than threads are good for
        ({}, 40, True, Layout(0, 7, 6)),  # and an equal number for each half
        ({"gpu": 1}, 8, False, Layout(1, 1, 8)),  # align on one GPU
        ({"gpu": 4}, 32, False, Layout(4, 5, 8)),  # align on four: a rank for each, and the leader
        ({}, 8, True, Layout(0, 3, 4)),  # refine3d on CPUs
        ({"gpu": 1}, 8, True, Layout(1, 3, 4)),  # both halves share the GPU
        ({"gpu": 2}, 16, True, Layout(2, 3, 8)),
        ({"gpu": 3}, 24, True, Layout(3, 5, 6)),  # as many ranks for one half as for the other
        ({"gpu": 4}, 32, True, Layout(4, 5, 8)),
        ({"gpu": 4, "ranks": 9}, 32, True, Layout(4, 9, 4)),
        ({"gpu": 1}, 1, True, Layout(1, 3, 1)),
        ({"gpu": 4, "mpi": "srun --mpi=pmix", "tasks": 5}, 6, True, Layout(4, 5, 6, "srun --mpi=pmix")),
        ({"gpu": 4, "mpi": "srun", "tasks": 5, "nodes": 2}, 6, True, Layout(2, 5, 6, "srun", nodes=2)),
    ],
)
def test_a_job_divides_what_it_was_given(resources: dict, cores: int, halves: bool, expected: Layout) -> None:
    assert layout(resources, cores, halves) == expected


def test_relion_is_given_gpus_only_where_there_are_some() -> None:
    assert layout({}, 8, halves=True).gpu is None
    assert layout({"gpu": 2}, 8, halves=True).gpu == "0:1"
    assert layout({"gpu": 4, "mpi": "srun", "tasks": 5, "nodes": 2}, 8).gpu == ""


ACROSS = {
    **CLUSTER,
    "cores_per_job": 16,
    "nodes_per_job": 4,
    "nodes_per_gpu_job": 2,
    "launcher": "srun --mpi=pmix",
}
SRUN = {"mpi": "srun --mpi=pmix"}


def test_a_profile_gives_steps_whose_ranks_share_something_several_nodes() -> None:
    site = Site(ACROSS)
    assert site.resources(CPU, TOMOGRAMS) == {**SRUN, "nodes": 4, "tasks": 64}
    assert site.cores(8, shared=TOMOGRAMS) == 1
    assert site.resources(CPU, PARTICLES) == {**SRUN, "nodes": 4, "tasks": 8}
    assert site.cores(8, shared=PARTICLES) == 8
    assert site.resources(CPU) == {}
    on_gpus = site.resources(GPU, PARTICLES)
    assert {name: on_gpus[name] for name in ("nodes", "tasks", "tasks_per_gpu")} == {
        **{"nodes": 2, "tasks": 5, "tasks_per_gpu": 0}
    }
    assert site.cores(8, gpus=2, shared=PARTICLES) == 5  # the leader and both others need no more than 16
    assert "nodes" not in site.resources(ONE_GPU)


def test_jobs_that_become_ready_at_once_share_the_nodes() -> None:
    site = Site(ACROSS)
    assert [site.resources(CPU, TOMOGRAMS, jobs)["nodes"] for jobs in (1, 2, 3, 9)] == [4, 2, 1, 1]
    assert site.resources(CPU, TOMOGRAMS, 9)["tasks"] == 16


def test_jobs_that_share_a_step_are_shared_by_the_variants_of_a_sweep() -> None:
    site = Site(CLUSTER | {"jobs_per_step": 6})
    assert [site.shares(TOMOGRAMS, jobs) for jobs in (1, 2, 4, 9)] == [6, 3, 1, 1]
    assert site.shares(PARTICLES) == 1  # relion_refine cannot be taken apart
    assert Site(CLUSTER).shares(TOMOGRAMS) == 1


def test_one_machine_has_one_node() -> None:
    here = Site(ACROSS, pool=["0"], all_cores=16)
    assert "nodes" not in here.resources(CPU, TOMOGRAMS)
    assert here.cores(8, shared=TOMOGRAMS) == 16


@pytest.mark.parametrize(
    ("resources", "cores", "tomograms", "memory", "expected"),
    [
        ({}, 8, 1000, 0, (8, 1)),  # a rank for each core
        ({}, 8, 3, 0, (3, 2)),  # or for each tomogram, whose threads have the other cores
        ({}, 8, 1, 0, (1, 8)),
        ({}, 1, 1000, 0, (1, 1)),
        ({"mem_mb": 16_000}, 8, 1000, 5_000, (3, 2)),  # as the memory allows
        ({"mem_mb": 4_000}, 8, 1000, 5_000, (1, 8)),
        ({"ranks": 2}, 8, 1000, 0, (2, 4)),
        ({**SRUN, "nodes": 4, "tasks": 64}, 1, 1000, 0, (64, 1)),
        ({**SRUN, "nodes": 4, "tasks": 64}, 1, 20, 0, (20, 1)),
        ({**SRUN, "nodes": 4, "tasks": 64, "mem_mb": 16_000}, 1, 1000, 5_000, (12, 1)),  # of each node
    ],
)
def test_ranks_share_tomograms(
    resources: dict[str, Any], cores: int, tomograms: int, memory: float, expected: tuple[int, int]
) -> None:
    found = layout_of_shares(resources, cores, tomograms, lambda threads: memory)
    assert (found.ranks, found.threads) == expected
    assert found.launcher == resources.get("mpi", "mpirun")
