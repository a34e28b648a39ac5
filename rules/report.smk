"""A first look at the results: the resolutions, the FSC and map of the last round, and a page with every choice.

`snakemake --report FILE` puts these into Snakemake's own report, with the classes of select.smk.
"""


rule report:
    input:
        preflight=f"{INPUTS}/preflight.json",
        particles=collect(
            "results/{round}/extract/particles.star", round=rounds_with("extract")
        ),
        averages=[f"{folder}/merged.mrc" for folder in steps_of("reconstruct")]
        + [f"{folder}/reference.mrc" for folder in steps_of("initial_model")],
        decisions=[
            f"{folder}/decision.json"
            for folder in steps_of(*DECISIONS, "mask", "local_resolution", "multibody")
        ]
        + [f"{folder}/decision.json" for folder in recipe.poses_compared()],
        montages=[f"{folder}/classes.png" for folder in steps_of("select")],
        masks=[f"{folder}/mask.mrc" for folder in steps_of("mask")],
        refined=[f"{folder}/run_data.star" for folder in steps_of("refine3d")],
        postprocess=[f"{folder}/postprocess.star" for folder in steps_of("postprocess")],
        maps=[f"{folder}/postprocess.mrc" for folder in steps_of("postprocess")],
        parts=[f"results/{name}/parts/composite.mrc" for name in rounds_of_parts()],
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
        last=lambda wc: last_postprocess(),
    message:
        "Write the report"
    script:
        "../scripts/report.py"
