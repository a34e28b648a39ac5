"""The ladder of resolutions, and one page with every choice, curve and picture."""

from stacycle.jobs.log import task
from stacycle.jobs.record import versions
from stacycle.report import page

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

with task(snakemake.log[0], "report") as log:
    inputs = page.Inputs(
        rounds=snakemake.params.rounds,
        rungs=snakemake.params.rungs,
        notes=snakemake.params.notes,
        engine=snakemake.params.engine,
        versions=versions("results"),
        **{name: snakemake.input.get(name) for name in files},
    )
    rungs = page.ladder(inputs)
    page.write_ladder(snakemake.output.ladder, rungs)
    page.write_report(snakemake.output.html, inputs, rungs)
    log.info(f"look at {snakemake.output.html}")
