"""The final map, its half maps, mask, FSC, particles and methods in one folder, with what shows them."""

from stacycle.jobs.log import task
from stacycle.report import final, resolution
from stacycle.report.project import Project

with task(snakemake.log[0], "final") as log:
    project = Project.of_config(snakemake.config)
    made = final.make(project, resolution.resolutions(project))
    log.info(f"look at {made}, or open view.cxc beside it in ChimeraX")
