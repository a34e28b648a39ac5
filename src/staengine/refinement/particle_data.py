"""The particles of a refinement: tilt images multiplied by their CTF, squared CTFs and tilt geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.euler import euler_angles
from staengine.numerics.fourier import soft_sphere
from staengine.numerics.projector import Components
from staengine.tilt_series import windows
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import ANGLES, COORDINATES, ORIGINS, numbers
from staengine.tilt_series.tomograms import Tomogram, load_tomograms

MASK_EDGE_PX = 5.0
CACHE_BYTES = 1.5e9  # of transforms kept in memory between iterations


@dataclass
class Particle:
    """One particle: `rotations` (m, 3, 3) of its visible tilts (R_tilt · A_subtomogram), and the file of its images."""

    path: str
    name: str
    rotations: NDArray[np.float64]
    group: int  # index of its tomogram among the groups
    optics: int  # index of its optics group
    ctf: NDArray[np.float32]  # (m, K) CTF · exposure filter · scale, as extraction multiplied the images with
    transform: NDArray[np.complex64] | None = None  # (m, box, box // 2 + 1), if it is cached
    centred: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None = (
        None  # origin, and what RefineData.centred gave for it
    )

    @property
    def n_tilts(self) -> int:
        return len(self.rotations)


class RefineData:
    """All particles of a ParticleSet as the expectation step needs them.

    `components` are all Fourier components of an image, sorted by radius. Images are 2D transforms divided by box².
    Poses are kept here as arrays in the order of the particles: `angles` (n, 3) degrees, `origins` (n, 3) Å,
    `classes` (n,) from 1 (0 before the first assignment).
    """

    def __init__(self, particles: ParticleSet, tomograms_file: str, diameter: float) -> None:
        self.set = particles
        if not particles.general.get("rlnTomoSubTomosAre2DStacks", 0):
            raise EngineError(
                f"{particles.path}: the particles are not 2D stacks; extract them with relion_tomo_subtomo --stack2d."
            )
        self._require_columns()
        optics = particles.optics
        assert optics is not None
        self.box, self.pixel = (
            int(self._common(optics, "rlnImageSize")),
            self._common(optics, "rlnImagePixelSize"),
        )
        self.optics_names = [str(name) for name in optics["rlnOpticsGroupName"]]
        self.components = Components.within(self.box, self.box / 2)
        self.mask = soft_sphere(self.box, diameter / (2 * self.pixel), MASK_EDGE_PX, ndim=2)
        table = particles.particles
        self.tomograms = load_tomograms(tomograms_file)
        self.group_names = list(dict.fromkeys(table["rlnTomoName"]))
        self.angles = np.stack([numbers(table, column) for column in ANGLES], axis=-1)  # 0 without columns
        self.tilt_priors = np.zeros(len(table))  # degrees, for a Task with sigma_tilt
        self.origins = particles.origins.copy()
        self.classes = (
            table["rlnClassNumber"].to_numpy(int, copy=True)
            if "rlnClassNumber" in table
            else np.zeros(len(table), int)
        )
        self.particles = self._load(table, optics)
        # the stacks were cut along the trajectories already: there is nothing more to do with them
        particles.check_trajectories(self.tomograms)
        self._cached_bytes = 0.0

    def _require_columns(self) -> None:
        where, table, optics = self.set.path, self.set.particles, self.set.optics
        missing = [c for c in ("rlnImageName", "rlnTomoVisibleFrames") if c not in table]
        if missing:
            raise EngineError(
                f"{where}: table data_particles has no {', '.join(missing)}; extract them first."
            )
        if optics is None:
            raise EngineError(f"{where} has no table data_optics.")
        needed = ("rlnOpticsGroup", "rlnOpticsGroupName", "rlnImageSize", "rlnImagePixelSize")
        missing = [c for c in needed if c not in optics]
        if missing:
            raise EngineError(
                f"{where}: table data_optics has no {', '.join(missing)}; extract the particles first."
            )
        if not np.all(optics.get("rlnCtfDataAreCtfPremultiplied", pd.Series([0])).to_numpy(int) == 1):
            raise EngineError(
                f"{where}: the images are not multiplied by their CTF (rlnCtfDataAreCtfPremultiplied)."
            )

    def _common(self, optics: pd.DataFrame, column: str) -> float:
        values = optics[column].to_numpy(float)
        if np.ptp(values) > 1e-3 * values[0]:
            raise EngineError(f"{self.set.path}: optics groups of different {column}; extract them alike.")
        return float(values[0])

    def _load(self, table: pd.DataFrame, optics: pd.DataFrame) -> list[Particle]:
        unknown = sorted(set(self.group_names) - set(self.tomograms))
        if unknown:
            raise EngineError(f"{self.set.path}: tomogram {', '.join(unknown)} is not in the tomograms file.")
        group = {name: i for i, name in enumerate(self.group_names)}
        optics_index = {int(number): i for i, number in enumerate(optics["rlnOpticsGroup"])}
        coordinates = table[COORDINATES].to_numpy(float)
        visible, turned = self.set.visible, self.set.subtomogram_rotations
        assert visible is not None
        found = []
        for i, row in enumerate(table.itertuples(index=False)):
            tomogram = self.tomograms[str(row.rlnTomoName)]
            if len(visible[i]) != len(tomogram):
                raise EngineError(
                    f"{self.set.path}: {row.rlnImageName} has {len(visible[i])} entries in rlnTomoVisibleFrames, "
                    f"its tilt series {tomogram.name} has {len(tomogram)} images."
                )
            number = int(getattr(row, "rlnOpticsGroup", 1))
            found.append(
                Particle(
                    path=str(row.rlnImageName),
                    name=str(getattr(row, "rlnTomoParticleName", i + 1)),
                    rotations=tomogram.rotations[visible[i]] @ turned[i],
                    group=group[row.rlnTomoName],
                    optics=optics_index[number],
                    ctf=self._ctf(tomogram, coordinates[i], visible[i]),
                )
            )
            self._check_stack(found[-1])
        return found

    def _ctf(
        self, tomogram: Tomogram, position: NDArray[Any], visible: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        offset = tomogram.defocus_offset(position[None])[0, visible]
        value = windows.transfer_functions(tomogram, offset, visible, self.box, self.pixel)
        value *= windows.exposure_weights(tomogram, self.box, self.pixel)[visible]
        return self.components.pick(value).astype(np.float32)

    def _check_stack(self, particle: Particle) -> None:
        path = Path(particle.path)
        if not path.is_file():
            raise EngineError(f"the subtomogram {path} does not exist (named in {self.set.path}).")
        with mrcfile.open(path, permissive=True, header_only=True) as mrc:
            header = mrc.header
            shape = (int(header.nz), int(header.ny), int(header.nx))
            item = {0: 1, 1: 2, 2: 4, 6: 2, 12: 2}.get(int(header.mode), 4)
            expected = 1024 + int(header.nsymbt) + item * shape[0] * shape[1] * shape[2]
        if path.stat().st_size < expected:
            raise EngineError(f"the subtomogram {path} is cut short: extract it again.")
        if shape != (particle.n_tilts, self.box, self.box):
            raise EngineError(
                f"the subtomogram {path} has {shape[0]} images of {shape[2]} x {shape[1]} px; {self.set.path} "
                f"says {particle.n_tilts} of {self.box} x {self.box}."
            )

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def box_length(self) -> float:
        """Side of the box in Å; divided by a shell's number it gives that shell's resolution."""
        return self.box * self.pixel

    @cached_property
    def mean_ctf2(self) -> NDArray[np.float64]:
        """Mean squared CTF (optics groups, shells 0 .. box // 2)."""
        shape = len(self.optics_names), self.box // 2 + 1
        total, count = np.zeros(shape), np.full(shape, 1e-30)
        sizes = self.components.shell_sum(np.ones(len(self.components)))
        for p in self.particles:
            total[p.optics] += self.components.shell_sum((p.ctf**2).sum(0))
            count[p.optics] += sizes * p.n_tilts
        return np.maximum(total / count, 1e-30)

    def transform(self, index: int) -> NDArray[np.complex64]:
        """Half transforms (m, box, box // 2 + 1) of a particle's images, from memory or disk."""
        particle = self.particles[index]
        if particle.transform is not None:
            return particle.transform
        with mrcfile.open(particle.path, permissive=True) as mrc:
            images = np.asarray(mrc.data, np.float32).reshape(-1, self.box, self.box)
        if not np.isfinite(images).all():
            raise EngineError(f"the subtomogram {particle.path} contains values that are not finite.")
        transform = (fourier.rfft(images, 2) / self.box**2).astype(np.complex64)
        if self._cached_bytes + transform.nbytes < CACHE_BYTES:
            self._cached_bytes += transform.nbytes
            particle.transform = transform
        return transform

    def centred(
        self, index: int, noise_sigma: NDArray[Any] | None = None, seed: int = 0, keep: bool = False
    ) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Components (m, K) of a particle's images moved by its present origin: masked with the circle, and not masked.

        Outside the mask is zero, or with `noise_sigma` (K,), the standard deviation of the noise's components,
        random noise of that spectrum. With `keep`, and without noise, they stay in memory for the next call.
        """
        particle, origin = self.particles[index], self.origins[index]
        if noise_sigma is None and particle.centred and np.array_equal(particle.centred[0], origin):
            return particle.centred[1:]
        ky, kx = fourier.frequencies(self.box, 2)
        moved = self.shifts(particle, origin[None])[0]
        x, y = moved[:, 0, None, None], moved[:, 1, None, None]
        transform = self.transform(index) * np.exp(-2j * np.pi / self.box * (kx * x + ky * y)).astype(
            np.complex64
        )
        images = fourier.irfft(transform, 2) * self.mask
        if noise_sigma is not None:
            rng = np.random.default_rng((seed, index))
            field = np.zeros_like(transform)
            shape = particle.ctf.shape
            field[:, self.components.ky, self.components.kx] = (
                particle.ctf * noise_sigma * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
            )
            images += fourier.irfft(field, 2) * (1 - self.mask)
        masked = self.components.pick(fourier.rfft(images, 2)).astype(np.complex64)
        unmasked = self.components.pick(transform).astype(np.complex64)
        if keep and noise_sigma is None and particle.transform is not None:
            particle.centred = origin.copy(), masked, unmasked
        return masked, unmasked

    def shifts(self, particle: Particle, offsets: NDArray[Any]) -> NDArray[np.float32]:
        """How far (px) 3D offsets (n, 3) in Å move each tilt image: (n, m, 2) = (x, y)."""
        return (np.einsum("mij,nj->nmi", particle.rotations[:, :2], offsets) / self.pixel).astype(np.float32)

    def set_pose(self, index: int, rotation: NDArray[Any], origin: NDArray[Any], class_index: int) -> None:
        """Set a particle's new best orientation (3, 3), origin (3,) and class."""
        self.angles[index] = euler_angles(rotation[None])[0]
        self.origins[index] = origin
        self.classes[index] = class_index

    def table(self, extra: dict[str, NDArray[Any]]) -> ParticleSet:
        """The particles with their present poses and further columns, as RELION's data.star holds them."""
        table = self.set.particles.copy()
        table[ANGLES] = self.angles
        table[ORIGINS] = self.origins
        table["rlnGroupNumber"] = [p.group + 1 for p in self.particles]
        table["rlnClassNumber"] = self.classes
        for column, values in extra.items():
            table[column] = values
        return replace(self.set, particles=table)
