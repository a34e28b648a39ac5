"""A set whose hand is not known, as a state of its own with one of the two hands."""

from pathlib import Path

from stacycle.decisions import apply_hand
from stacycle.jobs.log import task
from stacycle.steps.hand import HANDS

files, wildcards = snakemake.input, snakemake.wildcards
folder = Path(snakemake.output.state).parent

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    names = apply_hand.tomograms_of(files.facts, wildcards.set)
    apply_hand.write_candidate(files.state[0], folder, names, HANDS[wildcards.hand])
