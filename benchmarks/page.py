"""How long the page of a project takes, how much memory, and how large it is.

`python benchmarks/page.py large`: three rounds, each with sweeps of 4 variants x 25 iterations, a cycle of 4 variants
each, 1,000 tomograms, 100,000 particles, maps of 96 and 336 px; or `small`. Inputs are made up in FOLDER (--folder;
else a temporary one; large: 8 GB), as `decision_inputs.py` makes them, and used again if they are there.
`python benchmarks/page.py PROJECT` measures the page of a project that is there, whose run has noted its config.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import decision_inputs as made
from decisions import project
from stacycle.decisions.classes import choose_classes
from stacycle.decisions.cycle import Candidate, cycle_variant
from stacycle.decisions.decision import BEFORE, Decision, combine, write_decision
from stacycle.files import mrc, relion_output
from stacycle.files.job_folder import DECISION, HALF_MAPS, OPTIMISATION_SET, POSTPROCESS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs import redo
from stacycle.recipe import config
from stacycle.recipe.config_text import read

SIZES = {"small": made.Size(1000, 5, 2, 6), "large": made.Size(100_000, 1000)}
ROUNDS = ("bin4", "bin2", "bin1")
STEPS = ["extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess", "cycle"]
T = (0.5, 1, 2, 4)


def write(size: made.Size) -> None:
    """A finished project in the working folder."""
    rng = np.random.default_rng(1)
    rows = made.Rows(size, rng)
    made.tilt_series(size, made.START)
    rows.write(made.START / "particles.star", np.ones(size.particles, int))
    state = OptimisationSet(str(made.START / "particles.star"), str(made.START / "tomograms.star"), None)
    state.write(made.START / OPTIMISATION_SET)
    made.record.adopt(made.START / OPTIMISATION_SET)
    made.maps(rng)
    made.runs(size, state, rows, rng)
    made.ctf_refinements(size, state)
    each = size.particles // size.tomograms
    facts = [
        {"name": f"TS_{i + 1:04d}", "tilts": made.TILTS, "particles": each} for i in range(size.tomograms)
    ]
    Path("results/inputs").mkdir(parents=True, exist_ok=True)
    told = {"tomograms": facts, "particles": size.particles, "pixel_size": made.SERIES_PIXEL}
    Path("results/inputs/preflight.json").write_text(json.dumps(told))
    link(Path(state.particles), Path("results/inputs/particles.star"))
    for name in ROUNDS:
        round_(size, name, state)
    redo.note_command([], ".", ".", settings(size))


def settings(size: made.Size) -> dict[str, Any]:
    """The config of the project."""
    default = read(config.DEFAULT)
    default |= {"inputs": [{"tomograms": state, "particles": state} for state in ("start.star",)]}
    default["particle"]["diameter"] = made.DIAMETER
    for name in ROUNDS:
        default["rounds"][name] |= {"steps": STEPS}
        for step in ("align", "class3d"):
            default["rounds"][name][step] = {"T": list(T[: size.variants]), "iterations": size.iterations}
        for step in ("align", "refine3d"):
            default["rounds"][name][step] = (default["rounds"][name].get(step) or {}) | {"poses": "after"}
    return config.validate(default)


def round_(size: made.Size, name: str, state: OptimisationSet) -> None:
    """All steps of a round."""
    folder, start = Path("results", name), made.START / OPTIMISATION_SET
    for step, runs in (("align", made.ALIGN), ("class3d", made.CLASS3D)):
        if runs.parent != folder:
            shutil.copytree(runs, folder / step, copy_function=os.link)
    link(Path(state.particles), folder / "extract/particles.star")
    link(Path(state.particles), folder / "select/particles.star")
    link(Path(state.particles), folder / "refine3d/run_data.star")
    for path in (folder / "refine3d/run_optimisation_set.star", folder / "refine3d" / OPTIMISATION_SET):
        link(start, path)
    shutil.copytree(folder / "align/T1", folder / "refine3d", copy_function=os.link, dirs_exist_ok=True)
    small, large = (made.MAPS / str(box) for box in (made.SMALL, made.LARGE))
    for maps, at in ((small, folder), (large, folder / "cycle1")):
        link(maps / "merged.mrc", at / "reconstruct/merged.mrc")
        link(maps / "mask.mrc", at / "mask/mask.mrc")
        link(maps / "half1.mrc", at / "postprocess/postprocess.mrc")
        command = f"relion_mask_create --i {maps}/merged.mrc --o {at}/mask/mask.mrc --lowpass 20 --ini_threshold 0.3"
        job(at / "mask", command)
        write_decision(at / "mask" / DECISION, Decision("Mask threshold", {"threshold": 0.3}, "rule", "So."))
    postprocess(folder / "postprocess", small, folder / "mask/mask.mrc", 0.0)
    chosen(size, folder)
    cycle(size, folder, large)


def chosen(size: made.Size, folder: Path) -> None:
    """The decisions on variants, iterations and classes."""
    last = size.iterations
    for step, names in (
        ("align", [f"T{t:g}" for t in T]),
        ("class3d", [f"T{t:g}_K{made.CLASSES}" for t in T]),
    ):
        names = names[: size.variants]
        variants = pd.DataFrame({"variant": names, "chosen": [name == names[0] for name in names]})
        numbers = pd.DataFrame({"iteration": range(last + 1), "resolution": 20.0})
        parts = [
            Decision("Variant", {"variant": names[0]}, "rule", "The first.", variants),
            Decision("Iteration", {"iteration": last}, "rule", "The last.", numbers),
        ]
        write_decision(folder / step / DECISION, combine(step, parts))
        for name in names:
            job(folder / step / name, f"relion_refine --o {folder / step / name}/run --iter {last}")
    run = folder / "class3d" / f"T{T[0]:g}_K{made.CLASSES}"
    classes = relion_output.classes(run, last).assign(likeness=[1.0, 0.1] * (made.CLASSES // 2))
    write_decision(folder / "select" / DECISION, choose_classes(classes))


def cycle(size: made.Size, folder: Path, maps: Path) -> None:
    """A cycle whose sweeps each keep their last variant."""
    mask = folder / "cycle1/mask/mask.mrc"
    postprocess(folder / "cycle1/postprocess", maps, mask, 0.0)
    before = folder / "cycle1/postprocess" / POSTPROCESS
    for sweep in ("ctfrefine", "polish"):
        at = folder / "cycle1" / sweep
        if not at.exists():
            shutil.copytree(made.CYCLE / "ctfrefine", at, copy_function=os.link)
        candidates = []
        for number in range(size.variants):
            post = at / f"v{number}/postprocess"
            (post / POSTPROCESS).unlink(missing_ok=True)
            postprocess(post, maps, mask, 0.02 * (number + 1))
            candidates.append(Candidate(f"v{number}", relion_output.fsc(post / POSTPROCESS)))
            job(at / f"v{number}", f"relion_tomo_align --o {at}/v{number} --j 8")
        decision = cycle_variant(Candidate(BEFORE, relion_output.fsc(before)), candidates)
        write_decision(at / DECISION, decision)
        kept = at / f"v{size.variants - 1}"
        link(kept / "postprocess" / POSTPROCESS, at / POSTPROCESS)
        link(kept / OPTIMISATION_SET, at / OPTIMISATION_SET)
        before = at / POSTPROCESS


def postprocess(folder: Path, maps: Path, mask: Path, better: float) -> None:
    """A postprocess.star that names maps and mask; the FSC falls later by so much of Nyquist."""
    box, pixel = mrc.box_and_pixel(maps / HALF_MAPS[0])
    shell = np.arange(box // 2 + 1)
    fall = 1 / (1 + np.exp((shell / box * 2 - 0.5 - better) * 20))
    extent = box * pixel
    names = [f"FourierShellCorrelation{one}" for one in ("Corrected", "UnmaskedMaps", "MaskedMaps")]
    rows = [
        {"SpectralIndex": s, "Resolution": s / extent, "AngstromResolution": extent / max(s, 0.5)}
        | dict.fromkeys(names, value)
        for s, value in zip(shell.tolist(), fall.tolist(), strict=True)
    ]
    general = {"FinalResolution": extent / int(np.flatnonzero(fall > 0.143)[-1]), "RandomiseFrom": 10.0}
    general |= {"PostprocessedMap": maps / HALF_MAPS[0], "MaskName": mask}
    general |= {f"UnfilteredMapHalf{half}": maps / name for half, name in enumerate(HALF_MAPS, 1)}
    amplitudes = [
        {
            "ResolutionSquared": (s / extent) ** 2,
            "LogAmplitudesOriginal": -s / 20,
            "LogAmplitudesSharpened": -s / 40,
        }
        for s in shell.tolist()
    ]
    text = made._simple("general", general) + made._loop("fsc", rows) + made._loop("guinier", amplitudes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / POSTPROCESS).write_text(text)


def job(folder: Path, command: str) -> None:
    """The record of a job of two hours on two GPUs."""
    run = {"started": "2026-01-01T00:00:00+0000", "ended": "2026-01-01T02:00:00+0000"}
    run |= {"gpus": ["0", "1"], "ranks": 3, "threads": 8}
    (folder / "job.json").unlink(missing_ok=True)
    (folder / "job.json").write_text(json.dumps({"command": command, "runs": [run], "ended_well": True}))


def link(source: Path, path: Path) -> None:
    """A file that is there under another name, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.link(source, path)


