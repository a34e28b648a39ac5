"""Of particles that have come to lie on one place, keep the best."""

from pathlib import Path

from stacycle.decisions import apply
from stacycle.decisions.decision import write_decision
from stacycle.decisions.duplicates import remove_duplicates
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs.log import task

files, params, round_ = snakemake.output, snakemake.params, snakemake.wildcards.round

with task(snakemake.log[0], f"{round_}/duplicates") as log:
    state = OptimisationSet.read(snakemake.input.state[0])
    particles = star.read(state.particles)
    found = remove_duplicates(
        apply.with_scores(particles["particles"], snakemake.input.scores),
        diameter=params.diameter,
        least=apply.same_place(particles),
        wanted=params.distance,
        key=f"rounds.{round_}.duplicates.distance",
    )
    log.info(str(found.decision))
    star.write(files.removed, {"duplicates": found.removed})
    apply.write_once(particles, found.stays, state, Path(files.decision).parent)
    write_decision(files.decision, found.decision)
