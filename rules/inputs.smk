"""Inputs: one or several sets of tomograms and picks, checked and merged with unique names."""


rule inputs:
    input:
        # What is missing is told by the script, in words and with all other mistakes.
        sets=[
            path
            for one in config["inputs"]
            for path in (one["tomograms"], one["particles"])
            if Path(path).is_file()
        ],
        tilt_series=[
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
    params:
        sets=config["inputs"],
    message:
        "Check and merge the inputs"
    script:
        "../scripts/inputs.py"
