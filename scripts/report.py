"""The table of resolutions, the last FSC and map, and one page with every choice, curve and picture."""

from stacycle.files import relion_output
from stacycle.jobs.log import task
from stacycle.report import curve_figures, make, map_figures

with task(snakemake.log[0], "report") as log:
    made = make.write(config=snakemake.config)
    if last := snakemake.params.last:
        curve_figures.fsc_figure(relion_output.fsc(f"{last}/postprocess.star"), snakemake.output.fsc)
        map_figures.slices_figure(f"{last}/postprocess.mrc", snakemake.output.map)
    log.info(f"look at {made}")
