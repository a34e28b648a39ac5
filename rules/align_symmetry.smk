"""Symmetry: turn map and particles to RELION's axes of the round's point group, and test that the map has it."""


rule align_symmetry:
    """The map turned onto the axes of its point group."""
    input:
        unpack(before("align_symmetry", "resolution", map="reference")),
    output:
        map="results/{round}/align_symmetry/map/aligned.mrc",
    log:
        "logs/{round}/align_symmetry.log",
    benchmark:
        "benchmarks/{round}/align_symmetry.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 1
    resources:
        **queue("align_symmetry"),
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        step="align_symmetry",
        engine=engine,
        symmetry=symmetry("align_symmetry"),
        settings=settings("align_symmetry", "least"),
    message:
        "{wildcards.round}: turn the map to its symmetry axes"
    script:
        "../scripts/align_symmetry.py"


checkpoint align_symmetry_decision:
    """The particles turned as the map was, if it has the symmetry."""
    input:
        unpack(before("align_symmetry", "state", "resolution")),
        map="results/{round}/align_symmetry/map/aligned.mrc",
    output:
        decision="results/{round}/align_symmetry/decision.json",
        state_file=f"results/{{round}}/align_symmetry/{STATE_FILE}",
        state="results/{round}/align_symmetry/optimisation_set.star",
        particles="results/{round}/align_symmetry/particles.star",
        reference="results/{round}/align_symmetry/reference.mrc",
    log:
        "logs/{round}/align_symmetry/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        symmetry=symmetry("align_symmetry"),
        settings=settings("align_symmetry"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: test the symmetry, and turn the particles"
    script:
        "../scripts/align_symmetry_decision.py"
