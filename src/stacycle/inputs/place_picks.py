"""Picks of any unit become RELION's: Å from the centre of a tomogram of the set, turned as RELION's tomogram lies.

A volume need not lie as the tilt series' tomogram does: its axes may be exchanged or run backwards. Positions in voxels
of such a volume are turned back, and orientations with them; if it shows the particle's mirror image, orientations mean
nothing, and are refused.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.files.star_labels import ANGLES, PIXEL, SIZE, SUBSET
from stacycle.files.star_labels import CENTRED as CENTRED_LABELS
from stacycle.inputs.findings import Findings
from stacycle.inputs.orientations import to_angles, to_rotation
from stacycle.inputs.pick_formats.pick_format import (
    CENTRED,
    CORNER,
    FRACTIONS,
    SERIES_CORNER,
    UNBINNED,
    VOXELS,
    Picks,
    PicksAsked,
)
from stacycle.inputs.sources.source import Volume
from stacycle.inputs.tomogram_names import match_names

SCORE = "rlnAutopickFigureOfMerit"
_SAME_VOXEL = 0.01  # relative: headers are rounded
_CURE_OF_MIRROR = "give picks without angles, or made in a volume that is not mirrored"
_MANY = 10  # picks, from which on it is no chance that all lie in one corner

Array = NDArray[np.floating]


class Frame(Protocol):
    """What picks are placed in: an ImportedSeries, or a row of a tomograms.star."""

    @property
    def pixel(self) -> float: ...
    @property
    def size(self) -> tuple[int, int, int]: ...
    @property
    def volume(self) -> Volume | None: ...


@dataclass(frozen=True)
class Tomogram:
    """A tomogram of a tomograms.star: pixel in Å, size x, y, z in px of its tilt series."""

    pixel: float
    size: tuple[int, int, int]
    volume: Volume | None = None


def tomograms_of(table: pd.DataFrame) -> dict[str, Frame]:
    """What picks are placed in, by name, of a table of tomograms as RELION 5 has it."""
    found: dict[str, Frame] = {}
    for row in table.to_dict("records"):
        pixel, size = float(row[PIXEL]), tuple(int(row[label]) for label in SIZE)
        volume = _reconstructed(str(row.get("rlnTomoReconstructedTomogram", "")), row, pixel, np.array(size))
        found[str(row["rlnTomoName"])] = Tomogram(pixel, (size[0], size[1], size[2]), volume)
    return found


def _reconstructed(
    path: str, row: Mapping[Hashable, object], pixel: float, size: NDArray[np.integer]
) -> Volume | None:
    binning = float(str(row.get("rlnTomoTomogramBinning", "nan")))
    if not binning > 0:
        return None
    try:
        header = mrc.header(path, exact=False)
        shape = (header.nx, header.ny, header.sections)
    except UserError:
        rounded = np.rint(size / binning).astype(int)
        shape = (int(rounded[0]), int(rounded[1]), int(rounded[2]))
    return Volume(Path(path), shape, pixel * binning, anchor="corner")


def place_picks(
    found: Sequence[Picks], tomograms: Mapping[str, Frame], asked: PicksAsked, findings: Findings
) -> pd.DataFrame:
    """All picks as one table: rlnTomoName, rlnCenteredCoordinateX/Y/ZAngst, the angles if all have them, the score and
    the half set where all have one, and `file` and `row` that they came from; empty if there was a problem."""
    before = len(findings.problems)
    with_angles = [picks for picks in found if picks.angles is not None]
    if with_angles and len(with_angles) < len(found):
        without = next(picks for picks in found if picks.angles is None)
        problem = f"{with_angles[0].path} has angles, but {without.path} has none"
        findings.refuse(problem, "give them as two sets", asked.label)
    tables, unstated = [], []
    for picks in found:
        names = match_names(picks.tomogram.tolist(), list(tomograms), str(picks.path), findings)
        placed = []
        for name, tomogram in names.items():
            try:
                placed.append(_placed(picks, picks.tomogram == name, tomogram, tomograms[tomogram], asked))
            except UserError as error:
                findings.problems.append(error)
        tables += [pd.concat(placed).sort_values("row")] if placed else []
        unstated += tables[-1:] if placed and _is_unstated(picks, asked) else []
    if len(findings.problems) > before or not tables:
        return pd.DataFrame()
    if unstated:
        _refuse_corner(pd.concat(unstated), asked, findings)
    table = pd.concat(tables, ignore_index=True)
    return table.dropna(axis="columns") if len(findings.problems) == before else pd.DataFrame()


def _is_unstated(picks: Picks, asked: PicksAsked) -> bool:
    """Whether nobody said how large the pixels are that positions count in."""
    return asked.pixel is None and (picks.unit == UNBINNED or (picks.unit == VOXELS and picks.voxel is None))


def _refuse_corner(table: pd.DataFrame, asked: PicksAsked, findings: Findings) -> None:
    """A problem if all picks lie in that eighth of their tomograms that binned pixels, taken for smaller ones, fill."""
    if len(table) >= _MANY and (table[CENTRED_LABELS].to_numpy(float) < 0).all():
        corner = "in one corner of their tomograms, as if they were in binned pixels"
        cure = "say pixel, the size of their pixels in Å"
        findings.refuse(f"{table['file'].iloc[0]}: all particles lie {corner}", cure, f"{asked.label}.pixel")


def _placed(
    picks: Picks, which: NDArray[np.bool_], name: str, frame: Frame, asked: PicksAsked
) -> pd.DataFrame:
    """The picks `which` (n, bool) of one tomogram. UserError if their place cannot be known."""
    position = picks.position[which]
    half = np.array(frame.size) * frame.pixel / 2  # Å
    turn: Array = np.eye(3)
    if picks.unit == CENTRED:
        centred = position
    elif picks.unit == UNBINNED and asked.pixel is None:
        centred = position * frame.pixel - half
    elif picks.unit == SERIES_CORNER:
        centred = position - half
    elif picks.unit == FRACTIONS:
        centred = (position * 2 - 1) * half
    elif picks.unit == CORNER and asked.pixel is None and picks.voxel is None and frame.volume is None:
        centred = position - half
    else:
        centred, turn = _from_volume(picks, which, name, frame, asked)
    if picks.shift is not None:
        centred = centred + picks.shift[which] @ turn.T
    table = pd.DataFrame(
        {"rlnTomoName": name, "file": str(picks.path), "row": picks.row[which]}, range(len(centred))
    )
    table[CENTRED_LABELS] = centred
    if picks.angles is not None:
        angles = picks.angles[which]
        if np.linalg.det(turn) < 0:
            problem = (
                f"{picks.path}: has angles, but the volume of {name} shows the mirror image of its particles"
            )
            raise UserError(
                f"{problem} ({frame.volume.path if frame.volume else ''})", _CURE_OF_MIRROR, asked.label
            )
        if (turn != np.eye(3)).any():
            angles = to_angles(Rotation.from_matrix(turn) * to_rotation(angles))
        table[ANGLES] = angles
    for label, values in ((SCORE, picks.score), (SUBSET, picks.half)):
        if values is not None:
            table[label] = values[which]
    return table


def _from_volume(
    picks: Picks, which: NDArray[np.bool_], name: str, frame: Frame, asked: PicksAsked
) -> tuple[Array, Array]:
    """(n, 3) Å from the centre of positions in voxels, or in Å, of a volume, and the matrix (3, 3) that turns the
    volume's axes into RELION's. UserError if the volume is not known well enough."""
    volume = frame.volume
    voxel = _voxel(picks, which, name, volume, asked)
    index = picks.position[which] / voxel if picks.unit == CORNER else picks.position[which]
    said = asked.size or picks.shape
    if volume and volume.part and not said:
        problem = f"{picks.path}: counts in voxels of {volume.path} or of {volume.part}, nothing says which"
        cure = "make the picks in the first, which is whole, and say size, its voxels x, y, z"
        raise UserError(problem, cure, f"{asked.label}.size")
    if volume and _is_own(picks, name, volume, said, voxel, asked):
        return _from_own(index, volume, frame)
    if volume and (_turn(volume) != np.eye(3)).any():
        problem = f"{picks.path}: was not made in {volume.path}, so that nothing says how its axes lie"
        raise UserError(problem, "give picks made in that volume", asked.label)
    half = np.array(said) * voxel / 2 if said else np.array(frame.size) * frame.pixel / 2  # Å
    return index * voxel - half, np.eye(3)


def _from_own(index: Array, volume: Volume, frame: Frame) -> tuple[Array, Array]:
    """As `_from_volume`, of voxels (n, 3) of the tilt series' own volume, whose voxels' size is not rounded."""
    turn, voxels = _turn(volume), np.array(volume.voxels)
    index = index @ turn.T
    index = np.where(turn.sum(axis=1) < 0, index + np.array(volume.shape) - 1, index)
    is_centred = volume.anchor == "centre"
    half = np.array(volume.shape) * voxels / 2 if is_centred else np.array(frame.size) * frame.pixel / 2  # Å
    return index * voxels - half, turn


def _voxel(
    picks: Picks, which: NDArray[np.bool_], name: str, volume: Volume | None, asked: PicksAsked
) -> Array:
    """(n, 1) Å per voxel. UserError if nothing says it, or the file and the config disagree."""
    count = int(which.sum())
    said = None if picks.voxel is None else np.broadcast_to(picks.voxel, which.shape)[which]
    if said is not None and asked.pixel and (np.abs(said - asked.pixel) > _SAME_VOXEL * asked.pixel).any():
        problem = f"{picks.path}: its voxels are of {said[0]:g} Å, but the config says {asked.pixel:g} Å"
        raise UserError(problem, "correct or remove one", f"{asked.label}.pixel")
    known = asked.pixel or (volume.voxel if volume and said is None else None)
    if known is None and said is None:
        problem = f"{picks.path}: nothing says how large the voxels are that its picks in {name} count in"
        raise UserError(problem, "say pixel, their size in Å", f"{asked.label}.pixel")
    voxel = np.full(count, known) if said is None else said
    return np.asarray(voxel, float)[:, None]


def _is_own(
    picks: Picks, name: str, volume: Volume, said: Sequence[int] | None, voxel: Array, asked: PicksAsked
) -> bool:
    """Whether voxels of `voxel` Å (n, 1), `said` of them if that is known, are those of the tilt series' own volume.

    UserError if theirs does not even extend as far, unless the config says all of it.
    """
    own = np.array(_file_shape(volume))
    # binning makes sizes even, so that voxels grow by the part of two in all of them
    rounding = max(_SAME_VOXEL, 2 / min(volume.shape[:2]))
    same = bool((np.abs(voxel - volume.voxel) <= rounding * volume.voxel).all())
    if said is None or (same and tuple(said) == tuple(own)):
        return same
    size = float(voxel[0, 0])
    allowed = size + _SAME_VOXEL * own * volume.voxel
    beyond = (np.abs(np.array(said) * size - own * volume.voxel) > allowed).any()
    if beyond and not (asked.size and asked.pixel):
        shape, of_own = " x ".join(map(str, said)), " x ".join(map(str, own))
        problem = f"{picks.path}: was made in {shape} voxels, taken for {size:.4g} Å each"
        of_series = f"but that of {name} has {of_own} voxels of {volume.voxel:.4g} Å ({volume.path})"
        cure = "say pixel and size of the volume it was made in"
        raise UserError(f"{problem}, {of_series}", cure, asked.label)
    return False


def _file_shape(volume: Volume) -> tuple[int, ...]:
    """Voxels along the file's own x, y and z."""
    return tuple(volume.shape["xyz".index(axis)] for axis in volume.axes)


def _turn(volume: Volume) -> Array:
    """The matrix (3, 3) that turns the axes of a volume's file into RELION's; a mirror if its determinant is -1."""
    turn = np.zeros((3, 3))
    for row, axis in enumerate("xyz"):
        turn[row, volume.axes.index(axis)] = -1 if axis in volume.reversed else 1
    return turn
