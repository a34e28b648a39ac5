"""CTF and alignment refinement cycle: the bin1 reference, mask and FSC; then sweeps, whose best variant is kept.

Every variant of a sweep (ctfrefine.smk, polish.smk) is reconstructed and post-processed alike, with the cycle's mask.
"""


rule cycle_reference:
    """The unbinned average that a cycle starts from."""
    input:
        unpack(before_cycle("state")),
        shares=shares_of("cycle_reference", "results/{round}/{cycle}/reference"),
    output:
        map="results/{round}/{cycle}/reference/merged.mrc",
        half1="results/{round}/{cycle}/reference/half1.mrc",
        half2="results/{round}/{cycle}/reference/half2.mrc",
    log:
        "logs/{round}/{cycle}/reference.log",
    benchmark:
        "benchmarks/{round}/{cycle}/reference.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("reconstruct", 8)
    resources:
        **queue("reconstruct"),
        mem_mb=memory(64000),
        runtime=wall_time(480),
    params:
        step="cycle_reference",
        engine=engine,
        binning=setting("binning"),
        box=setting("cycle", "box"),
        symmetry=symmetry("cycle"),
        settings=setting("cycle", "reconstruct"),
    message:
        "{wildcards.round}/{wildcards.cycle}: reconstruct the half maps at bin 1"
    script:
        "../scripts/cycle_reconstruct.py"


use rule cycle_reference as cycle_reference_share with:
    """cycle_reference, for some of the tomograms: one of several such jobs."""
    input:
        unpack(before_cycle("state")),
    output:
        share_of("results/{round}/{cycle}/reference"),
    log:
        "logs/{round}/{cycle}/reference_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/reference_shares/{share}.tsv"
    message:
        "{wildcards.round}/{wildcards.cycle}: reconstruct the half maps at bin 1, share {wildcards.share}"


rule cycle_mask:
    """The mask of a cycle's unbinned maps."""
    input:
        unpack(before_cycle("resolution")),
        map="results/{round}/{cycle}/reference/merged.mrc",
        earlier=earlier_mask("cycle"),
        shape=mask_shape("cycle"),
    output:
        mask="results/{round}/{cycle}/mask/mask.mrc",
        decision="results/{round}/{cycle}/mask/decision.json",
    log:
        "logs/{round}/{cycle}/mask.log",
    benchmark:
        "benchmarks/{round}/{cycle}/mask.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 4
    resources:
        **queue("mask"),
        mem_mb=memory(16000),
        runtime=wall_time(60),
    params:
        step="cycle_mask",
        engine=engine,
        diameter=config["particle"]["diameter"],
        key=lambda wc: f"rounds.{wc.round}.cycle.mask",
        settings=asked_shape(setting("cycle", "mask")),
    message:
        "{wildcards.round}/{wildcards.cycle}: create the bin1 mask"
    script:
        "../scripts/mask.py"


rule cycle_postprocess:
    """The resolution of a cycle's unbinned average."""
    input:
        unpack(before_cycle()),
        half_maps=[
            "results/{round}/{cycle}/reference/half1.mrc",
            "results/{round}/{cycle}/reference/half2.mrc",
        ],
        mask=["results/{round}/{cycle}/mask/mask.mrc"],  # a list, as in a round without a mask
    output:
        star="results/{round}/{cycle}/postprocess/postprocess.star",
        map="results/{round}/{cycle}/postprocess/postprocess.mrc",
        masked="results/{round}/{cycle}/postprocess/postprocess_masked.mrc",
    log:
        "logs/{round}/{cycle}/postprocess.log",
    benchmark:
        "benchmarks/{round}/{cycle}/postprocess.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 1
    resources:
        **queue("postprocess"),
        mem_mb=memory(16000),
        runtime=wall_time(60),
    params:
        step="cycle_postprocess",
        engine=engine,
        settings=setting("cycle", "postprocess"),
    message:
        "{wildcards.round}/{wildcards.cycle}: post-process the reference"
    script:
        "../scripts/postprocess.py"


use rule cycle_reference as variant_reconstruct with:
    """The average after a variant of a cycle's sweep."""
    input:
        unpack(before_sweep()),
        state=["results/{round}/{cycle}/{sweep}/{variant}/optimisation_set.star"],
        tomograms="results/{round}/{cycle}/{sweep}/{variant}/tomograms.star",
        shares=shares_of(
            "variant_reconstruct",
            "results/{round}/{cycle}/{sweep}/{variant}/reconstruct",
        ),
    output:
        map="results/{round}/{cycle}/{sweep}/{variant}/reconstruct/merged.mrc",
        half1="results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half1.mrc",
        half2="results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half2.mrc",
    log:
        "logs/{round}/{cycle}/{sweep}/{variant}/reconstruct.log",
    benchmark:
        "benchmarks/{round}/{cycle}/{sweep}/{variant}/reconstruct.tsv"
    params:
        step="variant_reconstruct",
    message:
        "{wildcards.round}/{wildcards.cycle}: reconstruct after {wildcards.sweep}, {wildcards.variant}"


