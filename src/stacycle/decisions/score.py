"""Which particles score too low to be what the map shows: a group of their own, clearly below the others."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.decisions.decision import Decision

SCORE, FLAGGED = "score", "flagged"
# What tells that the lower of two groups is junk (docs/decisions-evidence.md).
APART = 3.0  # standard deviations (root mean square of both) from mean to mean
LOW = 0.6  # x the mean of the upper group, at most, is that of the lower one
BETTER = 10.0  # by how much two groups lower the Bayesian information criterion of one
MANY = 0.4  # of the particles: more are not left out without a warning
_FEW = 20  # particles have no groups

Array = NDArray[np.floating]
Cut = float | Literal["auto"] | None


@dataclass(frozen=True)
class Groups:
    """Two normal distributions, the lower first: their shares, means and standard deviations, (2,) each; and by how
    much they lower the Bayesian information criterion of one."""

    share: Array
    mean: Array
    spread: Array
    gain: float

    @property
    def apart(self) -> float:
        """The distance of their means in standard deviations."""
        return float((self.mean[1] - self.mean[0]) / sqrt((self.spread**2).mean()))

    @property
    def lower_is_junk(self) -> bool:
        return self.apart >= APART and self.mean[0] <= LOW * self.mean[1] > 0 and self.gain >= BETTER

    def membership(self, scores: Array) -> Array:
        """How likely each score (n,) is of the lower group."""
        log = _log_densities(scores, self.share, self.mean, self.spread)
        return 1 / (1 + np.exp(np.clip(log[1] - log[0], -700, 700)))

    @property
    def cut(self) -> float:
        """The score between their means that is as likely of either."""
        between = np.linspace(self.mean[0], self.mean[1], 1001)
        return float(between[np.abs(self.membership(between) - 0.5).argmin()])


def two_groups(scores: Array) -> Groups:
    """Fit two normal distributions to scores (n,) by expectation maximisation. They begin at half of the median, which
    is a particle's score as long as most are good."""
    middle = float(np.median(scores)) / 2
    least = 0.05 * max(float(np.std(scores)), 1e-9)  # narrower, a group would be a single particle
    lower = 1 / (1 + np.exp(np.clip((scores - middle) / max(abs(middle) / 5, 1e-9), -50, 50)))
    for _ in range(500):
        weights = np.stack([lower, 1 - lower]) + 1e-9
        total = weights.sum(1)
        share, mean = total / total.sum(), weights @ scores / total
        spread = np.maximum(np.sqrt((weights * (scores - mean[:, None]) ** 2).sum(1) / total), least)
        log = _log_densities(scores, share, mean, spread)
        before, lower = lower, 1 / (1 + np.exp(np.clip(log[1] - log[0], -700, 700)))
        if np.abs(lower - before).max() < 1e-6:
            break
    one = _log_densities(scores, np.ones(1), scores.mean(keepdims=True), scores.std(keepdims=True) + 1e-9)
    gain = 2 * (np.logaddexp(*log).sum() - one.sum()) - 3 * np.log(len(scores))
    order = np.argsort(mean)
    return Groups(share[order], mean[order], spread[order], float(gain))


def _log_densities(scores: Array, share: Array, mean: Array, spread: Array) -> Array:
    """The logarithms (groups, n) of the densities of groups at scores (n,), times their shares."""
    z = (scores - mean[:, None]) / spread[:, None]
    return np.log(share / spread / sqrt(2 * np.pi))[:, None] - z**2 / 2


def decide_cut(scores: pd.DataFrame, wanted: Cut, key: str) -> tuple[Decision, pd.DataFrame]:
    """Where to cut the scores of particles, and the table with a column `flagged`: 1 for what lies below.

    `wanted` is the config's `key`: a score, "auto", or None to flag only. The choice `cut` is None where none is cut.
    """
    values = scores[SCORE].to_numpy(float)
    found = two_groups(values) if len(values) >= _FEW else None
    limit, reason = _by_rule(found, values)
    flag_only = wanted is None
    if isinstance(wanted, int | float):
        limit, reason = float(wanted), f"The config asks for it ({key}); the rule: {reason}"
    flagged = values < (-np.inf if limit is None else limit)
    table = scores.assign(flagged=flagged.astype(int))
    decision = Decision(
        "Scores",
        {
            "cut": None if flag_only else limit,
            "flagged": int(flagged.sum()),
            "kept": _kept(flagged, flag_only),
        },
        "rule" if wanted == "auto" else "config",
        reason + (f" They are flagged only ({key}: null)." if flag_only and flagged.any() else ""),
        _rows(found),
        _warnings(flagged, flag_only, key),
    )
    return decision, table


def _by_rule(found: Groups | None, values: Array) -> tuple[float | None, str]:
    if found is None:
        return None, f"All stay: {len(values)} particles are too few to tell groups by their scores."
    low, high = found.mean
    if found.lower_is_junk:
        sure = float(found.membership(values[values < found.cut]).mean())
        return found.cut, (
            f"Particles that score less than {found.cut:.2f} are a group of their own, {found.share[0]:.0%} of all, "
            f"which shows {low / high:.0%} of what others show of the map; the groups are {found.apart:.1f} standard "
            f"deviations apart, and what lies below is of the lower one with {sure:.1%}."
        )
    return None, (
        f"All stay: scores are not two groups of which one is junk (fitted means {low:.2f} and {high:.2f}, "
        f"{found.apart:.1f} standard deviations apart; {APART:g} and {LOW:.0%} would do)."
    )


def _rows(found: Groups | None) -> pd.DataFrame:
    """A row for each group."""
    if found is None:
        return pd.DataFrame()
    columns = {"share": found.share, "score": found.mean, "spread": found.spread}
    return pd.DataFrame({"group": ["lower", "upper"]} | columns)


def _kept(flagged: NDArray[np.bool_], flag_only: bool) -> int:
    return len(flagged) if flag_only else int((~flagged).sum())


def _warnings(flagged: NDArray[np.bool_], flag_only: bool, key: str) -> list[str]:
    if flag_only or flagged.mean() <= MANY:
        return []
    return [
        f"{flagged.mean():.0%} of the particles score low and are left out: look at the histogram, and set {key}: null "
        "to keep them."
    ]
