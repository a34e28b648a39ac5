"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import command_lines

folder = command_lines.folder_of(snakemake)
gpus = command_lines.layout_of(snakemake).gpus
engine = snakemake.config["engine"]

with task(snakemake.log[0], " ".join(["/".join(folder.parts[1:-1]), folder.name])):
    argv = command_lines.of_job("class3d", snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output, gpus=gpus)
