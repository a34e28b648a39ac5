"""Cleanup: remove what a finished round no longer needs, as far as the config's `cleanup` asks for it."""

from stacycle import cleanup


rule cleanup:
    """What a finished round no longer needs, removed as the config allows."""
    input:
        finished=lambda wc: cleanup.finished(recipe, wc.round),
    output:
        record="results/{round}/cleanup.json",
    log:
        "logs/{round}/cleanup.log",
    priority: 50
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        settings=config["cleanup"],
    message:
        "{wildcards.round}: remove what is no longer needed"
    script:
        "../scripts/cleanup.py"
