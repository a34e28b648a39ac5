"""The ladder of resolutions, and one page with every choice, curve and picture."""

from stacycle import job, report

files = ("preflight", "particles", "decisions", "montages", "masks", "refined", "postprocess", "maps")

with job.task(snakemake.log[0], "report") as say:
    inputs = report.Inputs(
        rounds=snakemake.params.rounds,
        engine=snakemake.params.engine,
        **{name: snakemake.input.get(name) for name in files},
    )
    report.write_ladder(snakemake.output.ladder, inputs)
    report.write_report(snakemake.output.html, inputs)
    say(f"look at {snakemake.output.html}")