use rule variant_reconstruct as variant_reconstruct_share with:
    """variant_reconstruct, for some of the tomograms: one of several such jobs."""
    input:
        unpack(before_sweep()),
        state=["results/{round}/{cycle}/{sweep}/{variant}/optimisation_set.star"],
        tomograms="results/{round}/{cycle}/{sweep}/{variant}/tomograms.star",
    output:
        share_of("results/{round}/{cycle}/{sweep}/{variant}/reconstruct"),
    log:
        "logs/{round}/{cycle}/{sweep}/{variant}/reconstruct_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/{sweep}/{variant}/reconstruct_shares/{share}.tsv"
    message:
        "{wildcards.round}/{wildcards.cycle}: reconstruct after {wildcards.sweep}, {wildcards.variant}, share {wildcards.share}"


use rule cycle_postprocess as variant_postprocess with:
    """The resolution after a variant of a cycle's sweep."""
    input:
        unpack(before_sweep()),
        half_maps=[
            "results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half1.mrc",
            "results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half2.mrc",
        ],
        mask=["results/{round}/{cycle}/mask/mask.mrc"],  # a list, as in a round without a mask
    output:
        star="results/{round}/{cycle}/{sweep}/{variant}/postprocess/postprocess.star",
        map="results/{round}/{cycle}/{sweep}/{variant}/postprocess/postprocess.mrc",
        masked="results/{round}/{cycle}/{sweep}/{variant}/postprocess/postprocess_masked.mrc",
    log:
        "logs/{round}/{cycle}/{sweep}/{variant}/postprocess.log",
    benchmark:
        "benchmarks/{round}/{cycle}/{sweep}/{variant}/postprocess.tsv"
    params:
        step="variant_postprocess",
    message:
        "{wildcards.round}/{wildcards.cycle}: post-process after {wildcards.sweep}, {wildcards.variant}"


rule cycle_pilot:
    """A variant of a sweep on one share of the tomograms, and its resolution."""
    input:
        unpack(before_sweep("state", "half_maps", "postprocess")),
        mask="results/{round}/{cycle}/mask/mask.mrc",
    output:
        "results/{round}/{cycle}/{sweep}_pilot/{variant}/postprocess/postprocess.star",
    log:
        "logs/{round}/{cycle}/{sweep}_pilot/{variant}.log",
    benchmark:
        "benchmarks/{round}/{cycle}/{sweep}_pilot/{variant}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("cycle_pilot", 8)
    resources:
        **queue("cycle_pilot"),
        mem_mb=memory(64000),
        runtime=wall_time(1440),
    params:
        step="cycle_pilot",
        engine=engine,
        shares=pilot_shares,
        box=setting("cycle", "estimation_box"),
        key=lambda wc: f"rounds.{wc.round}.cycle",
        settings=setting("cycle", "{sweep}", "{variant}"),
        binning=setting("binning"),
        average_box=setting("cycle", "box"),
        symmetry=symmetry("cycle"),
        reconstruct=setting("cycle", "reconstruct"),
        postprocess=setting("cycle", "postprocess"),
    message:
        "{wildcards.round}/{wildcards.cycle}: try {wildcards.sweep}, {wildcards.variant}, on a share of the tomograms"
    script:
        "../scripts/cycle_pilot.py"


rule pilot_decision:
    """Which variants of a sweep go on from a share of the tomograms to all."""
    input:
        unpack(before_sweep()),
        stars=collect(
            "results/{{round}}/{{cycle}}/{{sweep}}_pilot/{variant}/postprocess/postprocess.star",
            variant=sweep_variants,
        ),
    output:
        "results/{round}/{cycle}/{sweep}_pilot/decision.json",
    log:
        "logs/{round}/{cycle}/{sweep}_pilot/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        shares=pilot_shares,
        choose=setting("cycle", "choose", "{sweep}"),
    message:
        "{wildcards.round}/{wildcards.cycle}: end variants of {wildcards.sweep} that cannot win any more"
    script:
        "../scripts/pilot_decision.py"


checkpoint cycle_decision:
    """The best variant of a sweep, kept; or the state before it."""
    input:
        unpack(
            before_sweep(
                before_state="state",
                before_half_maps="half_maps",
                before_map="map",
                before_postprocess="postprocess",
            )
        ),
        stars=of_each_variant("postprocess/postprocess.star"),
        maps=of_each_variant("reconstruct/merged.mrc"),
        states=of_each_variant("optimisation_set.star"),
    output:
        decision="results/{round}/{cycle}/{sweep}/decision.json",
        state_file=f"results/{{round}}/{{cycle}}/{{sweep}}/{STATE_FILE}",
        state="results/{round}/{cycle}/{sweep}/optimisation_set.star",
        half1="results/{round}/{cycle}/{sweep}/half1.mrc",
        half2="results/{round}/{cycle}/{sweep}/half2.mrc",
        map="results/{round}/{cycle}/{sweep}/merged.mrc",
        postprocess="results/{round}/{cycle}/{sweep}/postprocess.star",
    log:
        "logs/{round}/{cycle}/{sweep}/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        variants=sweep_variants,
        choose=setting("cycle", "choose", "{sweep}"),
        key=lambda wc: f"rounds.{wc.round}.cycle.choose.{wc.sweep}",
    message:
        "{wildcards.round}/{wildcards.cycle}: keep the best of {wildcards.sweep}, or what was before"
    script:
        "../scripts/cycle_decision.py"
