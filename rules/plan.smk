"""The plan before the run: `snakemake plan` prints which jobs would run where. It runs none."""

from dataclasses import asdict
from functools import cache

from stacycle.preflight import plan

TARGET = snakemake_api.renamed(workflow, "all")


@cache  # Snakemake asks twice for a job's parameters
def planned_jobs():
    jobs = plan.jobs(workflow, recipe, config["engine"], TARGET)
    return [asdict(job) for job in jobs]


rule plan:
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
