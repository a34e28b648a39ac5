"""Select good classes, by rule or as the config says, and keep their particles and the best one's map."""

from pathlib import Path

import pandas as pd

from stacycle import choose, job, star
from stacycle.decisions import choose_classes, write_decision

folder = Path(snakemake.output.decision).parent

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/select") as say:
    classes = pd.read_csv(snakemake.input.classes, sep="\t")
    key = f"rounds.{snakemake.wildcards.round}.select.classes"
    decision = choose_classes(classes, snakemake.params.classes, key)
    say(str(decision))
    particles = choose.keep_classes(star.read(snakemake.input.particles), decision.choice["classes"])
    for note in choose.write_state(
        particles,
        star.read_optimisation_set(snakemake.input.state),
        folder,
        reference=classes.set_index("class").loc[decision.choice["reference_class"], "map"],
        resolution=decision.numbers["resolution"],
    ):
        say(note)
    write_decision(snakemake.output.decision, decision)
