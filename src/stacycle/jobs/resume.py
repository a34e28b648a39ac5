"""What to do with what an earlier run left in a job folder: keep it, go on from it, or start afresh.

What relion_refine takes from its own files on --continue, and what it has to be told again, is RELION 5.0.1's behaviour
as seen by running it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacycle.errors import UserError, some
from stacycle.files import mrc, star
from stacycle.files.atomic import read_json
from stacycle.jobs import fingerprint as prints
from stacycle.jobs import history, outputs
from stacycle.jobs.fingerprint import Fingerprint
from stacycle.programs.command import Command

# These relion_refine does not remember (it does T, diameter, masks, limits, samplings, seed and symmetry).
FORGOTTEN = {
    *("--skip_align", "--auto_ignore_angles", "--auto_resol_angles", "--blush", "--trust_ref_size"),
    *("--j", "--pool", "--gpu", "--scratch_dir", "--dont_combine_weights_via_disc", "--preread_images"),
}
# The tomography programs go on with the tomograms that are not done: those without a certain file, of which they only
# ask whether it exists. So it goes if it, or a file beside it that is read with it, is not whole. RELION's
# reconstruct_particle does all of them again, whatever it is told; the embedded engine's does not.
DONE: dict[
    str, tuple[str, dict[str, str]]
] = {  # program: that file, and the others with the flags that ask for them
    "relion_tomo_subtomo": ("Subtomograms/*/*.mrcs", {}),
    "relion_tomo_reconstruct_particle": (
        "temp/*_data_half1.mrc",
        {"temp/*_ctf_half1.mrc": "", "temp/*_data_half0.mrc": "", "temp/*_ctf_half0.mrc": ""},
    ),
    # with a defocus but no scale, RELION finds the scale with the defocus as it was before
    "relion_tomo_refine_ctf": ("temp/defocus/*.star", {"temp/scale/*.star": "--do_scale"}),
    "relion_tomo_align": (
        "temp/*_projections.star",
        {"temp/*_positions.star": "", "temp/*_motion.star": "--motion"},
    ),
}
REDO = "redo"  # in a record: what is there is to be made anew, whatever is the same


@dataclass(frozen=True)
class Plan:
    """`action` is keep, continue or fresh; `argv` is what to run, `why` a sentence.

    `start` is the iteration or the thing that is gone on from. Before, `remove` is to be deleted; and the folder's
    files are to be moved to the folder with the suffix `aside` (`previous` or `failed`), if any is given. What is asked
    for was made before and lies in `earlier`, if any is given.
    """

    action: str
    argv: list[str]
    why: str = ""
    start: int | str | None = None
    remove: list[Path] = field(default_factory=list)
    aside: str | None = None
    earlier: Path | None = None


def plan(
    command: Command,
    folder: Path,
    record: dict[str, Any],
    fingerprint: Fingerprint,
    makes: Sequence[str | Path] = (),
    versions: bool = False,
) -> Plan:
    """What to do, given the record that an earlier run left in `folder` (empty if none), and the fingerprint of now.

    A result of another version of the programs is another one if `versions` count.
    """
    argv = command.argv
    aside = history.PREVIOUS if record.get("ended_well") else history.FAILED
    if not history.left_over(folder):
        return Plan("fresh", argv)
    if REDO in record:
        return Plan("fresh", argv, "it is to be made anew", aside=aside)
    if "fingerprint" not in record:
        return Plan("fresh", argv, "it is not known how the files here were made", aside=aside)
    changed = prints.changes(record["fingerprint"], fingerprint, versions)
    grown = _iterations_grew(record["fingerprint"], fingerprint)
    if grown:
        changed.remove("--iter")
    earlier = _earlier(folder, fingerprint, makes, versions) if changed or grown else None
    if changed:
        verb = "has" if len(changed) == 1 else "have"
        return Plan("fresh", argv, f"{', '.join(changed)} {verb} changed", aside=aside, earlier=earlier)
    if record.get("ended_well") and (altered := outputs.altered(folder, record)):
        verb = "is" if len(altered) == 1 else "are"
        return Plan("fresh", argv, f"{some(altered, 3)} {verb} not what the program made", aside=aside)
    if earlier is not None:
        return Plan("fresh", argv, "--iter has changed", aside=aside, earlier=earlier)
    if record.get("ended_well") and not grown and outputs.is_there(folder, record, makes):
        return Plan("keep", argv, f"nothing has changed since this finished on {_date(record)}")
    if not record.get("ended_well") and _last_run(record).get("exit_status") == 0:
        return Plan("fresh", argv, "what was made here was not right", aside=aside)
    if command.kind == "relion_refine":
        return _continue_refinement(command)
    if command.kind == "relion_tomo_reconstruct_particle" and fingerprint["engine"] == "relion":
        why = f"{command.program} begins anew: RELION cannot go on with the tomograms that are left"
        return Plan("fresh", argv, why, remove=list(folder.glob("temp/*.mrc")))
    if command.kind in DONE:
        return Plan(
            "continue",
            [*argv, "--only_do_unfinished"],
            start="unfinished tomograms",
            remove=cut_off(command, folder),
        )
    return Plan("fresh", argv)


def _earlier(
    folder: Path, fingerprint: Fingerprint, makes: Sequence[str | Path], versions: bool
) -> Path | None:
    """The newest of the job's earlier results that is what is asked for now, and whole."""
    for entry in history.entries(folder):
        record = read_json(entry / history.RECORD)
        if (
            record.get("ended_well")
            and not record.keys() & {REDO}
            and not prints.changes(record.get("fingerprint", {}), fingerprint, versions)
            and outputs.is_there(folder, record, makes, entry)
            and not outputs.altered(folder, record, entry)
        ):
            return entry
    return None


