"""The files of an export, made and written: what `stacycle export` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stacycle.errors import UserError, some
from stacycle.exports import particles as of_state
from stacycle.exports.export import ExportAsked, Particles, all_exports
from stacycle.files.atomic import write_text
from stacycle.inputs.findings import Findings

_NAMES = "tomograms.tsv"


def export(
    key: str, asked: ExportAsked, start: str | None = None, tomograms: str | None = None, force: bool = False
) -> str:
    """Write particles for a program, and the table of the tomograms' names; returns what was written, for a terminal.
    `start` and `tomograms` are as for `particles.find`; `force` overwrites. UserError if it cannot be; then no file is
    written."""
    formats = all_exports()
    if key not in formats:
        raise UserError(f"there is no export to {key!r}", f"give one of {', '.join(sorted(formats))}")
    _check(key, asked, formats[key].options)
    findings = Findings()
    found = of_state.read(of_state.find(start, tomograms), asked.include, findings)
    made = formats[key].make(found, asked)
    _write(asked.folder, {**made.texts, _NAMES: _table_of_names(found)}, force)
    count = found.table.rlnTomoName.nunique()
    where = f"{len(found.table)} particles of {found.state.particles} in {count} tomogram{'s' * (count > 1)}"
    warnings = [f"Warning: {one}" for one in findings.warnings]
    return "\n".join([f"{asked.folder}: {where}; {made.said}.", *warnings])


def _check(key: str, asked: ExportAsked, options: frozenset[str]) -> None:
    """UserError for what the export to `key` does not take, or cannot use."""
    given = {name for name, value in vars(asked).items() if value and name != "folder"}
    if strange := sorted(given - options):
        raise UserError(f"{key} takes no --{strange[0]}", "leave it out")
    if asked.size and not asked.pixel:
        raise UserError("--size counts voxels whose size is not said", "say --pixel, too")
    for name, values in (("pixel", [] if asked.pixel is None else [asked.pixel]), ("size", asked.size or ())):
        if not all(0 < value < float("inf") for value in values):
            raise UserError(f"--{name} is not above 0", "correct it")


def _table_of_names(particles: Particles) -> str:
    """Each tomogram as it is called in the project, by its user, and how many particles of it are exported."""
    counts = particles.table.rlnTomoName.value_counts(sort=False)
    rows = (f"{name}\t{particles.names[str(name)]}\t{count}" for name, count in counts.items())
    return "\n".join(["rlnTomoName\tname\tparticles", *rows, ""])


def _write(folder: Path, texts: Mapping[str, str], force: bool) -> None:
    """Write the files, unless one of them is there with something else in it."""
    paths = [(folder / path, text) for path, text in texts.items()]
    other = [path for path, text in paths if path.exists() and path.read_text(errors="replace") != text]
    if other and not force:
        problem = f"{some(other, 2)}: is there already, with something else in it"
        raise UserError(problem, "give another folder (--to), or overwrite it (--force)")
    for path, text in paths:
        write_text(path, text)
