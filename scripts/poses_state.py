"""The particles after a step as a state of their own, with the poses before or after it, for an average."""

from pathlib import Path

from stacycle.decisions import apply_poses
from stacycle.jobs.log import task

files, folder = snakemake.input, Path(snakemake.output.state).parent

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    apply_poses.write_candidate(files.before[0], files.after[0], folder, snakemake.wildcards.poses)
