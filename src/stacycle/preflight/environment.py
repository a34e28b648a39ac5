"""The set-up: programs, their flags, GPU, MPI, scratch folder and disk, as the rules that will run need them."""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stacycle.errors import UserError
from stacycle.files.cache import Cache
from stacycle.preflight import disk
from stacycle.programs import mpi, software
from stacycle.programs.command import Command
from stacycle.programs.program import of_call
from stacycle.programs.scratch import scratch_folder
from stacycle.recipe.rounds import Recipe
from stacycle.resources import gpus
from stacycle.resources.site import CPU
from stacycle.steps import registry
from stacycle.steps.sizes import Need

PROBLEM, WARNING, FINE = "problem", "warning", "fine"
GPU_BUILDS = ("CUDA", "HIP", "SYCL")
ON_CPUS = "set gpus_per_job: 0 in the profile (default-resources) to compute on CPUs"
KEEP_FREE = 10e9  # bytes of the scratch disk that RELION leaves free
Asked = Mapping[str, Mapping[str, Any]]  # what each rule that will run asks for: gpu, ranks, launcher


@dataclass(frozen=True)
class Row:
    """What was checked, what was found, and what to do about it."""

    level: str
    checked: str
    found: str
    todo: str = ""


def from_error(error: UserError, checked: str, level: str = PROBLEM) -> Row:
    """A row of what is wrong and what to do."""
    where = f"{error.key}: " if error.key else ""
    return Row(level, checked, f"{where}{error.problem}", error.cure)


def programs(recipe: Recipe, config: Mapping[str, Any], asked: Asked | None = None) -> list[str]:
    """The programs that a whole recipe runs, if its rules ask for what `asked` says."""
    lines = registry.command_lines(recipe, config, asked or {})
    return sorted({Command.of(argv).program for _, argv in lines})


def commands(recipe: Recipe, config: Mapping[str, Any], asked: Asked) -> list[tuple[str, Command]]:
    """(rule, command line) of all that the rules of `asked` can run, by names of files that are not there."""
    lines = registry.command_lines(recipe, config, asked)
    return [(rule, Command.of(argv)) for rule, argv in lines if rule in asked]


def flags(commands: Iterable[tuple[str, Command]]) -> dict[str, set[str]]:
    """The flags of each program of `commands` (rule, command line), those too that it may get when it runs."""
    used: dict[str, set[str]] = {}
    for _, command in commands:
        listed = command.flags.keys() - command.record.unlisted_flags
        used.setdefault(command.program, set()).update(listed, command.record.flags_later)
    return used


def check_software(engine: Mapping[str, Any], used: Mapping[str, set[str]], cache: Cache) -> Iterator[Row]:
    """The programs of `used` (program -> flags): there, of a version that is known, and with these flags."""
    programs = sorted(used)
    try:
        files = software.files(engine, programs)
        question = {"engine": engine, "files": files, "programs": programs}
        answer = cache.get("software", question)
        if answer is None:
            version = software.check(engine, programs)
            answer = {"version": version, "flags": software.known_flags(engine, programs)}
            cache.put("software", question, answer, files)
    except UserError as error:
        yield from_error(error, "software")
        return
    version, known = answer["version"], answer["flags"]
    for program in sorted(set(programs) - known.keys()):
        cure = f"install all of RELION 5; {of_call(program).without}"
        yield Row(WARNING, "software", f"{program} was not found beside {version}", cure)
    programs = [program for program in programs if program in known]
    yield Row(FINE, "software", f"{version}: {', '.join(programs)}")
    silent = [program for program in programs if not known[program]]
    for program in programs:
        unknown = sorted(used[program] - set(known[program]))
        if unknown and program not in silent:
            without, found = (
                of_call(program).without,
                f"{program} of {version} does not know {', '.join(unknown)}",
            )
            cure = without or "or turn off in the config what needs it"
            yield Row(WARNING if without else PROBLEM, "flags", found, f"use RELION 5.0, {cure}")
    if silent:
        found = f"{', '.join(silent)} --help tells no flags"
        yield Row(WARNING, "flags", found, "see whether the program runs; its flags could not be checked")
    else:
        count = sum(map(len, used.values()))
        yield Row(FINE, "flags", f"{count} flags of {len(programs)} programs looked up in their --help")


