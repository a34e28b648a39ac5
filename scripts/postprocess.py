"""Post-process: the resolution by masked FSC, and a sharpened map; of a round, of a cycle or of one variant."""

from pathlib import Path

from stacycle import job, relion

folder = Path(snakemake.output.star).parent
settings = dict(snakemake.params.settings)
is_variant = snakemake.wildcards.get("variant") is not None

with (
    job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say,
    job.may_fail(folder, snakemake.output, say, allowed=is_variant),
):
    job.need(snakemake.input)
    bfactor = settings.pop("bfactor")
    argv = relion.postprocess(
        half_map=snakemake.input.half_maps[0],
        mask=next(iter(snakemake.input.mask), None),
        out=f"{folder}/postprocess",
        bfactor=None if bfactor == "auto" else bfactor,
        **settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
