"""CTF refinement: defocus and contrast scale of the tilt images, one run per variant."""


rule ctfrefine:
    input:
        state=sweep_start("state", "ctfrefine"),
        half_maps=sweep_start("half_maps", "ctfrefine"),
        postprocess=sweep_start("postprocess", "ctfrefine"),
        mask="results/{round}/{cycle}/mask/mask.mrc",
        decided=decided_before_sweep("ctfrefine"),
    output:
        state="results/{round}/{cycle}/ctfrefine/{variant}/optimisation_set.star",
        tomograms="results/{round}/{cycle}/ctfrefine/{variant}/tomograms.star",
    log:
        "logs/{round}/{cycle}/ctfrefine/{variant}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/ctfrefine/{variant}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("ctfrefine", 8)
    resources:
        **queue("ctfrefine"),
        mem_mb=memory(64000),
        runtime=wall_time(1440),
    params:
        engine=engine_kind(),
        box=cycle_setting("estimation_box"),
        key=lambda wc: f"rounds.{wc.round}.cycle",
        settings=lambda wc: cycle_setting("ctfrefine", wc.variant)(wc),
    message:
        "{wildcards.round}/{wildcards.cycle}: refine the CTF, {wildcards.variant}"
    script:
        "../scripts/cycle_variant.py"