def measure(folder: str) -> dict[str, float]:
    """Seconds, processor seconds, GB and MB of the page of a project, made in a process of its own."""
    start = time.monotonic()
    words = [
        sys.executable,
        "-c",
        "import sys; from stacycle.report import make; make.write(sys.argv[1])",
        folder,
    ]
    child = subprocess.Popen(words)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit("the page could not be made")
    return {
        "seconds": time.monotonic() - start,
        "processor seconds": used.ru_utime + used.ru_stime,
        "GB": used.ru_maxrss * 1024 / 1e9,
        "MB": Path(folder, "results/report.html").stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("size", help="small, large, or the folder of a project")
    parser.add_argument("--folder", help="where inputs are made, or are already")
    parsed = parser.parse_args()
    if parsed.size not in SIZES:
        found = measure(parsed.size)
    else:
        with project(parsed.folder):
            if not Path("complete").exists():
                # In a process of its own: what is measured after it would count its memory, too.
                made_up = f"import page; page.write(page.SIZES[{parsed.size!r}])"
                here = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
                subprocess.run([sys.executable, "-c", made_up], env=os.environ | here, check=True)
                Path("complete").touch()
            found = measure(".")
    print(", ".join(f"{value:.3g} {name}" for name, value in found.items()))


if __name__ == "__main__":
    main()
