"""3D multi-body: bodies that move against each other, from the refinement before, and the principal components of that."""


rule multibody:
    """A multi-body refinement, and how the bodies moved."""
    input:
        unpack(bodies_and_consensus),
    output:
        data="results/{round}/multibody/run_data.star",
        model="results/{round}/multibody/run_model.star",
        decision="results/{round}/multibody/decision.json",
        picture="results/{round}/multibody/motions.png",
    log:
        "logs/{round}/multibody.log",
    benchmark:
        "benchmarks/{round}/multibody.tsv"
    priority: 1  # before CPU steps that would take all cores while a GPU is idle
    conda:
        "../envs/conda.yaml"
    threads: cores("multibody", 8)
    resources:
        **queue("multibody"),
        mem_mb=memory(64000),
        runtime=wall_time(1440),
    params:
        step="multibody",
        engine=engine,
        key=lambda wc: f"rounds.{wc.round}.multibody",
        settings=settings("multibody"),
    message:
        "{wildcards.round}: multi-body refinement, two independent halves"
    script:
        "../scripts/multibody.py"
