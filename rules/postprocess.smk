"""Post-processing: the resolution by masked FSC, and a sharpened map."""


rule postprocess:
    """The resolution by masked FSC, and a sharpened map."""
    input:
        unpack(before("postprocess", "half_maps", "mask")),
    output:
        star="results/{round}/{postprocess}/postprocess.star",
        map="results/{round}/{postprocess}/postprocess.mrc",
        masked="results/{round}/{postprocess}/postprocess_masked.mrc",
    log:
        "logs/{round}/{postprocess}.log",
    benchmark:
        "benchmarks/{round}/{postprocess}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 1
    resources:
        **queue("postprocess"),
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        step="postprocess",
        engine=engine,
        settings=settings("postprocess"),
    message:
        "{wildcards.round}: {wildcards.postprocess}"
    script:
        "../scripts/postprocess.py"
