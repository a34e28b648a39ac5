"""The table of resolutions, the last FSC and map, and one page with every choice, curve and picture."""

from stacycle.files import relion_output
from stacycle.jobs.log import task
from stacycle.jobs.record import versions
from stacycle.report import curve_figures, map_figures, page, resolution
from stacycle.report.project import Project

files = (
    "preflight",
    "particles",
    "averages",
    "decisions",
    "montages",
    "masks",
    "refined",
    "postprocess",
    "maps",
    "parts",
)

with task(snakemake.log[0], "report") as log:
    project = Project(
        rounds=snakemake.params.rounds,
        steps_with_resolution=snakemake.params.rungs,
        notes=snakemake.params.notes,
        engine=snakemake.params.engine,
        versions=versions("results"),
        **{name: snakemake.input.get(name) for name in files},
    )
    rows = resolution.resolutions(project)
    resolution.write_table(snakemake.output.ladder, rows)
    page.write_report(snakemake.output.html, project, rows)
    if last := snakemake.params.last:
        curve_figures.fsc_figure(relion_output.fsc(f"{last}/postprocess.star"), snakemake.output.fsc)
        map_figures.slices_figure(f"{last}/postprocess.mrc", snakemake.output.map)
    log.info(f"look at {snakemake.output.html}")
