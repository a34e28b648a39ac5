"""`snakemake -n` on a project where nothing has been done prints every job of every round."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project, computing_seconds
from planned import planned

TUTORIAL = {
    "inputs": [
        {"tomograms": "gain1/tomograms.star", "particles": "gain1/particles.star"},
        {"tomograms": "gain2/tomograms.star", "particles": "gain2/particles.star"},
    ],
    "particle": {"diameter": 350},
}
VARIANTS = {
    ("refine the CTF", "ctfrefine"): ("regularised", "unregularised", "scale_only"),
    ("polish", "polish"): ("motion", "no_motion"),
}


def refined(round_: str) -> set[str]:
    """The jobs from new images to a refined, post-processed map."""
    steps = ("extract subtomograms", "reconstruct the average", "create mask")
    return {f"{round_}: {step}" for step in (*steps, "refine3d, two independent halves", "postprocess")}


def classified(round_: str) -> set[str]:
    steps = ("choose T and iteration of class3d", "show the classes for select", "select good classes")
    runs = {f"{round_}: class3d without alignment, T{T}_K6" for T in ("0.5", "1", "2", "4")}
    return {f"{round_}: {step}" for step in steps} | runs


def cycled(round_: str, cycle: str = "cycle1") -> set[str]:
    steps = ["reconstruct the half maps at bin 1", "create the bin1 mask", "post-process the reference"]
    for (program, sweep), names in VARIANTS.items():
        for verb in (program, f"reconstruct after {sweep}", f"post-process after {sweep}"):
            steps += [f"{verb}, {name}" for name in names]
        steps.append(f"keep the best of {sweep}, or what was before")
    return {f"{round_}/{cycle}: {step}" for step in steps}


def compared(round_: str, step: str, *poses: str) -> set[str]:
    """The jobs that compare the poses after a step with those before, of which averages are made."""
    jobs = {f"{round_}: keep the poses after {step}, or those before it"}
    for one in poses:
        jobs |= {
            f"{round_}: particles of {step} with the poses {one} it",
            f"{round_}: reconstruct with the poses {one} {step}",
        }
    return jobs


ALL_JOBS = (
    {"Check and merge the inputs", "Write the report", "Put the final map together"}
    | {"Reconstruct a slab of a tomogram, for the page"}
    | {"bin4: align for a few iterations, to know the accuracy of angles"}
    | {"bin4: align to one reference, T1", "bin4: choose the alignment's T and iteration"}
    | {"bin4: score particles", "bin4: leave out particles that score low"}
    | compared("bin4", "align", "before", "after") | compared("bin4", "refine3d", "before", "after")
    | compared("bin2", "refine3d", "after") | compared("bin1", "refine3d", "after")
    | refined("bin4") | classified("bin4") | cycled("bin4")
    | refined("bin2") | classified("bin2") | cycled("bin2")
    | refined("bin1") | cycled("bin1")
)  # fmt: skip


@pytest.fixture
def tutorial(tmp_path: Path) -> Project:
    """The tutorial's config with inputs that exist, which is all that a dry run wants."""
    for one in TUTORIAL["inputs"]:
        for path in one.values():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text("data_\n")
    return Project(tmp_path, TUTORIAL)


def planning_seconds(project: Project, change: dict | None = None) -> tuple[float, int]:
    """Seconds of computing that a dry run takes, and the number of jobs that it plans."""
    project.cold = True
    before = computing_seconds()
    jobs = project.jobs(change)
    return computing_seconds() - before, len(jobs)


def test_the_tutorial_config_plans_every_job_of_its_three_rounds(tutorial: Project) -> None:
    assert set(tutorial.jobs()) == ALL_JOBS


@pytest.mark.slow
def test_planning_the_tutorial_takes_less_than_eight_seconds_of_computing(
    tutorial: Project, record_property: Callable
) -> None:
    seconds, jobs = planning_seconds(tutorial)
    record_property("snakemake -n, the tutorial's three rounds", f"{seconds:.1f} s for {jobs} jobs")
    assert seconds < 8


