"""Which initial model to go on from: one that another agrees with; or the hand of a map of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from stacycle.decisions.apply import Chosen
from stacycle.decisions.decision import Decision
from stacycle.decisions.half_maps import sphere
from stacycle.decisions.regrid import regridded
from stacycle.decisions.superpose import agreed, fsc, mirrored, superpose
from stacycle.errors import UserError, some
from stacycle.files import mrc, relion_output
from stacycle.recipe.variants import HANDS

SHARE = 0.3  # of the diameter: at this resolution, models that agree have the particle's shape
COMPARED = 0.2  # of the diameter: to this resolution models are turned onto each other
SURE = 3.0  # standard errors by which a hand must fit better


def choose_model(
    folder: str | Path, seeds: Sequence[str], iteration: int, diameter: float, wanted: float | str, key: str
) -> Chosen:
    """Of the models of several seeds in `folder`, one that agrees with another to `wanted` Å (auto: SHARE of the
    diameter, Å). RELION's own numbers of a model tell nothing: a wrong one claims as much as a right one.

    UserError if no two agree, with how far they do.
    """
    folder = Path(folder)
    tables = {name: relion_output.classes(folder / name, iteration) for name in seeds}
    maps = {name: str(table["map"].iloc[0]) for name, table in tables.items()}
    densities = {name: np.asarray(mrc.voxels(path), np.float32) for name, path in maps.items()}
    pixel = mrc.header(next(iter(maps.values()))).pixel
    limit = SHARE * diameter if wanted == "auto" else float(wanted)
    pairs = [_pair(one, other, densities, pixel, diameter) for one, other in combinations(seeds, 2)]
    table = pd.DataFrame(pairs).sort_values("agree to", ignore_index=True)
    best = table.iloc[0]
    if not best["agree to"] <= limit:
        told = some([f"{row.seeds}: {_shown(row['agree to'])}" for _, row in table.iterrows()], 6)
        fault = (
            f"no two of {len(seeds)} initial models agree to {limit:.0f} Å ({told}), so none can be trusted"
        )
        cure = "give more seeds or iterations, more or cleaner picks, or a map of your own as reference"
        raise UserError(fault, cure, key)
    name = max((best["one"], best["other"]), key=lambda seed: -_mean_agreement(table, seed))
    table["chosen"] = [name in (row.one, row.other) for row in table.itertuples()]
    reason = (
        f"Of {len(seeds)} models, {best['seeds']} agree best, to {best['agree to']:.0f} Å "
        f"(at least {limit:.0f} is asked for); {name} goes on."
    )
    decision = Decision(
        question="Initial model",
        choice={"variant": name},
        by="rule",
        reason=reason,
        candidates=table.drop(columns=["one", "other"]),
        warnings=_of_hands(table, limit),
        numbers={"resolution": float(best["agree to"])},
    )
    return Chosen(folder / name, iteration, tables[name], decision)


def choose_hand(folder: str | Path, iteration: int) -> Chosen:
    """The hand of a map of one's own to which the particles fit better for sure, or else the one that was given."""
    folder = Path(folder)
    tables = {hand: relion_output.classes(folder / hand, iteration) for hand in HANDS}
    fits = [relion_output.assignments(folder / hand, iteration)["loglik"].to_numpy(float) for hand in HANDS]
    gain = fits[1] - fits[0]
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) or 1e-12
    errors = float(gain.mean()) / error
    hand = HANDS[1] if errors >= SURE else HANDS[0]
    told = f"{abs(errors):.1f} standard errors of the log-likelihood"
    if hand == HANDS[1]:
        reason = f"The particles fit the mirrored map better, by {told}: the map that was given has the other hand."
    elif errors <= -SURE:
        reason = f"The particles fit the map as it was given better than its mirror image, by {told}."
    else:
        reason = f"The particles fit both hands of the map ({told}); it is taken as it was given."
    table = pd.DataFrame({"hand": HANDS, "log-likelihood": [fit.mean() for fit in fits]})
    decision = Decision(
        question="Hand of the reference",
        choice={"variant": hand},
        by="rule",
        reason=reason,
        candidates=table.assign(chosen=[one == hand for one in HANDS]),
        warnings=[]
        if abs(errors) >= SURE
        else ["Whether the reference has the right hand is not known yet."],
    )
    return Chosen(folder / hand, iteration, tables[hand], decision)


def brought(path: str, hand: str, box: int, pixel: float, diameter: float) -> np.ndarray:
    """A map of one's own in `box` px of `pixel` Å, in the `hand` (given or mirrored), its particle bright, its solvent
    at 0. UserError if it is no map, has no pixel size, or shows nothing within the particle's `diameter` (Å)."""
    mrc.check_values(path)
    _, own = mrc.box_and_known_pixel(path)
    density = np.asarray(mrc.voxels(path), np.float32)
    inside = sphere(len(density), own, diameter) > 0.5
    rim = density[~inside] if not inside.all() else density.ravel()[:1]
    density = density - float(np.median(rim))
    if _skewness(density[inside]) < 0:  # ice is smooth, matter is not
        density = -density
    density = regridded(density, own, box, pixel)
    return mirrored(density) if hand == HANDS[1] else density


def _skewness(values: np.ndarray) -> float:
    centred = values - values.mean()
    return float((centred**3).mean() / (centred.std() ** 3 or 1))


def _pair(
    one: str, other: str, densities: Mapping[str, np.ndarray], pixel: float, diameter: float
) -> dict[str, object]:
    """How far two models agree, as they are, and if one of them is mirrored."""
    compared = max(COMPARED * diameter, 2.5 * pixel)
    found: dict[str, object] = {"one": one, "other": other, "seeds": f"{one} and {other}"}
    for name, density in (("agree to", densities[one]), ("mirrored", mirrored(densities[one]))):
        lying = superpose(density, densities[other], pixel, diameter, compared)
        found[name] = agreed(fsc(lying.density, densities[other], pixel, diameter), pixel)
    return found


def _mean_agreement(table: pd.DataFrame, seed: str) -> float:
    own = table[(table["one"] == seed) | (table["other"] == seed)]
    return float((1 / own["agree to"]).mean() ** -1)


def _of_hands(table: pd.DataFrame, limit: float) -> list[str]:
    """A warning if models agree better when one of them is mirrored: then hands cannot be told at this resolution."""
    other = table[(table["mirrored"] < table["agree to"]) & (table["mirrored"] <= limit)]
    return [
        f"{row['seeds']} agree better if one is mirrored, to {row['mirrored']:.0f} Å: look at the final map's hand."
        for _, row in other.iterrows()
    ]


def _shown(resolution: float) -> str:
    return f"{resolution:.0f} Å" if np.isfinite(resolution) else "nowhere"
