"""3D initial model, for picks without angles: several from other random seeds; or a map of one's own in both hands."""


rule initial_model:
    """An initial model without a reference, of one seed or hand."""
    input:
        unpack(before("initial_model", "state")),
        reference=own_map,
    output:
        data="results/{round}/initial_model/{variant}/run_it{iteration}_data.star",
        model="results/{round}/initial_model/{variant}/run_it{iteration}_model.star",
        optimiser="results/{round}/initial_model/{variant}/run_it{iteration}_optimiser.star",
        state="results/{round}/initial_model/{variant}/run_it{iteration}_optimisation_set.star",
    log:
        "logs/{round}/initial_model/{variant}_it{iteration}.log",
    benchmark:
        "benchmarks/{round}/initial_model/{variant}_it{iteration}.tsv"
    priority: 1  # on a GPU
    conda:
        "../envs/conda.yaml"
    threads: cores("initial_model", 8)
    resources:
        **queue("initial_model"),
        mem_mb=memory(32000),
        runtime=wall_time(1440),
    params:
        step="initial_model",
        engine=engine,
        settings=settings("initial_model", "seeds", "agreement"),
        variant=lambda wc: models(recipe.settings(wc.round, "initial_model"))[
            wc.variant
        ],
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: initial model, {wildcards.variant}"
    script:
        "../scripts/initial_model.py"


checkpoint initial_model_decision:
    """The initial model that goes on, chosen."""
    input:
        unpack(before("initial_model")),
        runs=last_models,
    output:
        decision="results/{round}/initial_model/decision.json",
        state_file=f"results/{{round}}/initial_model/{STATE_FILE}",
        state="results/{round}/initial_model/optimisation_set.star",
        particles="results/{round}/initial_model/particles.star",
        reference="results/{round}/initial_model/reference.mrc",
    log:
        "logs/{round}/initial_model/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        settings=settings("initial_model"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: choose the initial model"
    script:
        "../scripts/initial_model_decision.py"
