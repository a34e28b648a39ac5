"""Creating a mask, with a threshold found from the map itself."""


rule mask:
    """A soft mask of the newest map, with its threshold."""
    input:
        unpack(before("mask", "resolution", map="reference")),
        earlier=earlier_mask("mask"),
        shape=mask_shape("mask"),
    output:
        mask="results/{round}/{mask}/mask.mrc",
        decision="results/{round}/{mask}/decision.json",
    log:
        "logs/{round}/{mask}.log",
    benchmark:
        "benchmarks/{round}/{mask}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 4
    resources:
        **queue("mask"),
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        step="mask",
        engine=engine,
        diameter=config["particle"]["diameter"],
        key=lambda wc: f"rounds.{wc.round}.{wc.mask}",
        settings=asked_shape(settings("mask")),
    message:
        "{wildcards.round}: create {wildcards.mask}"
    script:
        "../scripts/mask.py"
