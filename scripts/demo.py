"""The demo: simulate tilt series, average them with the embedded engine, compare with the truth, say where to look.

`python scripts/demo.py --pictures` makes the pictures of README and docs from a finished demo.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml

from stacycle.report import curve_figures

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"


def call(*arguments: str) -> None:
    """Run Python with these arguments; its failure ends the demo with its exit status."""
    status = subprocess.run([sys.executable, *arguments], cwd=ROOT).returncode
    if status:
        sys.exit(status)


def simulate() -> None:
    """Make the demo's data, unless these very data are there."""
    wanted, made = (ROOT / "config/demo_data.yaml").read_text(), DEMO / "simulated.yaml"
    if made.exists() and made.read_text() == wanted:
        return
    words = [word for name, value in yaml.safe_load(wanted).items() for word in (f"--{name}", str(value))]
    call("-m", "staengine", "simulate", "--o", str(DEMO), *words)
    made.write_text(wanted)


def draw_pictures() -> None:
    """The pictures of README and docs, from the demo's results."""
    pictures = ROOT / "docs/images"
    results = DEMO / "results"
    shutil.copyfile(results / "bin4/select/classes.png", pictures / "classes.png")
    for name in ("fsc.png", "map.png"):
        shutil.copyfile(results / "final" / name, pictures / name)
    ladder = pd.read_csv(results / "ladder.tsv", sep="\t").fillna({"kept": ""})
    curve_figures.resolution_figure(ladder, pictures / "ladder.png")


def main() -> None:
    if "--pictures" in sys.argv:
        return draw_pictures()
    started = time.perf_counter()
    print("Three rounds on simulated tilt series: 6 to 9 minutes on two cores.", flush=True)
    simulate()
    call("-m", "snakemake", "--profile", "profiles/demo")
    print(f"\nDone in {time.perf_counter() - started:.0f} s. Look at")
    print("  demo/results/report.html                 every choice, curve and picture")
    print("  demo/results/ladder.tsv                  the resolution, step by step")
    print("  demo/results/bin4/select/classes.png     the classes")
    print("  demo/results/final/README.md             the final map and all that belongs to it")
    print("  demo/results/final/map.png               its surface, and slices")
    print(
        "  config/demo.yaml                         what was asked for; change it and make demo again",
        flush=True,
    )
    call("benchmarks/truth.py")


if __name__ == "__main__":
    main()
