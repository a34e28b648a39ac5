"""Select good classes: a picture of all of them first, then the choice."""


rule class_montage:
    """A picture of all classes, to judge them by."""
    input:
        unpack(before("select")),
        classes=of_classification("classes.tsv"),
        state_file=of_classification(STATE_FILE),
        particles=ancient(of_classification("particles.star")),
    output:
        montage=report(
            "results/{round}/{select}/classes.png",
            caption="captions/classes.rst",
            category="Classes",
            labels={"round": "{round}", "step": "{select}"},
        ),
    log:
        "logs/{round}/{select}/montage.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    message:
        "{wildcards.round}: show the classes for {wildcards.select}"
    script:
        "../scripts/class_montage.py"


checkpoint select:
    """The good classes, chosen, and their particles."""
    input:
        unpack(before("select")),
        classes=of_classification("classes.tsv"),
        state_file=of_classification(STATE_FILE),
        state=ancient(of_classification("optimisation_set.star")),
        particles=ancient(of_classification("particles.star")),
        montage="results/{round}/{select}/classes.png",
    output:
        decision="results/{round}/{select}/decision.json",
        state_file=f"results/{{round}}/{{select}}/{STATE_FILE}",
        state="results/{round}/{select}/optimisation_set.star",
        particles="results/{round}/{select}/particles.star",
        reference="results/{round}/{select}/reference.mrc",
    log:
        "logs/{round}/{select}/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        classes=setting("{select}", "classes"),
    message:
        "{wildcards.round}: {wildcards.select} good classes"
    script:
        "../scripts/select_classes.py"
