"""Keep, for each set whose hand is not known, the hand with which its half maps agree better."""

from pathlib import Path

from stacycle.decisions import apply_hand
from stacycle.decisions.decision import write_decision
from stacycle.jobs.log import task
from stacycle.steps.hand import HANDS

files, params = snakemake.input, snakemake.params
folder = Path(snakemake.output.decision).parent

with task(snakemake.log[0], f"{snakemake.wildcards.round}/hand") as log:
    names = {label: apply_hand.tomograms_of(files.facts, label) for label in params.sets}
    averages = {
        label: {hand: folder / label / of_hand / "reconstruct" for of_hand, hand in HANDS.items()}
        for label in names
    }
    before = apply_hand.hands_before(files.state[0], names)
    key = f"rounds.{snakemake.wildcards.round}.hand.choose"
    decision = apply_hand.choose_hands(averages, before, params.diameter, params.choose, key)
    log.info(str(decision))
    apply_hand.write_chosen(decision, files.state[0], folder, names)
    write_decision(snakemake.output.decision, decision)
