"""Select good classes, by rule or as the config says, and keep their particles and the best one's map."""

from pathlib import Path

import pandas as pd

from stacycle.decisions import apply
from stacycle.decisions.classes import choose_classes
from stacycle.decisions.decision import write_decision
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view

folder = Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{snakemake.wildcards.round}/{snakemake.wildcards.select}") as log:
    classes = pd.read_csv(snakemake.input.classes, sep="\t")
    key = f"rounds.{snakemake.wildcards.round}.{snakemake.wildcards.select}.classes"
    decision = choose_classes(classes, snakemake.params.classes, key)
    log.info(str(decision))
    particles = apply.of_classes(star.read(snakemake.input.particles), decision.choice["classes"])
    dropped = apply.write_selected(
        particles,
        OptimisationSet.read(snakemake.input.state),
        folder,
        reference=classes.set_index("class").loc[decision.choice["reference_class"], "map"],
        resolution=decision.numbers["resolution"],
    )
    for reason, number in dropped.items():
        log.info(f"{number} particles dropped: {reason}")
    write_decision(snakemake.output.decision, decision)
    leave_view(folder)
