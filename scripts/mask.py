"""Create a mask: find the threshold in the map, then let mask_create filter, cut, extend and soften."""

from pathlib import Path

import mrcfile

from stacycle import geometry, job, relion
from stacycle.decisions import mask_threshold, write_decision
from stacycle.state import reached

params = snakemake.params
folder = Path(snakemake.output.mask).parent
settings = dict(params.settings)

with job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say:
    with mrcfile.open(snakemake.input.map) as file:
        density, pixel = file.data.copy(), float(file.voxel_size.x)
    if settings["lowpass"] == "auto":
        finest = max(reached(snakemake.input.resolution), geometry.nyquist(pixel))
        settings["lowpass"] = geometry.mask_lowpass(finest)
    decision = mask_threshold(
        density,
        pixel,
        settings["lowpass"],
        params.diameter,
        settings.pop("threshold"),
        key=f"{params.key}.threshold",
    )
    say(str(decision))
    argv = relion.mask_create(
        map=snakemake.input.map,
        out=snakemake.output.mask,
        threshold=decision.choice["threshold"],
        threads=snakemake.threads,
        **settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=[snakemake.output.mask], say=say)
    write_decision(snakemake.output.decision, decision)
