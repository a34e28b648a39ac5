"""Bayesian polishing: tilt series realigned by their particles, one run per variant."""


rule polish:
    input:
        state=sweep_start("state", "polish"),
        half_maps=sweep_start("half_maps", "polish"),
        postprocess=sweep_start("postprocess", "polish"),
        mask="results/{round}/{cycle}/mask/mask.mrc",
        decided=decided_before_sweep("polish"),
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
        engine=engine_kind(),
        box=cycle_setting("estimation_box"),
        key=lambda wc: f"rounds.{wc.round}.cycle",
        settings=lambda wc: cycle_setting("polish", wc.variant)(wc),
    message:
        "{wildcards.round}/{wildcards.cycle}: polish, {wildcards.variant}"
    script:
        "../scripts/cycle_variant.py"
