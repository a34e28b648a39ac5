"""Post-process: the resolution by masked FSC, and a sharpened map."""

from pathlib import Path

from stacycle import job, relion

folder = Path(snakemake.output.star).parent
settings = dict(snakemake.params.settings)

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/postprocess") as say:
    bfactor = settings.pop("bfactor")
    argv = relion.postprocess(
        half_map=snakemake.input.half_maps[0],
        mask=next(iter(snakemake.input.mask), None),
        out=f"{folder}/postprocess",
        bfactor=None if bfactor == "auto" else bfactor,
        **settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