def _continue_refinement(command: Command) -> Plan:
    root = command.get("--o") or ""
    particles = star.column(command.state().particles, "rlnTomoName")
    found = iterations(root)
    newest = next((n for n in sorted(found, reverse=True) if n and is_complete(root, n, len(particles))), 0)
    remove = [path for n, paths in found.items() if n > newest or not newest for path in paths]
    if not newest:
        return Plan("fresh", command.argv, remove=remove)
    again = {flag: values for flag, values in command.flags.items() if flag in FORGOTTEN}
    flags = {"--continue": [f"{_prefix(root, newest)}_optimiser.star"], "--o": [root]}
    if iterations_wanted := command.get("--iter"):
        flags["--iter"] = [iterations_wanted]
    if mask := command.get("--solvent_mask"):  # it may lie at another path than before
        flags["--solvent_mask"] = [mask]
    if newest + 1 in _last_iterations(Path(root).parent):
        flags["--force_converge"] = []  # which it does not remember either
    argv = Command(command.launcher, command.program, flags | again).argv
    return Plan("continue", argv, start=newest, remove=remove)


def _last_iterations(folder: Path) -> set[int]:
    """The iterations that an auto-refinement began as its last, having converged."""
    said = (folder / "run.out").read_text(errors="replace") if (folder / "run.out").exists() else ""
    parts = re.split(r"^ Auto-refine: Iteration= (\d+)", said, flags=re.MULTILINE)[1:]
    return {
        int(n) for n, text in zip(parts[::2], parts[1::2], strict=True) if "entering last iteration" in text
    }


# ---------------------------------------------------------------- what is there


def iterations(root: str) -> dict[int, list[Path]]:
    """The files of each iteration of a refinement, by its number; `root` is the beginning of their names."""
    name = re.compile(re.escape(os.path.basename(root)) + r"_it(\d{3,})_")
    found: dict[int, list[Path]] = {}
    for path in Path(root).parent.glob(f"{os.path.basename(root)}_it*"):
        if match := name.match(path.name):
            found.setdefault(int(match[1]), []).append(path)
    return found


