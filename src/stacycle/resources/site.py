"""The site: what a profile gives the steps, and how a job divides its GPUs and cores among MPI ranks.

A profile describes its site in Snakemake's `default-resources`, which reach the compute nodes too: the numbers of
`NUMBERS`, and, for any resource X, `gpu_job_X`, which steps on GPUs use instead. `profiles/README.md` explains each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stacycle import snakemake_api
from stacycle.errors import UserError
from stacycle.programs.refine import FEWEST_WITH_HALVES
from stacycle.resources.gpus import POOL, per_rank, pool

CPU, ONE_GPU, GPU = "CPU", "one GPU", "GPU"  # what a step computes on: steps say which
# What the MPI ranks of a step's program share, and the threads that each has across nodes. The tomography programs are
# fastest with one: their threads wait for each other in loops, 6 to 8 times slower on cores that are not free.
TOMOGRAMS, PARTICLES, SPHERES = "tomograms", "particles", "spheres"
ALL_COMPUTE = (TOMOGRAMS, SPHERES)  # of particles' ranks one leads, and computes nothing
THREADS_OF_RANK = {TOMOGRAMS: 1, PARTICLES: 8, SPHERES: 1}
OF_GPU_JOBS = "gpu_job_"
# Numbers that a profile can give, with the least that each may be.
NUMBERS = {
    **{"gpus_per_job": 0, "cores_per_gpu": 1, "cores_per_job": 1, "nodes_per_job": 1, "nodes_per_gpu_job": 1},
    "jobs_per_step": 1,
    **{"max_runtime": 1, "max_mem_mb": 1},
}
CORES_PER_GPU = 8
CORES_PER_JOB = 8
LAUNCHER = "srun"  # that starts ranks on several nodes, if the profile names no other
MOST_CORES = 32  # for one job on this machine: the memory of RELION's tomo programs grows with their threads


@dataclass(frozen=True)
class Site:
    """The place where jobs run: the profile's `default-resources`, and, if jobs run on this machine, the ids of the
    GPUs that they share (`pool`; None if a scheduler assigns GPUs), the profile's `limit` of these (None: not given)
    and the machine's cores (None: not known)."""

    defaults: Mapping[str, Any]
    pool: Sequence[str] | None = None
    limit: int | None = None
    all_cores: int | None = None

    def __post_init__(self) -> None:
        """UserError for a number of the profile that is no number, or too small."""
        for name, least in NUMBERS.items():
            value = self.defaults.get(name)
            if value is not None and not (isinstance(value, int) and value >= least):
                problem = f"default-resources: {name} in the profile is {value!r}"
                raise UserError(problem, f"it must be a whole number from {least} on")

    def gpus(self, device: str, concurrent_jobs: int = 1) -> int:
        """The GPUs that a job of a step on this device asks for, if `concurrent_jobs` such jobs become ready at once: 0
        on CPUs, and at a site without GPUs."""
        if device == CPU:
            return 0
        given, of_gres = self._number("gpus_per_job", None), gpus({"gres": self.defaults.get("gpu_job_gres")})
        if of_gres and given != 0:
            wanted = of_gres
        elif given is not None:
            wanted = given
        elif self.pool is None:
            wanted = 1
        else:
            wanted = max(1, len(self.pool) // concurrent_jobs)
        if self.pool is not None:
            wanted = min(wanted, len(self.pool))
        return min(wanted, 1) if device == ONE_GPU else wanted

    def resources(self, device: str, shared: str = "", concurrent_jobs: int = 1) -> dict[str, Any]:
        """What jobs on this device ask for besides GPUs, cores, memory and time: the profile's `gpu_job_X`, as X; and,
        if their ranks share something, several nodes, which jobs that become ready at once share."""
        across = self._across_nodes(shared, self.gpus(device), concurrent_jobs) if device != ONE_GPU else {}
        if not self.gpus(device):
            return across
        return across | {
            name.removeprefix(OF_GPU_JOBS): value
            for name, value in self.defaults.items()
            if name.startswith(OF_GPU_JOBS) and value is not None
        }

    def _across_nodes(self, shared: str, gpus: int, concurrent_jobs: int = 1) -> dict[str, Any]:
        """What a job on several nodes asks for, with so many GPUs on each; empty where jobs have one node."""
        nodes = self._number("nodes_per_gpu_job" if gpus else "nodes_per_job", 1)
        if not shared or nodes == 1 or self.all_cores:
            return {}
        nodes = max(1, nodes // concurrent_jobs)
        tasks = 1 + nodes * gpus if gpus else nodes * (self._cores_per_job // self._threads(shared))
        found = {"mpi": self.defaults.get("launcher") or LAUNCHER, "nodes": nodes, "tasks": tasks}
        return found | (
            {"tasks_per_gpu": 0} if gpus else {}
        )  # so that `tasks` alone tells the number of ranks

    @property
    def _cores_per_job(self) -> int:
        found: int = self._number("cores_per_job", CORES_PER_JOB)
        return found

    def _threads(self, shared: str) -> int:
        return min(THREADS_OF_RANK[shared], self._cores_per_job)

    def cores(self, cores: int, gpus: int = 0, concurrent_jobs: int = 1, shared: str = "") -> int:
        """The cores of a job, by default `cores`; on this machine `concurrent_jobs` such jobs share all. A job on GPUs
        has a fixed number of cores for each GPU. Across nodes it is the cores of each rank."""
        across = self._across_nodes(shared, gpus)
        if gpus:
            each = self._number("cores_per_gpu", CORES_PER_GPU)
            if self.pool and self.all_cores:
                each = min(each, max(1, self.all_cores // len(self.pool)))
            return (
                each * gpus // (gpus + 1) if across else gpus * each
            )  # there is the leader on one of the nodes, too
        if across:
            return self._threads(shared)
        if self.all_cores:
            return max(1, min(self.all_cores // concurrent_jobs, MOST_CORES))
        return self._number("cores_per_job", cores)

    def shares(self, shared: str, concurrent_jobs: int = 1) -> int:
        """How many jobs share the tomograms of a step, where a job cannot have several nodes; 1: it is one job."""
        asked: int = self._number("jobs_per_step", 1)
        return max(1, asked // concurrent_jobs) if shared == TOMOGRAMS else 1

    def wall_time(self, minutes: int, attempt: int) -> int:
        """Minutes that grow with each attempt, up to the profile's `max_runtime`."""
        return self._up_to("max_runtime", minutes * attempt)

    def memory(self, mb: int, attempt: int) -> int:
        """Megabytes that grow by half with each attempt, up to the profile's `max_mem_mb`."""
        return self._up_to("max_mem_mb", mb * (attempt + 1) // 2)

    def _up_to(self, limit: str, wanted: int) -> int:
        return min(wanted, self._number(limit, wanted))

    def _number(self, name: str, default: int | None) -> Any:
        value = self.defaults.get(name)
        return default if value is None else value


def site_of(workflow: Any) -> Site:
    """What the profile says that Snakemake was called with; called while the Snakefile is read.

    If the jobs run on this machine they share its GPUs: as many at a time as the profile's limit (`resources: gpu`), or
    all that are found. Snakemake's scheduler learns the limit, which it takes before any hook or rule could tell it,
    and the jobs (`gpus.acquire`) learn the ids.
    """
    defaults = snakemake_api.default_resources(workflow)
    os.environ.pop(POOL, None)
    # Which executor runs the jobs is not known yet; only those of a scheduler are given a number of jobs.
    if not snakemake_api.is_main_process(workflow) or snakemake_api.most_jobs(workflow) is not None:
        return Site(defaults)
    limit = snakemake_api.limit(workflow, "gpu")
    ids = pool(limit)
    most = len(ids) if limit is None else limit
    os.environ[POOL] = ",".join(ids)
    snakemake_api.set_limit(workflow, "gpu", most)
    return Site(defaults, ids[:most], limit, snakemake_api.cores(workflow))


def gpus(resources: Mapping[str, Any]) -> int:
    """The number of GPUs that a job asks for by `gpu` or `gres` (`gpu:2`, `gpu:a100:2`)."""
    first, *rest = str(resources.get("gres") or "").split(":")
    if first == "gpu":
        return int(rest[-1]) if rest and rest[-1].isdigit() else 1
    return int(resources.get("gpu") or 0)


@dataclass(frozen=True)
class Layout:
    """How a job divides its resources: `gpus` on each of its `nodes`, MPI `ranks` in all (1: no MPI), `threads` of each
    rank that computes, and the MPI `launcher` with its own options."""

    gpus: int
    ranks: int
    threads: int
    launcher: str = "mpirun"
    nodes: int = 1

    @property
    def gpu(self) -> str | None:
        """The value of RELION's --gpu; None on CPUs. Across nodes RELION deals the GPUs out itself."""
        if not self.gpus:
            return None
        return per_rank(self.gpus, self.ranks) if self.nodes == 1 else ""


def layout_of_shares(
    resources: Mapping[str, Any], cores: int, pieces: int, memory: Callable[[int], float] = lambda threads: 0
) -> Layout:
    """The layout of a job on CPUs whose ranks all compute, each its share of so many `pieces`.

    As many ranks as there are pieces, cores, and room for: `memory` is the MB that a rank takes with so many threads,
    and the job's `mem_mb` is for each of its nodes. The profile's `ranks` overrides that. With `mpi` there are at most
    `tasks` ranks, each with `cores` cores; else they divide the cores.
    """
    launcher, nodes, limit = resources.get("mpi"), int(resources.get("nodes") or 1), resources.get("mem_mb")

    def threads(ranks: int) -> int:
        return cores if launcher else max(1, cores // ranks)

    def has_room(ranks: int) -> bool:
        return not isinstance(limit, int) or -(-ranks // nodes) * memory(threads(ranks)) <= limit

    most = min(int(resources.get("tasks") or 1) if launcher else cores, pieces)
    ranks = next(filter(has_room, range(most, 1, -1)), 1)
    if resources.get("ranks") and not launcher:
        ranks = int(resources["ranks"])
    return Layout(0, ranks, threads(ranks), str(launcher or "mpirun"), nodes)


def layout(resources: Mapping[str, Any], cores: int, halves: bool = False) -> Layout:
    """The layout of a job of `relion_refine` with the `cores` and resources that Snakemake gave it.

    One rank for each GPU, or for so many cores that threads pay, and one that leads them. Two half sets (`halves`) need
    three ranks at least, and an equal number for each half; ranks share a GPU if there are too few. The profile's
    `ranks` overrides that. With `mpi` (a launcher such as srun, across `nodes`) there are `tasks` ranks, each with
    `cores` cores.
    """
    count, launcher = gpus(resources), resources.get("mpi")
    if launcher:
        nodes, ranks = int(resources.get("nodes") or 1), int(resources.get("tasks") or 1)
        if halves and ranks > FEWEST_WITH_HALVES:
            ranks -= 1 - ranks % 2  # an equal number for each half, and the leader
        of_a_node = count if resources.get("gres") else -(-count // nodes)
        return Layout(of_a_node, ranks, cores, str(launcher), nodes)
    workers = count or cores // THREADS_OF_RANK[PARTICLES]
    by_itself = (
        max(FEWEST_WITH_HALVES, 1 + workers + workers % 2) if halves else (workers + 1 if workers > 1 else 1)
    )
    ranks = int(resources.get("ranks") or by_itself)
    return Layout(count, ranks, max(1, cores // max(1, ranks - 1)))
