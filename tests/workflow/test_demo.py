"""The demo, as `make demo` runs it, held against what was simulated."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from stacycle import runs

pytestmark = pytest.mark.slow
DEMO = ROOT / "demo"


@pytest.fixture(scope="module")
def truth(request: pytest.FixtureRequest) -> dict:
    """What the demo reached at each stage; its time and memory are there too if it was run anew."""
    fresh = not (DEMO / "results/report.html").exists()
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "scripts/demo.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((DEMO / "results/truth.json").read_text())
    if fresh:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        found["seconds"] = time.perf_counter() - started
        found["GB"] = usage.ru_maxrss / 2**20
    return found


def test_junk_is_rejected_and_true_particles_are_kept(truth: dict, record_property) -> None:
    selected = truth["good classes selected"]
    record_property("demo: junk rejected", f"{selected['junk_rejected']:.0%} of {selected['junk_before']}")
    record_property("demo: true particles kept", f"{selected['true_kept']:.0%} of {selected['true_before']}")
    assert selected["junk_rejected"] >= 0.9
    assert selected["true_kept"] >= 0.9


def test_the_resolution_is_nyquist_or_one_shell_short(truth: dict, record_property) -> None:
    result = runs.fsc(DEMO / "results/bin4/postprocess/postprocess.star")
    record_property("demo: final resolution, Nyquist", f"{result.resolution:.1f} Å, {result.nyquist:.1f} Å")
    assert result.resolution <= result.fsc["resolution"].iloc[-2] * 1.001


def test_refinement_brings_poses_and_map_nearer_to_the_truth(truth: dict, record_property) -> None:
    refined = truth["refined"]
    area = {stage: sum(row["fsc"]["A"]["fsc"]) for stage, row in truth.items() if isinstance(row, dict)}
    for stage in ("as picked", "good classes selected"):
        assert area["refined"] > area[stage]
        assert refined["angle_deg"] < truth[stage]["angle_deg"]
        assert refined["position_angst"] < truth[stage]["position_angst"]
    for stage in ("as picked", "refined"):
        row = truth[stage]
        error = f"{row['angle_deg']:.2f} deg, {row['position_angst']:.2f} Å"
        record_property(f"demo: pose error, {stage}", error)


def test_it_takes_less_than_five_minutes_and_four_gigabytes(truth: dict, record_property) -> None:
    if "seconds" not in truth:
        pytest.skip("the demo had been run before; `make clean test` measures it anew")
    record_property("demo: time, largest process", f"{truth['seconds']:.0f} s, {truth['GB']:.1f} GB")
    assert truth["seconds"] < 300
    assert truth["GB"] < 4
