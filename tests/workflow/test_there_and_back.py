"""Each key of the config turned to another value and back: on the way back no program runs.

The keys are those of the schema. A project whose round has every step is run once; then, for each key, what Snakemake
would start is run with the rules' own scripts, but within this process, and with a stand-in for RELION: as Snakemake
does, a job is started if its parameters, its inputs' names or their contents have changed, and what it declares is
deleted first.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
import runpy
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_relion
import pytest
import yaml
from conftest import overlay
from pydantic import ValidationError
from small_inputs import write_inputs
from snakemake.api import SnakemakeApi
from snakemake.io import is_flagged
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

from stacycle.errors import UserError
from stacycle.files import content, job_folder
from stacycle.jobs import job, kept_outputs
from stacycle.provenance import audit
from stacycle.recipe import config, config_schema
from stacycle.recipe.settings import config_type
from stacycle.recipe.step_settings import is_step

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("there and back")]

ROOT = Path(__file__).parents[2]
STEPS = [
    "extract",
    "reconstruct",
    "align",
    "mask_wide",
    "class3d",
    "select",
    "mask",
    "refine3d",
    "postprocess",
]
STEPS += ["cycle"]
ROUND = {
    "binning": 4,
    "box": 24,
    "steps": STEPS,
    "align": {"T": [1], "iterations": 3},
    "class3d": {"T": [1], "classes": 6, "iterations": 3, "lowpass": 30},
    "cycle": {"ctfrefine": {"unregularised": None, "scale_only": None}, "polish": {"no_motion": None}},
}
ROUNDS = {**dict.fromkeys(("bin4", "bin2", "bin1")), "only": ROUND}
NAMES = {"rounds": "only", "ctfrefine": "regularised", "polish": "motion"}  # what stands for NAME in a key
# Values that make sense for the data, by a key's last name.
FITTING = {
    "diameter": 130,
    "threshold": 0.005,
    "crop": 20,
    "estimation_box": 128,
    "search_range": 3000,
    "classes": [3, 6],
    "choose": -1,
    "alignment": "local",
    "parts": ["head"],
    "sphere": {"center": [0, 0, 0], "radius": 70},
}
# Other values, of which the first that the config allows is taken. Few of them change what a step makes.
VALUES = [
    *(
        False,
        True,
        "redo",
        "embedded",
        "needed",
        "current",
        "tomogram",
        "keep_one",
        "C2",
        "before",
        "T1",
        "T1_K6",
        "other",
    ),
    *(
        STEPS[:-1],
        [2, 3, 5],
        [1, 2],
        ["--bind"],
        "elsewhere/particles.star",
        "elsewhere/tomograms.star",
        None,
    ),
    *(2, 3, 1, 16, 28, 64, 5, 7, 0.5, 15, 30, 300),
]
PICTURES = ("class_montage", "report", "final")  # which are not drawn: no program makes them


class Here:
    """A project that is run within this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, 0
        self.done: dict[tuple[str, ...], Any] = {}
        self.planned: dict[str, list[Any]] = {}
        self.config: dict[str, Any] = {
            "inputs": [{**write_inputs(folder, "set", particles=12), "name": "one", "hand": "auto"}],
            "particle": {"diameter": 120},
            "engine": {"kind": "relion", "scratch": None},
            "rounds": ROUNDS,
        }

    def run(self, changed: dict[str, Any]) -> int:
        """Run all that is due by a config; returns how many programs ran."""
        before = self.programs
        text = json.dumps(changed)
        if text not in self.planned:
            self.planned[text] = self.jobs(changed)
        for one in self.planned[text]:
            self.do(one)
        return self.programs - before

    def jobs(self, changed: dict[str, Any]) -> list[Any]:
        """Snakemake's jobs, in the order of work."""
        configfile = self.folder / "config.yaml"
        configfile.write_text(yaml.safe_dump(changed))
        with (
            redirect_stderr(StringIO()),
            SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api,
        ):
            api_of_workflow = api.workflow(
                resource_settings=ResourceSettings(cores=2),
                config_settings=ConfigSettings(configfiles=[configfile]),
                snakefile=ROOT / "Snakefile",
                workdir=self.folder,
            )
            api_of_workflow.dag(DAGSettings(forceall=True))
            workflow = api_of_workflow._workflow
            workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
            workflow._build_dag()
            return [one for level in workflow.dag.toposorted() for one in level if one.rule.script]

    def do(self, one: Any) -> None:
        """Do a job, if it is due."""
        outputs = tuple(map(str, one.output))
        if self.seen(one) == self.done.get(outputs) and all(map(os.path.exists, outputs)):
            return
        for path in outputs:
            Path(path).unlink(missing_ok=True)
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        if one.rule.name in PICTURES:
            for path in outputs:
                Path(path).write_text("")
            return
        names = ("input", "output", "params", "wildcards", "log", "threads", "resources")
        given = SimpleNamespace(
            config=one.rule.workflow.globals["config"],
            rule=one.rule.name,
            **{name: getattr(one, name) for name in names},
        )
        script = Path(one.rule.basedir.join(one.rule.script).get_path_or_uri(secret_free=False))
        runpy.run_path(str(script), init_globals={"snakemake": given})
        self.done[outputs] = self.seen(one)

    def seen(self, one: Any) -> Any:
        """What a job is started again for, if it changes."""
        inputs = {str(path): is_flagged(path, "ancient") or content.digest(path) for path in one.input}
        return json.dumps([inputs, {name: value for name, value in one.params.items()}], default=str)

    def watch(self, a_job: Any, executed: list[str], run: dict, gpus: Any) -> tuple[int, list[str]]:
        """A program, done by the stand-in."""
        at = next(n for n, word in enumerate(executed) if word.startswith("relion_"))
        self.programs += 1
        (a_job.folder / job_folder.PROGRAM_OUTPUT).touch()
        flags = fake_relion.options(executed[at + 1 :])
        fake_relion.WORK[executed[at]](flags | {"fake maps": str(self.folder / "maps")})
        return 0, []


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """The project, run once."""
    project = Here(tmp_path_factory.mktemp("here"))
    (project.folder / "maps").mkdir()
    (project.folder / "elsewhere").mkdir()
    for name in ("particles.star", "tomograms.star"):
        (project.folder / "elsewhere" / name).write_bytes((project.folder / "set" / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(project.folder):
        read = functools.cache(config.read)  # the default config, a hundred times
        patch.setattr(config, "read", lambda path: copy.deepcopy(read(path)))
        patch.setattr("stacycle.programs.software.resolve", lambda _, argv: list(argv))
        patch.setattr(job._Job, "_watch", lambda self, *words: project.watch(self, *words))
        patch.setattr("stacycle.programs.software.check", lambda *_: "RELION 5.0.1")
        patch.setattr("stacycle.programs.software.version", lambda engine: "5.0.1-commit-73f0a3")
        assert project.run(project.config) > 10
        yield project


def keys(schema: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the schema that has a value of its own."""
    schema = schema.get("items", schema) if "properties" in schema.get("items", {}) else schema
    named = [("NAME", one) for one in schema.get("patternProperties", {}).values()]
    inner = [*schema.get("properties", {}).items(), *named]
    left_out = schema.get("type") == ["object", "null"] and schema.get("default", inner) is None
    if not inner or "anyOf" in schema or left_out:
        yield prefix
        return
    for name, one in inner:
        yield from keys(one, (*prefix, name))


def is_asked(key: tuple[str, ...]) -> bool:
    """Whether a key can have another value here. Of the inputs' keys those of sets that RELION made can: others are
    refused in them. So is a difference of classes in a cycle, and what belongs to steps that the round has not or adds
    one to them."""
    first, *rest = key
    if first == "inputs":
        return rest[0] in ("tomograms", "particles", "name", "hand")
    of_other_step = first == "rounds" and is_step(rest[1]) and rest[1] not in STEPS
    adds_step = first == "rounds" and rest[1:] == ["start"]
    return not of_other_step and not adds_step and rest[1:] != ["cycle", "mask", "difference"]


KEYS = [key for key in keys(config_schema.schema()) if is_asked(key)]


def named(key: tuple[str, ...]) -> list[str]:
    return [NAMES[before] if name == "NAME" else name for before, name in zip(("", *key), key, strict=False)]


def turned(base: dict[str, Any], key: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A config with another value of a key."""
    changed = copy.deepcopy(base)
    at: Any = changed
    for name in named(key)[:-1]:
        at = at.setdefault(name, {})
        at = at[0] if isinstance(at, list) else at
    at[key[-1]] = value
    if key[-1] == "container_args":  # which the config refuses without an image
        changed["engine"]["container"] = "relion.sif"
    return changed


def whole(given: dict[str, Any]) -> dict[str, Any]:
    return config.validate(overlay(config.read(config.DEFAULT), given))


def another(base: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    """The config with the first other value of a key that is allowed."""
    now: Any = whole(copy.deepcopy(base))
    before = copy.deepcopy(now)
    for name in named(key):
        now = now[0] if isinstance(now, list) else now
        now = now.get(name) if isinstance(now, dict) else now
    for value in [*([FITTING[key[-1]]] if key[-1] in FITTING else []), *VALUES]:
        same_kind = value == now and isinstance(value, bool) == isinstance(now, bool)
        if same_kind:
            continue
        changed = turned(base, key, value)
        with contextlib.suppress(UserError, ValidationError):
            laid_over = overlay(config.read(config.DEFAULT), changed)
            config_type(laid_over).model_validate(laid_over)  # which is quick to refuse
            if whole(copy.deepcopy(changed)) != before:
                return changed
    raise AssertionError(f"no other value for {'.'.join(key)}: add one to VALUES")


RAN: dict[str, int] = {}


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_a_key_turned_there_and_back_runs_no_program_on_the_way_back(
    here: Here, key: tuple[str, ...]
) -> None:
    RAN[".".join(key)] = here.run(another(here.config, key))
    assert here.run(here.config) == 0


def test_on_the_way_there_programs_did_run(here: Here) -> None:
    """But for keys that say where programs are and how fast, what stays on disk, and what is decided for."""
    assert sum(number > 0 for number in RAN.values()) > 0.6 * len(KEYS)
    assert audit.audit("results") == []
    assert kept_outputs.altered_outputs("results") == []
