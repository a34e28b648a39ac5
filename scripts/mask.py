"""Create a mask: find the threshold in the map, then let mask_create filter, cut, extend and soften."""

from stacycle.decisions import write_decision
from stacycle.jobs import job
from stacycle.steps import command_lines

files, folder = snakemake.output, command_lines.folder_of(snakemake)

with job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say:
    decision, settings = command_lines.mask_decision(snakemake)
    say(str(decision))
    threshold = decision.choice["threshold"]
    argv = command_lines.mask(snakemake.input.map, files.mask, threshold, settings, snakemake.threads)
    job.run(argv, folder, engine=snakemake.config["engine"], makes=[files.mask], say=say)
    write_decision(files.decision, decision)
