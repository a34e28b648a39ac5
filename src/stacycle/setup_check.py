"""The set-up: programs, their flags, GPU, MPI, scratch folder and disk, as the rules that will run need them."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stacycle import disk, relion, software
from stacycle.command import Command
from stacycle.errors import UserError
from stacycle.job import scratch_folder
from stacycle.recipe import SWEEPS, Recipe
from stacycle.remembered import Remembered

PROBLEM, WARNING, FINE = "problem", "warning", "fine"
GPU_BUILDS = ("CUDA", "HIP", "SYCL")
KEEP_FREE = 10e9  # bytes of the scratch disk that RELION leaves free
# How a run that was cut off goes on; `--continue` is in no --help, though every RELION has it.
_RESUMING = {name: ["--only_do_unfinished"] for name in software.PROGRAMS if "_tomo_" in name}
# What a config's `auto` may become, to see a command line's flags.
_SOME_VALUE = 30
_NOT_PASSED = ("T", "classes", "iteration", "variant")
_AGAINST: dict[str, Callable[..., list[str]]] = {"ctfrefine": relion.refine_ctf, "polish": relion.polish}

Asked = Mapping[str, Mapping[str, int]]  # what each rule that will run asks for: gpu, ranks


@dataclass(frozen=True)
class Row:
    """What was checked, what was found, and what to do about it."""

    level: str
    checked: str
    found: str
    todo: str = ""


def told(sentence: str, checked: str, level: str = PROBLEM) -> Row:
    """A row of a sentence of the form "what is wrong; what to do."."""
    found, _, todo = sentence.rstrip(".").rpartition("; ")
    return Row(level, checked, found or todo, todo if found else "")


def programs(recipe: Recipe, config: Mapping[str, Any]) -> list[str]:
    """The programs that a whole recipe runs."""
    return sorted({Command.of(argv).program for _, argv in _command_lines(recipe, config, {})})


def commands(recipe: Recipe, config: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, Command]]:
    """(rule, command line) of all that a recipe can run, by names of files that are not there.

    Only rules of `asked`. Paths, boxes and what is `auto` are made up; the flags are those that will be used.
    """
    for rule, argv in _command_lines(recipe, config, asked):
        if rule in asked:
            command = Command.of(argv)
            command.flags.update({flag: [] for flag in _RESUMING.get(command.program, [])})
            yield rule, command


def _command_lines(
    recipe: Recipe, config: Mapping[str, Any], asked: Asked
) -> Iterator[tuple[str, list[str]]]:
    symmetry = config["particle"]["symmetry"]
    maps: dict[str, Any] = {"state": "state", "out": "out", "box": 64, "binning": 1, "threads": 1}
    maps["symmetry"] = symmetry

    def gpu(rule: str) -> str | None:
        return "" if asked.get(rule, {}).get("gpu") else None

    for name, step in recipe:
        given = recipe.settings(name, step)
        settings = _filled({key: value for key, value in given.items() if key not in _NOT_PASSED})
        refining: dict[str, Any] = {
            **{"reference": "map", "mask": "mask", "out": "out/run", "symmetry": symmetry, "threads": 1},
            **{"pool": 1, "scratch": config["engine"]["scratch"] and "scratch", **settings},
        }
        if step == "extract":
            files: dict[str, Any] = {"particles": "p", "tomograms": "t", "trajectories": "m", "out": "out"}
            yield step, relion.extract(**files, box=64, binning=1, threads=1, **settings)
        elif step == "reconstruct":
            yield step, relion.reconstruct(**maps, **settings)
        elif step == "align":
            yield step, relion.align(state="state", T=1, gpu=gpu(step), **refining)
        elif step == "class3d":
            yield step, relion.class3d(state="state", T=1, classes=2, **refining)
        elif step == "mask":
            yield step, relion.mask_create(map="map", out="mask", threads=1, **settings)
        elif step == "refine3d":
            yield step, relion.refine3d(particles="p", tomograms="t", gpu=gpu(step), **refining)
        elif step == "postprocess":
            yield step, _postprocess(given)
        elif step == "cycle":
            yield "cycle_reference", relion.reconstruct(**maps, **settings["reconstruct"])
            mask = _filled(settings["mask"])
            yield "cycle_mask", relion.mask_create(map="map", out="mask", threads=1, **mask)
            yield "cycle_postprocess", _postprocess(settings["postprocess"])
            files = {"state": "state", "half_maps": ["1", "2"], "mask": "mask", "postprocess": "star"}
            for sweep in SWEEPS:
                for variant in (settings[sweep] or {}).values():
                    yield sweep, _AGAINST[sweep](**files, out="out", box=64, threads=1, **variant)
                    yield "variant_reconstruct", relion.reconstruct(**maps, **settings["reconstruct"])
                    yield "variant_postprocess", _postprocess(settings["postprocess"])


def _filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _SOME_VALUE if value == "auto" else value for key, value in settings.items()}


def _postprocess(settings: Mapping[str, Any]) -> list[str]:
    bfactor = settings["bfactor"]
    rest = {key: value for key, value in settings.items() if key != "bfactor"}
    return relion.postprocess(
        half_map="half1", mask="mask", out="out", bfactor=None if bfactor == "auto" else bfactor, **rest
    )


def check_software(
    engine: Mapping[str, Any], used: Mapping[str, set[str]], remembered: Remembered
) -> Iterator[Row]:
    """The programs of `used` (program -> flags): there, of a version that is known, and with these flags."""
    programs = sorted(used)
    question = {"engine": engine["kind"], "files": software.files(engine, programs), "programs": programs}
    answer = remembered.recall("software", question)
    if answer is None:
        try:
            answer = {
                "version": software.check(engine, programs),
                "flags": software.known_flags(engine, programs),
            }
        except UserError as error:
            yield told(str(error), "software")
            return
        remembered.keep("software", question, answer, question["files"])
    yield Row(FINE, "software", f"{answer['version']}: {', '.join(programs)}")
    silent = [program for program in programs if not answer["flags"][program]]
    for program in programs:
        unknown = sorted(used[program] - set(answer["flags"][program]))
        if unknown and program not in silent:
            found = f"{program} of {answer['version']} does not know {', '.join(unknown)}"
            yield Row(PROBLEM, "flags", found, "use RELION 5.0, or turn off in the config what needs it")
    if silent:
        found = f"{', '.join(silent)} --help tells no flags"
        yield Row(WARNING, "flags", found, "see whether the program runs; its flags could not be checked")
    else:
        count = sum(map(len, used.values()))
        yield Row(FINE, "flags", f"{count} flags of {len(programs)} programs looked up in their --help")


def check_gpu(engine: Mapping[str, Any], asked: Asked, local: bool) -> Iterator[Row]:
    """A GPU build and a GPU, if a rule that will run asks for one; the embedded engine computes on CPUs."""
    rules = [rule for rule in ("align", "refine3d") if asked.get(rule, {}).get("gpu")]
    if not rules or engine["kind"] == "embedded":
        return
    without = "set gpu: 0 for {} in the profile (set-resources) to compute on CPUs".format(
        " and ".join(rules)
    )
    build = software.accelerator(engine)
    if build not in GPU_BUILDS:
        found = f"{' and '.join(rules)} ask for a GPU, which this RELION was built without ({build or 'CPU'} build)"
        yield Row(
            WARNING, "GPU", found, f"RELION would use CPUs and be slow: load a CUDA build, or {without}"
        )
    elif build == "CUDA" and local:
        try:
            listed = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False
            )
            cards = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
        except (OSError, subprocess.TimeoutExpired):
            cards = []
        if not cards or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
            found = f"{' and '.join(rules)} ask for a GPU, but nvidia-smi or CUDA_VISIBLE_DEVICES shows none"
            yield Row(PROBLEM, "GPU", found, f"run where there is one, or {without}")
        else:
            yield Row(
                FINE, "GPU", f"{build} build; {len(cards)} x {cards[0].split(':')[1].split('(')[0].strip()}"
            )
    else:
        yield Row(FINE, "GPU", f"{build} build")


def check_mpi(engine: Mapping[str, Any], asked: Asked, local: bool) -> Iterator[Row]:
    """Ranks for two half sets, and a launcher that is of the MPI that RELION was built with (seen by running it)."""
    if "refine3d" not in asked:
        return
    ranks = asked["refine3d"].get("ranks", 3)
    try:
        argv = relion.with_mpi(["relion_refine", "--split_random_halves"], ranks)
    except UserError as error:
        yield told(str(error), "MPI")
        return
    if engine["kind"] == "embedded":
        return
    launcher, cure = argv[0], "load the MPI that RELION was built with"
    if shutil.which(launcher) is None:
        found = f"{launcher} was not found on the PATH, but refine3d runs with it"
        yield Row(PROBLEM, "MPI", found, cure)
    elif local:
        try:
            argv = software.resolve(engine, [*argv[:-1], "--version"])
            leaders = software.leaders(argv)
        except UserError as error:
            cause = "give ranks as many cores, in the profile"
            yield Row(PROBLEM, "MPI", str(error), f"{cure}; if it wants more slots, {cause}")
            return
        if leaders > 1:
            found = f"{launcher} starts {ranks} processes that do not find each other: it is of another MPI"
            yield Row(PROBLEM, "MPI", found, cure)
        else:
            yield Row(FINE, "MPI", f"{shutil.which(launcher)} starts relion_refine_mpi on {ranks} ranks")


def check_scratch(setting: str | None, local: bool, stacks: int) -> Iterator[Row]:
    """The folder of engine.scratch, where RELION copies `stacks` bytes of particles."""
    if not local and "$" in (setting or ""):
        return
    try:
        folder = scratch_folder(setting)
    except UserError as error:
        yield told(str(error), "scratch")
        return
    if not folder or not local:
        return
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        found = f"engine.scratch, {folder}, is not a folder that can be written to"
        yield Row(PROBLEM, "scratch", found, "make it, name another, or set engine.scratch to null")
    else:
        free, size = disk.free(folder)[0], disk.size
        if free - KEEP_FREE < stacks:
            found = (
                f"{folder} has {size(free)} free, for particles of {size(stacks)} and 10 GB that stay free"
            )
            yield Row(
                WARNING, "scratch", found, "what does not fit is read from the project's disk, more slowly"
            )
        else:
            yield Row(FINE, "scratch", f"{folder}: {size(free)} free for particles of {size(stacks)}")


def check_disk(needs: Sequence[disk.Need], keep: Mapping[str, str] | None, results: str) -> Iterator[Row]:
    """Bytes and files that the run will need under `results`, less what is there, against what is free.

    The need is worked out on the safe side, so that only half of it missing is a problem.
    """
    needed, files = disk.peak(needs, keep), sum(need.files for need in needs)
    bytes_free, files_free = disk.free(results)
    if bytes_free < needed or files_free < files:  # only then, for it takes time
        there, files_there = disk.used(results)
        needed, files = max(0, needed - there), max(0, files - files_there)
    found = f"{disk.size(needed)} in {files} files are needed at most; {disk.size(bytes_free)} are free"
    found += f", and {files_free:.0f} files" if files_free < math.inf else ""
    if bytes_free >= needed and files_free >= files:
        yield Row(FINE, "disk", found)
        return
    of_key = {need.freed_by: 0 for need in needs if need.freed_by and not disk.frees(keep, need.freed_by)}
    for need in needs:
        if need.freed_by in of_key:
            of_key[need.freed_by] += need.bytes
    could = " or ".join(f"{key} ({disk.size(count)})" for key, count in of_key.items())
    cure = f"free some space, {f'set {could} to remove what is done with, ' if could else ''}"
    short = bytes_free < needed / 2 or files_free < files / 2
    yield Row(PROBLEM if short else WARNING, "disk", found, f"{cure}or run fewer rounds")
