"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from stacycle.jobs import job
from stacycle.steps import command_lines

folder = command_lines.folder_of(snakemake)
gpus = command_lines.layout_of(snakemake).gpus
engine = snakemake.config["engine"]

with job.task(snakemake.log[0], " ".join(["/".join(folder.parts[1:-1]), folder.name])) as say:
    argv = command_lines.of_job(snakemake, engine)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say, gpus=gpus)
