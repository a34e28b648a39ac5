"""Soft masks: around the density of a map, and around its whole box."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from staengine.numerics import fourier


def soft_mask(inside: NDArray[np.bool_], extend_px: float, edge_px: float) -> NDArray[np.float32]:
    """Mask (n, n, n) that is 1 closer than extend_px to `inside` and falls to 0 over edge_px beyond.

    `inside` itself is always 1. Distances are Euclidean, to voxel centres; the edge is a raised cosine.
    """
    mask = np.zeros(inside.shape, np.float32)
    margin = math.ceil(extend_px) + math.ceil(edge_px)
    # Only the neighbourhood of the density can be touched; distance transforms of a whole box are slow.
    around = tuple(
        slice(max(s.start - margin, 0), s.stop + margin)
        for s in ndimage.find_objects(inside.astype(np.uint8))[0]
    )
    solid = inside[around]
    if extend_px > 0:
        solid = solid | (ndimage.distance_transform_edt(~solid) < extend_px)
    if edge_px > 0:
        mask[around] = fourier.raised_cosine(ndimage.distance_transform_edt(~solid), 0, edge_px)
    else:
        mask[around] = solid
    return mask


def taper(volume: NDArray[Any], edge_px: float) -> NDArray[np.float32]:
    """Subtract the mean inside the largest sphere and mask with its soft edge."""
    box = volume.shape[0]
    mask = fourier.soft_sphere(box, box / 2 - edge_px, edge_px)
    return (mask * (volume - (mask * volume).sum() / mask.sum())).astype(np.float32)
