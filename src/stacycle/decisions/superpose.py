"""Turning one map onto another that shows the same particle in another frame."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from stacycle.decisions.half_maps import correlation, sphere
from stacycle.decisions.mask import low_pass
from stacycle.decisions.regrid import regridded

SAMPLES = 2500  # rotations tried at first: 12 degrees apart
FINALISTS = 4  # of them are made better
TURN = 8.0  # of 1 / TURN radians (7 degrees) counts as much as a shift of a pixel
ELEMENTS = 2.5  # pixels for each resolution element are enough
LARGEST_SHIFT = 0.25  # of the diameter


class Superposition(NamedTuple):
    """The map as it lies on the other (n, n, n), the rotation (3, 3) and shift (Å, x y z) that did it, and the
    correlation within the particle's sphere, of what was compared."""

    density: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    correlation: float


def superpose(
    density: np.ndarray, onto: np.ndarray, pixel: float, diameter: float, resolution: float
) -> Superposition:
    """Turn and shift a map onto another of the same box (n, n, n) and pixel (Å).

    They are compared to `resolution` (Å) within a sphere of `diameter` (Å): all rotations, with the best shift of each.
    """
    coarse = max(pixel, resolution / ELEMENTS)
    box = 2 * int(np.ceil(min(len(onto) * pixel, 1.5 * diameter) / coarse / 2))
    moving, fixed = (
        regridded(low_pass(one, pixel, resolution), pixel, box, coarse) for one in (density, onto)
    )
    search = _Search(moving, fixed, coarse, diameter)
    rotation, shift, correlation = search.best()
    moved = _moved(density, rotation, shift * coarse / pixel, order=3)
    return Superposition(moved, rotation, shift * coarse, correlation)


def fsc(one: np.ndarray, other: np.ndarray, pixel: float, diameter: float) -> np.ndarray:
    """The FSC (n // 2 + 1,) of two maps (n, n, n) within a soft sphere of `diameter` (Å)."""
    inside = sphere(len(one), pixel, diameter)
    return correlation(one * inside, other * inside)


def agreed(curve: np.ndarray, pixel: float, threshold: float = 0.5) -> float:
    """The resolution in Å up to which an FSC (n // 2 + 1,) stays above the threshold; inf if it never is."""
    below = np.flatnonzero(curve[1:] < threshold)
    last = int(below[0]) if len(below) else len(curve) - 1
    return 2 * (len(curve) - 1) * pixel / last if last else float("inf")


def mirrored(density: np.ndarray) -> np.ndarray:
    """A map (n, n, n) of the other hand, its centre n // 2 where it was."""
    flipped = density[::-1]
    return np.roll(flipped, 1, axis=0) if len(density) % 2 == 0 else flipped


class _Search:
    """Rotations of a small map (m, m, m) compared with another, each at its best shift."""

    def __init__(self, moving: np.ndarray, fixed: np.ndarray, pixel: float, diameter: float) -> None:
        self.moving, self.inside = moving, sphere(len(fixed), pixel, diameter)
        self.fixed = self._within(fixed)
        self.transform = np.conj(np.fft.rfftn(self.fixed))
        self.reach = max(1, int(LARGEST_SHIFT * diameter / pixel))

    def best(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The rotation (3, 3), shift (px, x y z) and correlation of the best of all rotations, made finer."""
        from scipy.optimize import minimize
        from scipy.spatial.transform import Rotation

        sampled = Rotation.random(SAMPLES, rng=np.random.default_rng(0)).as_matrix()
        starts = sorted((self._at_best_shift(one) for one in (np.eye(3), *sampled)), key=lambda one: -one[0])
        found = []
        for _, matrix, shift in starts[:FINALISTS]:

            def unlike(x: np.ndarray, matrix: np.ndarray = matrix, shift: np.ndarray = shift) -> float:
                turn = Rotation.from_rotvec(x[:3] / TURN).as_matrix() @ matrix
                return -self._correlation(turn, shift + x[3:])

            ends = minimize(unlike, np.zeros(6), method="Powell", options={"xtol": 0.02, "ftol": 1e-4})
            turn = Rotation.from_rotvec(ends.x[:3] / TURN).as_matrix() @ matrix
            found.append((turn, shift + ends.x[3:], -float(ends.fun)))
        return max(found, key=lambda one: one[2])

    def _within(self, density: np.ndarray) -> np.ndarray:
        """What lies within the sphere, its mean taken off and of norm 1."""
        density = (density - (density * self.inside).sum() / self.inside.sum()) * self.inside
        return density / (np.linalg.norm(density) or 1.0)

    def _correlation(self, matrix: np.ndarray, shift: np.ndarray) -> float:
        return float((self._within(_moved(self.moving, matrix, shift, order=1)) * self.fixed).sum())

    def _at_best_shift(self, matrix: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The highest correlation of the turned map over shifts, with the rotation and the shift (px, x y z)."""
        turned = self._within(_moved(self.moving, matrix, np.zeros(3), order=1))
        at_shift = np.fft.irfftn(np.fft.rfftn(turned) * self.transform, s=turned.shape, axes=(0, 1, 2))
        near = np.r_[0 : self.reach + 1, -self.reach : 0]
        window = at_shift[np.ix_(near, near, near)]
        place = np.unravel_index(int(np.argmax(window)), window.shape)
        # that the turned map is ahead by so much means that it has to go back
        return float(window[place]), matrix, -near[list(place)][::-1].astype(float)


def _moved(density: np.ndarray, rotation: np.ndarray, shift: np.ndarray, order: Literal[1, 3]) -> np.ndarray:
    """The map turned by `rotation` (acting on x y z) about its centre n // 2, then shifted (px, x y z)."""
    from scipy import ndimage  # slow to import: most decisions need no map

    centre = np.full(3, len(density) // 2)
    back = rotation.T[::-1, ::-1]  # arrays are indexed z y x
    return ndimage.affine_transform(density, back, centre - back @ (centre + shift[::-1]), order=order)
