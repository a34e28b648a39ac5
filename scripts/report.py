"""The ladder of resolutions, and one page with every choice, curve and picture."""

from stacycle import job, report

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
    inputs = report.Inputs(
        rounds=snakemake.params.rounds,
        rungs=snakemake.params.rungs,
        notes=snakemake.params.notes,
        engine=snakemake.params.engine,
        versions=job.versions("results"),
        **{name: snakemake.input.get(name) for name in files},
    )
    rungs = report.ladder(inputs)
    report.write_ladder(snakemake.output.ladder, rungs)
    report.write_report(snakemake.output.html, inputs, rungs)
    say(f"look at {snakemake.output.html}")
