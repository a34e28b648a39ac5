"""Choose the classification that the next step starts from; give its particles and class table their stable names."""

from pathlib import Path

from stacycle.decisions import apply
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.recipe.auto import lowpass
from stacycle.report.viewers import leave_view

params = snakemake.params
folder = Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{snakemake.wildcards.round}/{snakemake.wildcards.class3d}") as log:
    chosen = apply.choose_classification(
        folder,
        params.sweep,
        params.iteration,
        params.variant,
        f"rounds.{snakemake.wildcards.round}.{snakemake.wildcards.class3d}",
        consensus=snakemake.input.consensus,
        diameter=params.diameter,
        lowpass=lowpass(params.lowpass, snakemake.input.resolution),
    )
    log.info(str(chosen.decision))
    apply.write_chosen(chosen, folder)
    chosen.classes.to_csv(snakemake.output.classes, sep="\t", index=False)
    write_decision(snakemake.output.decision, chosen.decision)
    leave_view(folder)
