"""How far results are from what was simulated: poses, classes, selection, maps and tilt series.

Nothing fixes a reference's own frame, so the rigid motion common to all particles, x_true = G x + c, is found
first and taken out of poses and maps; likewise the common translation of a tilt series' shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.numerics import fourier, maps
from staengine.numerics.euler import euler_matrix
from staengine.numerics.fsc import fsc, last_shell
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import COORDINATES, loop_of, read_star
from staengine.tilt_series.tomograms import Tomogram

SAME_PARTICLE = 100.0  # Å that a particle may have moved from where it was picked
PART_EDGE = 6.0  # Å, of the Gaussian by which a part's density is widened to be its mask
POSITION, EULER = [f"true{c}Angst" for c in "XYZ"], ["trueRot", "trueTilt", "truePsi"]


@dataclass(frozen=True)
class Truth:
    """What `simulate` wrote. Tomograms are named SET/NAME if there are several sets.

    picks: a row per pick with tomogram, the pose that was picked, the true one and trueClass (A, B, junk);
    tilts: a row per tilt with tomogram, tilt, true and recorded defocus and shifts.
    """

    picks: pd.DataFrame
    tilts: pd.DataFrame
    folder: Path


def read_truth(folder: str | Path) -> Truth:
    """Raises EngineError if the folder holds no truth.star, neither directly nor in set folders."""
    folder = Path(folder)
    sets = (
        [folder]
        if (folder / "truth.star").is_file()
        else sorted(f.parent for f in folder.glob("*/truth.star"))
    )
    if not sets:
        raise EngineError(f"truth: there is no truth.star in {folder} or its set folders.")
    picks, tilts = [], []
    for path in sets:
        prefix = "" if path == folder else f"{path.name}/"
        picked = ParticleSet.read(path / "particles.star").particles
        table = picked.join(
            loop_of(read_star(path / "truth.star"), "truth", path / "truth.star").drop(columns="rlnTomoName")
        )
        picks.append(table.assign(tomogram=prefix + table.rlnTomoName))
        table = loop_of(read_star(path / "truth_tilts.star"), "tilts", path / "truth_tilts.star")
        tilts.append(table.assign(tomogram=prefix + table.rlnTomoName))
    return Truth(pd.concat(picks, ignore_index=True), pd.concat(tilts, ignore_index=True), folder)


def of_part(truth: Truth) -> Truth:
    """The truth of the half that swings in a hinge, as if it were that of a rigid particle."""
    names = [*POSITION, *EULER]
    swung = truth.picks[[name.replace("true", "beyond") for name in names]].set_axis(names, axis=1)
    return replace(truth, picks=truth.picks.assign(**{name: swung[name] for name in names}))


def match_particles(particles: ParticleSet, truth: Truth) -> NDArray[np.int64]:
    """Row of `truth.picks` of each particle (n,): the nearest pick in the tomogram that fits best.

    Tomograms may have been renamed. Raises EngineError if a particle is far from every pick.
    """
    rows = np.empty(len(particles), np.int64)
    places = particles.particles[COORDINATES].to_numpy(float)
    trees = {
        name: (group.index.to_numpy(), cKDTree(group[COORDINATES].to_numpy(float)))
        for name, group in truth.picks.groupby("tomogram")
    }
    for name, index in particles.particles.groupby("rlnTomoName").indices.items():
        found = [(*tree.query(places[index]), ids) for ids, tree in trees.values()]
        distance, nearest, ids = min(found, key=lambda fit: np.median(fit[0]))
        if distance.max() > SAME_PARTICLE:
            raise EngineError(
                f"truth: {particles.path}: a particle of {name} is {distance.max():.0f} Å from every "
                f"pick; is {truth.folder} what it was made from?"
            )
        rows[index] = ids[nearest]
    return rows


class PoseError(NamedTuple):
    """Median errors of the true particles, and the common motion x_true = G x + c that was removed.

    `within_angst` is the position error without the translation of each tomogram as well, which nothing fixes
    either: the shifts of its tilt images can make up for it.
    """

    angle_deg: float
    position_angst: float
    rotation: Rotation
    shift_angst: NDArray[Any]
    within_angst: float = float("nan")


def pose_error(particles: ParticleSet, truth: Truth) -> PoseError:
    """Raises EngineError if none of the particles is true."""
    rows = match_particles(particles, truth)
    real = np.flatnonzero(truth.picks.trueClass.to_numpy()[rows] != "junk")
    if not real.size:
        raise EngineError(f"truth: {particles.path} has no true particle.")
    picks = truth.picks.iloc[rows[real]]
    true = Rotation.from_matrix(euler_matrix(*picks[EULER].to_numpy(float).T))
    turns = true.inv() * Rotation.from_matrix(particles.rotations[real])
    moves = true.inv().apply(particles.positions[real] - picks[POSITION].to_numpy(float))
    common = turns.mean()
    for _ in range(5):  # without those that are lost
        near = (common.inv() * turns).magnitude() < np.radians(25)
        common = turns[near].mean() if near.any() else common
    shift = np.median(moves, axis=0)
    angle = np.degrees(np.median((common.inv() * turns).magnitude()))
    position = np.median(np.linalg.norm(moves - shift, axis=1))
    within = np.median(np.linalg.norm(_within_tomograms(moves, true, picks.tomogram), axis=1))
    return PoseError(float(angle), float(position), common, shift, float(within))


def _within_tomograms(moves: NDArray[Any], true: Rotation, tomogram: pd.Series) -> NDArray[Any]:
    """Moves (n, 3) in the particles' frames less one translation in them and one of each tomogram, in its frame."""
    common, drift = np.zeros(3), np.zeros_like(moves)
    for _ in range(10):  # medians in turn, against those that are lost
        common = np.median(moves - true.inv().apply(drift), axis=0)
        left = pd.DataFrame(true.apply(moves - common)).groupby(tomogram.to_numpy())
        drift = np.array(left.transform("median"))
    return moves - common - true.inv().apply(drift)


