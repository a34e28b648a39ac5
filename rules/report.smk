"""A first look at the results: the resolutions, the FSC and map of the last round, and a page with every choice.

`snakemake --report FILE` puts these into Snakemake's own report, with the classes of select.smk.
"""


rule report:
    input:
        preflight=f"{INPUTS}/preflight.json",
        particles=collect(
            "results/{round}/extract/particles.star", round=rounds_with("extract")
        ),
        averages=collect(
            "results/{round}/reconstruct/merged.mrc", round=rounds_with("reconstruct")
        ),
        decisions=[
            f"results/{round_}/{step}/decision.json"
            for step in (*DECISIONS, "mask")
            for round_ in rounds_with(step)
        ]
        + [f"{folder}/decision.json" for folder in recipe.poses_compared()],
        montages=collect(
            "results/{round}/select/classes.png", round=rounds_with("select")
        ),
        masks=collect("results/{round}/mask/mask.mrc", round=rounds_with("mask")),
        refined=collect(
            "results/{round}/refine3d/run_data.star", round=rounds_with("refine3d")
        ),
        postprocess=collect(
            "results/{round}/postprocess/postprocess.star",
            round=rounds_with("postprocess"),
        ),
        maps=collect(
            "results/{round}/postprocess/postprocess.mrc",
            round=rounds_with("postprocess"),
        ),
        rungs=[
            path
            for rung in recipe.rungs()
            for path in (rung["postprocess"], rung["state"], rung["decision"])
            if path
        ],
    output:
        **last_pictures(),
        html=report(
            "results/report.html",
            caption="captions/page.rst",
            category="Results",
            labels={"shows": "all choices"},
        ),
        ladder=report(
            "results/ladder.tsv",
            caption="captions/resolution.rst",
            category="Results",
            labels={"shows": "resolution"},
        ),
    log:
        "logs/report.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        rounds=recipe.summary(),
        rungs=recipe.rungs(),
        notes=lambda wc: config_notes(),
        engine=config["engine"]["kind"],
        last=next(reversed(rounds_with("postprocess")), None),
    message:
        "Write the report"
    script:
        "../scripts/report.py"
