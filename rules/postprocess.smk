"""Post-processing: the resolution by masked FSC, and a sharpened map."""


rule postprocess:
    input:
        half_maps=half_maps_before("postprocess"),
        mask=mask_before("postprocess"),
        decided=decided_before("postprocess"),
    output:
        star="results/{round}/postprocess/postprocess.star",
        map="results/{round}/postprocess/postprocess.mrc",
        masked="results/{round}/postprocess/postprocess_masked.mrc",
    log:
        "logs/{round}/postprocess.log",
    benchmark:
        "benchmarks/{round}/postprocess.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 1
    resources:
        **queue("postprocess"),
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        engine=engine_kind(),
        settings=settings("postprocess"),
    message:
        "{wildcards.round}: post-process"
    script:
        "../scripts/postprocess.py"
