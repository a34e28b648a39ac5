"""3D classification without alignment, one run per T and number of classes; then the best iteration and variant."""


use rule align as class3d with:
    input:
        unpack(before("class3d", "state", "reference", "resolution", mask="class_mask")),
    output:
        data="results/{round}/class3d/{variant}/run_it{iteration}_data.star",
        model="results/{round}/class3d/{variant}/run_it{iteration}_model.star",
        optimiser="results/{round}/class3d/{variant}/run_it{iteration}_optimiser.star",
        state="results/{round}/class3d/{variant}/run_it{iteration}_optimisation_set.star",
    log:
        "logs/{round}/class3d/{variant}_it{iteration}.log",
    benchmark:
        "benchmarks/{round}/class3d/{variant}_it{iteration}.tsv"
    priority: 0  # on CPUs
    threads: cores("class3d", 8)
    resources:
        **queue("class3d"),
        mem_mb=memory(32000),
        runtime=wall_time(1440),
    params:
        step="class3d",
        settings=settings("class3d", *SWEPT, *DECIDED),
        variant=lambda wc: sweep("class3d")(wc)[wc.variant],
    message:
        "{wildcards.round}: classify without alignment, {wildcards.variant}"


checkpoint class3d_decision:
    input:
        unpack(before("class3d", "resolution", consensus="reference")),
        runs=last_iterations("class3d"),
    output:
        decision="results/{round}/class3d/decision.json",
        state_file=f"results/{{round}}/class3d/{STATE_FILE}",
        state="results/{round}/class3d/optimisation_set.star",
        particles="results/{round}/class3d/particles.star",
        classes="results/{round}/class3d/classes.tsv",
    log:
        "logs/{round}/class3d/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        sweep=sweep("class3d"),
        iteration=setting("class3d", "iteration"),
        variant=setting("class3d", "variant"),
        lowpass=setting("class3d", "lowpass"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: choose the classification's T and iteration"
    script:
        "../scripts/class3d_decision.py"
