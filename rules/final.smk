"""The final map with all that belongs to it, in one folder: what the report's headline is of."""

from stacycle.report import final_files as final_folder


rule final:
    input:
        **report_files.of_recipe(recipe),
        rungs=report_files.of_rungs(recipe),
    output:
        # Its maps and tables are links to results, which Snakemake must not touch.
        [f"{final_folder.FOLDER}/{name}" for name in final_folder.WRITTEN],
        picture=report(
            f"{final_folder.FOLDER}/{final_folder.PICTURE}",
            caption="captions/final.rst",
            category="Results",
            labels={"shows": "final map"},
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
