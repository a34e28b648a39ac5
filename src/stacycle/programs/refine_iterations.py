"""The iterations of a refinement on disk: which are complete, and how relion_refine continues from the newest.

What relion_refine takes from its own files on --continue, and what it must be given again, is RELION 5.0.1's behaviour
as seen by running it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from stacycle.checks.complete import is_complete_map, is_complete_star
from stacycle.files import star
from stacycle.files.job_folder import PROGRAM_OUTPUT
from stacycle.programs.command import Command
from stacycle.programs.program import Continuation

# relion_refine does not keep these (it does keep T, diameter, masks, limits, samplings, seed and symmetry).
NOT_KEPT_BY_CONTINUE = {
    *("--skip_align", "--auto_ignore_angles", "--auto_resol_angles", "--blush", "--trust_ref_size"),
    *("--j", "--pool", "--gpu", "--scratch_dir", "--dont_combine_weights_via_disc", "--preread_images"),
}


def go_on(command: Command, folder: Path, engine: str) -> Continuation:
    """Continue from the newest iteration whose files are all complete; what is of later ones is removed."""
    root = command.get("--o") or ""
    particles = star.column(command.state().particles, "rlnTomoName")
    found = iterations(root)
    newest = next((n for n in sorted(found, reverse=True) if n and is_complete(root, n, len(particles))), 0)
    remove = [path for n, paths in found.items() if n > newest or not newest for path in paths]
    if not newest:
        return Continuation(command.argv, remove=remove)
    again = {flag: values for flag, values in command.flags.items() if flag in NOT_KEPT_BY_CONTINUE}
    flags = {"--continue": [f"{_prefix(root, newest)}_optimiser.star"], "--o": [root]}
    if last := command.get("--iter"):
        flags["--iter"] = [last]
    if mask := command.get("--solvent_mask"):  # it may lie at another path than before
        flags["--solvent_mask"] = [mask]
    if newest + 1 in _last_iterations(Path(root).parent):
        flags["--force_converge"] = []  # which it does not keep either
    argv = Command(command.launcher, command.program, flags | again).argv
    return Continuation(argv, start=newest, remove=remove)


def _last_iterations(folder: Path) -> set[int]:
    """The iterations that an auto-refinement began as its last, having converged."""
    output = folder / PROGRAM_OUTPUT
    text = output.read_text(errors="replace") if output.exists() else ""
    parts = re.split(r"^ Auto-refine: Iteration= (\d+)", text, flags=re.MULTILINE)[1:]
    said = zip(parts[::2], parts[1::2], strict=True)
    return {int(number) for number, text in said if "entering last iteration" in text}


def iterations(root: str) -> dict[int, list[Path]]:
    """The files of each iteration of a refinement, by its number; `root` is the beginning of their names."""
    name = re.compile(re.escape(os.path.basename(root)) + r"_it(\d{3,})_")
    found: dict[int, list[Path]] = {}
    for path in Path(root).parent.glob(f"{os.path.basename(root)}_it*"):
        if match := name.match(path.name):
            found.setdefault(int(match[1]), []).append(path)
    return found


def is_complete(root: str, iteration: int, particles: int) -> bool:
    """Whether all files from which a refinement can continue are there and complete, with so many particles."""
    optimiser = f"{_prefix(root, iteration)}_optimiser.star"
    if not is_complete_star(optimiser, "optimiser_general"):
        return False
    data = "".join(star.column(optimiser, "rlnExperimentalDataStarFile"))
    sampling = "".join(star.column(optimiser, "rlnOrientSamplingStarFile"))
    models = star.column(optimiser, "rlnModelStarFile") + star.column(optimiser, "rlnModelStarFile2")
    return (
        bool(models)
        and is_complete_star(sampling, "sampling_directions")
        and is_complete_star(data, "particles")
        and len(star.column(data, "rlnTomoName")) == particles
        and all(map(_is_complete_model, models))
    )


def _is_complete_model(path: str) -> bool:
    references = star.column(path, "rlnReferenceImage")
    last = f"model_pdf_orient_class_{len(references)}"
    return is_complete_star(path, last) and all(map(is_complete_map, references))


def _prefix(root: str, iteration: int) -> str:
    return f"{root}_it{iteration:03d}"
