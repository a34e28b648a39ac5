"""Create a mask: find the threshold in the map, remove dust, then let mask_create filter, cut, extend and soften."""

from stacycle.decisions.decision import write_decision
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view
from stacycle.steps import mask
from stacycle.steps.step import folder_of

files, folder = snakemake.output, folder_of(snakemake)

with task(snakemake.log[0], "/".join(folder.parts[1:])) as log:
    decision, settings = mask.decide(snakemake)
    log.info(str(decision))
    mask.prepare(snakemake, settings)
    job.run(
        mask.argv(snakemake, settings),
        folder,
        engine=snakemake.config["engine"],
        expected_outputs=[files.mask],
    )
    decision, changed = mask.compared(snakemake, decision)
    for warning in changed:
        log.warning("WARNING: %s", warning)
    write_decision(files.decision, decision)
    leave_view(folder)
