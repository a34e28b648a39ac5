"""Scoring particles: how much of the other half's map each one's images show; those that show little are left out."""


rule score:
    """Each particle's score against the other half's map."""
    input:
        unpack(before("score", "state", "half_maps")),
    output:
        table="results/{round}/score/scores.tsv",
    log:
        "logs/{round}/score.log",
    benchmark:
        "benchmarks/{round}/score.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("score", 8)
    resources:
        **queue("score"),
        mem_mb=memory(4000),
        runtime=wall_time(120),
    params:
        step="score",
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: score particles"
    script:
        "../scripts/score.py"


checkpoint score_decision:
    """Particles that score low, left out."""
    input:
        unpack(before("score", "state")),
        table="results/{round}/score/scores.tsv",
    output:
        decision="results/{round}/score/decision.json",
        scores="results/{round}/score/scores.star",
        state_file=f"results/{{round}}/score/{STATE_FILE}",
        state="results/{round}/score/optimisation_set.star",
        particles="results/{round}/score/particles.star",
    log:
        "logs/{round}/score/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        cut=setting("score", "cut"),
    message:
        "{wildcards.round}: leave out particles that score low"
    script:
        "../scripts/score_decision.py"
