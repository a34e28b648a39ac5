"""Extract your particles: pseudo-subtomograms, written as 2D stacks or in 3D."""


rule extract:
    """Particles, cut out of the tilt series at the binning of the round."""
    input:
        unpack(before("extract", "state")),
        shares=shares_of("extract", "results/{round}/extract"),
    output:
        particles="results/{round}/extract/particles.star",
        state="results/{round}/extract/optimisation_set.star",
    log:
        "logs/{round}/extract.log",
    benchmark:
        "benchmarks/{round}/extract.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("extract", 8)
    resources:
        **queue("extract"),
        mem_mb=memory(16000),
        runtime=wall_time(480),
    params:
        step="extract",
        engine=engine,
        binning=setting("binning"),
        box=setting("box"),
        diameter=diameter_if_auto_box,
        settings=settings("extract"),
    message:
        "{wildcards.round}: extract subtomograms"
    script:
        "../scripts/extract.py"


use rule extract as extract_share with:
    """extract, for some of the tomograms: one of several such jobs."""
    input:
        unpack(before("extract", "state")),
    output:
        share_of("results/{round}/extract"),
    log:
        "logs/{round}/extract_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/extract_shares/{share}.tsv"
    message:
        "{wildcards.round}: extract subtomograms, share {wildcards.share}"
