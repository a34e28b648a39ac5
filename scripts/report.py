"""The table of resolutions, the last FSC and map, and one page with every choice, curve and picture."""

from stacycle.files import relion_output
from stacycle.jobs import job
from stacycle.report import figures, page

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
    inputs = page.Inputs(
        rounds=snakemake.params.rounds,
        rungs=snakemake.params.rungs,
        notes=snakemake.params.notes,
        engine=snakemake.params.engine,
        versions=job.versions("results"),
        **{name: snakemake.input.get(name) for name in files},
    )
    rungs = page.ladder(inputs)
    page.write_ladder(snakemake.output.ladder, rungs)
    page.write_report(snakemake.output.html, inputs, rungs)
    if snakemake.params.last:
        figures.fsc_figure(relion_output.fsc(snakemake.input.postprocess[-1]), snakemake.output.fsc)
        figures.slices_figure(snakemake.input.maps[-1], snakemake.output.map)
    say(f"look at {snakemake.output.html}")
