"""Check your average: the particles reconstructed at the poses that they have."""


rule reconstruct:
    """The average at the poses that the particles have."""
    input:
        unpack(before("reconstruct", "state")),
        shares=shares_of("reconstruct", "results/{round}/{reconstruct}"),
    output:
        map="results/{round}/{reconstruct}/merged.mrc",
    log:
        "logs/{round}/{reconstruct}.log",
    benchmark:
        "benchmarks/{round}/{reconstruct}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("reconstruct", 8)
    resources:
        **queue("reconstruct"),
        mem_mb=memory(16000),
        runtime=wall_time(240),
    params:
        step="reconstruct",
        engine=engine,
        binning=setting("binning"),
        symmetry=symmetry("reconstruct"),
        settings=settings("reconstruct"),
    message:
        "{wildcards.round}: {wildcards.reconstruct} the average"
    script:
        "../scripts/reconstruct.py"


use rule reconstruct as reconstruct_share with:
    """reconstruct, for some of the tomograms: one of several such jobs."""
    input:
        unpack(before("reconstruct", "state")),
    output:
        share_of("results/{round}/{reconstruct}"),
    log:
        "logs/{round}/{reconstruct}_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/{reconstruct}_shares/{share}.tsv"
    message:
        "{wildcards.round}: {wildcards.reconstruct} the average, share {wildcards.share}"
