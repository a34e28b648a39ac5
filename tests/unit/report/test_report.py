"""The report: one page that needs nothing else, whatever of a project is there."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from stacycle.decisions import (
    BEFORE,
    Alignment,
    Candidate,
    Variant,
    align_iteration,
    align_variant,
    choose_classes,
    class3d_iteration,
    class3d_variant,
    combine,
    cycle_variant,
    mask_threshold,
    with_agreement,
    write_decision,
)
from stacycle.files import relion_output, star
from stacycle.report import figures
from stacycle.report import page as report_page
from stacycle.steps.registry import all_steps

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
ROUND = {
    "name": "bin4",
    "binning": 4,
    "steps": [
        "extract",
        "reconstruct",
        "align",
        "class3d",
        "select",
        "mask",
        "refine3d",
        "postprocess",
        "cycle",
    ],
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
    facts = {"particles": 70, "pixel_size": 5.0, "warnings": ["3 particles are in no tilt image."]}
    tomograms = [{"name": "TS_01", "tilts": 21}, {"name": "TS_02", "tilts": 21}]
    (results / "inputs/preflight.json").write_text(json.dumps(facts | {"tomograms": tomograms}))

    iteration = align_iteration(relion_output.iterations(bin4 / "align/T1"))
    variant = align_variant([Alignment("T1", 1, 48.0)])
    write_decision(bin4 / "align/decision.json", combine("Alignment", [variant, iteration]))
    consensus = bin4 / "align/T1/run_it005_class001.mrc"
    classes = with_agreement(relion_output.classes(bin4 / "class3d/T0.5_K3", 10), consensus, 260, 60)
    iteration = class3d_iteration(relion_output.iterations(bin4 / "class3d/T0.5_K3", maps=False))
    variant = class3d_variant([Variant("T0.5_K3", 0.5, classes)])
    write_decision(bin4 / "class3d/decision.json", combine("Classification", [variant, iteration]))
    chosen = choose_classes(classes)
    write_decision(bin4 / "select/decision.json", chosen)
    figures.class_montage(chosen.candidates, bin4 / "select/classes.png")
    density = figures.read_map(bin4 / "class3d/T0.5_K3/run_it010_class003.mrc")
    write_decision(bin4 / "mask/decision.json", mask_threshold(density, 20, 45, 260))
    for state in ("refine3d/run_optimisation_set.star", "cycle1/polish/optimisation_set.star"):
        files = star.OptimisationSet(str(bin4 / "extract/particles.star"), "tomograms.star")
        star.write_optimisation_set(bin4 / state, files)
    cycle_of(bin4 / "cycle1")
    return project


def cycle_of(folder: Path) -> None:
    """RELION's cycle of golden/: CTF refinement that is no better, so rolled back, then polishing that is."""
    before = folder / "postprocess/postprocess.star"
    before.parent.mkdir(parents=True)
    density, mask = (f"results/bin4/{path}" for path in ("postprocess/postprocess.mrc", "mask/mask.mrc"))
    text = (GOLDEN / "cycle/before/postprocess.star").read_text()
    text = text.replace("cycle/before/postprocess.mrc", density).replace("cycle/mask/mask.mrc", mask)
    before.write_text(text)
    sweeps = {
        "ctfrefine": {"defocus": "ctf_post"},
        "polish": {"motion": "polish_post", "stiff": "", "shift": "before"},
    }
    for sweep, variants in sweeps.items():
        candidates = []
        for name, source in variants.items():
            path = folder / sweep / name / "postprocess/postprocess.star"
            path.parent.mkdir(parents=True)
            path.write_text((GOLDEN / f"cycle/{source}/postprocess.star").read_text() if source else "")
            failed = "" if source else "relion_tomo_align was killed: give it more memory."
            candidates.append(Candidate(name, relion_output.fsc(path) if source else None, failed=failed))
        decision = cycle_variant(Candidate(BEFORE, relion_output.fsc(before)), candidates)
        write_decision(folder / sweep / "decision.json", decision)
        if (kept := decision.choice["variant"]) != BEFORE:
            text = (folder / sweep / kept / "postprocess/postprocess.star").read_text()
        before = folder / sweep / "postprocess.star"
        before.write_text(text)


