"""Boxes, masks, limits and samplings from the specimen: the tutorial's rules of thumb as arithmetic.

For the tutorial's 350 Å ribosome at 1.91 Å (7.64 Å in bin 4) they give the tutorial's own numbers; each docstring
quotes them. Boxes are in binned pixels; pixels, diameters and resolutions in Å; angles in degrees.
"""

from __future__ import annotations

import math
from typing import Any

from stacycle.errors import UserError
from stacycle.recipe.limits import FEW

# In degrees, as RELION's GUI offers them: HEALPix orders 1, 2, 3, ...
SAMPLINGS = (30, 15, 7.5, 3.7, 1.8, 0.9, 0.5, 0.2, 0.1)
TUTORIAL_SAMPLING = 7.5
SMALLEST_BOX = 16  # px; below it a box has too few Fourier shells to align anything
_ROUNDING = 1e-6  # so that 16.0000001 and 15.9999999 are both 16


def box(diameter_A: float, pixel_A: float) -> int:
    """Box size in px: the largest of at most 2 x diameter that is a multiple of 4 with prime factors up to 7.

    1.5 to 2 diameters leave room for the delocalised signal and the mask's edge; small prime factors make the
    Fourier transforms fast, and a multiple of 4 can be halved twice on the way to bin 1. 350 Å, 7.64 Å -> 84.
    UserError if the particle spans too few pixels.
    """
    at_most = math.floor(2 * diameter_A / pixel_A + _ROUNDING)
    for size in range(at_most - at_most % 4, SMALLEST_BOX - 1, -4):
        if _has_only_factors(size, (2, 3, 5, 7)):
            return size
    problem = f"{diameter_A:g} Å is only {diameter_A / pixel_A:.1f} px of {pixel_A:g} Å, too few to align"
    raise UserError(problem, "check the diameter or lower the round's binning", "particle.diameter")


def bin1_box(box_px: int, binning: float) -> int:
    """The box of the same extent in unbinned pixels: 84 in bin 4 -> 336."""
    return round(box_px * binning)


def estimation_box(box_px: int) -> int:
    """Box for CTF refinement and polishing: the smallest even 2^a 3^b of at least 1.1 x box. 336 -> 384."""
    size = math.ceil(1.1 * box_px - _ROUNDING)
    while size % 2 or not _has_only_factors(size, (2, 3)):
        size += 1
    return size


def mask_diameter(box_px: int, pixel_A: float) -> int:
    """Diameter in Å of the spherical mask: 90 % of the box, rounded down to 10 Å. 84 px of 7.64 Å -> 570."""
    return 10 * math.floor(0.9 * box_px * pixel_A / 10 + _ROUNDING)


def model_diameter(diameter_A: float, box_px: int, pixel_A: float) -> int:
    """The mask of an initial model in Å: 15 % wider than the particle, as the detail that a model begins with follows
    from it, and never wider than that of a refinement."""
    return min(10 * math.ceil(1.15 * diameter_A / 10), mask_diameter(box_px, pixel_A))


def nyquist(pixel_A: float) -> float:
    """Finest resolution in Å that this pixel size can carry. 7.64 -> 15.28."""
    return 2 * pixel_A


def estep_limit(pixel_A: float) -> float:
    """Resolution limit in Å of the expectation step: Nyquist, rounded down to a whole Å (7.64 -> 15); below 10 Å, where
    that is too coarse a step, to 0.1 Å (1.91 -> 3.8)."""
    limit = nyquist(pixel_A)
    step = 1 if limit >= 10 else 0.1
    return round(step * math.floor(limit / step + _ROUNDING), 1)


def classification(picks: int | None, diameter_A: float) -> dict[str, Any]:
    """The sweep and resolution limit of a classification without alignment, by the number of picks, if it is known.

    Of few particles each is a good part of its own class average, and the noise that they share keeps it there: a low T
    and a coarse limit weaken that, and of several random beginnings one separates.
    22,372 -> 6 classes, T of 0.5, 1, 2 and 4, one run each, to Nyquist.
    """
    if picks is not None and picks < FEW:
        return {"classes": 3, "T": [0.1, 0.5], "repeats": 2, "highres_limit": 5 * round(0.06 * diameter_A)}
    return {"classes": 6, "T": [0.5, 1, 2, 4], "repeats": 1, "highres_limit": "auto"}


def initial_lowpass(resolution_A: float) -> int:
    """Low-pass filter in Å of a reference that reached this resolution: 10 % more, against overfitting, up to a
    multiple of 5 Å. 21.08 -> 25, 22 -> 25, 24.448 -> 30."""
    return _next_multiple_of_5(1.1 * resolution_A)


def mask_lowpass(resolution_A: float) -> int:
    """Low-pass filter in Å of the map that a mask is made from: the next multiple of 5 Å. 24.448 -> 25."""
    return _next_multiple_of_5(resolution_A)


