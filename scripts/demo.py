"""The demo: simulate tilt series, average them with the embedded engine, compare with the truth, say where to look.

`python scripts/demo.py --truth` only compares what is there with the truth; `--pictures` makes the README's pictures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from stacycle import plots, runs
from staengine import truth
from staengine.tomo import ParticleSet

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
BIN4 = DEMO / "results/bin4"
STAGES = {  # name -> particles, and the map made of them
    "as picked": ("extract/particles.star", "reconstruct/merged.mrc"),
    "aligned to one reference": ("align/particles.star", "align/reference.mrc"),
    "good classes selected": ("select/particles.star", "select/reference.mrc"),
    "refined": ("refine3d/run_data.star", "refine3d/run_class001.mrc"),
}


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


def compare_with_truth() -> dict:
    """Errors of poses, selection and maps at each stage; also written to demo/results/truth.json."""
    known = truth.read_truth(DEMO)
    picks = ParticleSet.read(BIN4 / STAGES["as picked"][0])
    found = {}
    for stage, (particles, density) in STAGES.items():
        data = ParticleSet.read(BIN4 / particles)
        error = truth.pose_error(data, known)
        found[stage] = {
            "particles": len(data),
            "angle_deg": error.angle_deg,
            "position_angst": error.position_angst,
            "fsc": truth.compare_map(str(BIN4 / density), known, error),
            **truth.selection(picks, data, known),
        }
    (DEMO / "results/truth.json").write_text(json.dumps(found, indent=1))
    return found


def say_truth(found: dict) -> None:
    """The comparison as a small table."""
    print(f"\n{'against the truth':26} particles  angle    position  map, FSC 0.5  area under FSC")
    for stage, row in found.items():
        curve = row["fsc"][row["fsc"]["best"]]["fsc"]
        print(
            f"{stage:26} {row['particles']:9d} {row['angle_deg']:5.2f} deg {row['position_angst']:6.2f} Å"
            f" {row['fsc']['fsc05_angst']:10.1f} Å {sum(curve) / len(curve):12.3f}"
        )
    last = found["good classes selected"]
    print(f"junk rejected {last['junk_rejected']:.0%}, true particles kept {last['true_kept']:.0%}")


def draw_pictures() -> None:
    """The pictures of the README, from the demo's results."""
    pictures = ROOT / "docs/images"
    shutil.copyfile(BIN4 / "select/classes.png", pictures / "classes.png")
    plots.fsc_figure(runs.fsc(BIN4 / "postprocess/postprocess.star"), pictures / "fsc.png")
    plots.slices_figure(BIN4 / "postprocess/postprocess.mrc", pictures / "map.png")


def main() -> None:
    if "--pictures" in sys.argv:
        return draw_pictures()
    if "--truth" not in sys.argv:
        started = time.perf_counter()
        simulate()
        call("snakemake", "--profile", "profiles/demo")
        print(f"\nDone in {time.perf_counter() - started:.0f} s. Look at")
        print("  demo/results/report.html                 every choice, curve and picture")
        print("  demo/results/bin4/select/classes.png     the classes")
        print("  demo/results/bin4/postprocess/           the map: postprocess.mrc")
        print("  config/demo.yaml                         what was asked for; change it and make demo again")
    say_truth(compare_with_truth())


if __name__ == "__main__":
    main()
