"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from stacycle import command_lines, job

wildcards = snakemake.wildcards
gpus = command_lines.layout_of(snakemake).gpus

with job.task(snakemake.log[0], f"{wildcards.round}/{snakemake.rule} {wildcards.variant}") as say:
    argv, folder = command_lines.of_job("class3d", snakemake), command_lines.folder_of(snakemake)
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say, gpus=gpus)
