"""A first look at the results: the ladder of resolutions, and one page with every choice and picture."""


rule report:
    input:
        preflight=f"{INPUTS}/preflight.json",
        particles=of_all_rounds("extract", "particles.star"),
        averages=of_all_rounds("reconstruct", "merged.mrc"),
        decisions=[
            path
            for step in SHOWN_DECISIONS
            for path in of_all_rounds(step, "decision.json")
        ],
        montages=of_all_rounds("select", "classes.png"),
        masks=of_all_rounds("mask", "mask.mrc"),
        refined=of_all_rounds("refine3d", "run_data.star"),
        postprocess=of_all_rounds("postprocess", "postprocess.star"),
        maps=of_all_rounds("postprocess", "postprocess.mrc"),
        rungs=[
            path
            for rung in recipe.rungs()
            for path in (rung["postprocess"], rung["state"], rung["decision"])
            if path
        ],
    output:
        html="results/report.html",
        ladder="results/ladder.tsv",
    log:
        "logs/report.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        rounds=recipe.summary(),
        rungs=recipe.rungs(),
        notes=NOTES,
        engine=config["engine"]["kind"],
    message:
        "Write the report"
    script:
        "../scripts/report.py"
