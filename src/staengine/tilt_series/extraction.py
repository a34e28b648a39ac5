"""Subtomograms as 2D stacks: for each particle the tilt images about it, multiplied by their CTF and binned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staengine.cli import say, warn
from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.tilt_series import windows
from staengine.tilt_series.particles import ParticleSet, format_visible
from staengine.tilt_series.star import COORDINATES, ORIGINS
from staengine.tilt_series.tomograms import Tomogram


@dataclass(frozen=True)
class StackOptions:
    """The options that decide which particles are extracted, and the content of their stacks."""

    box: int  # binned px, in which particles are cut
    crop: int  # binned px, that is written
    binning: float
    max_dose: float
    min_frames: int
    apply_origins: bool
    float16: bool
    ctf: bool
    invert: bool
    circle: bool
    circle_before: bool

    @property
    def full_box(self) -> int:
        return round(self.binning * self.box)


@dataclass
class SeriesParticles:
    """The particles of one tilt series: rows of the input, centres (m, n, 2) px, visible tilts (m, n)."""

    tomogram: Tomogram
    rows: NDArray[np.int64]
    centres: NDArray[np.float64]
    visible: NDArray[np.bool_]
    defocus_offsets: NDArray[np.float64]


def visible_particles(
    particles: ParticleSet, tomograms: dict[str, Tomogram], options: StackOptions
) -> Iterator[SeriesParticles]:
    """For each tilt series with particles, the particles to extract and the tilts in which they are visible."""
    positions = (
        particles.positions if options.apply_origins else particles.particles[COORDINATES].to_numpy(float)
    )
    for name, rows in particles.by_tomogram().items():
        tomogram = tomograms[name]
        centres = tomogram.project(particles.subset(rows).paths(positions[rows]))
        visible = windows.visible_tilts(tomogram, centres, options.binning * options.crop / 2)
        if options.max_dose > 0:
            visible &= tomogram.pre_exposure <= options.max_dose
        keep = visible.sum(axis=1) >= options.min_frames
        # as in RELION: motion is far too small to matter for the defocus
        offsets = tomogram.defocus_offset(positions[rows])
        yield SeriesParticles(tomogram, rows[keep], centres[keep], visible[keep], offsets[keep])


def stack_files(particles: ParticleSet, folder: str) -> list[str]:
    """Each particle's file: Subtomograms/NAME_stack2d.mrcs, in a folder TOMOGRAM if NAME has no slash."""
    names = particles.particles["rlnTomoParticleName"]
    if "/" in names.iloc[0]:
        say("Slash found in first particle name: not creating subdirectories for each tomogram")
    else:
        say("No slashes found in first particle name: creating subdirectories for each tomogram")
        names = particles.particles["rlnTomoName"] + "/" + names
    return [f"{folder}/Subtomograms/{name}_stack2d.mrcs" for name in names]


def extracted_particles(
    particles: ParticleSet, cut_out: list[SeriesParticles], files: list[str], options: StackOptions
) -> ParticleSet:
    """The extracted particles with their stacks, visible tilts and, if applied, new coordinates."""
    rows = np.concatenate([series.rows for series in cut_out])
    removed = len(particles) - len(rows)
    if not len(rows):
        raise EngineError(
            f"{particles.path}: no particle lies inside at least {options.min_frames} tilt images with a box "
            f"of {options.crop} px at binning {options.binning:g}; "
            "check the box and the coordinates (Å from the tomogram's centre)."
        )
    if removed:
        were = ("One particle was", "it was") if removed == 1 else (f"{removed} particles were", "they were")
        warn("{} removed because {} too close to the edge in all images.".format(*were))
    table = particles.particles.iloc[rows].reset_index(drop=True)
    table = table.drop(columns="rlnCtfImage", errors="ignore")  # of 3D subtomograms
    table["rlnTomoVisibleFrames"] = [format_visible(tilts) for series in cut_out for tilts in series.visible]
    table["rlnImageName"] = [files[row] for row in rows]
    if options.apply_origins:
        table[COORDINATES] = particles.positions[rows]
        table[ORIGINS] = 0.0
    assert particles.optics is not None
    optics = particles.optics.assign(
        rlnCtfDataAreCtfPremultiplied=int(options.ctf),
        rlnImageDimensionality=2,
        rlnTomoSubtomogramBinning=options.binning,
        rlnImagePixelSize=options.binning * particles.optics["rlnTomoTiltSeriesPixelSize"],
        rlnImageSize=options.crop,
    )
    general = {"rlnTomoSubTomosAre2DStacks": 1}
    return replace(particles, particles=table, optics=optics, general=general)


def particle_stack(
    series: SeriesParticles, p: int, images: NDArray[Any], weights: NDArray[Any], options: StackOptions
) -> NDArray[np.float32]:
    """Images (n_visible, crop, crop) of the series' particle number p, bright on a dark ground.

    images: tilt series (n, h, w); weights: exposure filters (n, box, box // 2 + 1).
    """
    tilts, tomogram = series.visible[p], series.tomogram
    cut, offsets = windows.cut_windows(images[tilts], series.centres[p, tilts], options.full_box)
    if options.circle_before:
        cut = windows.mask_circle(cut, options.full_box // 2)
    transforms = windows.binned_transforms(cut, options.box, offsets)
    if options.ctf:
        pixel, offset = tomogram.pixel_size * options.binning, series.defocus_offsets[p, tilts]
        transforms *= windows.transfer_functions(tomogram, offset, tilts, options.box, pixel) * weights[tilts]
    sign = -1 if options.invert else 1
    # binning² for the smaller transform, and once more as RELION does to keep its grey scale
    stack = fourier.irfft(transforms, 2) * np.float32(sign / options.binning**3)
    if options.circle:
        stack = windows.mask_circle(stack, options.crop // 2)
    return fourier.window(stack, options.crop, 2)


def write_stack(path: str, stack: NDArray[np.float32], pixel: float, float16: bool) -> None:
    """Write images (n, box, box) as an MRC stack. Raises EngineError for values beyond half precision."""
    if float16 and np.abs(stack).max() > np.finfo(np.float16).max:
        raise EngineError(f"{path}: the values are too large for half precision; leave out --float16.")
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(stack.astype(np.float16 if float16 else np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = pixel


def is_complete(path: str, n_images: int, options: StackOptions) -> bool:
    """Whether a stack exists with its full size (an interrupted one is shorter)."""
    size = 1024 + n_images * options.crop**2 * (2 if options.float16 else 4)
    return Path(path).is_file() and Path(path).stat().st_size == size
