"""The demo, as `make demo` runs it, held against what was simulated."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from itertools import pairwise

import pandas as pd
import pytest
from conftest import ROOT

import page

pytestmark = pytest.mark.slow
RESULTS = ROOT / "demo/results"


@pytest.fixture(scope="module")
def cost() -> dict:
    """Runs the demo; its time and its largest process, if it was not there already."""
    fresh = not (RESULTS / "report.html").exists()
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "scripts/demo.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"minutes": (time.perf_counter() - started) / 60, "GB": usage.ru_maxrss / 2**20} if fresh else {}


@pytest.fixture(scope="module")
def truth(cost: dict) -> dict[str, dict]:
    """What the demo reached at each rung, against the truth."""
    return json.loads((RESULTS / "truth.json").read_text())


def test_junk_is_rejected_and_true_particles_are_kept(truth: dict, record_property) -> None:
    selected = truth["bin4 classes selected"]
    record_property("demo: junk rejected", f"{selected['junk_rejected']:.0%} of {selected['junk_before']}")
    record_property("demo: true particles kept", f"{selected['true_kept']:.0%} of {selected['true_before']}")
    assert selected["junk_rejected"] >= 0.9
    assert selected["true_kept"] >= 0.9


def test_no_rung_of_the_ladder_is_below_the_one_before(truth: dict, record_property) -> None:
    ladder = pd.read_csv(RESULTS / "ladder.tsv", sep="\t")
    record_property("demo: resolutions", ", ".join(f"{v:.1f}" for v in ladder["resolution"]) + " Å")
    shell = ladder["resolution"] ** 2 / (ladder["box"] * ladder["pixel_size"])
    reachable = ladder["resolution"].cummin().shift().clip(lower=ladder["nyquist"])
    assert not (ladder["resolution"] > reachable + 1.01 * shell).any()


def test_no_bin1_map_is_farther_from_the_truth_than_the_one_before(truth: dict, record_property) -> None:
    areas = [row["area"] for rung, row in truth.items() if "cycle" in rung]
    record_property("demo: area under FSC to truth", ", ".join(f"{v:.1f}" for v in areas) + " shells")
    assert all(after > before - 1 for before, after in pairwise(areas))
    assert areas[-1] > areas[0] + 8


def test_classifications_do_no_iterations_in_vain(truth: dict, record_property) -> None:
    told = [json.loads(path.read_text()) for path in RESULTS.glob("bin4/class3d/*/iterations.json")]
    share = 1 - sum(run["iterations"] for run in told) / sum(run["limit"] for run in told)
    record_property("demo: iterations of classifications saved", f"{share:.0%} of {len(told)} runs")
    assert sum(run["iterations"] < run["limit"] for run in told) >= 2


def test_the_page_is_small_and_soon_made(truth: dict, record_property) -> None:
    found = page.measure(str(ROOT / "demo"))
    record_property("demo: its page", ", ".join(f"{value:.3g} {name}" for name, value in found.items()))
    assert found["processor seconds"] < 10
    assert found["MB"] < 4


def test_the_final_map_is_half_as_fine_again_as_that_of_bin4(truth: dict, record_property) -> None:
    bin4, last = truth["bin4 refined"]["fsc05_angst"], truth["bin1 cycle1 polished"]["fsc05_angst"]
    record_property("demo: FSC 0.5 to truth, bin4 and final", f"{bin4:.1f} Å, {last:.1f} Å")
    assert last <= bin4 / 1.5


def rolled_back(round_: str) -> bool:
    """Whether a round's refinement made the poses worse, so that those before it went on."""
    decision = json.loads((RESULTS / round_ / "refine3d_poses/decision.json").read_text())
    return decision["choice"]["poses"] == "before"


def test_finer_rounds_find_finer_angles_and_positions(truth: dict, record_property) -> None:
    rungs = ("bin4 extracted", "bin4 refined", "bin2 refined", "bin1 refined")
    for name in rungs:
        error = f"{truth[name]['angle_deg']:.2f} deg, {truth[name]['position_angst']:.2f} Å"
        record_property(f"demo: pose error, {name}", error)
    steps = list(truth)
    for before, after in (rungs[:2], rungs[1:3]):
        given = steps[steps.index(after) - 1]  # what the refinement began with
        for kind in ("angle_deg", "position_angst"):
            if rolled_back(after.split()[0]):
                assert truth[after][kind] == truth[given][kind]
            else:
                assert truth[after][kind] < truth[before][kind]
    for finest, kind in (("bin1 refined", "angle_deg"), ("bin2 refined", "position_angst")):
        assert truth[finest][kind] < truth["bin4 refined"][kind] < truth["bin4 extracted"][kind]


def test_the_cycle_corrects_tilt_shifts_and_defocus(truth: dict, record_property) -> None:
    first, last = truth["bin4 extracted"], truth["bin1 cycle1 polished"]
    for kind, factor in (("shift_angst", 4), ("defocus_angst", 1.4)):
        record_property(f"demo: error of {kind}, first and last", f"{first[kind]:.1f}, {last[kind]:.1f}")
        assert last[kind] < first[kind] / factor


def test_it_takes_less_than_twelve_minutes_and_six_gigabytes(cost: dict, record_property) -> None:
    if not cost:
        pytest.skip("the demo had been run before; `make clean test` measures it anew")
    record_property("demo: time, largest process", f"{cost['minutes']:.1f} min, {cost['GB']:.1f} GB")
    assert cost["minutes"] < 12
    assert cost["GB"] < 6
