"""What a program's result depends on: the program, its arguments, and what its input files hold.

Two runs with the same fingerprint make the same result (but for the order of sums in threads). Contents count, not
paths and times, so that a file which was made again with the same content starts nothing anew; of a map the date in
its labels does not count either. Only images that are too large to read are known by path, size and time.

The version of the programs is part of it, but another version makes a difference only if `engine.new_version` says so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stacycle.files import content, star
from stacycle.files.image_files import file_of
from stacycle.files.job_folder import JOB_FILE
from stacycle.files.optimisation_set import KINDS
from stacycle.files.star_labels import SERIES
from stacycle.jobs import record
from stacycle.programs.command import Command

Fingerprint = dict[str, Any]
Known = dict[str, list[Any]]  # path -> size, mtime in ns, digest


class Digests:
    """Digests of files' contents; of a large file that is as `known` from before, without reading it again."""

    def __init__(self, known: Known | None = None) -> None:
        self._before, self.known = known or {}, Known()

    def of(self, path: str | Path) -> str:
        """The digest of a file's content; a word for one that is not there."""
        try:
            stat = os.stat(path)
            seen = [stat.st_size, stat.st_mtime_ns]
            *before, digest = self._before.get(str(path), [None])
            if before != seen:
                digest = content.digest(path)[:32]
        except OSError:
            return "missing"
        if stat.st_size >= content.LARGE:
            self.known[str(path)] = [*seen, digest]
        return digest


def take(
    command: Command, folder: str | Path, engine: str, digests: Digests, version: str = ""
) -> Fingerprint:
    """The fingerprint of a command whose job folder is `folder`; `engine` is its kind (`engine.kind`), `version` that
    of its programs, empty if it is not known."""
    inputs, program = command.inputs(), command.record
    arguments = {
        flag: values
        for flag, values in command.flags.items()
        if not program.ignores(flag) and flag not in inputs
    }
    if out := command.get("--o"):
        arguments["--o"] = [os.path.relpath(out, folder)]
    state = command.state()
    named = {role: path for role in KINDS if (path := getattr(state, role))}
    contents: dict[str, Any] = {
        flag: digests.of(path)
        for flag, path in inputs.items()
        if not program.ignores(flag) and path not in (command.optimisation_set, *named.values())
    }
    contents |= {role: _state_file(role, path, command, digests) for role, path in named.items()}
    contents |= {role: digests.of(path) for role, path in program.also_reads(command).items()}
    if (second := command.half_maps()[1]) and [second] not in command.flags.values():
        contents["second half"] = digests.of(second)  # which the program finds by the name of the first
    return {
        "program": command.kind,
        "engine": engine,
        "version": version,
        "arguments": dict(sorted(arguments.items())),
        "inputs": contents,
    }


def changes(before: Fingerprint, now: Fingerprint, versions: bool = False) -> list[str]:
    """What differs between two fingerprints: flags, `particles` and the like; the version only if `versions` count."""
    found = [key for key in ("program", "engine") if before.get(key) != now[key]]
    if versions and other_version(before, now):
        found.append("version")
    for part in ("arguments", "inputs"):
        old, new = before.get(part, {}), now[part]
        found += [key for key in {**old, **new} if old.get(key) != new.get(key) and key not in found]
    return found


def other_version(before: Fingerprint, now: Fingerprint) -> bool:
    """Whether the programs are of another version by now; not if one of the two is not known."""
    return bool(before.get("version") and now.get("version")) and before["version"] != now["version"]


def _state_file(role: str, path: str, command: Command, digests: Digests) -> list[str]:
    """What a file of the state holds, and its path where the program writes that into an optimisation set."""
    program, found = command.record, [digests.of(path)]
    if program.optimisation_set:
        found.append(os.path.normpath(path))
    if role == "tomograms":
        series = star.column(path, SERIES)
        found.append(_digest(f"{name} {digests.of(name)}" for name in series))
        if not program.reads_particle_images:
            images = {file_of(name) for one in series for name in star.column(one, "rlnMicrographName")}
            found.append(_digest(map(_identity, sorted(images))))
    elif role == "particles" and program.reads_particle_images:
        found.append(_digest(_stacks({file_of(name) for name in star.column(path, "rlnImageName")})))
    return found


def _stacks(paths: set[str]) -> Iterator[str]:
    """The identity of particles' images: the fingerprint of the job that extracted them, or of each file."""
    jobs: dict[str, str] = {}
    for path in sorted(paths):
        parent = os.path.dirname(path)
        if parent not in jobs:
            jobs[parent] = _extraction(Path(parent))
            if jobs[parent]:
                yield jobs[parent]
        if not jobs[parent]:
            yield _identity(path)


def _extraction(folder: Path) -> str:
    """The fingerprint in the job.json of the folder or the nearest one above it; empty if there is none."""
    for parent in (folder, *folder.parents):
        if (parent / JOB_FILE).is_file():
            fingerprint = record.read(parent).get("fingerprint")
            text = json.dumps(fingerprint, sort_keys=True)
            return f"{folder} {_digest([text])}" if fingerprint else ""
    return ""


def _identity(path: str) -> str:
    try:
        stat = os.stat(path)
    except OSError:
        return f"{path} missing"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _digest(texts: Iterable[str]) -> str:
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode() + b"\n")
    return total.hexdigest()[:32]
