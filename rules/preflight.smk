"""Preflight: is all there that the run needs? By hand (`snakemake preflight`), and before the first job of every run."""

import sys

from stacycle.jobs import redo
from stacycle.preflight import preflight


# Before any job starts and any output is deleted: a mistake in an added set costs nothing that is there.
onstart:
    if workflow.local_exec and site.pool is None:
        raise WorkflowError(
            "--jobs is for queues: give a run on this machine --cores alone."
        )
    asked = preflight.asked_by(workflow.dag.needrun_jobs(), RENAMED)
    report = preflight.run(
        config,
        recipe,
        asked,
        configfiles=workflow.configfiles,
        local=workflow.local_exec,
        limit=site.limit,
    )
    preflight.show(report)
    if report.of(preflight.PROBLEM):
        raise WorkflowError(
            f"Nothing was started: see the problems in {preflight.TABLE}."
        )
    if set(asked) - {"plan", "preflight"}:
        redo.note_command(sys.argv[1:], workflow.workdir_init)


rule preflight:
    log:
        "logs/preflight.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        asked=lambda wc: preflight.asked_by(workflow.rules, RENAMED),
        configfiles=[str(path) for path in workflow.configfiles],
        local=lambda wc: workflow.local_exec,
        limit=site.limit,
    message:
        "Check the data and the set-up"
    script:
        "../scripts/preflight.py"