@pytest.mark.slow
def test_a_start_imports_nothing_that_only_jobs_need(tutorial: Project) -> None:
    python, *words = tutorial.command("--dry-run")
    done = subprocess.run([python, "-X", "importtime", *words], capture_output=True, text=True, cwd="/")
    assert "stacycle.inputs" in done.stderr
    assert not {"scipy", "matplotlib", "mrcfile"} & {
        line.split("|")[2].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


@pytest.mark.slow
def test_planning_six_rounds_of_twenty_variants_takes_less_than_thirty_seconds(
    tutorial: Project, record_property: Callable
) -> None:
    names = [f"v{n}" for n in range(20)]
    tutorials = {"ctfrefine": VARIANTS["refine the CTF", "ctfrefine"], "polish": VARIANTS["polish", "polish"]}
    cycle = {sweep: dict.fromkeys(left_out) for sweep, left_out in tutorials.items()}
    cycle["ctfrefine"] |= {name: {"search_range": 1000 + n} for n, name in enumerate(names)}
    cycle["polish"] |= {name: {"sigma_velocity": 0.1 + n / 100} for n, name in enumerate(names)}
    steps = ["extract", "reconstruct", "mask", "refine3d", "postprocess", "class3d", "select", "cycle"]
    more = {"binning": 2, "steps": steps, "class3d": {"T": [0.5 + n / 10 for n in range(20)]}, "cycle": cycle}
    rounds = {"bin4": {"cycle": cycle}, "bin2": more, "bin1": None} | {f"more{n}": more for n in range(4)}
    seconds, jobs = planning_seconds(tutorial, {"rounds": rounds})
    record_property("snakemake -n, six rounds of 20 variants a sweep", f"{seconds:.1f} s for {jobs} jobs")
    assert jobs > 850
    assert seconds < 30


def test_a_cycle_is_planned_as_often_as_it_is_repeated(tutorial: Project) -> None:
    jobs = set(tutorial.jobs({"rounds": {"bin4": {"cycle": {"repeat": 2}}}}))
    assert jobs == ALL_JOBS | cycled("bin4", "cycle2")


def test_a_round_that_is_no_finer_than_the_one_before_it_is_planned_and_said(tutorial: Project) -> None:
    done = tutorial.snakemake("--dry-run", change={"rounds": {"bin2": {"binning": 4}}})
    assert done.returncode == 0
    said = " ".join((done.stdout + done.stderr).split())  # Snakemake breaks long lines
    assert "rounds.bin2: its binning 4 is not finer than the 4 of bin4" in said


def test_a_shorter_recipe_plans_just_its_steps(tutorial: Project) -> None:
    steps = ["extract", "reconstruct", "mask", "refine3d", "postprocess"]
    filters = {"mask": {"lowpass": 50}, "refine3d": {"lowpass": 60}}
    jobs = tutorial.jobs({"rounds": {"bin4": {"steps": steps, **filters}, "bin2": None, "bin1": None}})
    assert len(jobs) == 9 + len(compared("bin4", "refine3d", "before", "after"))
    assert not any("class" in job or "align" in job for job in jobs)


def test_a_sweep_over_T_and_K_plans_one_job_per_pair(tutorial: Project) -> None:
    rounds = {"bin4": {"class3d": {"T": [0.2, 1], "classes": [3, 6]}}, "bin2": None, "bin1": None}
    jobs = tutorial.jobs({"rounds": rounds})
    swept = sorted(job.split()[-1] for job in jobs if "class3d without" in job)
    assert swept == ["T0.2_K3", "T0.2_K6", "T1_K3", "T1_K6"]


def test_a_classification_that_may_end_early_is_gone_on_with_only_where_an_iteration_is_named(
    tutorial: Project,
) -> None:
    """By the config or as a target of Snakemake's; with alignment the last iteration is known before."""
    one = {"bin4": {"class3d": {"T": [1], "classes": 6}}, "bin2": None, "bin1": None}
    run, further = "bin4: class3d without alignment, T1_K6", ", as far as iteration "

    def runs(*target: str, **class3d: object) -> set[str]:
        change = {"rounds": {**one, "bin4": {"class3d": one["bin4"]["class3d"] | class3d}}}
        return {job for job in tutorial.jobs(change, *target) if "class3d with" in job}

    assert runs() == {run} == runs(stop_early=False)
    assert runs(iteration=19) == {run, f"{run}{further}019"}
    last = "results/bin4/class3d/T1_K6/run_it025_data.star"
    assert runs("--", last) == {run, f"{run}{further}025"}
    assert runs("--", last, alignment="local") == {"bin4: class3d with alignment, T1_K6"}


def test_what_a_user_sets_for_a_step_holds_for_its_shares_and_for_how_it_goes_on(tutorial: Project) -> None:
    """As a profile's set-threads and set-resources; what is set for one of these by itself holds."""
    tutorial.command()  # writes the config
    given = {
        "overwrite_threads": {"class3d": 3, "extract": 5},
        "overwrite_resources": {"class3d": {"mem_mb": 123}, "extract": {"runtime": 7, "mem_mb": 9}}
        | {"extract_share": {"runtime": 6}},
    }
    with planned(tutorial.folder, tutorial.folder / "config.yaml", **given) as workflow:
        asked = {rule.name: rule.resources for rule in workflow.rules}
        names = ("class3d", "class3d_further", "extract", "extract_share")
        assert [asked[name]["_cores"].value for name in names] == [3, 3, 5, 5]
        assert [asked[name]["mem_mb"].value for name in names] == [123, 123, 9, 9]
        assert [asked[name]["runtime"].value for name in names[2:]] == [7, 6]
        assert asked["class3d_aligned"]["_cores"].is_evaluable()


@pytest.mark.parametrize(
    ("settings", "names"),
    [({"seeds": 2}, ("seed1", "seed2")), ({"reference": "emd.mrc"}, ("given", "mirrored"))],
)
def test_an_initial_model_is_planned_from_several_seeds_or_both_hands_of_a_map(
    tutorial: Project, settings: dict, names: tuple[str, str]
) -> None:
    (tutorial.folder / "emd.mrc").touch()
    steps = ["extract", "initial_model", "align", "reconstruct"]
    bin4 = {"steps": steps, "initial_model": settings, "align": {"local_range": None}}
    jobs = set(tutorial.jobs({"rounds": {"bin4": bin4, "bin2": None, "bin1": None}}))
    assert {f"bin4: initial model, {name}" for name in names} | {"bin4: choose the initial model"} <= jobs


def test_steps_of_one_kind_and_parts_are_planned_each_in_a_folder_of_its_own(tutorial: Project) -> None:
    before = ["extract", "reconstruct", "mask", "refine3d", "postprocess", "class3d", "select"]
    states = ["class3d_states", "select_states", "refine3d_states", "postprocess_states"]
    head = ["mask_head", "class3d_head", "select_head", "refine3d_head", "postprocess_head"]
    settings = {"class3d_states": {"T": [3], "classes": 2}, "class3d_head": {"T": [1], "classes": 2}}
    bin2 = {"binning": 2, "steps": [*before, *states, *head], "parts": ["head"], **settings}
    jobs = set(tutorial.jobs({"rounds": {"bin2": bin2, "bin1": None}}))
    assert {
        f"bin2: {what}"
        for name in ("states", "head")
        for what in (
            f"class3d_{name} without alignment, T{3 if name == 'states' else 1}_K2",
            f"choose T and iteration of class3d_{name}",
            f"select_{name} good classes",
            f"refine3d_{name}, two independent halves",
            f"keep the poses after refine3d_{name}, or those before it",
            f"postprocess_{name}",
        )
    } <= jobs
    assert {"bin2: create mask_head", "bin2: show the parts together"} <= jobs


def test_a_symmetry_found_late_is_planned_and_copies_of_particles_in_a_part(tutorial: Project) -> None:
    steps = ["extract", "reconstruct", "align_symmetry", "mask", "refine3d", "postprocess"]
    head = ["expand_head", "mask_head", "class3d_head", "select_head"]
    classes = {"class3d_head": {"T": [1], "classes": 2}}
    bin2 = {"binning": 2, "symmetry": "C6", "steps": [*steps, *head], "parts": ["head"], **classes}
    jobs = tutorial.jobs({"particle": {"symmetry": "C1"}, "rounds": {"bin2": bin2, "bin1": None}})
    assert jobs.index("bin2: expand_head the particles by their symmetry") < jobs.index(
        "bin2: class3d_head without alignment, T1_K2"
    )
    assert jobs.index("bin2: turn the map to its symmetry axes") < jobs.index(
        "bin2: test the symmetry, and turn the particles"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rounds": {"bin4": {"align": {"iteratons": 5}}}}, "rounds.bin4.align.iteratons"),
        ({"particle": {"diameter": "big"}}, "particle.diameter"),
        ({"rounds": {"bin4": {"steps": ["extract", "refine3d"]}}}, "refine3d needs a reference map"),
        ({"rounds": {"bin4": {"steps": ["extract", "reconstruct", "select"]}}}, "select needs class3d"),
        ({"rounds": {"bin4": {"steps": ["extract", "reconstruct", "cycle"]}}}, "cycle needs half sets"),
        ({"rounds": {"bin4": {"cycle": {"polish": {"a": {}}}}}}, "rounds.bin4.cycle.polish.a: is empty"),
        ({"rounds": {"bin4": {"cycle": {"polish": {"a": {"motion": True}}}}}}, "a is the same as motion"),
        ({"inputs": None}, "inputs"),
    ],
)
def test_a_mistake_in_the_config_is_one_sentence_and_a_failure(
    tutorial: Project, change: dict, sentence: str
) -> None:
    done = tutorial.snakemake("--dry-run", change=change)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_demo_config_is_valid() -> None:
    from stacycle.recipe.config import load

    config = load(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")
    assert config["engine"]["kind"] == "embedded"
    assert (
        yaml.safe_load((ROOT / "profiles/demo/profile.yaml").read_text())["configfile"] == "config/demo.yaml"
    )
