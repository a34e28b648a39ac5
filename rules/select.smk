"""Select good classes: a picture of all of them first, then the choice."""


rule class_montage:
    input:
        unpack(before("select")),
        classes="results/{round}/class3d/classes.tsv",
        state_file=f"results/{{round}}/class3d/{STATE_FILE}",
        particles=ancient("results/{round}/class3d/particles.star"),
    output:
        montage=report(
            "results/{round}/select/classes.png",
            caption="captions/classes.rst",
            category="Classes",
            labels={"round": "{round}"},
        ),
    log:
        "logs/{round}/select/montage.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    message:
        "{wildcards.round}: show the classes"
    script:
        "../scripts/class_montage.py"


checkpoint select:
    input:
        unpack(before("select")),
        classes="results/{round}/class3d/classes.tsv",
        state_file=f"results/{{round}}/class3d/{STATE_FILE}",
        state=ancient("results/{round}/class3d/optimisation_set.star"),
        particles=ancient("results/{round}/class3d/particles.star"),
        montage="results/{round}/select/classes.png",
    output:
        decision="results/{round}/select/decision.json",
        state_file=f"results/{{round}}/select/{STATE_FILE}",
        state="results/{round}/select/optimisation_set.star",
        particles="results/{round}/select/particles.star",
        reference="results/{round}/select/reference.mrc",
    log:
        "logs/{round}/select/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        classes=setting("select", "classes"),
    message:
        "{wildcards.round}: select good classes"
    script:
        "../scripts/select_classes.py"
