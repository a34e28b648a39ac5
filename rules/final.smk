"""The final map with all that belongs to it, in one folder: what the report's headline is of."""

from stacycle.report import final_names


rule final:
    """The final map with all that belongs to it, in results/final/."""
    input:
        **report_files.of_recipe(recipe),
        rungs=report_files.of_rungs(recipe),
    output:
        # Its maps and tables are links to results, which Snakemake must not touch.
        [f"{final_names.FOLDER}/{name}" for name in final_names.WRITTEN],
        picture=report(
            f"{final_names.FOLDER}/{final_names.PICTURE}",
            caption="captions/map.rst",
            category="Results",
            labels={"shows": "final map"},
        ),
        fsc=report(
            f"{final_names.FOLDER}/{final_names.PLOT}",
            caption="captions/fsc.rst",
            category="Results",
            labels={"shows": "FSC of the final map"},
        ),
    log:
        "logs/final.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    message:
        "Put the final map together"
    script:
        "../scripts/final.py"
