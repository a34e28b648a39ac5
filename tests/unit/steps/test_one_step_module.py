"""A step is known by its one module: preflight, disk, device, plan, cleanup and report ask it, and list no steps."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stacycle import cleanup, steps
from stacycle.decisions.decision import Decision, write_decision
from stacycle.files import removed
from stacycle.preflight import disk, environment, plan
from stacycle.preflight.plan_table import CONTINUES, RUNS
from stacycle.programs import software
from stacycle.recipe import config, rounds
from stacycle.recipe.flow import Flow
from stacycle.recipe.rounds import Recipe
from stacycle.report import page
from stacycle.report.project import Project
from stacycle.resources.site import Site
from stacycle.steps import registry
from stacycle.steps.sizes import Numbers

# What a new step is, but for its rule, script and keys of the config.
MODULE = '''
"""Blur: a map made worse, by a made-up program."""

from stacycle.resources.site import GPU
from stacycle.steps import sizes
from stacycle.files.removed import PARTS
from stacycle.steps.step import FILES, Step, folder_of


def command(job, engine, reader=FILES):
    state = reader.state(job.input.state[0])
    width = job.params.settings["width"]
    program = ["relion_blur", "--i", job.input.reference, "--box", str(state.box), "--width", str(width)]
    return [*program, "--o", f"{folder_of(job)}/"]


def space(size, settings):
    yield size.need("weight maps", sizes.maps(2, size.image), PARTS)


STEP = Step(
    "blur", "Blurring", command, space=space, device=GPU, last="decision.json", removable={PARTS: ("blur*",)}
)
'''
NUMBERS = Numbers(particles=100, visible_tilts=41, series_pixel=1.91, tomograms=2, tilts=82)
ENGINE = {"kind": "relion", "scratch": None, "pool": 1}


def forget_steps() -> None:
    registry.all_steps.cache_clear()
    registry._by_rule.cache_clear()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict]:
    """A config with the made-up step in its first and only round."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/blur.py").write_text(MODULE)
    monkeypatch.setattr(steps, "__path__", [*steps.__path__, str(tmp_path / "package")])
    monkeypatch.setitem(rounds.FLOW, "blur", Flow(needs=("reference",)))
    (tmp_path / "config.yaml").write_text(
        "inputs: [{tomograms: t, particles: p}]\n"
        "rounds: {bin4: {steps: [extract, reconstruct]}, bin2: null, bin1: null}\n"
    )
    loaded = copy.deepcopy(config.load(config.DEFAULT, tmp_path / "config.yaml"))
    loaded["rounds"]["bin4"]["steps"].append("blur")
    loaded["rounds"]["bin4"]["blur"] = {"width": "auto"}
    monkeypatch.chdir(tmp_path)
    forget_steps()
    yield loaded
    forget_steps()
    sys.modules.pop("stacycle.steps.blur", None)


@pytest.fixture
def recipe(settings: dict) -> Recipe:
    return Recipe.from_config(settings)


def test_preflight_looks_up_its_program_and_flags(settings: dict, recipe: Recipe) -> None:
    assert "relion_blur" in environment.programs(recipe, settings)
    commands = environment.commands(recipe, settings, {"blur": {}})
    assert environment.flags(commands) == {"relion_blur": {"--i", "--box", "--width", "--o"}}


def test_what_it_writes_and_what_of_it_can_go_is_counted(settings: dict, recipe: Recipe) -> None:
    (need,) = (one for one in disk.needed(recipe, settings, NUMBERS) if one.step == "bin4/blur")
    assert need.bytes == pytest.approx(2 * 4 * 84**3, rel=0.01)
    assert need.freed_by == "parts"


def test_its_jobs_go_where_its_device_is(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    site, device = (
        Site({"gpus_per_job": 2, "gpu_job_slurm_partition": "gpu"}),
        registry.all_steps()["blur"].device,
    )
    assert site.gpus(device) == 2
    assert site.resources(device) == {"slurm_partition": "gpu"}
    monkeypatch.setattr(software, "accelerator", lambda engine: "CPU")
    (row,) = environment.check_gpu(ENGINE, {"blur": {"gpu": 2}}, local=True)
    assert row.found.startswith("blur ask for a GPU, which this RELION was built without")


def test_the_plan_asks_what_its_job_would_do(recipe: Recipe) -> None:
    made = Path("results/bin4/blur/decision.json")
    job = SimpleNamespace(rule=SimpleNamespace(params={"step": "blur"}), input=[], output=[str(made)])
    assert registry.command_of(job) is registry.all_steps()["blur"].command
    made.parent.mkdir(parents=True)
    made.touch()
    assert plan._fate(job, ENGINE, [CONTINUES], all_new=True) == (RUNS, None)
    job.rule.params = {}
    assert registry.command_of(job) is None


def test_cleanup_waits_for_it_and_removes_its_files(recipe: Recipe) -> None:
    last = "results/bin4/blur/decision.json"
    assert last in cleanup.finished(recipe, "bin4")
    for path in (*cleanup.finished(recipe, "bin4"), "results/bin4/blur/weight_merged.mrc"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"x")
    (removal,) = cleanup.removals(recipe, {"parts": "needed"}, "bin4")
    cleanup.remove(removal)
    assert removal.files == (Path("results/bin4/blur/weight_merged.mrc"),)
    assert "stacycle redo results/bin4/blur/merged.mrc" in removed.explain_missing(removal.files[0])


def test_the_report_shows_its_decision_under_its_title(recipe: Recipe) -> None:
    decision = Path("results/bin4/blur/decision.json")
    decision.parent.mkdir(parents=True)
    write_decision(decision, Decision("How wide?", {"width": 3}, "rule", "Three is enough."))
    page.write_report("report.html", Project(rounds=recipe.summary(), decisions=[str(decision)]), [])
    shown = Path("report.html").read_text()
    assert shown.index(">Blurring</h3>") < shown.index("Three is enough.")
