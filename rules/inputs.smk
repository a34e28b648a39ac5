"""Inputs: one or several sets of tilt series and picks, as RELION 5 has them, checked and merged with unique names."""

from stacycle.inputs.input_set import tilt_series_of


rule inputs:
    """The inputs, checked and merged under unique names."""
    input:
        sets=given_inputs,
        tilt_series=lambda wc: [
            path
            for one in config["inputs"]
            if one.get("tomograms")
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
