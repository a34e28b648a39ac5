"""How well the workflow fills GPUs and cores at scale: the real graph of jobs, with recorded times, simulated.

`python benchmarks/scale.py` has Snakemake plan 3 rounds with sweeps of 4 on 1,000 tomograms, gives each job the time of
its like in the demo (demo_times.tsv), grown with the data, and starts jobs as Snakemake would: whenever a job ends,
its own scheduler chooses among those that are ready. No order of the jobs can beat the bound,
max(critical path, GPU work / GPUs, CPU work / cores), a job's work being its time x the GPUs (cores) that it holds.
A cluster's profile gives each job all nodes (`nodes_per_job`, `nodes_per_gpu_job`), with all cores of one
(`cores_per_job`). Assumed: work grows as `Data.size` says, programs are as fast as `Speed` says (or `VARIANTS`), and
jobs side by side do not slow each other down.
`--record PROJECT` prints a new table of times from a finished demo.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings
from snakemake_interface_scheduler_plugins.registry import SchedulerPluginRegistry

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/workflow"))

import small_inputs

import wall_time
from stacycle.files.job_folder import HOW_FAR
from stacycle.recipe import config, geometry
from stacycle.recipe.rounds import PROBING, Recipe
from stacycle.steps.registry import layout_of_rule

ROOT = Path(__file__).resolve().parents[1]
TIMES = ROOT / "benchmarks/demo_times.tsv"
SWEEP = {"T": [0.5, 1, 2, 4]}
CYCLE = {
    "ctfrefine": {"wider": {"search_range": 8000}},
    "polish": {"stiff": {"sigma_velocity": 0.1}, "loose": {"sigma_velocity": 0.4}},
}
# What a job's work grows with; that of all other jobs grows with their maps, box^3.
IMAGES = {"extract", "reconstruct", "align_probe", "align", "class3d", "refine3d", "poses", "score",
          "cycle_reference", "variant_reconstruct", "ctfrefine", "polish"}  # fmt: skip
AVERAGES = {"reconstruct", "poses", "cycle_reference", "variant_reconstruct"}
BY_TOMOGRAM = AVERAGES | {"extract", "ctfrefine", "polish"}
TABLES = {"inputs", "align_decision", "class3d_decision", "poses_state", "score_decision", "select"}


@dataclass(frozen=True)
class Data:
    """What the times depend on: tilt images of particles, tomograms, the unbinned pixel (Å), and the config."""

    particles: int
    tomograms: int
    tilts: int
    pixel: float
    config: dict[str, Any]

    def box(self, round_: str, rule: str) -> int:
        """Box (px) in which a rule's jobs work."""
        if round_ not in self.config["rounds"]:
            return 1
        binning = self.config["rounds"][round_]["binning"]
        box = geometry.box(self.config["particle"]["diameter"], self.pixel * binning)
        if rule in ("ctfrefine", "polish"):
            return geometry.estimation_box(geometry.bin1_box(box, binning))
        return geometry.bin1_box(box, binning) if rule.startswith(("cycle", "variant")) else box

    def size(self, round_: str, rule: str) -> float:
        """What the work of a rule's jobs is proportional to."""
        if rule in TABLES:
            return self.particles
        if rule not in IMAGES:
            return self.box(round_, rule) ** 3
        repeats = PROBING["iterations"] if rule == "align_probe" else 1
        if rule in ("align", "class3d"):
            given = Recipe.from_config(self.config).settings(round_, rule)
            repeats = given["iterations"] * given.get("classes", 1)
        return self.particles * self.tilts * self.box(round_, rule) ** 2 * repeats


