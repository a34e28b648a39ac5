"""Particles that were picked twice: pairs nearer than a step can tell apart, and which of each pair stays."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stacycle.files.star_labels import CENTRED, PIXEL
from stacycle.inputs.findings import DUPLICATES, Findings
from stacycle.inputs.picks import SHIFTS
from stacycle.provenance import particles as of_state

KEEP_ONE = "keep_one"  # of particles picked twice: particle.duplicates
# Columns that tell how good a pick is, higher being better; the first that is there counts.
SCORES = (
    *("rlnAutopickFigureOfMerit", "rlnLCCmax", "rlnParticleFigureOfMerit"),
    *("rlnMaxValueProbDistribution", "rlnLogLikeliContribution"),
)


def refuse_duplicates(particles: pd.DataFrame, tomograms: pd.DataFrame, findings: Findings) -> int:
    """Two rows less than a pixel apart are one particle, which in both halves would feign resolution: a problem.
    Returns how many pairs are so near that steps further on take them for one (`provenance.particles.NEAR`)."""
    pixel = tomograms[PIXEL].max()
    pairs = near_pairs(particles, of_state.NEAR * pixel)
    findings.pairs = _described(pairs, particles)
    if same := int((pairs["distance"] < pixel).sum()):
        rows = particles.iloc[list(pairs.loc[pairs["distance"] < pixel, ["first", "second"]].iloc[0])]
        first = " and ".join(f"{row.file} row {row.row}" for row in rows.itertuples())
        of_all = f" (the first of {same} such pairs)" if same > 1 else ""
        problem = f"{first}{of_all} are the same particle, less than a pixel apart"
        cure = f"remove one of each (all pairs are in {DUPLICATES}), or set particle.duplicates: {KEEP_ONE}"
        findings.refuse(problem, cure)
    return len(pairs)


def each_once(particles: pd.DataFrame, tomograms: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The particles without those that lie where a better one, or an earlier one, does."""
    distance = of_state.NEAR * tomograms[PIXEL].max()
    pairs = near_pairs(particles, distance)
    stays = one_of_each(particles, pairs)
    findings.pairs = _described(pairs, particles, stays)
    if gone := int((~stays).sum()):
        by = "first" if score(particles) is None else "better"
        why = f"they lie within {distance:.3g} Å of another, and of each pair the {by} one is kept"
        problem = f"{gone} of {len(particles)} particles are left out, for {why}"
        findings.warn(problem, f"all pairs are in {DUPLICATES}")
    return particles[stays].reset_index(drop=True)


def _described(pairs: pd.DataFrame, particles: pd.DataFrame, stays: np.ndarray | None = None) -> pd.DataFrame:
    """The pairs for a person to read: file and row of both, how far apart (Å), their scores, which one is kept."""
    table = pd.DataFrame({"tomogram": particles["rlnTomoName"].iloc[pairs["first"]].to_numpy()})
    table["distance"] = pairs["distance"].round(3)
    scores = score(particles)
    for which in ("first", "second"):
        rows = particles.iloc[pairs[which]]
        table[f"{which}_file"], table[f"{which}_row"] = rows["file"].to_numpy(), rows["row"].to_numpy()
        if scores is not None:
            table[f"{which}_score"] = scores[pairs[which]]
        if stays is not None:
            table[f"{which}_is_kept"] = stays[pairs[which]]
    return table


def near_pairs(table: pd.DataFrame, distance: float) -> pd.DataFrame:
    """All pairs of particles of one tomogram nearer than `distance` (Å): columns first, second (positions in the table
    from 0, first < second) and distance (Å), by first."""
    labels = [label for label in ("rlnTomoName", *CENTRED, *SHIFTS) if label in table]
    rows, apart = of_state.near_pairs({label: list(table[label]) for label in labels}, distance)
    pairs = pd.DataFrame({"first": rows[:, 0], "second": rows[:, 1], "distance": apart})
    return pairs.sort_values(["first", "second"], ignore_index=True)


def score(table: pd.DataFrame) -> np.ndarray | None:
    """How good the picks (n) are, higher being better; None if no column tells it."""
    found = of_state.quality({label: table[label] for label in SCORES if label in table}, SCORES)
    return found[1] if found else None


def one_of_each(table: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """Which particles (n, bool) stay if of those near each other one is kept: the better score, else the first."""
    scores = score(table)
    best_first = range(len(table)) if scores is None else of_state.best_first(scores)
    stays_for = of_state.one_of_each(pairs[["first", "second"]].to_numpy(int), best_first)
    return stays_for == np.arange(len(table))
