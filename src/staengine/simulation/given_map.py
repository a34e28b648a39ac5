"""A particle of a given map, as the cloud of weighted points that the simulator projects.

The map is sampled at the simulation's pixel size and the blur of a residue is taken out of it, so that its points,
blurred again as the phantom's residues are, are the map itself. With points no farther apart than a pixel, what their
grid repeats in Fourier space begins where the images end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.maps import read_map
from staengine.simulation.phantom import HEAD_SWIVEL_DEG, RESIDUE_SIGMA, Phantom, phantom_map

FAINTEST = 0.02  # of the strongest point; fainter ones are ringing, and are left out
WIDEST = 1.4  # diameters that a map may reach across its centre of mass
TIP = 0.05  # of the mass: what conformation B has turned, at the end of the longest axis


def map_phantom(path: str | Path, angpix: float, diameter: float, model: Phantom) -> Phantom:
    """Clouds (n, 4) x y z in Å about the centre of mass, and weight, of a map (MRC) and of it with its tip turned.

    Their densities are those of `model`, another particle. Raises EngineError for a file that is no map, is
    empty, or holds a particle much wider than `diameter` (Å).
    """
    values, pixel = read_map(path, "map of --map")
    if pixel <= 0 or not np.ptp(values):
        raise EngineError(f"simulate: the map {path} is empty, or its header has no pixel size.")
    cloud = _cloud(values, pixel, angpix)
    extent = 2 * np.linalg.norm(cloud[:, :3], axis=1).max()
    if extent > WIDEST * diameter:
        raise EngineError(
            f"simulate: the map {path} has density up to {extent / 2:.0f} Å from its centre; give its --diameter, "
            "or mask what is not the particle."
        )
    box = 2 * int(np.ceil(0.75 * diameter / angpix))
    ours, theirs = (_greyscale(phantom_map(points, box, angpix)) for points in (cloud, model.A))
    cloud[:, 3] *= theirs / ours
    return Phantom(cloud, _tip_turned(cloud))


def weaken_second_half(phantom: Phantom, occupancy: float) -> Phantom:
    """The phantom with the half beyond the middle of its longest axis at `occupancy`, as a set's average has it."""
    axis = longest_axis(phantom.A)
    return Phantom(*(_weakened(cloud, axis, occupancy) for cloud in phantom))


def _cloud(values: NDArray[np.float32], pixel: float, angpix: float) -> NDArray[np.float32]:
    """Points (n, 4) of a map (box, box, box), its background taken off."""
    values = values - np.median(values)
    old = values.shape[0]
    new = 2 * round(old * pixel / angpix / 2)
    transform = fourier.resize_transform(fourier.rfft(values, 3), new, 3)
    step = old * pixel / new
    k = fourier.radius(new, 3) / (new * step)
    blur = np.exp(-2 * (np.pi * RESIDUE_SIGMA * k) ** 2)
    density = fourier.irfft(np.where(k < 0.5 / max(pixel, step), transform / blur, 0), 3)
    strong = np.argwhere(np.abs(density) > FAINTEST * np.abs(density).max())
    weights = density[tuple(strong.T)]
    points = (strong[:, ::-1] - new // 2) * step
    return np.column_stack([points - np.average(points, axis=0, weights=weights), weights]).astype(np.float32)


def _greyscale(density: NDArray[np.float32]) -> float:
    """Mean density of a map where its matter is."""
    return float((density**2).sum() / density.sum())


def longest_axis(cloud: NDArray[np.float32]) -> NDArray[np.float64]:
    """Unit vector (3,) along which a cloud is widest."""
    return np.linalg.eigh(np.cov(cloud[:, :3].T))[1][:, -1]


def _tip_turned(cloud: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cloud with TIP of its mass turned about the middle of where it meets the rest."""
    along = cloud[:, :3] @ longest_axis(cloud)
    order = np.argsort(along)[::-1]
    tip = order[np.cumsum(cloud[order, 3]) < TIP * cloud[:, 3].sum()]
    neck = np.abs(along - along[tip].min()) < 5.0
    pivot = cloud[neck, :3].mean(0)
    turned = cloud.copy()
    turned[tip, :3] = (
        Rotation.from_euler("zyx", HEAD_SWIVEL_DEG, degrees=True).apply(cloud[tip, :3] - pivot) + pivot
    )
    return turned


def _weakened(cloud: NDArray[np.float32], axis: NDArray[np.float64], occupancy: float) -> NDArray[np.float32]:
    weights = cloud[:, 3] if cloud.shape[1] == 4 else np.ones(len(cloud))
    second = cloud[:, :3] @ axis > 0
    return np.column_stack([cloud[:, :3], np.where(second, occupancy, 1) * weights]).astype(np.float32)
