"""stacycle: the subtomogram-averaging cycle of RELION 5. Start here; the steps are in rules/, one file each."""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from stacycle.recipe.config import for_module, notes, validate
from stacycle.recipe.config_text import give_types
from stacycle.errors import UserError
from stacycle.files.safe_names import prepended
from stacycle.recipe.rounds import (
    DECIDED,
    DECISIONS,
    INPUTS,
    STATE_FILE,
    SWEEPS,
    SWEPT,
    Recipe,
    variants,
)
from stacycle.inputs.input_set import tilt_series_of
from stacycle.resources import site as resources_site

min_version("9.16")

HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
# The scripts find the library whichever environment runs them (--software-deployment-method conda).
os.environ.update(PYTHONPATH=prepended(HERE / "src", os.environ.get("PYTHONPATH")))


# The tutorial; a project's own --configfile is laid over it, key by key.
configfile: HERE / "config/config.yaml"


try:
    if workflow.modifier.is_main_snakefile():
        give_types(config, workflow.config_settings.config)
    else:
        config = for_module(config, workflow.modifier.path_modifier.prefix)
    validate(config, workflow.configfiles)
    recipe = Recipe.from_config(config)
    site = resources_site.site_of(workflow)
except UserError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    round="|".join(recipe.rounds),
    variant=r"[\w.+-]+",
    cycle=r"cycle\d+",
    sweep="|".join(SWEEPS),


include: "rules/common.smk"
include: "rules/preflight.smk"
include: "rules/plan.smk"
include: "rules/inputs.smk"
include: "rules/extract.smk"
include: "rules/reconstruct.smk"
include: "rules/align.smk"
include: "rules/class3d.smk"
include: "rules/select.smk"
include: "rules/mask.smk"
include: "rules/refine3d.smk"
include: "rules/postprocess.smk"
include: "rules/cycle.smk"
include: "rules/ctfrefine.smk"
include: "rules/polish.smk"
include: "rules/report.smk"
include: "rules/tidy.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/ladder.tsv",
        tidied(),
    localrule: True
