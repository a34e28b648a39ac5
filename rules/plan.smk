"""The plan before the run: `snakemake plan` prints which jobs would run where. It runs none."""

from dataclasses import asdict

from stacycle.preflight import plan

TARGET = snakemake_api.renamed(workflow, "all")


rule plan:
    log:
        "logs/plan.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        jobs=lambda wc: [
            asdict(job)
            for job in plan.jobs(workflow, recipe, config["engine"], TARGET)
        ],
        limits=lambda wc: asdict(plan.limits(workflow)),
    message:
        "Plan the run"
    script:
        "../scripts/plan.py"
