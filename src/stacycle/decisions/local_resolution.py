"""What a map of local resolutions says inside the mask: percentiles, and what is wrong with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.decisions.decision import Decision
from stacycle.decisions.mask import distance

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_SAME = 1.01  # x Nyquist, or the coarsest, is still that
_EMPTY, _CAPPED, _FINE = 0.01, 0.1, 0.5  # of the voxels, from which on a warning is due
_OFF = 1.3  # x the whole map's resolution: a median that is coarser or finer by more is told

Array = NDArray[np.floating]


def inside(mask: NDArray[np.floating] | None, box: int, pixel: float, diameter: float) -> NDArray[np.bool_]:
    """The voxels (n, n, n) whose resolutions count: those of a mask, or of a sphere of the particle's diameter (Å)."""
    if mask is not None:
        return np.asarray(mask) > 0.5
    return np.asarray(distance(box) * pixel <= diameter / 2)


def summary(
    local: Array, within: NDArray[np.bool_], *, nyquist: float, coarsest: float, reached: float, key: str
) -> Decision:
    """The percentiles of the local resolutions (n, n, n) in Å within these voxels; 0 is none. `reached` is the whole
    map's resolution, `coarsest` the largest there can be, `key` that of the step in the config."""
    values = np.asarray(local, np.float32)[within]
    told = np.sort(values[values > 0])
    found = np.percentile(told, PERCENTILES) if len(told) else np.full(len(PERCENTILES), np.nan)
    of = dict(zip(PERCENTILES, found.round(2).tolist(), strict=True))
    return Decision(
        question="Local resolution",
        choice={"median": of[50], "finest": of[5], "coarsest": of[95]},
        by="rule",
        reason=(
            f"Inside the mask half of the map is finer than {of[50]:.1f} Å, and nine tenths lie between {of[5]:.1f} "
            f"and {of[95]:.1f} Å; as a whole it reaches {reached:.1f} Å."
        ),
        candidates=pd.DataFrame({"percent": PERCENTILES, "resolution": found.round(2)}),
        warnings=_warnings(values, told, of, nyquist, coarsest, reached, key),
        numbers={"resolution": reached, "nyquist": nyquist, "voxels": len(values)},
    )


def _warnings(
    values: Array,
    told: Array,
    of: dict[int, float],
    nyquist: float,
    coarsest: float,
    reached: float,
    key: str,
) -> list[str]:
    found = []
    if (empty := 1 - len(told) / max(1, len(values))) > _EMPTY:
        found.append(
            f"{empty:.0%} of the mask is farther out than any sphere in which half maps are compared, and has no local "
            f"resolution: a larger box, or a smaller {key}.mask_radius, would reach it."
        )
    if (capped := float((told >= coarsest / _SAME).mean())) > _CAPPED:
        found.append(
            f"{capped:.0%} of the mask is at {coarsest:g} Å, the coarsest local resolution that was asked for, and may "
            f"be coarser: set {key}.coarsest."
        )
    if (fine := float((told <= nyquist * _SAME).mean())) > _FINE:
        found.append(
            f"{fine:.0%} of the mask reaches {nyquist:.4g} Å, Nyquist of this binning, and may be finer: what "
            "differs there is seen at a finer binning."
        )
    if of[50] > _OFF * reached or of[50] < reached / _OFF:
        found.append(
            f"The local resolutions are around {of[50]:.1f} Å, but the whole map's is {reached:.1f} Å: look at the "
            "mask, and at the spheres of the local FSC, which may be too small or too large."
        )
    return found
