"""Central slices of a map: what the map looks like in an image, as Fourier components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

_PADDING = 2  # x the box is the map's transform, so that values between its points can be interpolated


@dataclass(frozen=True)
class Components:
    """Fourier components (kx, ky), in px of the transform of an image of `box` px: one of each pair of mates, without
    the mean and Nyquist; `shell` is the nearest whole radius. All have the shape (K,)."""

    kx: NDArray[np.int64]
    ky: NDArray[np.int64]
    shell: NDArray[np.int64]
    box: int

    @classmethod
    def within(cls, box: int, last: int) -> Components:
        """Those of the shells 1 .. `last`."""
        last = min(last, box // 2 - 1)
        ky, kx = np.mgrid[-last : last + 1, 0 : last + 1]
        shell = np.rint(np.hypot(kx, ky)).astype(int)
        taken = (shell >= 1) & (shell <= last) & ((kx > 0) | (ky > 0))
        return cls(kx[taken], ky[taken], shell[taken], box)

    def of_images(self, images: NDArray[Any]) -> NDArray[np.complex64]:
        """The components (m, K) of images (m, box, box), relative to their middle, px box // 2."""
        centred = fft.ifftshift(np.asarray(images, np.float32), axes=(1, 2))
        return fft.rfft2(centred)[:, self.ky, self.kx]

    def moved(self, shifts: NDArray[Any]) -> NDArray[np.complex64]:
        """The factors (m, K) that move images by shifts (m, 2) px, x and y."""
        along = shifts[:, :1] * self.kx + shifts[:, 1:] * self.ky
        return np.exp(-2j * np.pi / self.box * along).astype(np.complex64)


@dataclass(frozen=True)
class Density:
    """The transform of a map, ready to be sliced."""

    transform: NDArray[np.complex64]  # (S, S, S // 2 + 1), zero frequency in the middle of the first two axes

    @classmethod
    def of(cls, volume: NDArray[Any]) -> Density:
        """Of a map (n, n, n). Interpolation multiplies it by a squared sinc along each axis, which is divided out."""
        n = len(volume)
        size, start = _PADDING * n, (_PADDING * n) // 2 - n // 2
        axis = np.sinc((np.arange(n) - n // 2) / size) ** 2
        padded = np.zeros((size,) * 3, np.float32)
        padded[(slice(start, start + n),) * 3] = volume / (axis[:, None, None] * axis[:, None] * axis)
        return cls(fft.fftshift(fft.rfftn(fft.ifftshift(padded)), axes=(0, 1)).astype(np.complex64))

    def slices(self, matrices: NDArray[Any], components: Components) -> NDArray[np.complex64]:
        """The components (m, K) of the map in images of orientation (m, 3, 3): in an image, a point x of the map lies
        at the first two rows of the matrix times x."""
        out = np.empty((len(matrices), len(components.kx)), np.complex64)
        _slice(self.transform, np.asarray(matrices, np.float64), components.kx, components.ky, _PADDING, out)
        return out


@njit(nogil=True, cache=True)
def _slice(transform, matrices, kx, ky, padding, out):
    """Fill out (m, K) by trilinear interpolation."""
    middle = len(transform) // 2
    for m in range(len(matrices)):
        M = matrices[m]
        for k in range(len(kx)):
            x = padding * (kx[k] * M[0, 0] + ky[k] * M[1, 0])
            y = padding * (kx[k] * M[0, 1] + ky[k] * M[1, 1])
            z = padding * (kx[k] * M[0, 2] + ky[k] * M[1, 2])
            is_mate = x < 0
            if is_mate:
                x, y, z = -x, -y, -z
            i, j, h = int(x), int(np.floor(y)), int(np.floor(z))
            a, b, c = x - i, y - j, z - h
            value = 0j
            for dz in range(2):
                for dy in range(2):
                    near = transform[h + dz + middle, j + dy + middle, i]
                    far = transform[h + dz + middle, j + dy + middle, i + 1]
                    part = (c if dz else 1 - c) * (b if dy else 1 - b)
                    value += part * ((1 - a) * near + a * far)
            out[m, k] = value.conjugate() if is_mate else value
