"""Choose the alignment that the next step starts from, and give its particles and map their stable names."""

from pathlib import Path

from stacycle.decisions import apply
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view

params = snakemake.params
folder = Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{snakemake.wildcards.round}/align") as log:
    key = f"rounds.{snakemake.wildcards.round}.align"
    chosen = apply.choose_alignment(
        folder,
        params.sweep,
        params.iteration,
        params.variant,
        key,
        sampling=params.sampling,
    )
    log.info(str(chosen.decision))
    apply.write_chosen(chosen, folder, reference=chosen.classes["map"].iloc[0])
    write_decision(snakemake.output.decision, chosen.decision)
    leave_view(folder)
