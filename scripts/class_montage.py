"""A picture of all classes, the ones that the rule would keep framed; made before any choice is used."""

import pandas as pd

from stacycle.decisions.classes import passes, with_quality
from stacycle.jobs.log import task
from stacycle.report import map_figures

with task(snakemake.log[0], f"{snakemake.wildcards.round}/{snakemake.wildcards.select}") as log:
    classes = pd.read_csv(snakemake.input.classes, sep="\t")
    map_figures.class_montage(classes.assign(kept=passes(with_quality(classes))), snakemake.output.montage)
    log.info(f"look at {snakemake.output.montage}")
