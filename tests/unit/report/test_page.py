"""The report: one page that needs nothing else, whatever of a project is there."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from golden_project import POLISHED, PROJECT, STEPS, SVG, make, step

import stacycle
from stacycle.decisions.cycle import Candidate
from stacycle.decisions.decision import BEFORE, write_decision
from stacycle.decisions.pilot import pilot
from stacycle.files import relion_output
from stacycle.report import curve_figures, drawing, resolution
from stacycle.report.page import write_report
from stacycle.report.project import Project
from stacycle.steps.registry import all_steps


def write(path: Path | str, project: Project) -> None:
    write_report(path, project, resolution.resolutions(project))


@pytest.fixture(scope="module")
def golden_results(tmp_path_factory) -> Path:
    """The folder of the whole project."""
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(golden_results, monkeypatch) -> Project:
    monkeypatch.chdir(golden_results)
    return replace(PROJECT, unreadable=[])


@pytest.fixture(scope="module")
def page(golden_results) -> str:
    """The page of the whole project."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(golden_results)
        write("results/report.html", PROJECT)
    return (golden_results / "results/report.html").read_text()


@pytest.fixture
def unrendered(monkeypatch):
    """Figures that are built but not drawn, where a test is about something else."""
    monkeypatch.setattr(drawing, "save", lambda figure, file: file.write(SVG))


def test_the_headline_tells_resolution_particles_binning_and_engine(page):
    cards = dict(re.findall(r'class="card"[^>]*><span>(.*?)</span><b>(.*?)</b>', page))
    assert cards == {
        "Resolution": "28.24 Å",
        "Particles": "64",
        "Binning": "1",
        "Tomograms": "2",
        "Engine": "RELION 5",
    }


def test_every_step_of_the_round_has_its_part(page):
    headings = re.findall("<h3.*?>(.*?)</h3>", page)
    assert headings == [*(all_steps()[step].title for step in PROJECT.rounds[0]["steps"][2:-1]), "Cycle 1"]
    assert re.findall("<h4[^>]*>(.*?) <small>(.*?)</small>", page) == [
        ("Reconstruct bin1", "30.00 Å"),
        ("CTF refinement", "30.00 Å"),
        ("Polishing", "28.24 Å"),
    ]
    captions = re.findall("<figcaption>(.*?)<", page)
    # Two steps have curves by iteration, two sweeps have FSC curves.
    assert len(captions) == len(set(captions)) + 2 == 15


def test_every_link_leads_to_a_part_of_the_page(page):
    ids = re.findall(r'<(?:h3|section|header|details) id="(.*?)"', page)
    assert len(ids) == len(set(ids))
    links = re.findall(r'<a (?:class="up" )?href="#(.*?)"', page)
    assert set(links) == set(ids) - {"commands"}


def test_what_a_figure_uses_of_itself_is_in_it(page):
    for svg in re.findall("<svg role.*?</svg>", page, re.DOTALL):
        assert set(re.findall(r'(?:url\(|href=")#([\w.-]+)', svg)) == set(re.findall(r' id="(.*?)"', svg))


def test_the_page_says_first_what_was_kept_rolled_back_lost_and_what_comes_next(page):
    short = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert short["Reached"] == (
        "From 40.00 Å (bin4, Refine3D, post-processed) to 28.24 Å (bin4, Polishing, cycle 1) "
        "(not quite comparable: another binning, box and mask)."
    )
    assert short["Kept"] == "bin4, Polishing, cycle 1: motion, 30.00 → 28.24 Å."
    assert short["Rolled back"] == "bin4, CTF refinement, cycle 1: the state before stays, 30.00 Å."
    assert short["Particles"] == (
        "bin4, extraction: 64 of 70; 6 are in too few tilt images.<br>"
        "bin4, selection: 64 of 64; classes 1, 2 and 3 kept, 0 rejected."
    )
    assert "a round of binning 2" in short["What next"]


def test_a_sweep_shows_its_outcome_and_why_a_variant_failed(page):
    assert "<b>Rolled back</b> <i>by the rule</i><br>Rolled back: no variant beats" in page
    assert "<b>Kept: motion</b> <i>by the rule</i><br>motion is the best" in page
    (failed,) = re.findall(r"<tr[^>]*><td[^>]*>stiff</td>.*?</tr>", page)
    assert "failed: relion_tomo_align was killed" in failed
    assert failed.count("<td") == 2  # the cause stands where the numbers would be
    assert re.search(r"<tr class=chosen><td[^>]*>motion</td>", page)


def test_a_sweeps_pilot_says_which_variants_it_ended_and_by_what(project, tmp_path, unrendered):
    sweep = Path("results/bin4/cycle1/polish")
    fscs = {
        name: relion_output.fsc(sweep / name / "postprocess/postprocess.star") for name in ("motion", "shift")
    }
    decision = pilot([Candidate("motion", fscs["motion"]), Candidate("shift", fscs["shift"])], of=4)
    assert decision.choice == {"variants": ["motion"]}, "the other one can be ended"
    write_decision("results/bin4/cycle1/polish_pilot/decision.json", decision)
    write(tmp_path / "report.html", project)
    page = (tmp_path / "report.html").read_text()
    before, _, after = page.partition("<b>Pilot of polish</b> <i>by the rule</i>")
    assert "Kept: motion" in before
    assert "On 1/4 of the tomograms, by the integral of the corrected FSC" in after
    (ended,) = re.findall(r"<tr[^>]*><td[^>]*>shift</td>.*?</tr>", after)
    assert re.search(r"ended early: on 1/4 of the tomograms .* is [\d.]+ of \d+ shells below", ended)


