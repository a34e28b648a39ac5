"""How often the hand of simulated tilt series is found from averages with both, and from which resolution on.

`python benchmarks/hand.py [--seeds N]` simulates sets with hand 1 and -1 in turn, N of each kind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.decisions import apply_hand
from stacycle.decisions.decision import Decision
from stacycle.files import star
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES, TOMOGRAMS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs import reconstruct_particle
from stacycle.provenance import record
from staengine import __main__ as engine
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate


@dataclass(frozen=True)
class Kind:
    """Sets of one kind: what of the simulation is asked for, and the averages' binning and box (px)."""

    name: str
    asked: dict[str, Any]
    binning: int
    box: int


_WIDE = {
    "tomos": 2,
    "particles": 60,
    "junk": 0,
    "fraction_b": 0,
    "size": 1000,
    "depth": 300,
}  # a field of 4000 Å
_PICKED = {"angle_error": 2, "position_error": 3, "shift_error": 4}
_REFINED = {"angle_error": 1, "position_error": 1.5, "shift_error": 1}
KINDS = (
    Kind("refined, bin 1", _WIDE | _REFINED, 1, 130),
    Kind("refined, bin 2", _WIDE | _REFINED, 2, 66),
    Kind("refined, bin 1, 4 x the particles", _WIDE | _REFINED | {"particles": 240}, 1, 130),
    Kind(
        "refined, bin 1, a field of 1680 Å",
        _WIDE | _REFINED | {"size": 420, "depth": 200, "tomos": 3, "particles": 40},
        1,
        130,
    ),
    Kind("picked, bin 1", _WIDE | _PICKED, 1, 130),
)


def of_set(project: Path, binning: int, box: int, diameter: float) -> Decision:
    """The decision on a set whose STAR files are in a folder, which this writes to."""
    state = project / OPTIMISATION_SET
    OptimisationSet(str(project / PARTICLES), str(project / TOMOGRAMS)).write(state)
    record.adopt(state)
    names = {"set": star.column(project / TOMOGRAMS, "rlnTomoName")}
    averages = {}
    for one in (1, -1):
        folder = project / f"hand{one}"
        apply_hand.write_candidate(state, folder, names["set"], one)
        averages[one] = folder / "reconstruct"
        averages[one].mkdir()
        argv = reconstruct_particle.argv(
            state=str(folder / OPTIMISATION_SET),
            **{"out": str(averages[one]), "box": box, "binning": binning, "symmetry": "C1"},
            threads=os.cpu_count() or 1,
        )
        with _silent():
            status = engine.main(argv)
        if status:
            raise RuntimeError(f"{argv[0]} ended with {status}")
    before = apply_hand.hands_before(state, names)
    return apply_hand.choose_hands({"set": averages}, before, diameter, "auto", "")


def decisions(kind: Kind, seeds: int) -> Iterator[tuple[int, Decision]]:
    """The true hand and the decision of each simulated set, whose STAR files say the other."""
    for seed in range(1, seeds + 1):
        hand = 1 if seed % 2 else -1
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            settings = SimulationSettings(**{"o": Path(), "hand": hand, "seed": seed, **kind.asked})
            with _silent():
                simulate(settings)
            tomograms = star.read(TOMOGRAMS)["global"]
            star.write(TOMOGRAMS, {"global": tomograms.assign(rlnTomoHand=-hand)})
            yield hand, of_set(Path(), kind.binning, kind.box, settings.diameter)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield


def measure(kind: Kind, seeds: int) -> dict[str, Any]:
    """How many are found, left open and wrong, with the resolution and the standard errors (+ for the true hand)."""
    rows = []
    for hand, decision in decisions(kind, seeds):
        table = decision.parts[0].candidates.set_index("hand")
        open_, right = bool(decision.warnings), decision.choice["set"] == hand
        rows.append({"found": right, "open": open_, "wrong": not right and not open_, **table.loc[hand]})
    table = pd.DataFrame(rows)
    counts = {key: int(table[key].sum()) for key in ("found", "open", "wrong")}
    return counts | {"resolution": table["resolution"].median(), "errors": table["errors"].median()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = parser.parse_args().seeds
    print(f"{seeds} sets of each kind\n")
    print("| sets | FSC 0.143 | found | left open | wrong | standard errors |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        found = measure(kind, seeds)
        counts = " | ".join(str(found[key]) for key in ("found", "open", "wrong"))
        print(
            f"| {kind.name} | {found['resolution']:.1f} Å | {counts} | {found['errors']:+.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
