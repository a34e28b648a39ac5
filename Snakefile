"""stacycle: the subtomogram-averaging cycle of RELION 5. Start here; the steps are in rules/, one file each."""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from stacycle import snakemake_api
from stacycle.recipe.config import for_module, notes, validate
from stacycle.recipe.config_text import give_types
from stacycle.errors import UserError
from stacycle.files.job_folder import HOW_FAR, STATE_FILE
from stacycle.files.safe_names import prepended
from stacycle.recipe import bodies
from stacycle.recipe.step_settings import FLOW, SHAPES, kind_of
from stacycle.recipe.refinement_settings import SEARCHED
from stacycle.recipe.rounds import (
    DECIDED,
    DECISIONS,
    INPUTS,
    MOVES,
    PILOT,
    POSES,
    PROBE,
    PROBING,
    SWEEPS,
    Recipe,
)
from stacycle.recipe.variants import SWEPT, model_iterations, models, variants
from stacycle.jobs.share_record import DONE
from stacycle.resources import site as resources_site
from stacycle.steps.step import SHARES

min_version("9.27")

HERE = snakemake_api.source_folder(workflow)
# So that scripts find the library in any environment (--software-deployment-method conda).
os.environ.update(PYTHONPATH=prepended(HERE / "src", os.environ.get("PYTHONPATH")))


# The tutorial's settings. A project's --configfile overrides them key by key.
configfile: HERE / "config/config.yaml"


try:
    if snakemake_api.is_imported(workflow):
        config = for_module(config, snakemake_api.path_prefix(workflow))
    else:
        give_types(config, snakemake_api.command_line_config(workflow))
    validate(config, snakemake_api.configfiles(workflow))
    recipe = Recipe.from_config(config)
    site = resources_site.site_of(workflow)
except UserError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    round="|".join(recipe.rounds),
    variant=r"[\w.+-]+",
    cycle=r"cycle\d+",
    sweep="|".join(SWEEPS),
    share=r"\d+of\d+",


include: "rules/common.smk"
include: "rules/preflight.smk"
include: "rules/plan.smk"
include: "rules/inputs.smk"
include: "rules/tomogram.smk"


for step in (*FLOW, *SWEEPS):

    include: f"rules/{step}.smk"


include: "rules/poses.smk"
include: "rules/parts.smk"
include: "rules/report.smk"
include: "rules/final.smk"
include: "rules/cleanup.smk"


rule all:
    """Everything that the config asks for: the default."""
    default_target: True
    input:
        "results/report.html",
        "results/ladder.tsv",
        final_map(),
        cleanup.targets(recipe, config["cleanup"]),
    localrule: True
