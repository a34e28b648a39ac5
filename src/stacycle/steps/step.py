"""What is known of a step: the record that each module of a step holds as `STEP`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.removed import Removable
from stacycle.recipe import auto
from stacycle.recipe.auto import State
from stacycle.resources import site
from stacycle.resources.site import CPU, Layout
from stacycle.steps import shares
from stacycle.steps.sizes import Need, Sizes

Settings = Mapping[str, Any]
SHARES = (
    "_shares"  # how the folder ends, beside a job's, in which those are that do a share of its tomograms each
)


@dataclass(frozen=True)
class Reader:
    """What a command line takes from files. A dry run has another, for there are no files yet."""

    files: Callable[[str], OptimisationSet] = OptimisationSet.read
    state: Callable[[str], State] = auto.read_state
    estimation_box: Callable[[int | str, str, str], int] = auto.estimation_box
    tomograms: Callable[[OptimisationSet], tuple[int, float]] = shares.tomograms


FILES = Reader()
MakeCommand = Callable[[Any, Settings, Reader], list[str]]


def filled(settings: Settings) -> dict[str, Any]:
    """Settings whose `auto` follows from files, with some value in its place."""
    return {key: 30 if value == "auto" else value for key, value in settings.items()}


def _one_job(step: Step, run: Any) -> Iterator[tuple[str, list[str]]]:
    if step.command:
        yield step.name, run.command(step, filled(run.settings))


@dataclass(frozen=True)
class Step:
    """A step, by the name that it has in the config, in rules/ and in scripts/.

    `command`: the command line of a job (Snakemake's, as its script or the DAG has it), with the config's section
    `engine`, from what a Reader reads; None if no program runs. It raises UserError if a file that it follows from
    cannot be read, or if no value follows from it.
    `runs_alike`: other rules that run the same.
    `dry_run`: (rule, command line) of all that the step can run in a round (a DryRun), before there are files; by
    default one job of its own rule.
    `space`: what the step writes, of its settings.
    `shared`: what the MPI ranks of its program share on CPUs (TOMOGRAMS, ...); "" if it has no MPI build.
    `device`: what its jobs compute on (CPU, GPU, ...), `devices` those of its other rules; `half_sets`: whether their
    ranks share two half sets.
    `last`: the file that the step ends with, in its folder; "" if it has none.
    `removable`: the folders, from the round's, whose files of a kind can be removed.
    `pictures`: what the report draws of it, functions of `report.pictures` by name; `candidates_shown`: as many of a
    decision's candidates are shown at first.
    `may_leave_trajectories`: whether particles can have trajectories after it, by its settings.
    """

    name: str
    title: str = ""
    command: MakeCommand | None = None
    dry_run: Callable[[Step, Any], Iterator[tuple[str, list[str]]]] = _one_job
    space: Callable[[Sizes, Settings], Iterator[Need]] = lambda sizes, settings: iter(())
    runs_alike: tuple[str, ...] = ()
    shared: str = ""
    device: str = CPU
    devices: Mapping[str, str] = field(default_factory=dict)
    half_sets: bool = False
    last: str = ""
    removable: Mapping[Removable, tuple[str, ...]] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    candidates_shown: int = 12
    may_leave_trajectories: Callable[[Settings], bool] = lambda settings: False


def folder_of(job: Any) -> Path:
    """The folder of a job's result; of a job that does a share of it, too."""
    folder = Path(str(job.output[0])).parent
    return folder.parent.with_name(folder.parent.name.removesuffix(SHARES)) if is_share(job) else folder


def is_share(job: Any) -> bool:
    """Whether a job does a share of the tomograms of another."""
    return getattr(getattr(job, "wildcards", None), "share", None) is not None


def layout_of(job: Any, half_sets: bool = False) -> Layout:
    """How a job divides what Snakemake gave it."""
    return site.layout(job.resources, job.threads, half_sets)


def mask_of(job: Any) -> str | None:
    """The mask that a job is given; None if it is given none."""
    mask = getattr(job.input, "mask", ())
    return mask if isinstance(mask, str) else next(iter(mask), None)
