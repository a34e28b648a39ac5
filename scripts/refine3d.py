"""Refine3D: two independent half sets, on several MPI ranks."""

from pathlib import Path

from stacycle import job, relion
from stacycle.state import read_state, settle

params = snakemake.params
folder = Path(snakemake.output.data).parent
engine = snakemake.config["engine"]
ranks = snakemake.resources.ranks

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
        threads=max(1, snakemake.threads // (ranks - 1)),
        gpu=job.gpus(snakemake.resources),
        pool=engine["pool"],
        scratch=job.scratch_folder(engine["scratch"]),
        **settle(params.settings, state, snakemake.input.resolution),
    )
    argv = relion.with_mpi(argv, ranks)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say)
