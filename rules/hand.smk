"""Checking the hand of tilt series: sets with `hand: auto` are averaged with both, and the better one is kept."""

from stacycle.inputs.asked import of_unknown_hand
from stacycle.steps.hand import HANDS


wildcard_constraints:
    hand="|".join(HANDS),
    set=r"[\w-]+",


rule hand_state:
    """Tomograms with the other sign of the hand."""
    input:
        unpack(before("hand", "state")),
        facts=ancient(f"{INPUTS}/preflight.json"),
    output:
        state="results/{round}/hand/{set}/{hand}/optimisation_set.star",
        particles="results/{round}/hand/{set}/{hand}/particles.star",
        tomograms="results/{round}/hand/{set}/{hand}/tomograms.star",
        state_file=f"results/{{round}}/hand/{{set}}/{{hand}}/{STATE_FILE}",
    log:
        "logs/{round}/hand/{set}_{hand}_state.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    message:
        "{wildcards.round}: particles of {wildcards.set} with hand {wildcards.hand}"
    script:
        "../scripts/hand_state.py"


rule hand:
    """An average with the other sign of the hand, to compare."""
    input:
        unpack(before("hand")),
        state=["results/{round}/hand/{set}/{hand}/optimisation_set.star"],
        tomograms="results/{round}/hand/{set}/{hand}/tomograms.star",
    output:
        map="results/{round}/hand/{set}/{hand}/reconstruct/merged.mrc",
        half1="results/{round}/hand/{set}/{hand}/reconstruct/half1.mrc",
        half2="results/{round}/hand/{set}/{hand}/reconstruct/half2.mrc",
    log:
        "logs/{round}/hand/{set}_{hand}.log",
    benchmark:
        "benchmarks/{round}/hand/{set}_{hand}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: cores("hand", 8)
    resources:
        **queue("hand"),
        mem_mb=memory(32000),
        runtime=wall_time(480),
    params:
        step="hand",
        engine=engine,
        binning=setting("binning"),
        symmetry=symmetry("hand"),
        settings=settings("hand", "choose"),
    message:
        "{wildcards.round}: reconstruct {wildcards.set} with hand {wildcards.hand}"
    script:
        "../scripts/hand.py"


checkpoint hand_decision:
    """The hand of tilt series, chosen by the averages with both."""
    input:
        unpack(before("hand", "state")),
        facts=ancient(f"{INPUTS}/preflight.json"),
        half_maps=collect(
            "results/{{round}}/hand/{set}/{hand}/reconstruct/half{half}.mrc",
            set=of_unknown_hand(config["inputs"]),
            hand=HANDS,
            half=(1, 2),
        ),
    output:
        decision="results/{round}/hand/decision.json",
        state_file=f"results/{{round}}/hand/{STATE_FILE}",
        state="results/{round}/hand/optimisation_set.star",
        tomograms="results/{round}/hand/tomograms.star",
    log:
        "logs/{round}/hand/decision.log",
    localrule: True
    conda:
        "../envs/conda.yaml"
    params:
        sets=of_unknown_hand(config["inputs"]),
        choose=setting("hand", "choose"),
        diameter=config["particle"]["diameter"],
    message:
        "{wildcards.round}: keep the better hand of each set"
    script:
        "../scripts/hand_decision.py"
