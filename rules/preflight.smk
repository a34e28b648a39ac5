"""Preflight: check data and set-up, by hand (`snakemake preflight`) and before the first job of every run."""

from stacycle.preflight import preflight
from stacycle.progress import begin

run_journal = None  # of this run, from its start on


# Before any job starts and any output is deleted: a mistake in an added set costs no earlier result.
onstart:
    here = snakemake_api.runs_here(workflow)
    if here and site.pool is None:
        raise WorkflowError(
            "--jobs is for queues: give a run on this machine --cores alone."
        )
    jobs = snakemake_api.jobs_to_start(workflow)
    report = preflight.run(
        config,
        recipe,
        preflight.asked_by(jobs),
        configfiles=snakemake_api.configfiles(workflow),
        local=here,
        limit=site.limit,
    )
    preflight.show(report)
    if report.of(preflight.PROBLEM):
        raise WorkflowError(
            f"Nothing was started: see the problems in {preflight.TABLE}."
        )
    if any(job.output for job in jobs):  # not the plan or preflight alone
        global run_journal
        run_journal = begin.begin(workflow, config)


onsuccess:
    for warning in begin.end(run_journal, True, config):
        logger.warning(warning)


onerror:
    for warning in begin.end(run_journal, False, config):
        logger.warning(warning)


rule preflight:
    """All that is missing or wrong, before anything runs."""
    log:
        "logs/preflight.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        asked=lambda wc: preflight.asked_by(workflow.rules),
        configfiles=snakemake_api.configfiles(workflow),
        local=lambda wc: snakemake_api.runs_here(workflow),
        limit=site.limit,
    message:
        "Check the data and the set-up"
    script:
        "../scripts/preflight.py"
