"""The table of resolutions, and one page with every choice, curve and picture."""

from stacycle.jobs.log import task
from stacycle.report import make

with task(snakemake.log[0], "report") as log:
    made = make.write(config=snakemake.config, final_map=False)  # final.smk does that
    log.info(f"look at {made}")
