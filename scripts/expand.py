"""Copy each particle for every rotation of its point group."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import expand
from stacycle.steps.step import folder_of

files, folder, engine = snakemake.output, folder_of(snakemake), snakemake.config["engine"]

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    argv = expand.command(snakemake, engine)
    job.run(argv, folder / "copies", engine=engine, expected_outputs=[files.copies])
    expand.write_state(snakemake.input.state[0], files.copies, folder, expand.group_of(snakemake))
