"""Keep the poses after a step, or those before it if averages show that they were better."""

from pathlib import Path

from stacycle.decisions import apply_poses
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view

files, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
folder = Path(snakemake.output.decision).parent
averages = {name: Path(files[f"average_{name}"]).parent for name in apply_poses.POSES}
maps = [*files.reference, *files.half_maps]

with task(snakemake.log[0], "/".join(folder.parts[1:])) as log:
    key = f"rounds.{wildcards.round}.{wildcards.moved}.poses"
    mask = next(iter(files.mask), None)
    decision = apply_poses.choose_poses(averages, mask, params.diameter, params.choose, key)
    log.info(str(decision))
    apply_poses.write_kept(decision, averages[apply_poses.BEFORE], files.after[0], maps, folder)
    write_decision(snakemake.output.decision, decision)
    leave_view(folder)
