"""The table of resolutions by step, and one page with every choice, curve and picture."""

from stacycle.jobs import job
from stacycle.report import page, resolution
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
)

with job.task(snakemake.log[0], "report") as say:
    project = Project(
        rounds=snakemake.params.rounds,
        steps_with_resolution=snakemake.params.rungs,
        notes=snakemake.params.notes,
        engine=snakemake.params.engine,
        versions=job.versions("results"),
        **{name: snakemake.input.get(name) for name in files},
    )
    rows = resolution.resolutions(project)
    resolution.write_table(snakemake.output.ladder, rows)
    page.write_report(snakemake.output.html, project, rows)
    say(f"look at {snakemake.output.html}")
