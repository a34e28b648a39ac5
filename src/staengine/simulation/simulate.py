"""Simulated tilt series of a phantom or of a given map, with the truth beside them.

Frames (RELION's): a point x (Å) of a particle lies at A x + p in the tomogram and at the first two rows of
R (A x + p) plus the tilt's shift in an image, with p from the tomogram's centre, A from the particle's Euler
angles and R = Rz(ZRot) Ry(YTilt) Rx(XTilt). Its defocus there is the tilt's plus rlnTomoHand times the third row.
Particles are dark in the images.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import mrcfile
import numpy as np
import pandas as pd
import scipy.fft
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.euler import euler_angles
from staengine.simulation.given_map import map_phantom, weaken_second_half
from staengine.simulation.hinge import hinge_of, poses_of_part, swings, swung
from staengine.simulation.phantom import (
    Grid,
    Phantom,
    amorphous_clump,
    build_phantom,
    phantom_map,
    projection,
    residue_filter,
)
from staengine.simulation.settings import SimulationSettings
from staengine.tilt_series import ctf
from staengine.tilt_series.star import ANGLES, COORDINATES, write_star

OPTICS = (300.0, 2.7, 0.1)  # voltage kV, spherical aberration mm, amplitude contrast
TRUE_POSE = [f"true{c}Angst" for c in "XYZ"] + ["trueRot", "trueTilt", "truePsi"]
TRUE_BEYOND = [name.replace("true", "beyond") for name in TRUE_POSE]  # of the half that swings
TILT_TRUTH = ["tilt", "trueDefocus", "recordedDefocus"]
TILT_TRUTH += [f"{kind}{c}ShiftAngst" for kind in ("true", "recorded") for c in "XY"]


class Scene(NamedTuple):
    """What a tomogram contains: one cloud (n, 3), matrix A and position p (Å from the centre) per object."""

    clouds: list[np.ndarray]
    matrices: np.ndarray
    positions: np.ndarray


def simulate(settings: SimulationSettings) -> None:
    """Write tilt series, STAR files, phantoms and truth as described in `SimulationSettings`.

    With a hinge, phantom_beyond.mrc is the half that swings and phantom_before.mrc the other, and truth.star has the
    poses of a rigid particle that the half beyond would be of as well (beyondXAngst .. beyondPsi).

    OUT/phantom_{A,B}.mrc, and in OUT, or in OUT/set1 .. for several sets: tilt_series/TS_nn.{mrcs,star},
    tomograms.star, particles.star (perturbed poses and junk), truth.star (a row per pick, same order) and
    truth_tilts.star. Raises EngineError if the particles do not fit into the tomogram.
    """
    s = settings
    s.o.mkdir(parents=True, exist_ok=True)
    n_series = s.sets * s.tomos
    first, *seeds = np.random.SeedSequence(s.seed).spawn(n_series + 1)
    rng = np.random.default_rng(first)
    phantom = _particle(s, rng)
    spread = (rng.permutation(n_series) + rng.random(n_series)) / n_series  # else all zeros may fall together
    defoci = s.defocus_min + spread * (s.defocus_max - s.defocus_min)
    # A box of 2.2 diameters holds what the contrast transfer spreads around the particle.
    box = 2 * scipy.fft.next_fast_len(int(np.ceil(1.1 * s.diameter / s.angpix)), real=True)
    parts = {}
    if s.hinge:
        beyond = hinge_of(phantom.A).part
        parts = {"beyond": phantom.A[beyond], "before": phantom.A[~beyond]}
    for name, points in {**phantom._asdict(), **parts}.items():
        _write_mrc(s.o / f"phantom_{name}.mrc", phantom_map(points, box, s.angpix), s.angpix)
    grid = Grid(box, s.angpix, residue_filter(box, s.angpix, 2))
    noise = _noise_level(phantom.A, grid, s)
    series = list(zip(defoci, seeds, strict=True))
    for k in range(s.sets):
        folder = s.o / f"set{k + 1}" if s.sets > 1 else s.o
        _simulate_set(folder, series[k * s.tomos : (k + 1) * s.tomos], phantom, grid, noise, s)


def _particle(s: SimulationSettings, rng: np.random.Generator) -> Phantom:
    phantom = build_phantom(s.diameter, rng)
    if s.map:
        phantom = map_phantom(s.map, s.angpix, s.diameter, phantom)
    return phantom if s.occupancy == 1 else weaken_second_half(phantom, s.occupancy)


def _simulate_set(
    folder: Path, series: list[Any], phantom: Phantom, grid: Grid, noise: float, s: SimulationSettings
) -> None:
    """Write one set; `series` gives the defocus (Å) and the random seed of each tilt series."""
    (folder / "tilt_series").mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[pd.DataFrame]] = {"particles": [], "truth": [], "tilts": []}
    tomograms = []
    for t, (defocus, seed) in enumerate(series):
        name, rng = f"TS_{t + 1:02d}", np.random.default_rng(seed)
        scene, pick, truth = _populate(phantom, s, rng)
        tilt = _acquisition(defocus, s, rng)
        _write_tilt_series(folder / "tilt_series" / name, scene, tilt, grid, noise, seed, s)
        series_star = _recorded_series(folder / "tilt_series" / name, tilt, s)
        tomograms.append(_tomogram_row(name, f"opticsGroup{t % s.optics_groups + 1}", series_star, s))
        for table, rows in (("particles", pick), ("truth", truth), ("tilts", tilt[TILT_TRUTH].copy())):
            rows.insert(0, "rlnTomoName", name)
            tables[table].append(rows)
        print(f" + {folder / name}: {s.particles} particles, {len(pick) - s.particles} junk", flush=True)
    write_star({"global": pd.DataFrame(tomograms)}, folder / "tomograms.star")
    for table, file in (("particles", "particles"), ("truth", "truth"), ("tilts", "truth_tilts")):
        write_star({table: pd.concat(tables[table])}, folder / f"{file}.star")


def _populate(
    phantom: Phantom, s: SimulationSettings, rng: np.random.Generator
) -> tuple[Scene, pd.DataFrame, pd.DataFrame]:
    """A tomogram's content, its picks with errors, and the truth of each pick (same rows)."""
    n_junk = round(s.particles * s.junk / (1 - s.junk))
    n_all, n_clumps = s.particles + n_junk, round(n_junk * s.clumps)
    positions = _place(n_all, s, rng)
    rotations = Rotation.random(n_all, rng=rng)
    is_b = rng.permutation(s.particles) < round(s.fraction_b * s.particles)
    clouds = [phantom.B if b else phantom.A for b in is_b]
    clouds += [amorphous_clump(s.diameter, rng) for _ in range(n_clumps)]
    scene = Scene(clouds, rotations.as_matrix()[: len(clouds)], positions[: len(clouds)])

    turns = Rotation.from_rotvec(rng.normal(0, np.deg2rad(s.angle_error) / np.sqrt(3), (n_all, 3)))
    moves = rng.normal(0, s.position_error / np.sqrt(3), (n_all, 3))
    kinds = [*np.where(is_b, "B", "A"), *["junk"] * n_junk]
    picks = np.hstack([positions + moves, euler_angles((rotations * turns).as_matrix())])
    truth = np.hstack([positions, euler_angles(rotations.as_matrix())])
    known = pd.DataFrame(truth, columns=TRUE_POSE).assign(trueClass=kinds)
    if s.hinge:
        hinges = [hinge_of(cloud) for cloud in phantom]
        swung_by = swings(n_all, s.hinge, rng)
        for i, b in enumerate(is_b):
            scene.clouds[i] = swung(clouds[i], hinges[int(b)], swung_by[i])
        known = known.join(poses_of_part(positions, rotations, hinges[0], swung_by, TRUE_BEYOND))
    return scene, pd.DataFrame(picks, columns=[*COORDINATES, *ANGLES]), known


