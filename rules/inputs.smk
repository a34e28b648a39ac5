"""Inputs: one or several sets of tomograms and picks, checked and merged with unique names."""

from stacycle.inputs.merge import tilt_series_of


def given_inputs(wc):
    """Input function: the STAR files that the config names. Each run asks for them, so the config is warned of here.

    Snakemake refuses a missing file, but does not say where it looked.
    """
    config_notes()
    given = [
        path
        for one in config["inputs"]
        for path in (one["tomograms"], one["particles"])
    ]
    for path in given:
        if not os.path.isfile(path):
            logger.error(
                f"{path}, named under inputs in the config, is not there: paths start at "
                f"the project folder (--directory), {Path.cwd()}; correct the path."
            )
    return given


rule inputs:
    input:
        sets=given_inputs,
        tilt_series=lambda wc: [
            path
            for one in config["inputs"]
            for path in tilt_series_of(one["tomograms"])
        ],
    output:
        particles=f"{INPUTS}/particles.star",
        tomograms=f"{INPUTS}/tomograms.star",
        state=f"{INPUTS}/optimisation_set.star",
        preflight=f"{INPUTS}/preflight.json",
    log:
        "logs/inputs.log",
    benchmark:
        "benchmarks/inputs.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 1
    resources:
        **queue("inputs"),
        mem_mb=memory(4000),
        runtime=wall_time(60),
    params:
        step="inputs",
        sets=config["inputs"],
        duplicates=config["particle"]["duplicates"],
    message:
        "Check and merge the inputs"
    script:
        "../scripts/inputs.py"
