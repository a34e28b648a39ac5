"""Symmetry expansion: a copy of each particle for every rotation of its point group, to look at one subunit of each."""


rule expand:
    """A copy of each particle for each position that the symmetry makes alike."""
    input:
        unpack(before("expand", "state")),
    output:
        state="results/{round}/{expand}/optimisation_set.star",
        particles="results/{round}/{expand}/particles.star",
        copies="results/{round}/{expand}/copies/particles.star",
    log:
        "logs/{round}/{expand}.log",
    benchmark:
        "benchmarks/{round}/{expand}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 1
    resources:
        **queue("expand"),
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        step="expand",
        engine=engine,
        symmetry=symmetry("expand"),
        settings=settings("expand"),
    message:
        "{wildcards.round}: {wildcards.expand} the particles by their symmetry"
    script:
        "../scripts/expand.py"