def _place(count: int, s: SimulationSettings, rng: np.random.Generator) -> np.ndarray:
    """Random positions (count, 3) in Å from the tomogram's centre, no two particles touching."""
    margin = s.diameter + 2 * s.shift  # room for a box of twice the diameter in most tilt images
    half = np.array([s.size, s.size, s.depth]) * s.angpix / 2 - [margin, margin, 0.45 * s.diameter]
    if half.min() <= 0:
        raise EngineError("simulate: the particle is larger than the tomogram; raise --size or --depth.")
    positions = np.empty((0, 3))
    for candidate in rng.uniform(-half, half, (2000 * count, 3)):
        if np.linalg.norm(positions - candidate, axis=1).min(initial=np.inf) > s.diameter:
            positions = np.vstack([positions, candidate])
            if len(positions) == count:
                return positions
    raise EngineError(
        f"simulate: only {len(positions)} of {count} picks fit into a tomogram of {s.size} x {s.size} x "
        f"{s.depth} px; lower --particles or raise --size or --depth."
    )


def _acquisition(defocus: float, s: SimulationSettings, rng: np.random.Generator) -> pd.DataFrame:
    """One row per tilt: geometry, true and recorded shifts and defoci (Å), exposure before (e/Å^2)."""
    tilt = np.arange(-s.tilt_max, s.tilt_max + s.tilt_step / 2, s.tilt_step)
    n = len(tilt)
    order = np.argsort(np.argsort(np.abs(tilt), kind="stable"))
    true_defocus = defocus + rng.normal(0, s.defocus_spread, n)
    shift = rng.normal(0, s.shift, (2, n))
    recorded = shift + rng.normal(0, s.shift_error, (2, n))
    return pd.DataFrame(
        {
            "tilt": tilt,
            "trueDefocus": true_defocus,
            "recordedDefocus": true_defocus + s.defocus_offset + rng.normal(0, s.defocus_error, n),
            "trueXShiftAngst": shift[0],
            "trueYShiftAngst": shift[1],
            "recordedXShiftAngst": recorded[0],
            "recordedYShiftAngst": recorded[1],
            "zrot": 85 + rng.normal(),
            "exposure": s.dose * order,
            "contrast": np.cos(np.deg2rad(tilt)),  # signal left after the longer way through the ice
        }
    )


