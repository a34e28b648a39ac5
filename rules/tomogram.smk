"""A slab of the tomogram that has most picks, for the page: particles are shown over it."""

from stacycle.steps import tomogram


rule tomogram:
    """A slab of a tomogram, for the page to show particles over."""
    input:
        particles=f"{INPUTS}/particles.star",
        tomograms=f"{INPUTS}/tomograms.star",
    output:
        tomogram.FILE,
    log:
        "logs/inputs/tomogram.log",
    benchmark:
        "benchmarks/inputs/tomogram.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("tomogram", 8)
    resources:
        **queue("tomogram"),
        mem_mb=memory(16000),
        runtime=wall_time(60),
    params:
        step="tomogram",
        engine=engine,
        diameter=config["particle"]["diameter"],
    message:
        "Reconstruct a slab of a tomogram, for the page"
    script:
        "../scripts/tomogram.py"
