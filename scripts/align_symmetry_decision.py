"""Test that the turned map has the round's symmetry, and turn the particles as the map was."""

from pathlib import Path

from stacycle.decisions import apply_symmetry
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.recipe import auto

files, params, round_ = snakemake.input, snakemake.params, snakemake.wildcards.round
settings = params.settings

with task(snakemake.log[0], f"{round_}/align_symmetry") as log:
    wanted = settings["lowpass"]
    decision = apply_symmetry.tested(
        files.map,
        params.symmetry,
        params.diameter,
        auto.reached(files.resolution) if wanted == "auto" else wanted,
        settings["least"],
        f"rounds.{round_}.align_symmetry.least",
    )
    log.info(str(decision))
    apply_symmetry.write_turned(files.state[0], files.map, Path(snakemake.output.decision).parent)
    write_decision(snakemake.output.decision, decision)
