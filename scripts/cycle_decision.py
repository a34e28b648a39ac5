"""Keep the best variant of a cycle's sweep, or the state before it, under stable names."""

from pathlib import Path

from stacycle import cycle, job
from stacycle.decisions import write_decision
from stacycle.recipe import Start

files, params = snakemake.input, snakemake.params
folder = Path(snakemake.output.decision).parent
before = Start(
    list(files.before_state), list(files.before_half_maps), files.before_map, files.before_postprocess
)

with job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say:
    decision = cycle.decide(folder, before, params.variants, params.keep, params.key)
    say(str(decision))
    cycle.keep(decision, folder, before)
    write_decision(snakemake.output.decision, decision)
