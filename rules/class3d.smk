"""3D classification, with poses kept or searched, one run per T and number of classes; then the best iteration and
variant."""


# How far it goes is known only when it has ended: where more iterations would be in vain.
use rule align as class3d with:
    """A run of a 3D classification without alignment, of one variant."""
    input:
        unpack(before("class3d", "state", "reference", "resolution", mask="class_mask")),
    output:
        f"results/{{round}}/{{class3d}}/{{variant}}/{HOW_FAR}",
    log:
        "logs/{round}/{class3d}/{variant}.log",
    benchmark:
        "benchmarks/{round}/{class3d}/{variant}.tsv"
    wildcard_constraints:
        round=classifications(aligned=False),
    priority: 0  # on CPUs
    threads: cores("class3d", 8)
    resources:
        **queue("class3d"),
        mem_mb=memory(32000),
        runtime=wall_time(1440),
    params:
        step="class3d",
        symmetry=symmetry("class3d"),
        settings=settings("class3d", *SWEPT, *DECIDED, "alignment", *SEARCHED),
        variant=lambda wc: sweep("class3d")(wc)[wc.variant],
        stop_early=setting("{class3d}", "stop_early"),
    message:
        "{wildcards.round}: {wildcards.class3d} without alignment, {wildcards.variant}"


# An iteration that is asked for by its number, which may come after that.
use rule class3d as class3d_further with:
    """A classification as far as an iteration that the config names."""
    input:
        unpack(before("class3d", "state", "reference", "resolution", mask="class_mask")),
        ended=ancient(f"results/{{round}}/{{class3d}}/{{variant}}/{HOW_FAR}"),
    output:
        data="results/{round}/{class3d}/{variant}/run_it{iteration}_data.star",
        model="results/{round}/{class3d}/{variant}/run_it{iteration}_model.star",
        optimiser="results/{round}/{class3d}/{variant}/run_it{iteration}_optimiser.star",
        state="results/{round}/{class3d}/{variant}/run_it{iteration}_optimisation_set.star",
    log:
        "logs/{round}/{class3d}/{variant}_it{iteration}.log",
    benchmark:
        "benchmarks/{round}/{class3d}/{variant}_it{iteration}.tsv"
    params:
        step="class3d_further",
    message:
        "{wildcards.round}: {wildcards.class3d} without alignment, {wildcards.variant}, as far as iteration {wildcards.iteration}"


use rule align as class3d_aligned with:
    """A run of a 3D classification that searches poses as well."""
    input:
        unpack(
            before(
                *("class3d", "state", "reference", "resolution", "accuracy"),
                mask="class_mask",
            )
        ),
    output:
        data="results/{round}/{class3d}/{variant}/run_it{iteration}_data.star",
        model="results/{round}/{class3d}/{variant}/run_it{iteration}_model.star",
        optimiser="results/{round}/{class3d}/{variant}/run_it{iteration}_optimiser.star",
        state="results/{round}/{class3d}/{variant}/run_it{iteration}_optimisation_set.star",
    log:
        "logs/{round}/{class3d}/{variant}_it{iteration}.log",
    benchmark:
        "benchmarks/{round}/{class3d}/{variant}_it{iteration}.tsv"
    wildcard_constraints:
        round=classifications(aligned=True),
    threads: cores("class3d_aligned", 8)
    resources:
        **queue("class3d_aligned"),
        mem_mb=memory(32000),
        runtime=wall_time(1440),
    params:
        step="class3d_aligned",
        symmetry=symmetry("class3d"),
        settings=settings("class3d", *SWEPT, *DECIDED),
        variant=lambda wc: sweep("class3d")(wc)[wc.variant],
    message:
        "{wildcards.round}: {wildcards.class3d} with alignment, {wildcards.variant}"


checkpoint class3d_decision:
    """The variant and iteration of a classification, chosen."""
    input:
        unpack(before("class3d", "resolution", consensus="reference")),
        runs=classified,
    output:
        decision="results/{round}/{class3d}/decision.json",
        state_file=f"results/{{round}}/{{class3d}}/{STATE_FILE}",
        state="results/{round}/{class3d}/optimisation_set.star",
        particles="results/{round}/{class3d}/particles.star",
        classes="results/{round}/{class3d}/classes.tsv",
    log:
        "logs/{round}/{class3d}/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        sweep=sweep("class3d"),
        iteration=setting("{class3d}", "iteration"),
        variant=setting("{class3d}", "variant"),
        lowpass=setting("{class3d}", "lowpass"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: choose T and iteration of {wildcards.class3d}"
    script:
        "../scripts/class3d_decision.py"
