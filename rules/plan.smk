"""The plan before the run: `snakemake plan` prints which jobs would run where. It runs none."""

from dataclasses import asdict
from functools import cache

from stacycle.preflight import plan

TARGET = snakemake_api.renamed(workflow, "all")


# Snakemake asks twice for a job's parameters.
planned_jobs = cache(
    lambda: [
        asdict(job) for job in plan.jobs(workflow, recipe, config["engine"], TARGET)
    ]
)


rule plan:
    """What would run, where, and what it may take: prints, and runs nothing."""
    log:
        "logs/plan.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        jobs=lambda wc: planned_jobs(),
        limits=lambda wc: asdict(plan.limits(workflow)),
    message:
        "Plan the run"
    script:
        "../scripts/plan.py"
