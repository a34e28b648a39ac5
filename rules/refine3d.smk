"""3D refinement of two independent half sets."""


rule refine3d:
    """A refinement of two independent half sets."""
    input:
        unpack(
            before("refine3d", "state", "reference", "mask", "resolution", "accuracy")
        ),
    output:
        data="results/{round}/{refine3d}/run_data.star",
        model="results/{round}/{refine3d}/run_model.star",
        state="results/{round}/{refine3d}/run_optimisation_set.star",
        map="results/{round}/{refine3d}/run_class001.mrc",
        half1="results/{round}/{refine3d}/run_half1_class001_unfil.mrc",
        half2="results/{round}/{refine3d}/run_half2_class001_unfil.mrc",
    log:
        "logs/{round}/{refine3d}.log",
    benchmark:
        "benchmarks/{round}/{refine3d}.tsv"
    priority: 1  # before CPU steps that would take all cores while a GPU is idle
    conda:
        "../envs/conda.yaml"
    threads: cores("refine3d", 8)
    resources:
        **queue("refine3d"),
        mem_mb=memory(64000),
        runtime=wall_time(1440),
    params:
        step="refine3d",
        engine=engine,
        symmetry=symmetry("refine3d"),
        settings=settings("refine3d", *DECIDED),
    message:
        "{wildcards.round}: {wildcards.refine3d}, two independent halves"
    script:
        "../scripts/refine3d.py"
