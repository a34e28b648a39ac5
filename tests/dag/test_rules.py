"""What all rules must have in common, asked of the workflow that Snakemake made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from planned import planned

from stacycle import snakemake_api
from stacycle.recipe.rounds import STATE_FILE

# The tutorial with a second cycle, pilots, two alignments in a round that starts from classes, and a hand not known.
CONFIG = {
    "inputs": [{"tomograms": "set/tomograms.star", "particles": "set/particles.star", "hand": "auto"}],
    "particle": {"diameter": 350, "symmetry": "C1"},
    "engine": {"kind": "embedded"},
    "rounds": {
        "bin4": {"cycle": {"repeat": 2, "pilot": 0.25}},
        "bin2": {
            "steps": [
                "extract",
                "reconstruct",
                "align",
                "align_symmetry",
                "mask",
                "refine3d",
                "postprocess",
                "local_resolution",
                "score",
                "duplicates",
                "cycle",
            ],
            "symmetry": "C6",
            "align": {"T": [1, 4], "iterations": 10},
        },
    },
}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "set").mkdir()
    for name in ("tomograms", "particles"):
        (folder / f"set/{name}.star").write_text("data_\n")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    with planned(folder, config) as found:
        yield found


def before(dag: Any, job: Any) -> set[Any]:
    """All jobs that a job needs, however far back."""
    found, waiting = set(), [job]
    while waiting:
        new = set(dag.dependencies[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def before_the_last(dag: Any) -> list[Any]:
    """All jobs but those that none but `all` needs: these take seconds, so it does not matter if they run again."""
    return [job for job in dag.jobs if any(one.rule.name != "all" for one in dag.depending[job])]


def test_each_job_takes_a_file_of_every_decision_before_it(workflow: Any) -> None:
    """Else Snakemake does not look again at whether the job still has to run, when the decision has been made."""
    dag = workflow.dag
    lacking = {
        (job.rule.name, decision.rule.name)
        for job in before_the_last(dag)
        for decision in before(dag, job) - set(dag.dependencies[job])
        if decision.is_checkpoint
    }
    assert lacking == set(), "unpack(before(...)), or another function of rules/common.smk, gives `decided`"


def test_of_a_decisions_files_only_what_tells_its_content_can_make_a_job_run(workflow: Any) -> None:
    dag = workflow.dag
    not_ancient = {
        (job.rule.name, Path(str(file)).name)
        for job in before_the_last(dag)
        for decision, files in dag.dependencies[job].items()
        if decision.is_checkpoint
        for file in job.input
        if str(file) in set(map(str, files)) and "ancient" not in file.flags and Path(file).name != STATE_FILE
    }
    # class3d's table of classes has no numbers that differ between runs but those that the choice is made of
    assert not_ancient == {("class_montage", "classes.tsv"), ("select", "classes.tsv")}


def test_a_job_that_uses_a_decisions_files_runs_again_where_it_chose_otherwise(workflow: Any) -> None:
    dag = workflow.dag
    stale = {
        (job.rule.name, decision.rule.name)
        for job in before_the_last(dag)
        for decision, files in dag.dependencies[job].items()
        if decision.is_checkpoint and {Path(str(file)).name for file in files} - {STATE_FILE, "classes.tsv"}
        if not any(
            str(file) in set(map(str, files))
            and Path(file).name == STATE_FILE
            and "ancient" not in file.flags
            for file in job.input
        )
    }
    assert stale == set()


def test_rules_that_can_be_queued_name_their_step_which_is_their_own_name(workflow: Any) -> None:
    """A rule made of another one (`use rule`) would otherwise have that one's command line."""
    steps = {
        rule.name: rule.params.get("step")
        for rule in workflow.rules
        if not snakemake_api.is_short(workflow, rule)
    }
    assert steps == {name: name.removesuffix("_share") for name in steps}
    assert {"inputs", "align", "class3d", "variant_postprocess"} <= set(steps)


def test_what_people_show_is_in_snakemakes_own_report_with_a_caption(workflow: Any) -> None:
    shown = {
        re.sub(r",[^}]*", "", str(file)): Path(file.flags["report"].caption.get_path_or_uri(secret_free=True))
        for rule in workflow.rules
        for file in rule.output
        if "report" in file.flags
    }
    of_project = {"report.html", "ladder.tsv", "final/fsc.png", "final/map.png"}
    of_rounds = {"{round}/{select}/classes.png", "{round}/parts/parts.png"}
    assert set(shown) == {f"results/{name}" for name in of_project | of_rounds}
    assert [caption for caption in shown.values() if not caption.read_text().strip()] == []


def test_each_rule_says_what_it_is_for_in_a_line(workflow: Any) -> None:
    """`snakemake --list` shows it."""
    said = {rule.name: (rule.docstring or "").strip() for rule in workflow.rules}
    assert [name for name, text in said.items() if not text or "\n" in text or len(text) > 80] == []
    assert len(set(said.values())) == len(said)
