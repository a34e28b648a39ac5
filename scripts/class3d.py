"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from pathlib import Path

from stacycle import compute, job, relion
from stacycle.state import read_state, settle

wildcards, params = snakemake.wildcards, snakemake.params
folder = Path(snakemake.output.data).parent
engine = snakemake.config["engine"]
layout = compute.layout(snakemake.resources, snakemake.threads)

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
        threads=layout.threads,
        pool=engine["pool"],
        scratch=job.scratch_folder(engine["scratch"]),
        **settings,
    )
    argv = relion.align(gpu=layout.gpu, **common) if snakemake.rule == "align" else relion.class3d(**common)
    argv = relion.with_mpi(argv, layout.ranks, layout.launcher)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say, gpus=layout.gpus)
