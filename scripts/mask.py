"""Create a mask: find the threshold in the map, then let mask_create filter, cut, extend and soften."""

from stacycle.decisions import write_decision
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import command_lines

files, folder = snakemake.output, command_lines.folder_of(snakemake)

with task(snakemake.log[0], "/".join(folder.parts[1:])) as log:
    decision, settings = command_lines.mask_decision(snakemake)
    log.info(str(decision))
    threshold = decision.choice["threshold"]
    argv = command_lines.mask(snakemake.input.map, files.mask, threshold, settings, snakemake.threads)
    job.run(argv, folder, engine=snakemake.config["engine"], expected_outputs=[files.mask])
    write_decision(files.decision, decision)
