"""Check your average: the particles reconstructed at the poses that they have."""


rule reconstruct:
    input:
        unpack(before("reconstruct", "state")),
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
