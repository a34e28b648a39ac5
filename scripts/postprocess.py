"""Post-process: the resolution by masked FSC, and a sharpened map; of a round, of a cycle or of one variant."""

from stacycle.jobs import job
from stacycle.jobs.failure import raise_if_upstream_failed, tolerate_failure
from stacycle.jobs.log import task
from stacycle.programs.postprocess import RANDOM_FROM
from stacycle.report.viewers import leave_view
from stacycle.steps import postprocess
from stacycle.steps.step import folder_of

folder = folder_of(snakemake)
is_variant = snakemake.wildcards.get("variant") is not None
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])) as log,
    tolerate_failure(folder, snakemake.output, allowed=is_variant),
):
    raise_if_upstream_failed(snakemake.input)
    argv = postprocess.command(snakemake, engine)
    if RANDOM_FROM in argv:
        at = argv[argv.index(RANDOM_FROM) + 1]
        log.info(
            f"the half maps agree to 0.8 and better up to the last shell: phases are random from {at} Å on"
        )
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
    leave_view(folder)
