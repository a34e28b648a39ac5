"""The report: one page that needs nothing else, whatever of a project is there."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
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


BIN4 = "results/bin4"
INPUTS = report.Inputs(
    rounds=[ROUND],
    engine="relion",
    preflight="results/inputs/preflight.json",
    particles=[f"{BIN4}/extract/particles.star"],
    decisions=[f"{BIN4}/{step}/decision.json" for step in ("align", "class3d", "select", "mask")],
    montages=[f"{BIN4}/select/classes.png"],
    masks=[f"{BIN4}/mask/mask.mrc"],
    refined=[f"{BIN4}/refine3d/run_data.star"],
    postprocess=[f"{BIN4}/postprocess/postprocess.star"],
    maps=[f"{BIN4}/postprocess/postprocess.mrc"],
)


@pytest.fixture
def inputs(golden_results, monkeypatch) -> report.Inputs:
    monkeypatch.chdir(golden_results)
    return replace(INPUTS, missing=[])


@pytest.fixture(scope="module")
def page(golden_results) -> str:
    """The page of the whole project."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(golden_results)
        report.write_report("results/report.html", INPUTS)
    return (golden_results / "results/report.html").read_text()


@pytest.fixture
def unrendered(monkeypatch):
    """Figures that are built but not drawn, where a test is about something else."""
    monkeypatch.setattr(plots, "_save", lambda figure, file: file.write(b"PNG"))


def test_the_headline_tells_resolution_particles_binning_and_engine(page):
    cards = dict(re.findall(r'class="card"><span>(.*?)</span><b>(.*?)</b>', page))
    assert cards == {
        "Resolution": "40.00 Å",
        "Particles": "64",
        "Binning": "4",
        "Tomograms": "2",
        "Engine": "RELION 5",
    }


def test_every_step_of_the_round_has_its_part(page):
    headings = re.findall("<h3>(.*?)</h3>", page)
    assert headings == [report.STEPS[step] for step in ROUND["steps"] if step in report.STEPS]
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert len(captions) == len(set(captions)) + 1 == 8  # two steps have curves by iteration


def test_decisions_and_warnings_are_told(page):
    assert "the finest resolution that was held" in page
    assert "3 particles are in no tilt image." in page
    assert "if there is junk" in page
    assert page.count('class="decision"') == 4


def test_the_page_needs_nothing_else(page):
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,)', page)
    assert "<script" not in page
    assert "url(" not in page


def test_numbers_that_are_none_are_not_shown_as_nan(page):
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)


@pytest.mark.parametrize(
    "lost", ["preflight", "particles", "decisions", "montages", "masks", "refined", "postprocess", "maps"]
)
def test_a_missing_part_is_left_out(inputs, tmp_path, unrendered, lost):
    empty = None if lost == "preflight" else []
    report.write_report(tmp_path / "report.html", replace(inputs, **{lost: empty}))
    gone = replace(inputs, **{lost: "no/such" if lost == "preflight" else ["results/bin4/no/such"]})
    report.write_report(tmp_path / "report.html", gone)
    assert "<h1>" in (tmp_path / "report.html").read_text()


def test_an_empty_project_gives_a_page(tmp_path):
    report.write_report(tmp_path / "report.html", report.Inputs())
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_a_damaged_file_is_named_on_the_page(inputs, tmp_path, unrendered):
    broken = tmp_path / "results" / "bin4" / "postprocess" / "postprocess.star"
    broken.parent.mkdir(parents=True)
    broken.write_text("nothing\n")
    report.write_report(tmp_path / "report.html", replace(inputs, postprocess=[str(broken)]))
    assert f"<li>{broken}" in (tmp_path / "report.html").read_text()


def test_names_are_escaped(inputs, tmp_path, unrendered):
    report.write_report(tmp_path / "report.html", replace(inputs, engine="<b>"))
    assert "&lt;b&gt;" in (tmp_path / "report.html").read_text()


def test_the_ladder_has_one_rung_per_postprocess(inputs, tmp_path):
    report.write_ladder(tmp_path / "ladder.tsv", inputs)
    (rung,) = pd.read_csv(tmp_path / "ladder.tsv", sep="\t").to_dict("records")
    assert rung == {
        "step": "bin4",
        "binning": 4,
        "box": 24,
        "pixel_size": 20,
        "particles": 64,
        "resolution": 40,
        "nyquist": 40,
        "at_nyquist": True,
    }
    write_empty = report.Inputs()
    report.write_ladder(tmp_path / "empty.tsv", write_empty)
    assert list(pd.read_csv(tmp_path / "empty.tsv", sep="\t").columns) == list(rung)
