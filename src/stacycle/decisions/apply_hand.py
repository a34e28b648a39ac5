"""From sets whose hand is not known to averages with both, to a decision, and to the state that the next step takes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from stacycle.decisions.decision import Decision, combine
from stacycle.decisions.half_maps import compare, read, sphere
from stacycle.decisions.hand import MIRRORED, hand_of_set
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES, TOMOGRAMS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import SUBSET
from stacycle.provenance import record

_HAND = "rlnTomoHand"
_MAY_CHANGE_TOMOGRAMS = ("trajectories",)


def tomograms_of(facts: str | Path, name: str) -> list[str]:
    """The tomograms that a set of the config brought, by the facts of the inputs (preflight.json)."""
    found = json.loads(Path(facts).read_text())["tomograms"]
    return [one["name"] for one in found if one["set"] == name]


def write_candidate(state: str | Path, folder: str | Path, names: Collection[str], hand: int) -> None:
    """Write the particles of a state in the tomograms `names`, which have this hand, as a state of their own; each
    particle has a half set. UserError if there are none."""
    folder, files = Path(folder), OptimisationSet.read(state)
    tables = star.read(files.particles)
    particles = tables["particles"]
    chosen = particles[particles["rlnTomoName"].isin(names)].reset_index(drop=True)
    if chosen.empty:
        problem = f"{files.particles}: has no particles in {len(names)} tomograms whose hand is looked for"
        raise UserError(problem, "give the hand of their set in the config (inputs: hand)")
    if SUBSET not in chosen:
        chosen[SUBSET] = chosen.index % 2 + 1
    star.write(folder / PARTICLES, {**tables, "particles": chosen})
    tomograms = star.read(files.tomograms)["global"]
    tomograms = tomograms[tomograms["rlnTomoName"].isin(names)].assign(**{_HAND: hand})
    star.write(folder / TOMOGRAMS, {"global": tomograms})
    own = replace(files, particles=str(folder / PARTICLES), tomograms=str(folder / TOMOGRAMS))
    own.write(folder / OPTIMISATION_SET)
    others = {"in other tomograms": len(particles) - len(chosen)}
    record.of_decision(folder, Path(state).parent, dropped=others, kept=_MAY_CHANGE_TOMOGRAMS)


def choose_hands(
    averages: Mapping[str, Mapping[int, str | Path]],
    before: Mapping[str, int],
    diameter: float,
    choice: int | str,
    key: str,
) -> Decision:
    """The hand of each set, of the folders of its averages with 1 and -1; `before` are the hands so far."""
    parts = []
    for name, folders in averages.items():
        halves, pixel = read(folders)
        found = compare(halves, pixel, sphere(len(halves[1][0]), pixel, diameter))
        parts.append(hand_of_set(name, found, before[name], choice, key))
    decision = combine("Hand", parts)
    return replace(decision, reason=f"{decision.reason} {MIRRORED}")


def hands_before(state: str | Path, names: Mapping[str, Collection[str]]) -> dict[str, int]:
    """The hand so far of each set, of which `names` has the tomograms."""
    table = star.read(OptimisationSet.read(state).tomograms)["global"].set_index("rlnTomoName")
    return {label: int(table.loc[list(own), _HAND].iloc[0]) for label, own in names.items()}


def write_chosen(
    decision: Decision, state: str | Path, folder: str | Path, names: Mapping[str, Collection[str]]
) -> None:
    """Write the state with the hands that were chosen in `folder`; its particles stay where they are."""
    folder, files = Path(folder), OptimisationSet.read(state)
    table = star.read(files.tomograms)["global"]
    for label, own in names.items():
        table.loc[table["rlnTomoName"].isin(own), _HAND] = decision.choice[label]
    star.write(folder / TOMOGRAMS, {"global": table})
    replace(files, tomograms=str(folder / TOMOGRAMS)).write(folder / OPTIMISATION_SET)
    record.of_decision(folder, Path(state).parent, kept=_MAY_CHANGE_TOMOGRAMS)
