"""Fast alignment using 3D classification with a single class, one run per T; then the best iteration and T."""


rule align:
    """A run of the alignment to one reference, of one variant of T."""
    input:
        unpack(before("align", "state", "reference", "resolution", "accuracy")),
    output:
        data="results/{round}/align/{variant}/run_it{iteration}_data.star",
        model="results/{round}/align/{variant}/run_it{iteration}_model.star",
        optimiser="results/{round}/align/{variant}/run_it{iteration}_optimiser.star",
        state="results/{round}/align/{variant}/run_it{iteration}_optimisation_set.star",
    log:
        "logs/{round}/align/{variant}_it{iteration}.log",
    benchmark:
        "benchmarks/{round}/align/{variant}_it{iteration}.tsv"
    priority: 1  # before CPU steps that would take all cores while a GPU is idle
    conda:
        "../envs/conda.yaml"
    threads: cores("align", 8)
    resources:
        **queue("align"),
        mem_mb=memory(32000),
        runtime=wall_time(720),
    params:
        step="align",
        engine=engine,
        symmetry=symmetry("align"),
        settings=settings("align", *SWEPT, *DECIDED),
        variant=lambda wc: sweep("align")(wc)[wc.variant],
    message:
        "{wildcards.round}: align to one reference, {wildcards.variant}"
    script:
        "../scripts/class3d.py"


# The first iterations, if the sampling follows from the accuracy of angles and no step before tells that.
use rule align as align_probe with:
    """A few iterations of alignment, from which the angular sampling follows."""
    input:
        unpack(before("align", "state", "reference", "resolution")),
    output:
        model=f"results/{{round}}/{PROBE}",
    log:
        "logs/{round}/align_probe.log",
    benchmark:
        "benchmarks/{round}/align_probe.tsv"
    params:
        step="align_probe",
        engine=engine,
        symmetry=symmetry("align"),
        settings=lambda wc: settings("align", *SWEPT, *DECIDED)(wc) | PROBING,
        variant=[1, 1],
    message:
        "{wildcards.round}: align for a few iterations, to know the accuracy of angles"


checkpoint align_decision:
    """The alignment's T and iteration, chosen."""
    input:
        unpack(before("align")),
        runs=last_iterations("align"),
    output:
        decision="results/{round}/align/decision.json",
        state_file=f"results/{{round}}/align/{STATE_FILE}",
        state="results/{round}/align/optimisation_set.star",
        particles="results/{round}/align/particles.star",
        reference="results/{round}/align/reference.mrc",
    log:
        "logs/{round}/align/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        sweep=sweep("align"),
        iteration=setting("align", "iteration"),
        variant=setting("align", "variant"),
        sampling=setting("align", "sampling"),
    message:
        "{wildcards.round}: choose the alignment's T and iteration"
    script:
        "../scripts/align_decision.py"