@cache
def demo() -> Data:
    """The data on which the times were recorded."""
    made = yaml.safe_load((ROOT / "config/demo_data.yaml").read_text())
    picks = round(made["particles"] * (1 + made["junk"])) * made["sets"] * made["tomos"]
    settings = loaded(ROOT / "config/demo.yaml")
    few = geometry.classification(
        picks, settings["particle"]["diameter"]
    )  # there is no file to count them in
    settings["rounds"]["bin4"]["class3d"]["classes"] = few["classes"]
    tomograms = made["sets"] * made["tomos"]
    return Data(picks, tomograms, 120 // made["tilt_step"] + 1, made["angpix"], settings)


def large(configfile: Path, tomograms: int) -> Data:
    """The data of the simulation: 100 picks in each tomogram, 41 tilts, the tutorial's pixel."""
    return Data(100 * tomograms, tomograms, 41, small_inputs.PIXEL, loaded(configfile))


def loaded(configfile: Path) -> dict[str, Any]:
    return config.load(config.DEFAULT, configfile)


@dataclass(frozen=True)
class Speed:
    """How fast programs are. A GPU stands for so many of the cores that the times were recorded on; these parts of
    a program's work can be shared out among GPUs and among threads (Amdahl's law)."""

    cores_per_gpu: float = 25
    shared_by_gpus: float = 0.95
    shared_by_threads: float = 0.97
    # Of ranks: the part that is not the leader's alone, if they share tomograms (tables are) or particles (the
    # maximisation is); s to start them, and bytes per s at which they hand volumes on, in log2(ranks) rounds.
    shared_tomograms: float = 0.999
    shared_particles: float = 0.99
    start_of_ranks: float = 5
    reduction: float = 1e9

    def seconds(self, work: float, job: Asked, tomograms: int = 0, volumes: float = 0) -> float:
        """Wall time of a job of so much work (core-seconds), whose ranks share `tomograms` (0: particles, if there are
        several ranks, one of which leads) and sum up `volumes` bytes."""
        if job.gpus:
            return work / self.cores_per_gpu / times_faster(self.shared_by_gpus, job.gpus * job.nodes)
        if job.ranks == 1:
            return work / times_faster(self.shared_by_threads, job.cores)
        alone = self.start_of_ranks + volumes / self.reduction * math.log2(job.ranks)
        if not tomograms:
            workers = job.ranks - 1
            of_rank = times_faster(self.shared_by_threads, job.cores * job.nodes // workers)
            return work / of_rank / times_faster(self.shared_particles, workers) + alone
        ranks = min(job.ranks, tomograms)
        uneven = math.ceil(tomograms / ranks) / tomograms
        return work * (1 - self.shared_tomograms + self.shared_tomograms * uneven) + alone


class Asked(NamedTuple):
    """What a job holds: on each of its nodes GPUs and cores; and its MPI ranks, in all."""

    gpus: int
    cores: int
    nodes: int = 1
    ranks: int = 1

    @classmethod
    def of(cls, job: Any) -> Asked:
        """What Snakemake has a job ask for; on one node it divides its cores among ranks by itself."""
        given = job.resources
        gpus, nodes, tasks = (
            int(given.get(name) or least) for name, least in (("gpu", 0), ("nodes", 1), ("tasks", 1))
        )
        if not given.get("mpi"):
            ranks = layout_of_rule(job.rule.params.get("step", ""), {"gpu": gpus}, job.threads).ranks
            return cls(gpus, job.threads, ranks=ranks)
        return cls(gpus // nodes, -(-tasks // nodes) * job.threads, nodes, tasks)


def times_faster(shared: float, workers: int) -> float:
    return 1 / (1 - shared + shared / workers)


def recorded(project: str | Path) -> str:
    """A table of the core-seconds of a finished demo's jobs, by round and rule: the mean of a sweep's variants. Those
    of classifications that ended early are of all iterations."""
    work = defaultdict(list)
    for job in wall_time.jobs(project).values():
        work[job.name.partition("/")[0] if job.name.startswith("bin") else "", job.rule].append(job.work)
    rows = []
    for (round_, rule), each in sorted(work.items()):
        seconds = fmean(each) * (_whole(Path(project, "results", round_, rule)) if rule == "class3d" else 1)
        rows.append(f"{round_}\t{rule}\t{seconds:.2f}")
    return "\n".join(["round\trule\tcore_seconds", *rows])


def _whole(sweep: Path) -> float:
    """How many times as many iterations the runs of a sweep would have done, had none ended early."""
    told = [json.loads(path.read_text()) for path in sweep.glob(f"*/{HOW_FAR}")]
    return sum(run["limit"] for run in told) / sum(run["iterations"] for run in told)


@cache
def times() -> dict[tuple[str, str], float]:
    """The recorded table: (round, rule) -> core-seconds."""
    with TIMES.open() as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {(row["round"], row["rule"]): float(row["core_seconds"]) for row in rows}


def grown(data: Data, round_: str, rule: str) -> float:
    """The work (core-seconds) of a rule's job on such data. A step that the demo's round lacks is taken from bin4."""
    if rule == "all":
        return 0
    base = demo()
    like = round_ if (round_, rule) in times() else "bin4"
    return times()[like, rule] * data.size(round_, rule) / base.size(like, rule)


@dataclass(frozen=True)
class Machines:
    """Where jobs run: machines with GPUs and cores each; one on which Snakemake runs its jobs itself, or a cluster."""

    number: int
    gpus: int
    cores: int
    cluster: bool = False

    @property
    def all_gpus(self) -> int:
        return self.number * self.gpus

    @property
    def all_cores(self) -> int:
        return self.number * self.cores

    @property
    def overhead(self) -> float:
        """Seconds that Snakemake adds to each job, as measured (`--overhead`)."""
        return 25 if self.cluster else 0.5

    def __str__(self) -> str:
        one = f"{self.gpus} GPU{'s' * (self.gpus > 1)}, {self.cores} cores"
        return f"SLURM, {self.number} x ({one})" if self.cluster else one


@dataclass(frozen=True)
class Run:
    """A simulated run: seconds, and work in GPU-seconds per GPU and core-seconds per core."""

    jobs: int
    critical_path: float
    gpu_work: float
    cpu_work: float
    makespan: float

    @property
    def ratio(self) -> float:
        """Makespan / bound."""
        return self.makespan / max(self.critical_path, self.gpu_work, self.cpu_work)


def planned(configfile: Path, machines: Machines) -> Any:
    """Snakemake's DAG of a project where nothing has been done, as the profile of these machines makes it."""
    if machines.cluster:
        profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
        defaults = profile["default-resources"] | {
            "gpus_per_job": machines.gpus,
            "cores_per_gpu": machines.cores // machines.gpus,
            "cores_per_job": machines.cores,
            "nodes_per_job": machines.number,
            "nodes_per_gpu_job": machines.number,
        }
        limits: dict[str, Any] = {"nodes": profile["jobs"], "default_resources": defaults}
    else:
        limits = {"cores": machines.cores, "resources": {"gpu": machines.gpus}}
    quiet = redirect_stderr(StringIO())  # a dry run says much, whatever its options
    with quiet, SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(**limits),
            config_settings=ConfigSettings(configfiles=[configfile]),
            snakefile=ROOT / "Snakefile",
            workdir=configfile.parent,
        )
        executor = "slurm" if machines.cluster else "local"
        workflow.dag().execute_workflow(executor=executor, pseudo_executor="dryrun")
        return workflow._workflow.dag


def simulate(dag: Any, machines: Machines, data: Data, speed: Speed) -> Run:
    """The jobs of a DAG run on machines; besides them, only `machines.overhead` takes time."""
    asked = {job: Asked.of(job) for job in dag.jobs}
    needs = {job: set(dag.dependencies[job]) for job in dag.jobs}
    seconds = {job: time_of(job, asked[job], data, speed) for job in dag.jobs}

    @cache
    def path(job: Any) -> float:
        return seconds[job] + max(map(path, needs[job]), default=0)

    choose = first_that_fit if machines.cluster else snakemakes_choice(dag)
    free = [[machines.gpus, machines.cores] for _ in range(machines.number)]
    waiting, running, now, number = dict.fromkeys(dag.jobs), [], 0.0, itertools.count()
    done: set[Any] = set()
    while waiting or running:
        ready = [job for job in waiting if needs[job] <= done]
        for job, where in choose(ready, list(waiting), asked, free):
            del waiting[job]
            for machine in where:
                machine[0], machine[1] = machine[0] - asked[job].gpus, machine[1] - asked[job].cores
            heapq.heappush(running, (now + seconds[job] + machines.overhead, next(number), job, where))
        now, _, job, where = heapq.heappop(running)
        for machine in where:
            machine[0], machine[1] = machine[0] + asked[job].gpus, machine[1] + asked[job].cores
        done.add(job)
    return Run(
        jobs=len(asked),
        critical_path=max(map(path, asked)),
        gpu_work=sum(seconds[job] * one.gpus * one.nodes for job, one in asked.items()) / machines.all_gpus,
        cpu_work=sum(seconds[job] * one.cores * one.nodes for job, one in asked.items()) / machines.all_cores,
        makespan=now,
    )


def time_of(job: Any, asked: Asked, data: Data, speed: Speed) -> float:
    """Seconds that a job of Snakemake's takes."""
    round_, rule = of_job(job)
    work = grown(data, round_, rule)
    if rule not in BY_TOMOGRAM:
        return speed.seconds(work, asked)
    volumes = 24 * data.box(round_, rule) ** 3 if rule in AVERAGES else 0  # two half transforms
    return speed.seconds(work, asked, data.tomograms, volumes)


def snakemakes_choice(dag: Any) -> Choice:
    """Snakemake's own scheduler: an integer linear programme that keeps as many cores busy as it can."""
    plugin = SchedulerPluginRegistry().get_plugin("ilp")
    scheduler = plugin.scheduler(dag, plugin.settings_cls(), None)

    def choose(ready: list, waiting: list, asked: dict, free: list) -> Iterator[tuple[Any, list[list[int]]]]:
        (machine,) = free
        limits = {"gpu": machine[0], "_cores": machine[1]}
        for job in (scheduler.select_jobs(ready, waiting, limits, {}) or []) if ready else []:
            yield job, [machine]

    return choose


def first_that_fit(
    ready: list, waiting: list, asked: dict, free: list
) -> Iterator[tuple[Any, list[list[int]]]]:
    """A cluster's scheduler: all ready jobs are submitted, and each starts on the first machines with room for it."""
    for job in ready:
        one = asked[job]
        with_room = [machine for machine in free if one.gpus <= machine[0] and one.cores <= machine[1]]
        if len(with_room) >= one.nodes:
            yield job, with_room[: one.nodes]


Choice = Callable[[list, list, dict, list], Iterator[tuple[Any, list[list[int]]]]]


def of_job(job: Any) -> tuple[str, str]:
    """Round (empty outside of the rounds) and rule of a job of Snakemake's."""
    return job.wildcards_dict.get("round", ""), job.rule.name


def project(folder: Path, tomograms: int) -> Path:
    """A project where nothing has been done, the tutorial's three rounds with sweeps of four: its config file."""
    names = [f"TS_{number:04d}" for number in range(1, tomograms + 1)]
    sweeps = {"align": SWEEP, "class3d": SWEEP, "cycle": CYCLE}
    changes = {
        "inputs": [small_inputs.write_inputs(folder, names=names, particles=1)],
        "particle": {"diameter": 350},
        "rounds": dict.fromkeys(("bin4", "bin2", "bin1"), sweeps),
    }
    configfile = folder / "config.yaml"
    configfile.write_text(json.dumps(changes))
    return configfile


def overhead(*arguments: str, chains: tuple[int, int] = (1, 5)) -> float:
    """Seconds that Snakemake adds to a job, with these arguments: how much longer a longer chain of jobs takes whose
    scripts do nothing, for each job more."""
    took = []
    for length in chains:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            (Path(folder) / "Snakefile").write_text(CHAIN)
            (Path(folder) / "nothing.py").write_text("open(snakemake.output[0], 'w').close()\n")
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "snakemake", f"{length}.done", *arguments], cwd=folder, check=True
            )
            took.append(time.perf_counter() - started)
    return (took[1] - took[0]) / (chains[1] - chains[0])


