"""One initial model: of one random seed, or the alignment to one hand of a map of one's own."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import initial_model
from stacycle.steps.step import folder_of, layout_of

folder = folder_of(snakemake)
engine = snakemake.config["engine"]

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    initial_model.prepare(snakemake)
    argv = initial_model.command(snakemake, engine)
    gpus = layout_of(snakemake).gpus
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output, gpus=gpus)
