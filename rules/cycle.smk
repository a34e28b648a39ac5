"""CTF and alignment refinement cycle: the bin1 reference, mask and FSC; then sweeps, whose best variant is kept.

Every variant of a sweep (ctfrefine.smk, polish.smk) is reconstructed and post-processed alike, with the cycle's mask.
"""


rule cycle_reference:
    input:
        state=lambda wc: by_content(recipe.cycle_state(wc.round, wc.cycle)),
        decided=decided_before_sweep(),
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
        engine=engine_kind(),
        binning=lambda wc: recipe.rounds[wc.round]["binning"],
        box=cycle_setting("box"),
        symmetry=config["particle"]["symmetry"],
        settings=cycle_setting("reconstruct"),
    message:
        "{wildcards.round}/{wildcards.cycle}: reconstruct the half maps at bin 1"
    script:
        "../scripts/cycle_reconstruct.py"


rule cycle_mask:
    input:
        map="results/{round}/{cycle}/reference/merged.mrc",
        resolution=lambda wc: recipe.cycle_resolution(wc.round, wc.cycle),
        decided=decided_before_sweep(),
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
        engine=engine_kind(),
        diameter=config["particle"]["diameter"],
        key=lambda wc: f"rounds.{wc.round}.cycle.mask",
        settings=cycle_setting("mask"),
    message:
        "{wildcards.round}/{wildcards.cycle}: create the bin1 mask"
    script:
        "../scripts/mask.py"


rule cycle_postprocess:
    input:
        half_maps=[
            "results/{round}/{cycle}/reference/half1.mrc",
            "results/{round}/{cycle}/reference/half2.mrc",
        ],
        mask=["results/{round}/{cycle}/mask/mask.mrc"],  # a list, as in a round without a mask
        decided=decided_before_sweep(),
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
        engine=engine_kind(),
        settings=cycle_setting("postprocess"),
    message:
        "{wildcards.round}/{wildcards.cycle}: post-process the reference"
    script:
        "../scripts/postprocess.py"


use rule cycle_reference as variant_reconstruct with:
    input:
        state=["results/{round}/{cycle}/{sweep}/{variant}/optimisation_set.star"],
        tomograms="results/{round}/{cycle}/{sweep}/{variant}/tomograms.star",
        decided=decided_before_sweep(),
    output:
        map="results/{round}/{cycle}/{sweep}/{variant}/reconstruct/merged.mrc",
        half1="results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half1.mrc",
        half2="results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half2.mrc",
    log:
        "logs/{round}/{cycle}/{sweep}/{variant}/reconstruct.log",
    benchmark:
        "benchmarks/{round}/{cycle}/{sweep}/{variant}/reconstruct.tsv"
    message:
        "{wildcards.round}/{wildcards.cycle}: reconstruct after {wildcards.sweep}, {wildcards.variant}"


use rule cycle_postprocess as variant_postprocess with:
    input:
        half_maps=[
            "results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half1.mrc",
            "results/{round}/{cycle}/{sweep}/{variant}/reconstruct/half2.mrc",
        ],
        mask=["results/{round}/{cycle}/mask/mask.mrc"],  # a list, as in a round without a mask
        decided=decided_before_sweep(),
    output:
        star="results/{round}/{cycle}/{sweep}/{variant}/postprocess/postprocess.star",
        map="results/{round}/{cycle}/{sweep}/{variant}/postprocess/postprocess.mrc",
        masked="results/{round}/{cycle}/{sweep}/{variant}/postprocess/postprocess_masked.mrc",
    log:
        "logs/{round}/{cycle}/{sweep}/{variant}/postprocess.log",
    benchmark:
        "benchmarks/{round}/{cycle}/{sweep}/{variant}/postprocess.tsv"
    message:
        "{wildcards.round}/{wildcards.cycle}: post-process after {wildcards.sweep}, {wildcards.variant}"


checkpoint cycle_decision:
    input:
        stars=of_sweep_variants("postprocess/postprocess.star"),
        maps=of_sweep_variants("reconstruct/merged.mrc"),
        states=of_sweep_variants("optimisation_set.star"),
        before_state=sweep_start("state"),
        before_half_maps=sweep_start("half_maps"),
        before_map=sweep_start("map"),
        before_postprocess=sweep_start("postprocess"),
        decided=decided_before_sweep(),
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
        keep=lambda wc: recipe.settings(wc.round, "cycle")["choose"][wc.sweep],
        key=lambda wc: f"rounds.{wc.round}.cycle.choose.{wc.sweep}",
    message:
        "{wildcards.round}/{wildcards.cycle}: keep the best of {wildcards.sweep}, or what was before"
    script:
        "../scripts/cycle_decision.py"
