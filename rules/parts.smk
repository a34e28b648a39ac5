"""The parts that a round focused on, shown together over the consensus."""


rule parts:
    """The parts that a round focused on, over the consensus."""
    input:
        unpack(parts_and_consensus),
    output:
        map="results/{round}/parts/composite.mrc",
        commands="results/{round}/parts/parts.cxc",
        picture=report(
            "results/{round}/parts/parts.png",
            caption="captions/parts.rst",
            category="Results",
            labels={"shows": "parts of {round}"},
        ),
    log:
        "logs/{round}/parts.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        names=lambda wc: focused(recipe, wc.round),
    message:
        "{wildcards.round}: show the parts together"
    script:
        "../scripts/parts.py"
