"""Removing duplicates: of particles that have come to lie on one place, the best one stays."""


checkpoint duplicates:
    """Particles that came to lie on one place: the best of each stays."""
    input:
        unpack(before("duplicates", "state", "scores")),
    output:
        decision="results/{round}/duplicates/decision.json",
        removed="results/{round}/duplicates/duplicates.star",
        state_file=f"results/{{round}}/duplicates/{STATE_FILE}",
        state="results/{round}/duplicates/optimisation_set.star",
        particles="results/{round}/duplicates/particles.star",
    log:
        "logs/{round}/duplicates.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        distance=setting("duplicates", "distance"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: remove particles that lie on one place"
    script:
        "../scripts/duplicates.py"
