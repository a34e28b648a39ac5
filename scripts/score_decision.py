"""Leave out the particles that score low, by rule or as the config says."""

from pathlib import Path

import pandas as pd

from stacycle.decisions import apply
from stacycle.decisions.decision import write_decision
from stacycle.decisions.score import FLAGGED, decide_cut
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs.log import task

files, folder = snakemake.output, Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{snakemake.wildcards.round}/score") as log:
    key, state = (
        f"rounds.{snakemake.wildcards.round}.score.cut",
        OptimisationSet.read(snakemake.input.state[0]),
    )
    decision, scores = decide_cut(pd.read_csv(snakemake.input.table, sep="\t"), snakemake.params.cut, key)
    log.info(str(decision))
    star.write(files.scores, {"scores": scores})
    particles = star.read(state.particles)
    if decision.choice["cut"] is not None:
        kept = particles["particles"][~scores[FLAGGED].to_numpy(bool)].reset_index(drop=True)
        particles = {**particles, "particles": kept}
    for reason, number in apply.write_selected(particles, state, folder, why="that score low").items():
        log.info(f"{number} particles dropped: {reason}")
    write_decision(files.decision, decision)
