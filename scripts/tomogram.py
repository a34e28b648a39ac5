"""Reconstruct a slab of a tomogram for the page, unless it has a reconstruction; if that fails, the run goes on.

One that was asked to end is begun once more: a result without a slab is not made again by itself.
"""

from dataclasses import replace
from functools import partial

from stacycle.errors import UserError
from stacycle.jobs import job, record
from stacycle.jobs.log import task
from stacycle.programs import reconstruct_tomogram
from stacycle.steps import tomogram
from stacycle.steps.step import folder_of

files, folder, engine = snakemake.input, folder_of(snakemake), snakemake.config["engine"]

with task(snakemake.log[0], "tomogram") as log:
    slab = tomogram.choose(files.particles, snakemake.params.diameter)
    if tomogram.has_own(files.tomograms, slab.tomogram):
        log.info(f"{slab.tomogram} has a reconstruction, which the page shows")
    else:
        slab = replace(slab, file=reconstruct_tomogram.volume(folder, slab.tomogram))
        try:
            argv = tomogram.command(snakemake, engine)
            run = partial(job.run, argv, folder, engine=engine, expected_outputs=[slab.file])
            try:
                run()
            except UserError:
                if not record.was_terminated(record.read(folder)):
                    raise
                run()
        except UserError as error:
            log.warning(f"WARNING: the page shows no slice of {slab.tomogram}: {error}")
            slab = replace(slab, file="", why=error.problem.split(". ")[0])
    slab.write(snakemake.output[0])
