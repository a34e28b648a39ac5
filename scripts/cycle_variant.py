"""One variant of a cycle's sweep: CTF refinement or polishing of the tilt series, against half maps and their FSC."""

from pathlib import Path

from stacycle import job, maps, relion

BUILDERS = {"ctfrefine": relion.refine_ctf, "polish": relion.polish}

files, params = snakemake.input, snakemake.params
folder = Path(snakemake.output.state).parent

with (
    job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say,
    job.may_fail(folder, snakemake.output, say),
):
    argv = BUILDERS[snakemake.rule](
        state=files.state[0],
        half_maps=files.half_maps,
        mask=files.mask,
        postprocess=files.postprocess,
        out=str(folder),
        box=maps.estimation_box(params.box, files.half_maps[0], f"{params.key}.estimation_box"),
        threads=snakemake.threads,
        **params.settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
