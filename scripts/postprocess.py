"""Post-process: the resolution by masked FSC, and a sharpened map; of a round, of a cycle or of one variant."""

from pathlib import Path

from stacycle import job, maps, relion

folder = Path(snakemake.output.star).parent
settings = dict(snakemake.params.settings)
is_variant = snakemake.wildcards.get("variant") is not None

with (
    job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say,
    job.may_fail(folder, snakemake.output, say, allowed=is_variant),
):
    job.need(snakemake.input)
    mask = next(iter(snakemake.input.mask), None)
    if mask:
        maps.check_mask(mask, snakemake.input.half_maps[0])
    bfactor = settings.pop("bfactor")
    argv = relion.postprocess(
        half_map=snakemake.input.half_maps[0],
        mask=mask,
        out=f"{folder}/postprocess",
        bfactor=None if bfactor == "auto" else bfactor,
        **settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
