"""Select good classes, by rule or as the config says, and keep their particles and the best one's map."""

from pathlib import Path

import pandas as pd

from stacycle.decisions import apply, choose_classes, write_decision
from stacycle.files import star
from stacycle.jobs.log import task

folder = Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{snakemake.wildcards.round}/select") as log:
    classes = pd.read_csv(snakemake.input.classes, sep="\t")
    key = f"rounds.{snakemake.wildcards.round}.select.classes"
    decision = choose_classes(classes, snakemake.params.classes, key)
    log.info(str(decision))
    particles = apply.keep_classes(star.read(snakemake.input.particles), decision.choice["classes"])
    for note in apply.write_state(
        particles,
        star.read_optimisation_set(snakemake.input.state),
        folder,
        reference=classes.set_index("class").loc[decision.choice["reference_class"], "map"],
        resolution=decision.numbers["resolution"],
    ):
        log.info(note)
    write_decision(snakemake.output.decision, decision)
