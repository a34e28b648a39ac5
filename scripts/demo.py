"""The demo: simulate tilt series, average them with the embedded engine, compare with the truth, say where to look.

`python scripts/demo.py --truth` only compares what is there with the truth; `--pictures` makes the README's pictures.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from stacycle.files import relion_output, star
from stacycle.recipe import config
from stacycle.recipe.rounds import Recipe
from stacycle.report import figures
from staengine.simulation import truth
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.tomograms import load_tomograms

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
RUNGS = {  # step -> what it is called, its optimisation set, and the map made of it, in the round's folder
    "reconstruct": ("extracted", "extract/optimisation_set.star", "reconstruct/merged.mrc"),
    "align": ("aligned", "align/optimisation_set.star", "align/reference.mrc"),
    "select": ("classes selected", "select/optimisation_set.star", "select/reference.mrc"),
    "refine3d": ("refined", "refine3d/run_optimisation_set.star", "refine3d/run_class001.mrc"),
}
SWEPT = {"ctfrefine": "CTF refined", "polish": "polished"}


def call(module: str, *arguments: str) -> None:
    """Run a Python module's command line in the project; its failure ends the demo with its exit status."""
    status = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT).returncode
    if status:
        sys.exit(status)


def simulate() -> None:
    """Make the demo's data, unless these very data are there."""
    wanted, made = (ROOT / "config/demo_data.yaml").read_text(), DEMO / "simulated.yaml"
    if made.exists() and made.read_text() == wanted:
        return
    words = [word for name, value in yaml.safe_load(wanted).items() for word in (f"--{name}", str(value))]
    call("staengine", "simulate", "--o", str(DEMO), *words)
    made.write_text(wanted)


def rungs() -> Iterator[tuple[str, str, str]]:
    """What a rung is called, its optimisation set, and the map made of it, in the order of work."""
    configs = (ROOT / "config" / name for name in ("config.yaml", "demo.yaml"))
    recipe = Recipe.from_config(config.load(*configs))
    for round_, step in recipe:
        if step in RUNGS:
            name, *files = RUNGS[step]
            yield f"{round_} {name}", *(f"results/{round_}/{file}" for file in files)
        for cycle in recipe.cycles(round_) if step == "cycle" else ():
            folder, start = f"results/{round_}/{cycle}", recipe.cycle_state(round_, cycle)[0]
            yield f"{round_} {cycle} reference", start, f"{folder}/reference/merged.mrc"
            for sweep, name in SWEPT.items():
                files = (f"{folder}/{sweep}/{file}" for file in ("optimisation_set.star", "merged.mrc"))
                yield f"{round_} {cycle} {name}", *files


def compare_with_truth() -> dict[str, dict]:
    """Errors of poses, tilt series and maps at each rung that was made; also written to demo/results/truth.json."""
    with contextlib.chdir(DEMO):
        known = truth.read_truth(".")
        picks = ParticleSet.read("results/inputs/particles.star")
        found = {
            name: compare_rung(state, density, picks, known)
            for name, state, density in rungs()
            if Path(state).exists() and Path(density).exists()
        }
        Path("results/truth.json").write_text(json.dumps(found, indent=1))
    return found


def compare_rung(state: str, density: str, picks: ParticleSet, known: truth.Truth) -> dict:
    """One rung: a state, and the map made of it. The FSC's area is in shells of the box: 1 each if perfect."""
    files = star.read_optimisation_set(state)
    particles = ParticleSet.read(files.particles)
    error = truth.pose_error(particles, known)
    fsc = truth.compare_map(density, known, error)
    tilts = truth.tilt_errors(load_tomograms(files.tomograms), known)
    return {
        "particles": len(particles),
        "angle_deg": error.angle_deg,
        "position_angst": error.within_angst,
        "shift_angst": rms(tilts["shift_rms_angst"]),
        "defocus_angst": rms(tilts["defocus_rms_angst"]),
        "fsc05_angst": fsc["fsc05_angst"],
        "area": sum(fsc[fsc["best"]]["fsc"][1:]),
        "fsc": fsc,
        **truth.selection(picks, particles, known),
    }


def rms(values: pd.Series) -> float:
    """Root of the mean of the squares."""
    return float((values**2).mean() ** 0.5)


def say_truth(found: dict[str, dict]) -> None:
    """The comparison as a small table."""
    print(
        f"\n{'against the truth':30} particles   junk   angle  position  tilt shifts  defocus  map, FSC 0.5"
        "  area under FSC"
    )
    for name, row in found.items():
        print(
            f"{name:30} {row['particles']:9d} {row['junk_after']:6d} {row['angle_deg']:5.2f}° "
            f"{row['position_angst']:7.2f} Å {row['shift_angst']:10.2f} Å {row['defocus_angst']:6.0f} Å "
            f"{row['fsc05_angst']:12.1f} Å {row['area']:8.1f} shells"
        )
    last = list(found.values())[-1]
    print(f"junk rejected {last['junk_rejected']:.0%}, true particles kept {last['true_kept']:.0%}")
    print("Errors are medians of particles and rms of tilts; what moves a tomogram as a whole is none.")


def draw_pictures() -> None:
    """The pictures of the README, from the demo's results."""
    pictures = ROOT / "docs/images"
    results = DEMO / "results"
    shutil.copyfile(results / "bin4/select/classes.png", pictures / "classes.png")
    figures.fsc_figure(relion_output.fsc(results / "bin1/postprocess/postprocess.star"), pictures / "fsc.png")
    figures.slices_figure(results / "bin1/postprocess/postprocess.mrc", pictures / "map.png")
    ladder = pd.read_csv(results / "ladder.tsv", sep="\t").fillna({"kept": ""})
    figures.ladder_figure(ladder, pictures / "ladder.png")


def main() -> None:
    if "--pictures" in sys.argv:
        return draw_pictures()
    if "--truth" not in sys.argv:
        started = time.perf_counter()
        print("Three rounds on simulated tilt series: 4 to 7 minutes on two cores.", flush=True)
        simulate()
        call("snakemake", "--profile", "profiles/demo")
        print(f"\nDone in {time.perf_counter() - started:.0f} s. Look at")
        print("  demo/results/report.html                 every choice, curve and picture")
        print("  demo/results/ladder.tsv                  the resolution, rung by rung")
        print("  demo/results/bin4/select/classes.png     the classes")
        print("  demo/results/bin1/postprocess/           the map: postprocess.mrc")
        print("  config/demo.yaml                         what was asked for; change it and make demo again")
    say_truth(compare_with_truth())


if __name__ == "__main__":
    main()
