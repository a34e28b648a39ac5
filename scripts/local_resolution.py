"""Local resolution of a round's post-processed map: the maps, then percentiles, pictures and colours."""

from stacycle.decisions.decision import write_decision
from stacycle.files import mrc
from stacycle.files.atomic import write_text
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.report import local_resolution_figures as figures
from stacycle.report.viewers import leave_view
from stacycle.steps import local_resolution
from stacycle.steps.step import folder_of

files, folder, engine = snakemake.output, folder_of(snakemake), snakemake.config["engine"]

with task(snakemake.log[0], "/".join(folder.parts[1:])) as log:
    argv = local_resolution.command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=[files.map, files.filtered])
    decision, within = local_resolution.decide(snakemake)
    log.info(str(decision))
    local, colours = mrc.voxels(files.map), figures.colour_range(decision.choice)
    figures.histogram_figure(local[within], decision.numbers, colours, files.histogram)
    figures.slices_figure(files.filtered, local, within, colours, files.slices)
    write_text(files.colours, figures.chimerax(files.filtered, files.map, within, colours))
    write_decision(files.decision, decision)
    leave_view(folder)
