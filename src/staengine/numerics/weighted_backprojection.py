"""Weighted back-projection: a volume made of tilt images in real space, and divided in Fourier space by what the
directions of the tilts make of a point.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True, fastmath=True)
def _add_images(total, count, images, matrices, offsets, first, step):
    depth, height, width = total.shape
    rows, columns = images.shape[1], images.shape[2]
    for z in range(first, depth, step):
        for i in range(images.shape[0]):
            image, m = images[i], matrices[i]
            for y in range(height):
                x0 = m[0, 1] * y + m[0, 2] * z + offsets[i, 0]
                y0 = m[1, 1] * y + m[1, 2] * z + offsets[i, 1]
                for x in range(width):
                    px, py = m[0, 0] * x + x0, m[1, 0] * x + y0
                    if px < 0 or py < 0 or px > columns - 1 or py > rows - 1:
                        continue
                    jx, jy = min(int(px), columns - 2), min(int(py), rows - 2)
                    fx, fy = px - jx, py - jy
                    below = (1 - fx) * image[jy, jx] + fx * image[jy, jx + 1]
                    above = (1 - fx) * image[jy + 1, jx] + fx * image[jy + 1, jx + 1]
                    total[z, y, x] += (1 - fy) * below + fy * above
                    count[z, y, x] += 1


def back_project(
    images: NDArray[np.float32],
    matrices: NDArray[np.float64],
    offsets: NDArray[np.float64],
    shape: tuple[int, int, int],
    threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Of each voxel of a volume (depth, height, width) the sum of the images (n, rows, columns) where it lies in them,
    between pixels linearly, and in how many it lies.

    Voxel (x, y, z) lies at matrices (n, 2, 3) @ (x, y, z) + offsets (n, 2), in x and y, px.
    """
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
    arguments = (total, count, images, np.ascontiguousarray(matrices), np.ascontiguousarray(offsets))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: _add_images(*arguments, first, threads), range(threads)))
    return total, count


def mean_of_images(total: NDArray[np.float32], count: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The mean of those images that a voxel lies in; 0 where it lies in none."""
    return np.divide(total, np.maximum(count, 1), dtype=np.float32)


def weights(matrices: NDArray[np.float64], shape: tuple[int, int, int], threads: int) -> NDArray[np.float32]:
    """Half transform (depth, height, width // 2 + 1) of the sum of a point's lines, one for each tilt, as if all were
    seen; divided by the root of the number of voxels, as RELION has it: its signal-to-noise ratio is in that scale."""
    middle = np.array(shape[::-1]) // 2
    points = np.zeros((len(matrices), 5, 5), np.float32)
    points[:, 2, 2] = 1
    lines, _ = back_project(points, matrices, 2 - matrices @ middle, shape, threads)
    transform = scipy.fft.rfftn(scipy.fft.ifftshift(lines), workers=threads)
    return np.asarray(np.abs(transform) / math.sqrt(math.prod(shape)), np.float32)


def divide(
    volume: NDArray[np.float32], weight: NDArray[np.float32], snr: float, threads: int
) -> NDArray[np.float32]:
    """A volume (depth, height, width) divided in Fourier space by weight + 1 / snr."""
    transform = scipy.fft.rfftn(volume, workers=threads) / (weight + np.float32(1 / snr))
    divided: Any = scipy.fft.irfftn(transform, s=volume.shape, workers=threads)
    return np.asarray(divided, np.float32)


def resample(images: NDArray[np.float32], rows: int, columns: int, threads: int = 1) -> NDArray[np.float32]:
    """Images (n, h, w) of the same fields with no more pixels than they have, by cutting their transforms; grey values
    and the place of pixel 0 are kept."""
    height, width = images.shape[1:]
    transform = scipy.fft.rfft2(images, workers=threads)[:, :, : columns // 2 + 1]
    low, high = transform[:, : (rows + 1) // 2], transform[:, height - rows // 2 :]
    cut: Any = scipy.fft.irfft2(np.concatenate([low, high], axis=1), s=(rows, columns), workers=threads)
    return np.asarray(cut * (rows * columns / (height * width)), np.float32)