def test_a_sweeps_curves_are_those_that_finished_and_the_state_before(
    project, tmp_path, monkeypatch, unrendered
):
    drawn, draw = [], curve_figures.sweep_figure

    def sweep(results, kept, path):
        drawn.append((list(results), kept))
        draw(results, kept, path)

    monkeypatch.setattr(curve_figures, "sweep_figure", sweep)
    write(tmp_path / "report.html", project)
    assert drawn == [([BEFORE, "defocus"], BEFORE), ([BEFORE, "motion", "shift"], "motion")]
    assert not project.unreadable


def test_decisions_and_warnings_are_reported(page):
    assert "the finest resolution that was held" in page
    assert "3 particles are in no tilt image." in page
    assert "if there is junk" in page
    assert page.count('class="decision') == 6
    assert '<a href="#bin4-cycle1">bin4/cycle1/polish</a> stiff failed and was left out' in page


def test_the_page_needs_nothing_else(page):
    assert not re.findall(r'(?:src|href)="(?!data:(?:image/png;base64)?,|#)', page)
    assert not re.findall(r"url\((?!#)|@import|<link(?! rel=\"icon\" href=\"data:)|fetch\(", page)


def test_the_wheel_packs_all_that_the_page_is_made_of():
    source = Path(stacycle.__file__).parent
    patterns = tomllib.loads((source.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {path for one in patterns["package-data"]["stacycle"] for path in source.glob(one)}
    assert {path for path in (source / "report").iterdir() if path.suffix in (".js", ".css", ".j2")} <= packed


def test_numbers_that_are_none_are_not_shown_as_nan(page):
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)


@pytest.mark.parametrize(
    "lost",
    [
        *("preflight", "particles", "decisions", "montages", "masks", "refined", "postprocess", "maps"),
        "steps_with_resolution",
    ],
)
def test_a_missing_part_is_left_out(project, tmp_path, unrendered, lost):
    steps = [step("Polishing", "no", "such", decision="no/such")]
    nowhere = {"steps_with_resolution": steps, "preflight": "no/such"}
    gone = replace(project, **{lost: nowhere.get(lost, ["results/bin4/no/such"])})
    write(tmp_path / "report.html", gone)
    assert "<h1>" in (tmp_path / "report.html").read_text()


def test_classes_whose_maps_were_removed_are_shown_by_the_picture_made_before(project, tmp_path, unrendered):
    maps = list(Path("results/bin4/class3d").rglob("*class00*.mrc"))
    for path in maps:
        path.rename(f"{path}.gone")
    try:
        write(tmp_path / "report.html", project)
    finally:
        for path in maps:
            Path(f"{path}.gone").rename(path)
    page = (tmp_path / "report.html").read_text()
    assert '<figure class="classes"' not in page
    assert '<figure class="picture"><img alt="Central slices of the classes, whose maps were removed"' in page


def test_an_empty_project_gives_a_page(tmp_path):
    write(tmp_path / "report.html", Project())
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_a_damaged_file_is_named_on_the_page(project, tmp_path, unrendered):
    broken = tmp_path / "results" / "bin4" / "postprocess" / "postprocess.star"
    broken.parent.mkdir(parents=True)
    broken.write_text("nothing\n")
    write(tmp_path / "report.html", replace(project, postprocess=[str(broken)]))
    assert f"<li>{broken}" in (tmp_path / "report.html").read_text()


def test_a_cycle_that_was_not_run_is_left_out(project, tmp_path, unrendered):
    nowhere = step("Reconstruct bin1", "cycle2/postprocess", POLISHED, cycle=2)
    write(tmp_path / "report.html", replace(project, steps_with_resolution=[*STEPS, nowhere]))
    page = (tmp_path / "report.html").read_text()
    assert "Cycle 1" in page
    assert "Cycle 2" not in page
    assert page.count(f"<li>{nowhere['postprocess']}") == 1


def test_names_are_escaped(project, tmp_path, unrendered):
    write(tmp_path / "report.html", replace(project, engine="<b>"))
    assert "&lt;b&gt;" in (tmp_path / "report.html").read_text()


def test_the_table_has_one_row_per_postprocess(project, tmp_path):
    resolution.write_table(tmp_path / "ladder.tsv", resolution.resolutions(project))
    rungs = pd.read_csv(tmp_path / "ladder.tsv", sep="\t", keep_default_na=False).to_dict("records")
    area = rungs[0].pop("area")
    assert rungs[0] == {
        "round": "bin4",
        "step": "Refine3D, post-processed",
        "cycle": 0,
        "binning": 4,
        "resolution": 40,
        "nyquist": 40,
        "at_nyquist": True,
        "kept": "",
        "particles_in": 70,
        "particles": 64,
        "box": 24,
        "pixel_size": 20,
        "mask": "mask/mask.mrc",
        "mask_volume": "",
        "state": "results/bin4/refine3d/run_optimisation_set.star",
        "note": "Nyquist of binning 4: go on to a finer binning",
    }
    assert 0 < area < 12
    assert [row["step"] for row in rungs[1:]] == [
        f"{name}, cycle 1" for name in ("Reconstruct bin1", "CTF refinement", "Polishing")
    ]
    assert [(row["resolution"], row["box"], row["kept"]) for row in rungs[1:]] == [
        (30, 96, ""),
        (30, 96, "rolled back"),
        (28.2353, 96, "motion"),
    ]
    assert [row["particles_in"] for row in rungs[1:]] == [64] * 3


def test_an_empty_table_has_its_columns(project, tmp_path):
    resolution.write_table(tmp_path / "empty.tsv", [])
    empty = pd.read_csv(tmp_path / "empty.tsv", sep="\t")
    assert list(empty.columns) == list(resolution.to_table(resolution.resolutions(project)).columns)
