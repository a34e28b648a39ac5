"""Refine3D: two independent half sets, on several MPI ranks."""

from pathlib import Path

from stacycle import compute, job, relion
from stacycle.state import read_state, settle

params = snakemake.params
folder = Path(snakemake.output.data).parent
engine = snakemake.config["engine"]
layout = compute.layout(snakemake.resources, snakemake.threads, halves=True)

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/refine3d") as say:
    state = read_state(snakemake.input.state[0])
    argv = relion.refine3d(
        particles=state.files.particles,
        tomograms=state.files.tomograms,
        trajectories=state.files.trajectories,
        reference=str(snakemake.input.reference),
        mask=next(iter(snakemake.input.mask), None),
        out=f"{folder}/run",
        symmetry=params.symmetry,
        threads=layout.threads,
        gpu=layout.gpu,
        pool=engine["pool"],
        scratch=job.scratch_folder(engine["scratch"]),
        **settle(params.settings, state, snakemake.input.resolution),
    )
    argv = relion.with_mpi(argv, layout.ranks, layout.launcher)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say, gpus=layout.gpus)
