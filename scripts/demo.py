"""The demo: simulate tilt series, average them with the embedded engine, compare with the truth, say where to look."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"


def call(module: str, *arguments: str) -> None:
    """Run a Python module's command line in the project; its failure ends the demo with its exit status."""
    status = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT).returncode
    if status:
        sys.exit(status)


def simulate() -> None:
    """Make the demo's data, unless they are there."""
    if (DEMO / "truth.star").exists() or (DEMO / "set1/truth.star").exists():
        return
    print("Simulating tilt series ...", flush=True)
    flags = yaml.safe_load((ROOT / "config/demo_data.yaml").read_text())
    call("staengine", "simulate", "--o", str(DEMO), *(f"{word}" for pair in flags.items() for word in (f"--{pair[0]}", pair[1])))


def main() -> None:
    started = time.perf_counter()
    simulate()
    call("snakemake", "--profile", "profiles/demo")
    print(f"\nDone in {(time.perf_counter() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
