"""Score each particle: how much of the other half's map its images show."""

from stacycle.files.atomic import write_text
from stacycle.jobs.log import task
from stacycle.scoring.scores import score_particles

files = snakemake.input

with task(snakemake.log[0], f"{snakemake.wildcards.round}/score"):
    scores = score_particles(files.state[0], files.half_maps, snakemake.params.diameter, snakemake.threads)
    write_text(snakemake.output.table, scores.to_csv(sep="\t", index=False, float_format="%.6g"))
