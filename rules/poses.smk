"""Checking the poses of a step: averages with those before and after it, and the better ones go on.

The step itself, align or refine3d, is the wildcard `moved`; its maps have the same names among what goes on.
"""


wildcard_constraints:
    moved="|".join(MOVED),
    poses="before|after",


rule poses_state:
    """Particles with the poses before or after a step."""
    input:
        unpack(around_step),
    output:
        state="results/{round}/{moved}_poses/{poses}/optimisation_set.star",
        particles="results/{round}/{moved}_poses/{poses}/particles.star",
        state_file=f"results/{{round}}/{{moved}}_poses/{{poses}}/{STATE_FILE}",
    log:
        "logs/{round}/{moved}_poses/{poses}/state.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    message:
        "{wildcards.round}: particles of {wildcards.moved} with the poses {wildcards.poses} it"
    script:
        "../scripts/poses_state.py"


rule poses:
    """An average with the poses before or after a step, to compare."""
    input:
        unpack(around_step),
        state=["results/{round}/{moved}_poses/{poses}/optimisation_set.star"],
        shares=shares_of("poses", "results/{round}/{moved}_poses/{poses}/reconstruct"),
    output:
        map="results/{round}/{moved}_poses/{poses}/reconstruct/merged.mrc",
        half1="results/{round}/{moved}_poses/{poses}/reconstruct/half1.mrc",
        half2="results/{round}/{moved}_poses/{poses}/reconstruct/half2.mrc",
    log:
        "logs/{round}/{moved}_poses/{poses}/reconstruct.log",
    benchmark:
        "benchmarks/{round}/{moved}_poses/{poses}/reconstruct.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("reconstruct", 8)
    resources:
        **queue("reconstruct"),
        mem_mb=memory(32000),
        runtime=wall_time(240),
    params:
        step="poses",
        engine=engine,
        binning=setting("binning"),
        symmetry=lambda wc: recipe.symmetry(wc.round, wc.moved),
        settings=settings("reconstruct"),
    message:
        "{wildcards.round}: reconstruct with the poses {wildcards.poses} {wildcards.moved}"
    script:
        "../scripts/poses.py"


use rule poses as poses_share with:
    """poses, for some of the tomograms: one of several such jobs."""
    input:
        unpack(around_step),
        state=["results/{round}/{moved}_poses/{poses}/optimisation_set.star"],
    output:
        share_of("results/{round}/{moved}_poses/{poses}/reconstruct"),
    log:
        "logs/{round}/{moved}_poses/{poses}/reconstruct_shares/{share}.log",
    benchmark:
        "benchmarks/{round}/{moved}_poses/{poses}/reconstruct_shares/{share}.tsv"
    message:
        "{wildcards.round}: reconstruct with the poses {wildcards.poses} {wildcards.moved}, share {wildcards.share}"


checkpoint align_poses:
    """The poses before or after the alignment, whichever average is better."""
    input:
        unpack(compared_poses),
    output:
        decision="results/{round}/{moved}_poses/decision.json",
        state_file=f"results/{{round}}/{{moved}}_poses/{STATE_FILE}",
        state="results/{round}/{moved}_poses/optimisation_set.star",
        reference="results/{round}/{moved}_poses/reference.mrc",
    log:
        "logs/{round}/{moved}_poses/decision.log",
    wildcard_constraints:
        moved="align",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        choose=setting("{moved}", "poses"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: keep the poses after {wildcards.moved}, or those before it"
    script:
        "../scripts/poses_decision.py"


checkpoint refine3d_poses:
    """The poses before or after a refinement, whichever average is better."""
    input:
        unpack(compared_poses),
    output:
        decision="results/{round}/{moved}_poses/decision.json",
        state_file=f"results/{{round}}/{{moved}}_poses/{STATE_FILE}",
        state="results/{round}/{moved}_poses/optimisation_set.star",
        reference="results/{round}/{moved}_poses/run_class001.mrc",
        half1="results/{round}/{moved}_poses/run_half1_class001_unfil.mrc",
        half2="results/{round}/{moved}_poses/run_half2_class001_unfil.mrc",
    log:
        "logs/{round}/{moved}_poses/decision.log",
    wildcard_constraints:
        moved="|".join(recipe.named("refine3d")),
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        choose=setting("{moved}", "poses"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: keep the poses after {wildcards.moved}, or those before it"
    script:
        "../scripts/poses_decision.py"
