"""Local resolution: how far each part of the post-processed map reaches, and the map filtered by that."""


rule local_resolution:
    """How far each part of a map reaches, and the map filtered by that."""
    input:
        unpack(before("local_resolution", "half_maps", "mask")),
        fsc=post_processed,
    output:
        map="results/{round}/{local_resolution}/relion_locres.mrc",
        filtered="results/{round}/{local_resolution}/relion_locres_filtered.mrc",
        decision="results/{round}/{local_resolution}/decision.json",
        histogram="results/{round}/{local_resolution}/histogram.png",
        slices="results/{round}/{local_resolution}/slices.png",
        colours="results/{round}/{local_resolution}/local_resolution.cxc",
    log:
        "logs/{round}/{local_resolution}.log",
    benchmark:
        "benchmarks/{round}/{local_resolution}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("local_resolution", 8)
    resources:
        **queue("local_resolution"),
        mem_mb=memory(16000),
        runtime=wall_time(480),
    params:
        step="local_resolution",
        engine=engine,
        diameter=config["particle"]["diameter"],
        key=lambda wc: f"rounds.{wc.round}.{wc.local_resolution}",
        settings=settings("local_resolution"),
    message:
        "{wildcards.round}: {wildcards.local_resolution}"
    script:
        "../scripts/local_resolution.py"
