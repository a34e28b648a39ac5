"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps.registry import command_of_rule
from stacycle.steps.step import folder_of, layout_of

folder = folder_of(snakemake)
gpus = layout_of(snakemake).gpus
engine = snakemake.config["engine"]

with task(snakemake.log[0], " ".join(["/".join(folder.parts[1:-1]), folder.name])):
    argv = command_of_rule(snakemake.params.step)(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output, gpus=gpus)