def mask_margin(resolution_A: float, pixel_A: float, diameter_A: float) -> tuple[int, int]:
    """Px by which a mask is extended, and of its soft edge, which is at half its height `margin` Å from the density.

    The margin is the resolution, but at most 23 Å and a fifteenth of the diameter. Three quarters of it are the edge,
    of 3 px or more; the rest is the extension, which reaches 1 px less far than mask_create is told.
    24.448 Å, 7.64 Å, 350 Å -> (3, 3); 15.28 Å, 1.91 Å, 350 Å -> (6, 6).
    """
    margin = min(resolution_A, 23, diameter_A / 15) / pixel_A
    edge = max(3, round(0.75 * margin))
    return 1 + max(0, round(margin - edge / 2)), edge


def local_resolution(
    *, resolution_A: float, pixel_A: float, box_px: int, diameter_A: float, sampling_A: float | None = None
) -> dict[str, float]:
    """In what spheres half maps are compared for a local resolution, in Å: `sampling` between them, their `mask_radius`
    and `edge_width`, the resolution beyond which to `randomise_at`, and the `coarsest` one.

    RELION's 25 Å as far as they do; else as wide at half height as 4 times the resolution reached, in a small particle
    3 times. `sampling_A` is the config's, if it gives one.
    3.5 Å, 1.35 Å/px -> 25, randomised at 25, at most 50; 45 Å, 20 Å/px, box 24, diameter 230 Å -> 67.5, 135, 135.
    """
    extent = box_px * pixel_A
    resolution_A = min(resolution_A, extent / 4)  # a map without any has none
    least, most = 1.5 * resolution_A, 2 * resolution_A
    sampling = sampling_A or max(25.0, min(most, max(least, diameter_A / 4)))
    randomise_at = max(min(max(25.0, 3 * resolution_A), extent / 3), 1.2 * resolution_A)
    return {
        "sampling": sampling,
        "mask_radius": sampling / 2,
        "edge_width": sampling,
        "randomise_at": randomise_at,
        "coarsest": max(50.0, 2 * sampling, randomise_at),
    }


def sigma_ang(local_range_deg: float) -> float:
    """Width in degrees of the prior on angles: RELION searches three times as far. 4 -> 1.33333."""
    return local_range_deg / 3


def angular_sampling(accuracy_deg: float) -> float:
    """The coarsest of RELION's samplings that is at most 2.5 times as coarse as the angles are known, and at most the
    tutorial's: coarser, it makes good poses worse. 3.128 -> 7.5, 2.3 -> 3.7."""
    coarsest = min(TUTORIAL_SAMPLING, 2.5 * accuracy_deg)
    return next((sampling for sampling in SAMPLINGS if sampling <= coarsest), SAMPLINGS[-1])


def offset_range(pixel_A: float) -> float:
    """Px around the picks' positions that an alignment searches: the tutorial's 15.28 Å in steps of half a px, at least
    one. 7.64 -> 2, 16 -> 1."""
    return max(1, round(2 * 15.28 / pixel_A) / 2)


def offset_step(pixel_A: float, accuracy_A: float | None = None) -> float:
    """Step of that search in px: 1, or less where that is more than 1.6 times the accuracy of positions, or, as long as
    nothing tells that, far more than the tutorial's 7.64 Å. 7.64, 4.935 -> 1; 16, 4 -> 0.25; 7.64 -> 1; 16 -> 0.5."""
    largest = 1.6 * accuracy_A if accuracy_A is not None else 7.64 * math.sqrt(2)
    return next((step for step in (1, 0.5) if step * pixel_A <= largest), 0.25)


def healpix_order(sampling_deg: float, oversampling: int = 1) -> int:
    """HEALPix order of the coarse grid for one of RELION's samplings (the oversampled step). 7.5 -> 2."""
    if sampling_deg not in SAMPLINGS:
        cure = f"choose one of {', '.join(map(number, SAMPLINGS))} degrees"
        raise UserError(f"RELION has no angular sampling of {sampling_deg:g} degrees", cure)
    return SAMPLINGS.index(sampling_deg) + 1 - oversampling


def number(value: float) -> str:
    """The number as RELION's GUI prints it, with six significant digits. 4/3 -> 1.33333, 570.0 -> 570."""
    return f"{value:.6g}"


def _next_multiple_of_5(length_A: float) -> int:
    if not math.isfinite(length_A) or length_A <= 0:
        problem = f"no low-pass filter follows from a resolution of {length_A:g} Å"
        raise UserError(problem, "set lowpass in the config")
    return 5 * math.ceil(length_A / 5 - _ROUNDING)


def _has_only_factors(size: int, factors: tuple[int, ...]) -> bool:
    for factor in factors:
        while size % factor == 0:
            size //= factor
    return size == 1


def turns_of_group(symmetry: str) -> int:
    """How many rotations a point group has, in RELION's notation, the identity with them."""
    kind, order = symmetry[0], symmetry[1:]
    return {"C": 1, "D": 2}[kind] * int(order) if kind in "CD" else {"T": 12, "O": 24, "I": 60}[kind]
