"""Pictures of a map for whoever has no viewer at hand: its surface, shaded, from three sides, under three slices.

Rays are parallel to an axis of the map: each goes through the voxels of one line to the first that is above the level.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from numpy.typing import NDArray
from scipy import ndimage

from stacycle.files import mrc
from stacycle.report.chimerax import COLOURS, DENSITY
from stacycle.report.drawing import Target, drawn
from stacycle.report.images import DIRECTIONS, central
from stacycle.report.map_figures import scale_bar, show

_FINEST = 192  # voxels of a side are enough for a picture
_SIDE = 420  # pixels of a picture's side, at least
# Where light comes from, of an image's x and y (upwards), and towards the viewer.
_LIGHT = np.array([-0.35, 0.5, 0.8])
_SHADE, _SHINE = 0.35, 0.25
_LOCAL = LinearSegmentedColormap.from_list("local_resolution", COLOURS)
# Axes of a map (z, y, x) as an image has them: along the rays, upwards, to the right.
_VIEWS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))

Array = NDArray[np.float32]
Range = tuple[float, float]


def map_figure(
    density: str | Path, level: float, path: Target, local: str | Path | None = None, between: Range = (0, 1)
) -> None:
    """Central slices of a map, and below them its surface at a level, seen along the same axes; in the colours of a map
    of local resolutions (Å), if there is one, from which to which."""
    slices, pixel = central(density)
    voxels, size = _coarse(density, pixel)
    colours = _coarse(local, pixel)[0] if local else None
    low, high = np.percentile(slices, [0.5, 99.9])
    with drawn(path, 8.4, 6.0) as figure:
        above, below = figure.subplots(2, 3)
        for axes, name, grey in zip(above, DIRECTIONS, slices, strict=True):
            show(axes, grey, vmin=low, vmax=high)
            axes.set_title(name)
        scale_bar(above[0], len(slices[0]), pixel)
        images = _cut([surface_image(voxels, level, order, colours, between) for order in _VIEWS])
        for axes, image in zip(below, images, strict=True):
            show(axes, image, interpolation="antialiased")
        scale_bar(below[0], len(images[0]), size * len(voxels) / _side(len(voxels)), "black")
        if colours is not None:
            bar = figure.colorbar(ScalarMappable(Normalize(*between), _LOCAL), ax=list(below), shrink=0.9)
            bar.set_label("Local resolution (Å)")


def picture_of(density: str | Path, level: float, path: Target) -> None:
    """The surface of a map at a level, alone: a square picture without a scale."""
    (image,) = _cut([surface_image(_coarse(density, 1)[0], level)])
    with drawn(path, 4, 4, layout=None) as figure:
        show(figure.add_axes((0, 0, 1, 1)), image, interpolation="antialiased")


def surface_image(
    voxels: Array,
    level: float,
    order: tuple[int, int, int] = (0, 1, 2),
    colours: Array | None = None,
    between: Range = (0, 1),
) -> NDArray[np.float64]:
    """The surface of a map (n, n, n) at a level, shaded, as an image (side, side, 3) of 0..1 whose first row is the
    lowest; white where there is none. `order` are the map's axes along the rays, upwards and to the right; `colours`
    (n, n, n), of 0 where nothing is known, run over the range `between`."""
    turned = _towards(voxels, order)
    times = _side(len(voxels)) / len(voxels)
    rows, columns = np.meshgrid(*[_places(n, times) for n in turned.shape[1:]], indexing="ij")
    smooth = ndimage.gaussian_filter(turned, 0.7)
    depth, hit = _met(smooth, level, rows, columns)
    places = np.stack([depth, rows, columns])
    normals = np.stack([_sample(ndimage.sobel(smooth, axis), places) for axis in (2, 1, 0)], axis=-1)
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = -normals / np.maximum(lengths, 1e-30)
    normals[..., 2] *= -1  # rays go along the axis: towards the viewer is against it
    colour = np.broadcast_to(to_rgb(DENSITY), (*hit.shape, 3))
    if colours is not None:
        known = _sample(_towards(colours, order), places, order=0)
        colour = np.where((known > 0)[..., None], _LOCAL(Normalize(*between)(known))[..., :3], 0.7)
    return np.where(hit[..., None], _shaded(normals, colour, depth, hit), 1.0)


def _cut(images: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Images without the white around what they show, all to one size."""
    middle = len(images[0]) // 2
    seen = [np.argwhere((image < 1).any(axis=-1)) for image in images]
    farthest = max((int(abs(places - middle).max()) for places in seen if len(places)), default=middle)
    half = min(middle, round(1.1 * farthest) + 1)
    return [image[middle - half : middle + half, middle - half : middle + half] for image in images]


def _towards(volume: Array, order: tuple[int, int, int]) -> Array:
    """A volume with the rays' axis first, which they go along from its beginning; never as in a mirror."""
    turned = volume.transpose(order)
    even = order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))  # then who looks is where the axis ends
    return np.ascontiguousarray(turned[::-1] if even else turned)


def _shaded(
    normals: NDArray[Any], colour: NDArray[Any], depth: NDArray[Any], hit: NDArray[np.bool_]
) -> NDArray[Any]:
    """Colours (side, side, 3) in the light, darker where the surface is farther away."""
    light = _LIGHT / np.linalg.norm(_LIGHT)
    diffuse = np.clip(normals @ light, 0, 1)
    half = light + np.array([0, 0, 1])
    shine = np.clip(normals @ (half / np.linalg.norm(half)), 0, 1) ** 24
    near, far = (np.min(depth[hit]), np.max(depth[hit])) if hit.any() else (0.0, 1.0)
    fog = 1 - 0.35 * np.clip((depth - near) / max(far - near, 1), 0, 1)
    bright = (_SHADE + (1 - _SHADE) * diffuse) * fog
    return np.clip(colour * bright[..., None] + _SHINE * (shine * fog)[..., None], 0, 1)


def _met(
    smooth: Array, level: float, rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """How deep each ray meets the level, in voxels, to a fraction of one; and whether it does. Plane after plane is
    looked at, as finely as the image, which a map of any size has room for."""
    depth = np.full(rows.shape, np.nan)
    before = np.full(rows.shape, level - 1.0)
    for number, plane in enumerate(smooth):
        now = _sample(plane, np.stack([rows, columns]))
        new = np.isnan(depth) & (now >= level)
        depth[new] = number - 1 + (level - before[new]) / np.maximum(now[new] - before[new], 1e-30)
        before = np.minimum(now, level)
    hit = ~np.isnan(depth)
    return np.where(hit, depth, 0), hit


def _sample(volume: Any, places: NDArray[Any], order: Literal[0, 1] = 1) -> NDArray[Any]:
    found: NDArray[Any] = ndimage.map_coordinates(volume, places, order=order, mode="nearest")
    return found


def _coarse(path: str | Path, pixel: float) -> tuple[Array, float]:
    """A map that is small enough for a picture, by means of neighbouring voxels, and its pixel size."""
    voxels = np.asarray(mrc.voxels(path), np.float32)
    by = -(-len(voxels) // _FINEST)
    if by > 1:
        n = len(voxels) // by * by
        voxels = voxels[:n, :n, :n].reshape(n // by, by, n // by, by, n // by, by).mean((1, 3, 5))
    return voxels, pixel * by


def _side(voxels: int) -> int:
    """The side in pixels of the picture of a map: a whole number of times its own."""
    return voxels * -(-_SIDE // voxels)


def _places(voxels: int, times: float) -> NDArray[Any]:
    """Where the centres of an image's pixels lie, in voxels."""
    return (np.arange(round(voxels * times)) + 0.5) / times - 0.5
