"""Keep the best variant of a cycle's sweep, or the state before it, under stable names."""

from pathlib import Path

from stacycle.decisions import apply_cycle
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.recipe.rounds import Start
from stacycle.report.viewers import leave_view

files, params = snakemake.input, snakemake.params
folder = Path(snakemake.output.decision).parent
before = Start(
    list(files.before_state), list(files.before_half_maps), files.before_map, files.before_postprocess
)

with task(snakemake.log[0], "/".join(folder.parts[1:])) as log:
    decision = apply_cycle.choose_variant(folder, before, params.variants, params.choose, params.key)
    log.info(str(decision))
    apply_cycle.write_chosen(decision, folder, before)
    write_decision(snakemake.output.decision, decision)
    leave_view(folder)