def class_table(particles: ParticleSet, truth: Truth) -> pd.DataFrame:
    """Number of particles by true class (rows) and rlnClassNumber (columns)."""
    true = truth.picks.trueClass.to_numpy()[match_particles(particles, truth)]
    return pd.crosstab(pd.Series(true, name="true"), particles.particles["rlnClassNumber"])


def selection(before: ParticleSet, after: ParticleSet, truth: Truth) -> dict[str, float]:
    """Fractions of the true particles kept and of the junk rejected from one particle file to another."""
    kinds = truth.picks.trueClass.to_numpy()
    junk = [kinds[np.unique(match_particles(particles, truth))] == "junk" for particles in (before, after)]
    true0, true1, junk0, junk1 = (int(kept.sum()) for kept in (~junk[0], ~junk[1], junk[0], junk[1]))
    return {
        "true_before": true0,
        "true_after": true1,
        "junk_before": junk0,
        "junk_after": junk1,
        "true_kept": true1 / true0 if true0 else float("nan"),
        "junk_rejected": 1 - junk1 / junk0 if junk0 else float("nan"),
    }


def map_fsc(
    values: NDArray[Any],
    pixel: float,
    phantom: NDArray[Any],
    phantom_pixel: float,
    motion: PoseError | None = None,
) -> NDArray[Any]:
    """FSC (n // 2 + 1,) of a map (n, n, n) with a phantom moved into its frame, within a soft sphere."""
    box = values.shape[0]
    moved = resample_moved(phantom, phantom_pixel, box, pixel, motion)
    radius = min(phantom_radius(phantom, phantom_pixel) / pixel, box / 2 - 1)
    mask = fourier.soft_sphere(box, radius * 0.95, radius * 0.1)
    outside = mask < 0.5
    return fsc((values - values[outside].mean()) * mask, moved * mask)


def part_fsc(
    values: NDArray[Any], pixel: float, part: NDArray[Any], part_pixel: float, motion: PoseError | None = None
) -> NDArray[Any]:
    """FSC (n // 2 + 1,) of a map (n, n, n) with a part of a phantom moved into its frame, softly within that part.

    A part that lies beside others in the map is compared where it is alone: within the density that it has.
    """
    box = values.shape[0]
    moved = resample_moved(part, part_pixel, box, pixel, motion)
    smooth = gaussian_filter(moved, PART_EDGE / pixel)
    mask = np.clip(smooth / (0.25 * smooth.max()), 0, 1)
    return fsc((values - values[mask < 0.01].mean()) * mask, moved * mask)


def phantom_radius(phantom: NDArray[Any], pixel: float) -> float:
    """Radius in Å of the sphere around the origin, of whole px, that holds all but 0.1 % of the density's power.

    Its power and not the density: what a finite pixel size makes ring around the residues fills the whole box.
    """
    shells = np.ceil(fourier.distance(phantom.shape[0], 3)).astype(int)
    inside = np.cumsum(np.bincount(shells.ravel(), phantom.ravel().astype(float) ** 2))
    return float(np.searchsorted(inside, 0.999 * inside[-1])) * pixel


