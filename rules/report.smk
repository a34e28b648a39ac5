"""A first look at the results: the resolutions, the FSC and map of the last round, and a page with every choice.

`snakemake --report FILE` puts these into Snakemake's own report, with the classes of select.smk.
"""

from stacycle.report import files as report_files


rule report:
    input:
        **report_files.of_recipe(recipe),
        rungs=report_files.of_rungs(recipe),
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
        last=lambda wc: last_postprocess(),
    message:
        "Write the report"
    script:
        "../scripts/report.py"
