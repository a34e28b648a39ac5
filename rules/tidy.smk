"""Tidying: when a round is finished, what it no longer needs is removed, as far as the config's cleanup allows it."""

from functools import partial

from stacycle import cleanup as tidying

tidied = partial(tidying.targets, recipe, config["cleanup"])


rule tidy:
    input:
        finished=lambda wc: tidying.finished(recipe, wc.round),
    output:
        record="results/{round}/tidy.json",
    log:
        "logs/{round}/tidy.log",
    priority: 50
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        keep=config["cleanup"],
    message:
        "{wildcards.round}: remove what is no longer needed"
    script:
        "../scripts/tidy.py"