CHAIN = """
rule next:
    input: lambda wc: [] if wc.number == "1" else f"{int(wc.number) - 1}.done"
    output: "{number}.done"
    script: "nothing.py"
"""


MACHINES = [
    Machines(1, 1, 16),
    Machines(1, 4, 32),
    Machines(1, 16, 128),
    Machines(1, 4, 32, cluster=True),
    Machines(4, 4, 32, cluster=True),
    Machines(16, 4, 32, cluster=True),
]
# What else programs may be like: slower and faster GPUs, work that can be shared out worse and better.
VARIANTS = [
    Speed(cores_per_gpu=15),
    Speed(cores_per_gpu=60),
    Speed(shared_by_gpus=0.8),
    Speed(shared_by_gpus=0.99),
    Speed(shared_by_threads=0.9),
    Speed(shared_by_threads=0.995),
    Speed(shared_tomograms=0.99),
    Speed(shared_particles=0.97),
]


def table(configfile: Path, tomograms: int) -> Iterator[str]:
    """Lines for a terminal: hours of the simulated run on each of `MACHINES`, and the worst ratio of `VARIANTS`."""
    data = large(configfile, tomograms)
    yield f"{'':30} jobs  critical path  GPU work/GPUs  CPU work/cores    makespan  ratio  worst"
    for machines in MACHINES:
        dag = planned(configfile, machines)
        run, *others = (simulate(dag, machines, data, speed) for speed in (Speed(), *VARIANTS))
        parts = (run.critical_path, run.gpu_work, run.cpu_work, run.makespan)
        hours = "".join(
            f"{part / 3600:{width}.1f} h" for part, width in zip(parts, (12, 13, 14, 10), strict=True)
        )
        worst = max(one.ratio for one in (run, *others))
        yield f"{machines!s:30} {run.jobs:4} {hours}  {run.ratio:5.3f}  {worst:5.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tomograms", type=int, default=1000)
    parser.add_argument("--record", metavar="PROJECT", help="print the table of times of a finished demo")
    parser.add_argument("--overhead", nargs=argparse.REMAINDER, metavar="ARGUMENT",
                        help="time jobs that do nothing, with these arguments of Snakemake's")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.record:
        print(recorded(arguments.record))
    elif arguments.overhead is not None:
        print(f"{overhead(*arguments.overhead):.2f} s per job")
    else:
        with tempfile.TemporaryDirectory() as folder:
            for line in table(project(Path(folder), arguments.tomograms), arguments.tomograms):
                print(line, flush=True)


if __name__ == "__main__":
    main()
