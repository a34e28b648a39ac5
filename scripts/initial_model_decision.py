"""Choose the initial model that the next step starts from, and give its particles and map their stable names."""

from pathlib import Path

from stacycle.decisions import apply, initial_model
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.recipe.variants import model_iterations, models
from stacycle.report.viewers import leave_view

settings, round_ = snakemake.params.settings, snakemake.wildcards.round
folder = Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{round_}/initial_model") as log:
    iteration = model_iterations(settings)
    if settings["reference"]:
        chosen = initial_model.choose_hand(folder, iteration)
        reference = f"{chosen.folder}_reference/reference.mrc"
    else:
        key = f"rounds.{round_}.initial_model"
        chosen = initial_model.choose_model(
            folder, list(models(settings)), iteration, snakemake.params.diameter, settings["agreement"], key
        )
        reference = chosen.classes["map"].iloc[0]
    log.info(str(chosen.decision))
    apply.write_chosen(chosen, folder, reference=reference)
    write_decision(snakemake.output.decision, chosen.decision)
    leave_view(folder)
