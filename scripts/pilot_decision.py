"""Which variants of a cycle's sweep go on after they were tried on a share of the tomograms."""

from stacycle.decisions import apply_cycle
from stacycle.decisions.decision import write_decision
from stacycle.decisions.pilot import pilot
from stacycle.jobs.log import task

params, place = snakemake.params, snakemake.wildcards

with task(snakemake.log[0], f"{place.round}/{place.cycle}/{place.sweep} pilot") as log:
    tried = [apply_cycle.of_pilot(path) for path in snakemake.input.stars]
    decision = pilot(tried, params.shares, params.choose)
    log.info(str(decision))
    write_decision(snakemake.output[0], decision)
