"""The report: one page that needs nothing else, whatever of a project is there."""

import json
import shutil
from pathlib import Path

import pytest

from stacycle import plots, report, runs
from stacycle.decisions import (
    Alignment,
    Variant,
    align_iteration,
    align_variant,
    choose_classes,
    class3d_iteration,
    class3d_variant,
    combine,
    mask_threshold,
    with_agreement,
    write_decision,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "data"
ROUND = {
    "name": "bin4",
    "binning": 4,
    "steps": ["extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess"],
}


@pytest.fixture(scope="module")
def golden_results(tmp_path_factory) -> Path:
    """A project folder with a finished bin4 round: RELION's own files, and the decisions made from them."""
    project = tmp_path_factory.mktemp("project")
    results = project / "results"
    bin4 = results / "bin4"
    for step, source in {"align/T1": "align", "class3d/T0.5_K3": "classify", "refine3d": "refine"}.items():
        shutil.copytree(GOLDEN / source, bin4 / step)
    for step in ("postprocess", "mask"):
        shutil.copytree(GOLDEN / step, bin4 / step)
    (bin4 / "extract").mkdir()
    shutil.copy(GOLDEN / "extract/particles.star", bin4 / "extract")
    (results / "inputs").mkdir()
    facts = {"particles": 64, "pixel_size": 5.0, "warnings": ["3 particles are in no tilt image."]}
    tomograms = [{"name": "TS_01", "tilts": 21}, {"name": "TS_02", "tilts": 21}]
    (results / "inputs/preflight.json").write_text(json.dumps(facts | {"tomograms": tomograms}))

    iteration = align_iteration(runs.iterations(bin4 / "align/T1"))
    variant = align_variant([Alignment("T1", 1, 48.0)])
    write_decision(bin4 / "align/decision.json", combine("Alignment", [variant, iteration]))
    consensus = bin4 / "align/T1/run_it005_class001.mrc"
    classes = with_agreement(runs.classes(bin4 / "class3d/T0.5_K3", 10), consensus, 260, 60)
    iteration = class3d_iteration(runs.iterations(bin4 / "class3d/T0.5_K3", maps=False))
    variant = class3d_variant([Variant("T0.5_K3", 0.5, classes)])
    write_decision(bin4 / "class3d/decision.json", combine("Classification", [variant, iteration]))
    chosen = choose_classes(classes)
    write_decision(bin4 / "select/decision.json", chosen)
    plots.class_montage(chosen.candidates, bin4 / "select/classes.png")
    density = plots.read_map(bin4 / "class3d/T0.5_K3/run_it010_class003.mrc")
    write_decision(bin4 / "mask/decision.json", mask_threshold(density, 20, 45, 260))
    return project


@pytest.fixture
def inputs(golden_results, monkeypatch) -> report.Inputs:
    monkeypatch.chdir(golden_results)
    bin4 = "results/bin4"
    return report.Inputs(
        rounds=[ROUND],
        engine="relion",
        preflight="results/inputs/preflight.json",
        particles=[f"{bin4}/extract/particles.star"],
        decisions=[f"{bin4}/{step}/decision.json" for step in ("align", "class3d", "select", "mask")],
        montages=[f"{bin4}/select/classes.png"],
        masks=[f"{bin4}/mask/mask.mrc"],
        refined=[f"{bin4}/refine3d/run_data.star"],
        postprocess=[f"{bin4}/postprocess/postprocess.star"],
        maps=[f"{bin4}/postprocess/postprocess.mrc"],
    )
