"""The plan as text: a table of the jobs, sums, disk and what to do next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stacycle.errors import UserError, some
from stacycle.files.cache import Cache
from stacycle.preflight import against_data, disk, preflight
from stacycle.preflight.environment import Row
from stacycle.recipe.rounds import Recipe
from stacycle.resources.site import ALL_COMPUTE, TOMOGRAMS

HERE = "here"
# What comes of a job that Snakemake runs: its program starts, continues where it was cut off, or keeps its earlier
# result; or that depends on a decision which is made again before it.
RUNS, CONTINUES, KEPT, OPEN = "runs", "continues", "kept", "open"
_NAMED = 8  # steps of a kind, at most
_HEAD = (
    ["", "", "", "", "", "", "ranks x", "", "wall"],
    ["round", "step", "jobs", "done", "where", "GPUs", "threads", "memory", "time"],
)
_TO_THE_LEFT = (0, 1, 4)  # columns of words


@dataclass(frozen=True)
class PlannedJob:
    """What a job asks for; `round` is "" outside the rounds.

    `where` is its queue, or HERE. It has `cores` in all, on `nodes`, and `threads` for each of `ranks` that computes;
    these share what `shared` says. `memory` of a node in MB and `minutes` are None if no limit is known. `short`: a
    decision or a report, made in seconds beside Snakemake. `done`: Snakemake would not run it. Of one that it would
    run, `fate` is what comes of that (RUNS, ...), and `start` what it continues from; `first` if all before it
    stays. `name` is its folder's, `folder` that of its files.
    """

    step: str
    round: str = ""
    where: str = HERE
    gpus: int = 0
    ranks: int = 1
    threads: int = 1
    cores: int = 1
    memory: int | None = None
    minutes: int | None = None
    short: bool = False
    done: bool = False
    fate: str = RUNS
    start: int | str | None = None
    name: str = ""
    nodes: int = 1
    shared: str = ""
    first: bool = False
    folder: str = ""


@dataclass(frozen=True)
class Limits:
    """What limits how many jobs there are at a time: `cores` and `gpus` of this machine, or `jobs` in the queues of a
    `scheduler`. None: not limited. `scheduler` is "" if all is done on this machine."""

    scheduler: str = ""
    cores: int | None = None
    gpus: int | None = None
    jobs: int | None = None


Read = tuple[Sequence[Row], Mapping[str, Any] | None]


def read(config: Mapping[str, Any]) -> Read:
    """What is wrong with the inputs, and what they hold. Uses what preflight remembers of them, else reads them; writes
    nothing."""
    cache, duplicates = _ReadOnlyCache(preflight.MEMORY), config["particle"]["duplicates"]
    return preflight.check_data(config["inputs"], cache, duplicates)


def with_tomograms(jobs: Sequence[PlannedJob], inputs: Read) -> list[PlannedJob]:
    """The jobs, with no more ranks than there are tomograms to share."""
    _, facts = inputs
    number = len(facts["tomograms"]) if facts else None

    def limited(job: PlannedJob) -> PlannedJob:
        if number is None or job.shared != TOMOGRAMS or job.ranks <= number:
            return job
        threads = job.threads if job.nodes > 1 else max(1, job.cores // number)
        return replace(job, ranks=number, threads=threads)

    return [limited(job) for job in jobs]


def space(config: Mapping[str, Any], recipe: Recipe, inputs: Read) -> str:
    """The disk that the run will take, as a table; or why it is not known, in a sentence."""
    rows, facts = inputs
    if facts is None:
        problem = rows[0].found + (f" (and {len(rows) - 1} more)" if len(rows) > 1 else "")
        return f"Disk: not known, as the inputs have a problem: {problem}; see snakemake preflight."
    try:
        needs = disk.needed(recipe, config, against_data.numbers_of(facts))
    except UserError as error:
        return f"Disk: not known: {error}"
    table = disk.table(needs, config["cleanup"])
    return f"Disk, on the safe side; at the right, what of it cleanup in the config could free:\n{table}"


class _ReadOnlyCache(Cache):
    """What is cache; nothing is added."""

    def put(self, kind: str, question: Any, answer: Any, files: Iterable[str]) -> None:
        pass


def text(jobs: Sequence[PlannedJob], limits: Limits, space: str, width: int = 80) -> str:
    """The plan, for a terminal of `width` columns: the table, sums, disk (`space`) and what to do next."""
    rounds, done = {job.round for job in jobs} - {""}, sum(job.done for job in jobs)
    head = f"Plan: {_counted(len(jobs), 'job')} in {_counted(len(rounds), 'round')}, {done} done; nothing is run now."
    notes = "\n".join([*_sums(jobs), _concurrent_jobs(limits)])
    return "\n\n".join([head, _table(jobs), _wrapped(notes, width), _wrapped(space, width), _next(limits)])


def _table(jobs: Sequence[PlannedJob]) -> str:
    """A line for all jobs of a round that are of one step and ask for the same; one for all that are short."""
    alike: dict[PlannedJob, list[PlannedJob]] = {}
    for job in jobs:
        if not job.short:
            one = replace(job, done=False, fate=RUNS, start=None, name="", first=False, folder="")
            alike.setdefault(one, []).append(job)
    lines, rounds = [*_HEAD], [""]
    for job, group in alike.items():
        layout = f"{job.ranks} x {job.threads}" + f" on {job.nodes} nodes" * (job.nodes > 1)
        cells = [job.step, *_counts(group), job.where, str(job.gpus or "-"), layout]
        lines.append([job.round * (job.round != rounds[-1]), *cells, _memory(job.memory), _time(job.minutes)])
        rounds.append(job.round)
    if short := [job for job in jobs if job.short]:
        lines.append(["", "decisions, report", *_counts(short), HERE, "", "", "", "seconds"])
    return disk.aligned(lines, _TO_THE_LEFT)


def _counts(jobs: Sequence[PlannedJob]) -> tuple[str, str]:
    return str(len(jobs)), str(sum(job.done for job in jobs))


def _memory(mb: int | None) -> str:
    return "-" if mb is None else f"{mb / 1000:.4g} GB"


def _time(minutes: int | None) -> str:
    if minutes is None:
        return "-"
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:.4g} h"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _wrapped(text: str, width: int) -> str:
    """The lines of a text, those that are longer than `width` in several."""
    return "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in text.splitlines())


def _sums(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """What is left to do, and the most that it can take."""
    started = [job for job in jobs if not job.done]
    left = [job for job in started if job.fate in (RUNS, CONTINUES) or job.short]
    if not started:
        yield "Nothing is left to do."
        return
    long = [job for job in left if not job.short]
    on_gpus = sum(job.gpus > 0 for job in long)
    yield (
        f"Left to do: {_counted(len(left), 'job')}, {on_gpus} on GPUs, {len(long) - on_gpus} on CPUs, "
        f"{len(left) - len(long)} short here."
    )
    yield from _not_from_the_beginning([job for job in started if not job.short])
    timed = [(job, job.minutes / 60) for job in long if job.minutes is not None]
    gpu_hours = sum(job.gpus * hours for job, hours in timed)
    core_hours = sum(job.cores * hours for job, hours in timed)
    yield (
        f"A limit, no forecast: {gpu_hours:,.0f} GPU-hours and {core_hours:,.0f} core-hours, if each took its whole "
        "wall time."
    )
    if untimed := len(long) - len(timed):
        yield f"Not counted in these: {_counted(untimed, 'job')} without a wall time."
    if any(job.ranks > 1 and job.shared not in ALL_COMPUTE for job in long):
        yield "One of the MPI ranks of relion_refine leads the others and computes nothing."
    if any(job.ranks > 1 and job.shared == TOMOGRAMS for job in long):
        yield "Ranks that share tomograms are fewer where the job's memory has no room for so many tilt series."


def _not_from_the_beginning(started: Sequence[PlannedJob]) -> Iterator[str]:
    for job in started:
        if job.fate == CONTINUES:
            what = f"iteration {job.start}" if isinstance(job.start, int) else job.start
            called = " ".join(part for part in (job.round, job.step, job.name) if part)
            yield f"{called} continues from {what}."
    if kept := [job for job in started if job.fate == KEPT]:
        yield f"Kept, as nothing has changed in them: {_counted(len(kept), 'job')} ({_listed(kept)})."
    if still_open := [job for job in started if job.fate == OPEN]:
        yield (
            f"Not counted, as they run only if a decision, or the inputs, made anew come out otherwise: "
            f"{_counted(len(still_open), 'job')} ({_listed(still_open)})."
        )


def _listed(jobs: Sequence[PlannedJob]) -> str:
    """Names of steps, each once, the first few."""
    called = dict.fromkeys(f"{job.round} {job.step}".strip() for job in jobs)
    return some(called, _NAMED) + " steps" * (len(called) > _NAMED)


def _concurrent_jobs(limits: Limits) -> str:
    if limits.scheduler:
        at_once = "" if limits.jobs is None else f", at most {limits.jobs:,} at a time"
        return f"Jobs are given to {limits.scheduler}{at_once}."
    kinds = [(limits.cores, "core"), (limits.gpus, "GPU")]
    shared = [_counted(count, what) for count, what in kinds if count]
    return (
        f"All is done on this machine, side by side as far as {' and '.join(shared)} go. No job is ended for its "
        "memory or wall time here."
    )


def _next(limits: Limits) -> str:
    if limits.scheduler:
        general = "  all steps     default-resources: {gpus_per_job: 2}; the queues are there too"
    else:
        general = "  this machine  cores: 16; resources: {gpu: 2}"
    return f"""\
To change where steps go, in the profile (profiles/README.md has all keys):
{general}
  one step      set-threads: {{refine3d: 16}}
                set-resources: {{refine3d: {{mem_mb: 128000, runtime: 48h}}}}
Done: it would not run again. Why a job would: snakemake -n."""
