"""Post-process: the resolution by masked FSC, and a sharpened map; of a round, of a cycle or of one variant."""

from stacycle.jobs import job
from stacycle.jobs.failure import raise_if_upstream_failed, tolerate_failure
from stacycle.jobs.log import task
from stacycle.steps import postprocess
from stacycle.steps.step import folder_of

folder = folder_of(snakemake)
is_variant = snakemake.wildcards.get("variant") is not None
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])),
    tolerate_failure(folder, snakemake.output, allowed=is_variant),
):
    raise_if_upstream_failed(snakemake.input)
    argv = postprocess.command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
