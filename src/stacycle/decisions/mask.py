"""The density threshold for `relion_mask_create`, from the map itself."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from stacycle.decisions.decision import By, Decision
from stacycle.errors import UserError

SIGMAS = 3.0  # above the solvent: what is higher is not noise
SHARE = 0.3  # of the particle's level above the solvent: "rather low", so that weak and floppy parts stay in
AROUND = 1.25  # of the particle's diameter is searched; farther out a refinement flattens the map
OVERSAMPLED = 6  # pixels for each resolution element of the low-passed map are enough
PIECE = 0.05  # of the largest piece: what is larger belongs to the particle, what is smaller is dust
DUST = 0.001  # of the voxels above the threshold may be dust: mask_create would extend each speck
CHANGED = 1.6  # times the volume of the mask before it, or less: so far masks of one particle differ
FULL = 0.6  # of the sphere around the particle: density that fills more may have solvent in it


class Extent(NamedTuple):
    """What lies above a threshold: the kept pieces' volume (Å^3), its share of the sphere, their number, and the share
    of all that is dust."""

    volume: float
    of_sphere: float
    pieces: int
    dust: float


def mask_threshold(
    density: np.ndarray,
    pixel_size: float,
    lowpass: float,
    diameter: float,
    threshold: float | Literal["auto"] = "auto",
    key: str = "mask.threshold",
) -> Decision:
    """A threshold low enough for the whole particle and high enough to leave the solvent out.

    `density` is a cubic map (n, n, n), `pixel_size` in Å, `lowpass` in Å as given to mask_create, `diameter`
    (Å) the particle's. Solvent level and noise come from the histogram's mode and its lower side inside a
    sphere a quarter wider, the particle's level from Otsu's upper half. UserError if the map is empty or if
    the config's threshold would make an empty mask.
    """
    smooth, pixel_size = coarse(density, pixel_size, lowpass)
    inside = distance(len(smooth)) * pixel_size <= AROUND * diameter / 2
    values = smooth[inside]
    highest = float(values.max())
    if not np.isfinite(values).all() or highest <= 0 or np.ptp(values) == 0:
        fault = f"the map has no positive density inside {diameter:.0f} Å, so no mask can be made"
        raise UserError(f"{key}: {fault}", "is it empty, or is its contrast inverted?")
    solvent, noise = _solvent(values)
    split = otsu_level(values)
    level = float(values[values > split].mean())
    options = {
        f"solvent + {SIGMAS:g} sigma": solvent + SIGMAS * noise,
        f"solvent + {SHARE:.0%} of the particle's level": solvent + SHARE * (level - solvent),
        "Otsu's limit between particle and solvent": split,
    }
    *low, otsu = options.values()
    automatic = min(max(low), otsu)
    name = next(name for name, value in options.items() if value == automatic)
    by: By = "rule" if threshold == "auto" else "config"
    if threshold == "auto":
        chosen = automatic
        reason = f"Threshold {chosen:.4g} is {name}: low enough for weak parts, above the solvent's noise."
    else:
        chosen = float(threshold)
        reason = f"The config asks for threshold {chosen:.4g} ({key})."
        if chosen >= highest:
            fault = f"{chosen:.4g} is above the highest density of the low-passed map ({highest:.4g})"
            raise UserError(f"{key}: {fault}, so the mask would be empty", f"try {automatic:.4g}")
        options["config"] = chosen
    extents = [_extent(smooth, inside, value, pixel_size) for value in options.values()]
    table = pd.DataFrame({"candidate": list(options), "threshold": list(options.values())})
    table[["volume", "of sphere", "pieces", "dust"]] = extents
    table["chosen"] = table["threshold"] == chosen
    extent = extents[list(options.values()).index(chosen)]
    return Decision(
        question="Mask threshold",
        choice={"threshold": float(f"{chosen:.6g}")},
        by=by,
        reason=reason,
        candidates=table,
        warnings=_warnings(extent, key),
        numbers={"volume": extent.volume, "dust": extent.dust, "solvent": solvent, "noise": noise},
    )


def of_shape(of: str, density: np.ndarray, pixel_size: float, asked: str = "") -> Decision:
    """The threshold of a shape (n, n, n) of 0 and 1 that the config names, which is one half. UserError if the shape is
    empty in this box, or if the config asks for another threshold, at the key `asked`."""
    if asked:
        raise UserError("a shape of 0 and 1 is cut at 0.5", "leave it out, or auto", asked)
    volume = float(np.count_nonzero(density > 0.5)) * pixel_size**3
    if not volume:
        raise UserError(
            f"nothing of {of} lies in the box of {len(density)} px of {pixel_size:.4g} Å", "move it"
        )
    reason = f"The config asks for {of}."
    numbers = {"volume": volume, "dust": 0.0, "solvent": 0.0, "noise": 0.0}
    return Decision("Mask", {"threshold": 0.5}, "config", reason, numbers=numbers)


def low_pass(density: np.ndarray, pixel_size: float, resolution: float) -> np.ndarray:
    """The map (n, n, n) without what is finer than `resolution` (Å); a raised-cosine edge of two shells."""
    return _low_passed(density, pixel_size, resolution, len(density))


def coarse(density: np.ndarray, pixel_size: float, resolution: float) -> tuple[np.ndarray, float]:
    """The low-passed map with no more voxels than it needs, and its pixel size: its pieces are sought several times."""
    n = len(density)
    m = min(n, 2 * int(np.ceil(n * pixel_size * OVERSAMPLED / resolution / 2)))
    return _low_passed(density, pixel_size, resolution, m), pixel_size * n / m


def _low_passed(density: np.ndarray, pixel_size: float, resolution: float, m: int) -> np.ndarray:
    """The low-passed map of (n, n, n) voxels in (m, m, m)."""
    from scipy import fft  # slow to import: most decisions need no map

    n = len(density)
    transform = fft.rfftn(density.astype(np.float32))
    if m < n:
        kept = np.r_[: m // 2, n - m // 2 : n]
        transform = transform[np.ix_(kept, kept, np.arange(m // 2 + 1))]
    edge = frequencies(m)  # in place from here on: a map of 336 px takes 0.3 GB
    edge -= n * pixel_size / resolution - 1
    edge /= 2
    weight = raised_cosine(edge)
    transform = transform * weight
    del edge, weight
    filtered: np.ndarray = fft.irfftn(transform, s=(m,) * 3, overwrite_x=True)
    filtered *= (m / n) ** 3
    return filtered


def raised_cosine(edge: np.ndarray) -> np.ndarray:
    """1 where `edge` is 0 or less, 0 where it is 1 or more, and a half of a cosine between; in the same array."""
    np.clip(edge, 0, 1, out=edge)
    edge *= np.pi
    np.cos(edge, out=edge)
    edge *= 0.5
    edge += 0.5
    return edge


def frequencies(n: int) -> np.ndarray:
    """Spatial frequency, in shells, of every coefficient of a real transform (n, n, n // 2 + 1)."""
    axis = np.fft.fftfreq(n) * n
    squares = axis[:, None, None] ** 2 + axis[:, None] ** 2 + (np.fft.rfftfreq(n) * n) ** 2
    return np.sqrt(squares, out=squares)


def distance(n: int) -> np.ndarray:
    """Distance (px) of every voxel from the centre n // 2."""
    axis = np.arange(n) - float(n // 2)
    squares = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return np.sqrt(squares, out=squares)


def _solvent(values: np.ndarray) -> tuple[float, float]:
    """Level and standard deviation of the solvent: the half-sample mode, and the spread below it."""
    ordered = np.sort(values)
    part = ordered
    while len(part) > 3:
        half = (len(part) + 1) // 2
        start = int(np.argmin(part[half - 1 :] - part[: len(part) - half + 1]))
        part = part[start : start + half]
    mode = float(part.mean())
    below = ordered[ordered <= mode]
    return mode, float(np.sqrt(np.mean((below - mode) ** 2)))


def otsu_level(values: np.ndarray, bins: int = 256) -> float:
    """The threshold of largest variance between the two halves of the histogram (Otsu 1979); of values that are all the
    same, that value, which none is above."""
    if np.ptp(values) == 0:
        return float(values.flat[0])
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    total = np.cumsum(counts * centres)
    between = below * above * (total[:-1] / below - (total[-1] - total[:-1]) / np.maximum(above, 1)) ** 2
    return float(edges[1:-1][np.argmax(between)])


def without_dust(smooth: np.ndarray, threshold: float) -> np.ndarray:
    """The low-passed map (n, n, n) with its lowest density in place of the pieces that are dust at the threshold."""
    above = smooth > threshold
    labels, kept, _ = _pieces(above)
    return np.where(above & ~kept[labels], smooth.min(), smooth)


def _pieces(above: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The connected pieces of what is above a threshold: the number of each voxel's (0 outside), which are kept, and
    how many voxels each has."""
    from scipy import ndimage

    labels, count = ndimage.label(above)
    sizes = np.bincount(labels[above], minlength=count + 1)
    return labels, sizes > PIECE * sizes.max(), sizes


def _extent(smooth: np.ndarray, inside: np.ndarray, threshold: float, pixel_size: float) -> Extent:
    _, kept, sizes = _pieces(smooth > threshold)
    above, voxels = int(sizes.sum()), int(sizes[kept].sum())
    share = 1 - voxels / above if above else 0.0
    return Extent(voxels * pixel_size**3, float(voxels / inside.sum()), int(kept.sum()), share)


def changed_volume(volume: float, before: float) -> list[str]:
    """A warning if a mask's volume (Å^3) is not about that of the mask before it, of the same particle."""
    if before / CHANGED <= volume <= CHANGED * before:
        return []
    fault = "a part of the particle may be cut off" if volume < before else "solvent may be inside"
    return [
        f"The mask has {volume / before:.2f} times the volume of the one before it: {fault}; look at both."
    ]


def _warnings(extent: Extent, key: str) -> list[str]:
    warnings = []
    if extent.of_sphere > FULL:
        warnings.append(
            f"Density above the threshold fills {extent.of_sphere:.0%} of the sphere around the particle: "
            f"too much solvent may be inside; look at the mask and raise {key}."
        )
    if extent.pieces > 1:
        warnings.append(f"The density above the threshold is in {extent.pieces} pieces: look at the mask.")
    return warnings