def _write_tilt_series(
    path: Path, scene: Scene, tilts: pd.DataFrame, grid: Grid, noise: float, seed: Any, s: SimulationSettings
) -> None:
    """Write path.mrcs (tilts, size, size); a random stream per tilt makes it independent of --j."""
    with ThreadPoolExecutor(s.j) as pool:
        streams = [np.random.default_rng(child) for child in seed.spawn(len(tilts))]
        images = pool.map(
            lambda tilt, rng: _tilt_image(scene, tilt, grid, noise, rng, s), tilts.itertuples(), streams
        )
        _write_mrc(path.with_suffix(".mrcs"), np.stack(list(images)), s.angpix)


def _tilt_image(
    scene: Scene, tilt: Any, grid: Grid, noise: float, rng: Any, s: SimulationSettings
) -> np.ndarray:
    """Image (size, size): dark particles under the tilt's CTF, and white noise of deviation `noise`."""
    R = Rotation.from_euler("yz", [tilt.tilt, tilt.zrot], degrees=True).as_matrix()
    centres = scene.positions @ R.T
    xy = (centres[:, :2] + [tilt.trueXShiftAngst, tilt.trueYShiftAngst]) / s.angpix + s.size // 2
    whole = np.rint(xy).astype(int)
    defoci = tilt.trueDefocus + s.hand * centres[:, 2]
    damage = ctf.dose_weight(grid.box, s.angpix, tilt.exposure + s.dose / 2)
    margin = grid.box
    canvas = np.zeros((s.size + 2 * margin,) * 2, np.float32)
    for cloud, A, x, corner, defocus in zip(
        scene.clouds, scene.matrices, xy, whole - grid.box // 2 + margin, defoci, strict=True
    ):
        if corner.min() < 0 or corner.max() > s.size + margin:
            continue
        transfer = ctf.ctf(grid.box, s.angpix, defocus, defocus, 0.0, *OPTICS, scale=tilt.contrast)
        patch = projection(cloud, R @ A, x - np.rint(x), grid, transfer * damage)
        canvas[corner[1] : corner[1] + grid.box, corner[0] : corner[0] + grid.box] -= patch
    image = canvas[margin:-margin, margin:-margin]
    return image + rng.normal(0, noise, image.shape).astype(np.float32)


def _noise_level(points: np.ndarray, grid: Grid, s: SimulationSettings) -> float:
    """Standard deviation of the noise per pixel that gives --snr."""
    disc = fourier.distance(grid.box, 2) * s.angpix < s.diameter / 2
    turns = Rotation.random(8, rng=np.random.default_rng(0)).as_matrix()
    return float(
        np.sqrt(np.mean([projection(points, R, np.zeros(2), grid)[disc].var() for R in turns]) / s.snr)
    )


def _recorded_series(path: Path, tilts: pd.DataFrame, s: SimulationSettings) -> str:
    """Write path.star, the tilt series as the user knows it; return its path from the project folder."""
    stack, star = (_from_project(path.with_suffix(suffix), s) for suffix in (".mrcs", ".star"))
    table = pd.DataFrame(
        {
            "rlnMicrographName": [f"{i + 1}@{stack}" for i in range(len(tilts))],
            "rlnMicrographPreExposure": tilts.exposure,
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": tilts.tilt,
            "rlnTomoZRot": tilts.zrot,
            "rlnTomoXShiftAngst": tilts.recordedXShiftAngst,
            "rlnTomoYShiftAngst": tilts.recordedYShiftAngst,
            "rlnDefocusU": tilts.recordedDefocus,
            "rlnDefocusV": tilts.recordedDefocus,
            "rlnDefocusAngle": 0.0,
            "rlnCtfScalefactor": tilts.contrast,
        }
    )
    write_star({path.name: table}, path.with_suffix(".star"))
    return star


def _tomogram_row(name: str, optics_group: str, series_star: str, s: SimulationSettings) -> dict[str, Any]:
    return {
        "rlnTomoName": name,
        **dict(zip(("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"), OPTICS, strict=True)),
        "rlnMicrographOriginalPixelSize": s.angpix,
        "rlnTomoTiltSeriesPixelSize": s.angpix,
        "rlnTomoHand": float(s.hand),
        "rlnOpticsGroupName": optics_group,
        "rlnTomoTiltSeriesStarFile": series_star,
        "rlnTomoTomogramBinning": 4.0,
        "rlnTomoSizeX": s.size,
        "rlnTomoSizeY": s.size,
        "rlnTomoSizeZ": s.depth,
    }


def _from_project(path: Path, s: SimulationSettings) -> str:
    return Path(os.path.relpath(path, s.root or s.o)).as_posix()


def _write_mrc(path: Path, values: np.ndarray, angpix: float) -> None:
    """Half precision (MRC mode 12): ten bits are far below the noise."""
    mrcfile.write(path, values.astype(np.float16), voxel_size=angpix, overwrite=True)
