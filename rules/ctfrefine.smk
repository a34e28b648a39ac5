"""CTF refinement: defocus and contrast scale of the tilt images, one run per variant."""


rule ctfrefine:
    """A variant of CTF refinement of a cycle."""
    input:
        unpack(before_sweep("state", "half_maps", "postprocess", of="ctfrefine")),
        mask="results/{round}/{cycle}/mask/mask.mrc",
        pilot=pilot_of("ctfrefine"),
        shares=shares_of("ctfrefine", "results/{round}/{cycle}/ctfrefine/{variant}"),
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
        step="ctfrefine",
        engine=engine,
        box=setting("cycle", "estimation_box"),
        key=lambda wc: f"rounds.{wc.round}.cycle",
        settings=setting("cycle", "ctfrefine", "{variant}"),
    message:
        "{wildcards.round}/{wildcards.cycle}: refine the CTF, {wildcards.variant}"
    script:
        "../scripts/cycle_variant.py"


use rule ctfrefine as ctfrefine_share with:
    """ctfrefine, for some of the tomograms: one of several such jobs."""
    input:
        unpack(before_sweep("state", "half_maps", "postprocess", of="ctfrefine")),
        mask="results/{round}/{cycle}/mask/mask.mrc",
        pilot=pilot_of("ctfrefine"),
    output:
        share_of("results/{round}/{cycle}/ctfrefine/{variant}"),
    log:
        "logs/{round}/{cycle}/ctfrefine/{variant}_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/ctfrefine/{variant}_shares/{share}.tsv"
    message:
        "{wildcards.round}/{wildcards.cycle}: refine the CTF, {wildcards.variant}, share {wildcards.share}"
