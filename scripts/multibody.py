"""Multi-body refinement, the look at what its bodies did, and the principal components of that."""

from stacycle.decisions.decision import write_decision
from stacycle.files import star
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.programs import flex_analyse
from stacycle.report import body_figures
from stacycle.steps import multibody
from stacycle.steps.step import folder_of, layout_of

files, folder, engine = snakemake.output, folder_of(snakemake), snakemake.config["engine"]
gpus = layout_of(snakemake, half_sets=True).gpus

with task(snakemake.log[0], f"{snakemake.wildcards.round}/multibody") as log:
    multibody.prepare(snakemake)
    argv = multibody.command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=[files.data, files.model], gpus=gpus)
    decision = multibody.decide(snakemake)
    log.info(str(decision))
    particles = len(star.columns(files.data, "particles")["rlnTomoName"])
    if flex_analyse.enough(particles, len(snakemake.params.settings["bodies"])):
        components = multibody.analysis_folder(snakemake)
        made = [components / "analyse_eigenvectors.dat"]
        job.run(multibody.analysis(snakemake), components, engine=engine, expected_outputs=made)
    else:
        log.warning("WARNING: %d particles are too few for principal components.", particles)
    body_figures.motions_figure(decision.candidates, multibody.explained(snakemake), files.picture)
    write_decision(files.decision, decision)