BIN4 = "results/bin4"


def rung(
    label: str, folder: str, state: str, cycle: int = 1, binning: int = 1, decision: str | None = None
) -> dict:
    return {
        "round": "bin4",
        "binning": binning,
        "label": label,
        "cycle": cycle,
        "postprocess": f"{BIN4}/{folder}/postprocess.star",
        "state": f"{BIN4}/{state}",
        "decision": f"{BIN4}/{decision}/decision.json" if decision else None,
    }


REFINED, POLISHED = "refine3d/run_optimisation_set.star", "cycle1/polish/optimisation_set.star"
RUNGS = [
    rung("Refine3D, post-processed", "postprocess", REFINED, cycle=0, binning=4),
    rung("Reconstruct bin1", "cycle1/postprocess", REFINED),
    rung("CTF refinement", "cycle1/ctfrefine", REFINED, decision="cycle1/ctfrefine"),
    rung("Polishing", "cycle1/polish", POLISHED, decision="cycle1/polish"),
]
INPUTS = report_page.Inputs(
    rounds=[ROUND],
    rungs=RUNGS,
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


def write(path: Path | str, inputs: report_page.Inputs) -> None:
    report_page.write_report(path, inputs, report_page.ladder(inputs))


@pytest.fixture
def inputs(golden_results, monkeypatch) -> report_page.Inputs:
    monkeypatch.chdir(golden_results)
    return replace(INPUTS, missing=[])


@pytest.fixture(scope="module")
def page(golden_results) -> str:
    """The page of the whole project."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(golden_results)
        write("results/report.html", INPUTS)
    return (golden_results / "results/report.html").read_text()


@pytest.fixture
def unrendered(monkeypatch):
    """Figures that are built but not drawn, where a test is about something else."""
    monkeypatch.setattr(figures, "_save", lambda figure, file: file.write(b"PNG"))


def test_the_headline_tells_resolution_particles_binning_and_engine(page):
    cards = dict(re.findall(r'class="card"><span>(.*?)</span><b>(.*?)</b>', page))
    assert cards == {
        "Resolution": "28.24 Å",
        "Particles": "64",
        "Binning": "1",
        "Tomograms": "2",
        "Engine": "RELION 5",
    }


def test_every_step_of_the_round_has_its_part(page):
    headings = re.findall("<h3.*?>(.*?)</h3>", page)
    assert headings == [*(all_steps()[step].title for step in ROUND["steps"][2:-1]), "Cycle 1"]
    assert re.findall("<h4>(.*?) <small>(.*?)</small>", page) == [
        ("Reconstruct bin1", "30.00 Å"),
        ("CTF refinement", "30.00 Å"),
        ("Polishing", "28.24 Å"),
    ]
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    # Two steps have curves by iteration, two sweeps have FSC curves.
    assert len(captions) == len(set(captions)) + 2 == 12


def test_every_link_leads_to_a_part_of_the_page(page):
    ids = re.findall(r' id="(.*?)"', page)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="#(.*?)"', page)
    assert set(links) == set(ids)


def test_the_page_says_first_what_was_kept_rolled_back_lost_and_what_comes_next(page):
    short = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert short["Reached"] == (
        "From 40.00 Å (bin4, Refine3D, post-processed) to 28.24 Å (bin4, Polishing, cycle 1)."
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
    (failed,) = re.findall(r"<tr><td[^>]*>stiff</td>.*?</tr>", page)
    assert "failed: relion_tomo_align was killed" in failed
    assert failed.count("<td") == 2  # the cause stands where the numbers would be
    assert re.search(r"<tr class=chosen><td[^>]*>motion</td>", page)


def test_a_sweeps_curves_are_those_that_finished_and_the_state_before(
    inputs, tmp_path, monkeypatch, unrendered
):
    drawn = []
    monkeypatch.setattr(
        figures, "sweep_figure", lambda results, kept, file: drawn.append((list(results), kept))
    )
    monkeypatch.setattr(report_page, "_image", lambda png, caption: "")
    write(tmp_path / "report.html", inputs)
    assert drawn == [([BEFORE, "defocus"], BEFORE), ([BEFORE, "motion", "shift"], "motion")]
    assert not inputs.missing


def test_decisions_and_warnings_are_told(page):
    assert "the finest resolution that was held" in page
    assert "3 particles are in no tilt image." in page
    assert "if there is junk" in page
    assert page.count('class="decision') == 6
    assert "<b>bin4/cycle1/polish</b> stiff failed and was left out" in page


def test_the_page_needs_nothing_else(page):
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', page)
    assert "<script" not in page
    assert "url(" not in page


def test_numbers_that_are_none_are_not_shown_as_nan(page):
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)


@pytest.mark.parametrize(
    "lost",
    ["preflight", "particles", "decisions", "montages", "masks", "refined", "postprocess", "maps", "rungs"],
)
def test_a_missing_part_is_left_out(inputs, tmp_path, unrendered, lost):
    nowhere = {"rungs": [rung("Polishing", "no", "such", decision="no/such")], "preflight": "no/such"}
    gone = replace(inputs, **{lost: nowhere.get(lost, ["results/bin4/no/such"])})
    write(tmp_path / "report.html", gone)
    assert "<h1>" in (tmp_path / "report.html").read_text()


def test_an_empty_project_gives_a_page(tmp_path):
    write(tmp_path / "report.html", report_page.Inputs())
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_a_damaged_file_is_named_on_the_page(inputs, tmp_path, unrendered):
    broken = tmp_path / "results" / "bin4" / "postprocess" / "postprocess.star"
    broken.parent.mkdir(parents=True)
    broken.write_text("nothing\n")
    write(tmp_path / "report.html", replace(inputs, postprocess=[str(broken)]))
    assert f"<li>{broken}" in (tmp_path / "report.html").read_text()


def test_a_cycle_that_was_not_run_is_left_out(inputs, tmp_path, unrendered):
    nowhere = rung("Reconstruct bin1", "cycle2/postprocess", POLISHED, cycle=2)
    write(tmp_path / "report.html", replace(inputs, rungs=[*RUNGS, nowhere]))
    page = (tmp_path / "report.html").read_text()
    assert "Cycle 1" in page
    assert "Cycle 2" not in page
    assert page.count(f"<li>{nowhere['postprocess']}") == 1


def test_names_are_escaped(inputs, tmp_path, unrendered):
    write(tmp_path / "report.html", replace(inputs, engine="<b>"))
    assert "&lt;b&gt;" in (tmp_path / "report.html").read_text()


def test_the_ladder_has_one_rung_per_postprocess(inputs, tmp_path):
    report_page.write_ladder(tmp_path / "ladder.tsv", report_page.ladder(inputs))
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


def test_an_empty_ladder_has_its_columns(inputs, tmp_path):
    report_page.write_ladder(tmp_path / "empty.tsv", report_page.ladder(report_page.Inputs()))
    empty = pd.read_csv(tmp_path / "empty.tsv", sep="\t")
    assert list(empty.columns) == list(report_page.ladder(inputs).columns)


def ladder_of(folder: Path, *steps: tuple[int, float, str]) -> pd.DataFrame:
    """The ladder of maps of (binning, resolution, mask), with 2 Å pixels at binning 1."""
    rungs = []
    for number, (binning, resolution, mask) in enumerate(steps):
        path = folder / f"{number}/postprocess.star"
        nyquist, shells = 4 * binning, 48 // binning
        frequency = [max(k, 0.01) / (nyquist * shells) for k in range(shells + 1)]
        curves = {"rlnResolution": frequency, "rlnAngstromResolution": [1 / f for f in frequency]}
        general = star.simple(rlnFinalResolution=resolution, rlnMaskName=mask)
        star.write(path, {"general": general, "fsc": pd.DataFrame(curves)})
        found = rung("Polishing", "", "", cycle=1 if binning == 1 else 0, binning=binning)
        rungs.append(found | {"postprocess": str(path), "state": str(path)})
    rounds = [{"name": f"bin{binning}", "binning": binning, "steps": []} for binning in (4, 2)]
    return report_page.ladder(report_page.Inputs(rounds=rounds, rungs=rungs))


def test_the_finest_rung_is_named_if_it_is_not_the_last(tmp_path):
    said = report_page._reached(ladder_of(tmp_path, (1, 7, "m"), (1, 5, "m"), (1, 6, "m")))
    assert said.endswith("; the finest was 5.00 Å (bin4, Polishing, cycle 1).")
    assert report_page._reached(ladder_of(tmp_path, (1, 7, "m"))) == "7.00 Å (bin4, Polishing, cycle 1)."


def test_at_nyquist_the_ladder_says_to_go_on_unless_the_data_end_there(tmp_path):
    notes = ladder_of(tmp_path, (4, 16, "m"), (2, 8, "m"), (1, 4.1, "m"), (1, 4, "m"))["note"]
    assert list(notes) == [
        "Nyquist of binning 4: go on to bin2",
        "Nyquist of binning 2: go on to a finer binning",
        "",
        "Nyquist of binning 1: the data's own limit",
    ]


def test_a_coarser_rung_is_said_and_what_makes_it_not_comparable(tmp_path):
    rows = ladder_of(
        tmp_path, (1, 5, "m"), (1, 6, "m"), (1, 7, "other"), (2, 9, "other"), (2, 8, "m"), (1, 5, "m")
    )
    assert list(rows["note"]) == [
        "",
        "coarser than the step before, 5.00 Å",
        "coarser than the step before, 6.00 Å (not quite comparable: another mask)",
        "coarser than the step before, 7.00 Å (not quite comparable: another binning and box)",
        "Nyquist of binning 2: go on to a finer binning",
        "",
    ]


def test_a_coarser_rung_and_notes_on_the_config_are_among_the_warnings(tmp_path):
    inputs = report_page.Inputs(notes=["rounds.bin2: not finer."])
    report_page.write_report(tmp_path / "report.html", inputs, ladder_of(tmp_path, (1, 5, "m"), (1, 6, "m")))
    warnings = re.search('class="warnings">(.*?)</section>', (tmp_path / "report.html").read_text())[1]
    assert "rounds.bin2: not finer." in warnings
    assert "coarser than the step before, 5.00 Å" in warnings


def test_a_map_that_cannot_show_what_was_reached_before_is_not_called_coarser(tmp_path):
    note = ladder_of(tmp_path, (1, 5, "m"), (2, 8, "m"))["note"][1]
    assert note.startswith("the step before had 5.00 Å, which this binning cannot show; Nyquist of binning 2")


@pytest.mark.parametrize(
    ("binning", "last", "said"),
    [
        (1, {"at_nyquist": True}, "the data's own limit"),
        (4, {"cycle": 0, "binning": 4, "at_nyquist": True, "kept": ""}, "add cycle to rounds.bin4.steps"),
        (4, {}, "add a round of binning 2 after bin4"),
        (1, {"kept": "motion"}, "rounds.bin4.cycle.repeat: 2"),
        (1, {"kept": "rolled back"}, "another one of the same particles will hardly help"),
    ],
)
def test_what_comes_next_follows_from_the_last_rung(inputs, binning, last, said):
    row = {"round": "bin4", "cycle": 1, "binning": 1, "at_nyquist": False, "nyquist": 4, "kept": "motion"}
    rounds = [{"name": "bin4", "binning": binning, "steps": []}]
    assert said in report_page._next(replace(inputs, rounds=rounds), pd.DataFrame([row | last]))


def test_a_round_that_stops_early_is_what_comes_next(inputs):
    row = {"round": "bin4", "cycle": 1, "binning": 1, "at_nyquist": False, "nyquist": 4, "kept": "motion"}
    rounds = [ROUND, {"name": "bin2", "binning": 2, "steps": ["extract"]}]
    assert "let rounds.bin2.steps go as far as cycle" in report_page._next(
        replace(inputs, rounds=rounds), pd.DataFrame([row])
    )
