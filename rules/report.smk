"""A first look at the results: the resolutions, and a page with every choice.

`snakemake --report FILE` puts these into Snakemake's own report, with the final map (final.smk) and the classes (select.smk).
"""

from stacycle.report import files as report_files


rule report:
    """The page with every choice, curve and picture, and the resolutions."""
    input:
        **report_files.of_recipe(recipe),
        rungs=report_files.of_rungs(recipe),
        tomogram=tomogram.FILE,
    output:
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
    message:
        "Write the report"
    script:
        "../scripts/report.py"
