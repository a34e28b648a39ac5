"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from pathlib import Path

from stacycle import job, relion
from stacycle.state import read_state, settle

wildcards, params = snakemake.wildcards, snakemake.params
folder = Path(snakemake.output.data).parent
engine = snakemake.config["engine"]

with job.task(snakemake.log[0], f"{wildcards.round}/{snakemake.rule} {wildcards.variant}") as say:
    state = read_state(snakemake.input.state[0])
    tau, classes = params.variant
    settings = settle(params.settings, state, snakemake.input.resolution)
    common = dict(
        state=state.path,
        reference=str(snakemake.input.reference),
        out=f"{folder}/run",
        T=tau,
        classes=classes,
        symmetry=params.symmetry,
        threads=snakemake.threads,
        pool=engine["pool"],
        scratch=job.scratch_folder(engine["scratch"]),
        **settings,
    )
    if snakemake.rule == "align":
        argv = relion.align(gpu=job.gpus(snakemake.resources), **common)
    else:
        argv = relion.class3d(**common)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say)