def resample_moved(
    phantom: NDArray[Any], phantom_pixel: float, box: int, pixel: float, motion: PoseError | None = None
) -> NDArray[Any]:
    """Phantom at x_true = G x + c on the grid (box, box, box) of another pixel size, without aliasing."""
    phantom = _without_empty_rim(phantom)
    old = phantom.shape[0]
    fine = 2 * old if pixel < 2 * phantom_pixel else old  # splines need a few points per period
    transform = fourier.rfft(phantom.astype(np.float32), 3)
    transform = transform * (fourier.radius(old, 3) <= 0.5 * old * phantom_pixel / pixel)
    density = fourier.irfft(fourier.resize_transform(transform, fine, 3), 3)
    fine_pixel = phantom_pixel * old / fine
    G = motion.rotation.as_matrix() if motion else np.eye(3)
    c = motion.shift_angst if motion else np.zeros(3)
    matrix = (G * pixel / fine_pixel)[::-1, ::-1]  # arrays are indexed z y x
    offset = c[::-1] / fine_pixel + fine // 2 - matrix @ np.full(3, box // 2)
    return affine_transform(density, matrix, offset, (box,) * 3, order=3)


def _without_empty_rim(phantom: NDArray[Any]) -> NDArray[Any]:
    """The middle (n, n, n) of a phantom, a quarter wider than what is in it: less to interpolate."""
    box = phantom.shape[0]
    rim = box // 2 - min(int(1.25 * phantom_radius(phantom, 1)) + 1, box // 2)
    return phantom[(slice(rim, box - rim),) * 3]


def resolution_at(curve: NDArray[Any], box: int, pixel: float, threshold: float = 0.5) -> float:
    """Resolution in Å of the last shell before an FSC first falls below the threshold."""
    return box * pixel / max(last_shell(curve, threshold), 1)


def tilt_errors(tomograms: dict[str, Tomogram], truth: Truth) -> pd.DataFrame:
    """Error of each tilt series (rows): shift and defocus, rms over tilts in Å, and mean defocus.

    The shift that a translation of the whole tomogram explains is removed. A tilt series is matched with the
    true one whose shifts are nearest, since it may have been renamed.
    """
    true_series = {name: group.sort_values("tilt") for name, group in truth.tilts.groupby("tomogram")}
    errors = {}
    for name, tomogram in tomograms.items():
        fits = [_series_error(tomogram, tilts) | {"true": series} for series, tilts in true_series.items()]
        errors[name] = min(fits, key=lambda fit: fit["shift_rms_angst"])
    return pd.DataFrame.from_dict(errors, orient="index")


def _series_error(tomogram: Tomogram, tilts: pd.DataFrame) -> dict[str, Any]:
    R = tomogram.rotations
    angle = np.degrees(np.arcsin(-R[:, 2, 0]))
    rows = tilts.iloc[np.abs(angle[:, None] - tilts.tilt.to_numpy()).argmin(axis=1)]
    moved = tomogram.shifts * tomogram.pixel_size - rows[["trueXShiftAngst", "trueYShiftAngst"]].to_numpy()
    translation = np.linalg.lstsq(R[:, :2].reshape(-1, 3), moved.ravel(), rcond=None)[0]
    moved = moved - R[:, :2] @ translation
    defocus = (tomogram.defocus_u + tomogram.defocus_v) / 2 - rows.trueDefocus.to_numpy()
    return {
        "shift_rms_angst": float(np.sqrt((moved**2).sum(axis=1).mean())),
        "defocus_rms_angst": float(np.sqrt((defocus**2).mean())),
        "defocus_mean_angst": float(defocus.mean()),
    }


def compare_map(paths: Sequence[str], truth: Truth, motion: PoseError | None) -> dict[str, Any]:
    """FSC of a map with each phantom, and its resolution at 0.5; `best` is the conformation it is made of.

    Of several maps, such as two half maps, it is their mean that counts.
    """
    densities, pixels = zip(*map(maps.read_map, paths), strict=True)
    values, pixel = np.mean(densities, axis=0), pixels[0]
    box = values.shape[0]
    report: dict[str, Any] = {"shell_angst": [box * pixel / i if i else None for i in range(box // 2 + 1)]}
    for name in "AB":
        phantom, phantom_pixel = maps.read_map(truth.folder / f"phantom_{name}.mrc", "phantom")
        curve = map_fsc(values, pixel, phantom, phantom_pixel, motion)
        report[name] = {
            "fsc05_angst": resolution_at(curve, box, pixel),
            "fsc": [round(float(v), 4) for v in curve],
        }
    report["best"] = max("AB", key=lambda name: sum(report[name]["fsc"]))
    report["fsc05_angst"] = report[report["best"]]["fsc05_angst"]
    return report
