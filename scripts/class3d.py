"""Class3D: one variant of an alignment to one reference, or of a classification without alignment."""

from functools import partial

from stacycle.decisions import early_stop
from stacycle.jobs import how_far, job
from stacycle.jobs.log import task
from stacycle.steps.registry import command_of_rule
from stacycle.steps.step import folder_of, layout_of

folder = folder_of(snakemake)
gpus = layout_of(snakemake).gpus
engine = snakemake.config["engine"]
in_vain = None
if (stops := snakemake.params.get("stop_early")) is not None:
    asked = int(snakemake.wildcards.get("iteration", 0))
    in_vain = partial(early_stop.in_vain, least=asked) if stops else how_far.never

with task(snakemake.log[0], " ".join(["/".join(folder.parts[1:-1]), folder.name])):
    argv = command_of_rule(snakemake.params.step)(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output, gpus=gpus, in_vain=in_vain)
