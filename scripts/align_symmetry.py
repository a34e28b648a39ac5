"""Turn the newest map so that its symmetry axes lie where RELION has them."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import align_symmetry
from stacycle.steps.step import folder_of

engine = snakemake.config["engine"]

with task(snakemake.log[0], f"{snakemake.wildcards.round}/align_symmetry"):
    argv = align_symmetry.command(snakemake, engine)
    job.run(argv, folder_of(snakemake), engine=engine, expected_outputs=snakemake.output)
