"""Bayesian polishing: tilt series realigned by their particles, one run per variant."""


rule polish:
    """A variant of Bayesian polishing of a cycle."""
    input:
        unpack(before_sweep("state", "half_maps", "postprocess", of="polish")),
        mask="results/{round}/{cycle}/mask/mask.mrc",
        pilot=pilot_of("polish"),
        shares=shares_of("polish", "results/{round}/{cycle}/polish/{variant}"),
    output:
        state="results/{round}/{cycle}/polish/{variant}/optimisation_set.star",
        tomograms="results/{round}/{cycle}/polish/{variant}/tomograms.star",
    log:
        "logs/{round}/{cycle}/polish/{variant}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/polish/{variant}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("polish", 8)
    resources:
        **queue("polish"),
        mem_mb=memory(64000),
        runtime=wall_time(1440),
    params:
        step="polish",
        engine=engine,
        box=setting("cycle", "estimation_box"),
        key=lambda wc: f"rounds.{wc.round}.cycle",
        settings=setting("cycle", "polish", "{variant}"),
    message:
        "{wildcards.round}/{wildcards.cycle}: polish, {wildcards.variant}"
    script:
        "../scripts/cycle_variant.py"


use rule polish as polish_share with:
    """polish, for some of the tomograms: one of several such jobs."""
    input:
        unpack(before_sweep("state", "half_maps", "postprocess", of="polish")),
        mask="results/{round}/{cycle}/mask/mask.mrc",
        pilot=pilot_of("polish"),
    output:
        share_of("results/{round}/{cycle}/polish/{variant}"),
    log:
        "logs/{round}/{cycle}/polish/{variant}_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/polish/{variant}_shares/{share}.tsv"
    message:
        "{wildcards.round}/{wildcards.cycle}: polish, {wildcards.variant}, share {wildcards.share}"