def is_complete(root: str, iteration: int, particles: int) -> bool:
    """Whether all files from which a refinement can go on are there and whole.

    A run that is cut off while it writes leaves some missing, empty or cut short at any byte.
    """
    optimiser = f"{_prefix(root, iteration)}_optimiser.star"
    if _whole(optimiser, "optimiser_general") is None:
        return False
    data, sampling = (
        "".join(star.column(optimiser, label))
        for label in ("rlnExperimentalDataStarFile", "rlnOrientSamplingStarFile")
    )
    models = star.column(optimiser, "rlnModelStarFile") + star.column(optimiser, "rlnModelStarFile2")
    return (
        bool(models)
        and _whole(sampling, "sampling_directions") is not None
        and _whole(data, "particles") is not None
        and len(star.column(data, "rlnTomoName")) == particles
        and all(map(_model_is_complete, models))
    )


def _model_is_complete(path: str) -> bool:
    references = star.column(path, "rlnReferenceImage")
    last = f"model_pdf_orient_class_{len(references)}"
    return _whole(path, last) is not None and all(map(_is_whole_map, references))


def _whole(path: str | Path, last_table: str | None = None) -> str | None:
    """The text of a STAR file that ends as RELION ends a table, the last of which is `last_table`; else None."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    last = text[text.rfind("\ndata_") :].partition("\n")[2].partition("\n")[0].strip()
    ends = text.endswith("\n \n") and "\0" not in text
    return text if ends and last_table in (None, last.removeprefix("data_")) else None


def _is_whole_map(path: str | Path) -> bool:
    try:
        mrc.header(path)
    except UserError:
        return False
    return True


def cut_off(command: Command, folder: Path) -> list[Path]:
    """The files by which a tomography program would take something for done that is not.

    RELION believes a file that was cut off while it was written: it ends well, with a defocus of 0 for all tilts.
    """
    sign, others = DONE[command.kind]
    beside = [other for other, flag in others.items() if not flag or flag in command.flags]
    found = set()
    for path in folder.glob(sign):
        name = _star(path, folder / sign)
        files = [path, *(folder / other.replace("*", name) for other in beside)]
        if not all(map(_is_whole, files)):
            found |= {path for path in files if path.exists()}
    for other in beside:
        found |= {path for path in folder.glob(other) if not _is_whole(path)}
    return sorted(found)


def _star(path: Path, pattern: Path) -> str:
    """What the one * of a pattern's last part stands for in a path."""
    before, after = pattern.name.split("*")
    return path.name.removeprefix(before).removesuffix(after)


def _is_whole(path: Path) -> bool:
    if path.suffix != ".star":
        return _is_whole_map(path) and (path.suffix != ".mrcs" or not _ends_in_zeros(path))
    text = _whole(path)
    if text is None or not _tells_something(text):
        return False
    particles = re.search(r"^_rlnParticleNumber\s+(\d+)", text, re.MULTILINE)  # each has a table
    more = int(particles[1]) if particles else "_rlnTomoRelativeLuminance" in text
    return text.count("\ndata_") == 1 + more


def _tells_something(text: str) -> bool:
    """Whether the rows of a STAR file's tables hold anything but 0, which no fit finds for all tilts."""
    rows = (line for line in text.splitlines() if not line.startswith(("_", "#", "data_", "loop_")))
    return any(set(row) & set("123456789") for row in rows)


def _ends_in_zeros(stack: Path) -> bool:
    """Whether the last image of a stack is empty along its middle, as of a file whose end was never written."""
    found = mrc.header(stack)
    row = found.nx * int(found.voxel[-1])
    with open(stack, "rb") as file:
        file.seek(-row * (found.ny - found.ny // 2), os.SEEK_END)
        return not any(file.read(row))


# ---------------------------------------------------------------- helpers


def _prefix(root: str, iteration: int) -> str:
    return f"{root}_it{iteration:03d}"


def _iterations_grew(before: Fingerprint, now: Fingerprint) -> bool:
    def wanted(fingerprint: Fingerprint) -> int:
        return int(fingerprint.get("arguments", {}).get("--iter", ["0"])[0])

    return wanted(now) > wanted(before) > 0


def _last_run(record: dict[str, Any]) -> dict[str, Any]:
    return record["runs"][-1] if record.get("runs") else {}


def _date(record: dict[str, Any]) -> str:
    return str(_last_run(record).get("ended", "an unknown date"))[:16].replace("T", " ")