def check_gpu(
    engine: Mapping[str, Any], asked: Asked, local: bool, limit: int | None = None
) -> Iterator[Row]:
    """A GPU build and GPUs, if a rule that will run asks for one; the embedded engine computes on CPUs. `limit` is the
    profile's, of a run on this machine. GPUs that were not found, as only NVIDIA's are looked for, are worth a
    warning."""
    possible = [rule for rule, device in registry.devices().items() if device != CPU and rule in asked]
    rules = [rule for rule in possible if asked[rule].get("gpu")]
    names = " and ".join(rules or possible)
    found = gpus.found() if local else []
    unlooked_for = local and limit is None and not found and gpus.POOL in os.environ
    if not possible or engine["kind"] == "embedded" or not (rules or unlooked_for):
        return
    build = software.accelerator(engine)
    if not rules:
        if build in GPU_BUILDS:
            cure = "if there are any, say how many in the profile (resources: gpu: N)"
            yield Row(WARNING, "GPU", f"{names} compute on CPUs: no GPU was found", cure)
    elif build not in GPU_BUILDS:
        said = f"{names} ask for a GPU, which this RELION was built without ({build or 'CPU'} build)"
        yield Row(WARNING, "GPU", said, f"RELION would use CPUs and be slow: load a CUDA build, or {ON_CPUS}")
    elif build == "CUDA" and local and not found:
        said = f"{names} ask for a GPU, but nvidia-smi or CUDA_VISIBLE_DEVICES shows none"
        yield Row(PROBLEM, "GPU", said, f"run where there is one, or {ON_CPUS}")
    elif found and limit is not None and limit > len(found):
        seen = f"nvidia-smi or CUDA_VISIBLE_DEVICES shows {len(found)}"
        said = f"the profile's limit is {limit} GPUs, but {seen}"
        yield Row(PROBLEM, "GPU", said, f"set resources: gpu: {len(found)} in the profile, or leave it out")
    else:
        models = {card.model for card in gpus.cards()} if found else set()
        seen = f"; {len(found)} x {' or '.join(sorted(models)) or 'GPU'}" if found else ""
        yield Row(FINE, "GPU", f"{build} build{seen}")


def check_mpi(
    engine: Mapping[str, Any], commands: Sequence[tuple[str, Command]], asked: Asked, local: bool
) -> Iterator[Row]:
    """Ranks for two half sets, and a launcher that is of the MPI that RELION was built with (seen by running it). Of
    `commands` (rule, command line) that with the most ranks is tried."""
    on_ranks = [(rule, command) for rule, command in commands if command.launcher]
    try:
        for rule, command in on_ranks:
            mpi.with_mpi(command.argv[len(command.launcher) :], asked[rule].get("ranks", 1))
        if not on_ranks or engine["kind"] == "embedded":
            return
        command = max((command for _, command in on_ranks), key=lambda command: command.ranks)
        resolved = software.resolve(engine, [*command.launcher, command.program, "--version"])
    except UserError as error:
        yield from_error(error, "MPI")
        return
    if not local:
        return
    launcher, cure = command.launcher[0], "load the MPI that RELION was built with"
    try:
        with _environment(mpi.mpi_settings(command.launcher)):  # as `job` starts it
            leaders = software.leaders(resolved)
    except UserError as error:
        yield Row(PROBLEM, "MPI", str(error), cure)
        return
    if leaders > 1:
        alone = f"{command.ranks} processes that do not find each other"
        yield Row(PROBLEM, "MPI", f"{launcher} starts {alone}: it is of another MPI", cure)
    else:
        yield Row(FINE, "MPI", f"{shutil.which(launcher)} starts {command.program} on {command.ranks} ranks")


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that were not set, set for a while."""
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


def check_scratch(setting: str | None, local: bool, stacks: int) -> Iterator[Row]:
    """The folder of engine.scratch, where RELION copies `stacks` bytes of particles."""
    if not local and "$" in (setting or ""):
        return
    try:
        folder = scratch_folder(setting)
    except UserError as error:
        yield from_error(error, "scratch")
        return
    if not folder or not local:
        return
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        found = f"engine.scratch, {folder}, is not a folder that can be written to"
        yield Row(PROBLEM, "scratch", found, "make it, name another, or set engine.scratch to null")
        return
    free, size = disk.free(folder)[0], disk.size
    if free - KEEP_FREE < stacks:
        found = f"{folder} has {size(free)} free, for particles of {size(stacks)} and 10 GB that stay free"
        cure = "what does not fit is read from the project's disk, more slowly"
        yield Row(WARNING, "scratch", found, cure)
    else:
        yield Row(FINE, "scratch", f"{folder}: {size(free)} free for particles of {size(stacks)}")


def check_disk(needs: Sequence[Need], settings: Mapping[str, str] | None, results: str) -> Iterator[Row]:
    """Bytes and files that the run will need under `results`, less what exists, against what is free. The need is
    worked out on the safe side, so that only half of it missing is a problem."""
    needed, files = disk.peak(needs, settings), sum(need.files for need in needs)
    bytes_free, files_free = disk.free(results)
    if bytes_free < needed or files_free < files:  # only then, for it takes time
        existing, existing_files = disk.used(results)
        needed, files = max(0, needed - existing), max(0, files - existing_files)
    found = f"{disk.size(needed)} in {files} files are needed at most; {disk.size(bytes_free)} are free"
    found += f", and {files_free:.0f} files" if files_free < math.inf else ""
    if bytes_free >= needed and files_free >= files:
        yield Row(FINE, "disk", found)
        return
    of_key: Counter[str] = Counter()
    for need in needs:
        if need.freed_by and not disk.frees(settings, need.freed_by):
            of_key[need.freed_by] += need.bytes
    could = " or ".join(f"cleanup.{key} ({disk.size(count)})" for key, count in of_key.items())
    cure = f"free some space, {f'set {could} to remove what is done with, ' if could else ''}"
    short = bytes_free < needed / 2 or files_free < files / 2
    yield Row(PROBLEM if short else WARNING, "disk", found, f"{cure}or run fewer rounds")
