"""Moments of a gradient: how a class's map was to change in the last iterations, by two halves of the particles.

The first moments are running means of the changes that either half asks for. Where both ask for the same, the map is
to follow; where they differ, the change is noise. The second moment is the running variance of the change, voxel by
voxel. Both together give each Fourier component a step of its own, as in adaptive moment estimation (Kingma & Ba,
arXiv:1412.6980; for refinement Kimanius et al., Biochem. J. 478 (2021) 4169).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.maps import write_map


@dataclass
class Moments:
    """Half transforms (fourier.rfft) of one class; `age` counts the iterations that they have seen."""

    first: NDArray[np.complex64]  # (2, box, box, box // 2 + 1), of either half
    second: NDArray[np.float32]  # (box, box, box // 2 + 1)
    age: int = 0

    @classmethod
    def empty(cls, box: int) -> Moments:
        shape = box, box, box // 2 + 1
        return cls(np.zeros((2, *shape), np.complex64), np.zeros(shape, np.float32))

    def add(self, changes: NDArray[Any], momentum: float) -> None:
        """Take in the changes (2, box, box, box) that the halves ask for; a part `momentum` of the old remains.

        The oldest changes weigh no more than later ones: the mean begins with the first change alone.
        """
        self.age += 1
        new = (1 - momentum) / (1 - momentum**self.age)
        asked = fourier.rfft(changes, 3)
        self.first += (new * (asked - self.first)).astype(np.complex64)
        variance = np.abs(asked[0] - asked[1]) ** 2 / 4  # of the mean of both
        self.second += (new * (variance - self.second)).astype(np.float32)

    def step(self) -> NDArray[np.float32]:
        """The change (box, box, box) to make: the mean of the halves, of each component as much as is signal."""
        box = self.second.shape[0]
        shells = np.minimum(fourier.shell_index(box, 3), box // 2)
        signal = np.real(self.first[0] * self.first[1].conj())
        common = np.maximum(fourier.shell_mean(signal, shells, box // 2 + 1), 0)[shells]
        noise = (self.second + fourier.shell_mean(self.second, shells, box // 2 + 1)[shells]) / 2
        share = np.divide(common, common + noise, out=np.zeros_like(common), where=common > 0)
        return fourier.irfft(share * self.first.mean(0), 3).astype(np.float32)


def moment_files(root: str, class_number: int, classes: int) -> tuple[str, str, str]:
    """Files of a class (from 1): first moments of either half, second moment."""
    numbers = class_number, class_number + classes
    first, other = (f"{root}_1moment{number:03d}.mrc" for number in numbers)
    return first, other, f"{root}_2moment{class_number:03d}.mrc"


def write_moments(moments: Moments, files: tuple[str, str, str]) -> None:
    """As RELION: rows of real and imaginary parts in turn, zero frequency in the middle of z and y."""
    for path, values in zip(files, (*moments.first, moments.second.astype(np.complex64)), strict=True):
        centred = np.fft.fftshift(values, axes=(0, 1)).astype(np.complex64)
        write_map(path, np.ascontiguousarray(centred).view(np.float32), 1.0)


def read_moments(files: tuple[str, str, str], box: int, age: int) -> Moments:
    """What `write_moments` wrote. Raises EngineError if a file is missing or of another box."""
    values = []
    for path in files:
        if not Path(path).is_file():
            raise EngineError(f"--continue: the moment {path} does not exist.")
        rows = np.ascontiguousarray(mrcfile.read(path), np.float32)
        if rows.shape != (box, box, box + 2):
            raise EngineError(f"--continue: the moment {path} is not of a box of {box}.")
        values.append(np.fft.ifftshift(rows.view(np.complex64), axes=(0, 1)))
    return Moments(np.stack(values[:2]), values[2].real.copy(), age)
