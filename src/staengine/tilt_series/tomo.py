"""Tilt series, particles and optimisation sets: RELION's STAR files and the geometry that they describe.

Positions are in Å from the tomogram's centre, as rlnCenteredCoordinate{X,Y,Z}Angst. A point p lies in a tilt
image at R p / pixel + shift + (width // 2, height // 2) px, R = Rz(ZRot) Ry(YTilt) Rx(XTilt); its depth is z
of R p. All paths in STAR files are relative to the working directory.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.tilt_series import tilt_images
from staengine.tilt_series.tilt_images import ImageFile

STRINGS = [  # columns that stay text even if they look like numbers
    "rlnTomoName",
    "rlnOpticsGroupName",
    "rlnTomoParticleName",
    "rlnImageName",
    "rlnMicrographName",
    "rlnTomoVisibleFrames",
    "rlnTomoTiltSeriesStarFile",
    "rlnGroupName",
]
COORDINATES = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
SUBTOMOGRAM_ANGLES = ["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]
SET_FILES = {
    "particles": "rlnTomoParticlesFile",
    "tomograms": "rlnTomoTomogramsFile",
    "trajectories": "rlnTomoTrajectoriesFile",
}


# ---------------------------------------------------------------- STAR files


# Comments and blank lines before a label, which RELION skips and the parser does not.
_AMONG_LABELS = re.compile(r"^([ \t]*(?:loop_|_).*\n)(?:[ \t]*(?:#.*)?\n)+(?=[ \t]*_)", re.MULTILINE)


def read_star(path: str | Path) -> dict[str, Any]:
    """All tables of a STAR file by name, loops as DataFrame and lists as dict. Raises EngineError."""
    if not Path(path).is_file():
        raise EngineError(f"{path} does not exist.")
    try:
        text = Path(path).read_text(encoding="utf-8")
        plain = _AMONG_LABELS.sub(r"\1", text.removeprefix("\ufeff"))
        if plain == text:
            return starfile.read(path, always_dict=True, parse_as_string=STRINGS)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".star") as copy:
            copy.write(plain)
            copy.flush()
            return starfile.read(copy.name, always_dict=True, parse_as_string=STRINGS)
    except Exception as error:  # the parser's own errors are many and wordless
        raise EngineError(f"{path} cannot be read as a STAR file: {error}") from None


def write_star(tables: dict[str, Any], path: str | Path) -> None:
    """Write tables (DataFrame = loop, dict = list) atomically, with 9 significant figures, the same bytes each time."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    text = starfile.to_string(tables, float_format="%.9g")
    partial.write_text(text.split("\n", 1)[1])  # the first line holds the time of day
    partial.replace(path)


def version_of(path: str | Path) -> str | int:
    """What tells whether a file has changed: the content of a STAR file, the time (ns) of an image."""
    path = Path(path)
    if path.suffix == ".star":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return path.stat().st_mtime_ns


def _table(tables: dict[str, Any], name: str, path: str | Path) -> pd.DataFrame:
    if name not in tables:
        raise EngineError(f"{path} has no table data_{name}.")
    table = tables[name]
    return pd.DataFrame([table]) if isinstance(table, dict) else table


def _require(table: pd.DataFrame, columns: Iterable[str], path: str | Path, name: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise EngineError(f"{path}: table data_{name} has no column {', '.join(missing)}.")


def _check_numbers(table: pd.DataFrame, columns: Iterable[str], path: str | Path, name: str) -> None:
    for column in columns:
        if column in table.columns:
            values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise EngineError(
                    f"{path}: table data_{name}, row {row + 1}: {column} is '{table[column].iloc[row]}', "
                    "not a number."
                )


def _column(table: pd.DataFrame, name: str, default: float = 0.0) -> NDArray[np.float64]:
    return table[name].to_numpy(float) if name in table.columns else np.full(len(table), default)


# ---------------------------------------------------------------- orientations


def euler_matrix(rot: ArrayLike, tilt: ArrayLike, psi: ArrayLike) -> NDArray[np.float64]:
    """RELION's Euler matrices A (n, 3, 3) of angles in degrees (n,)."""
    angles = np.stack(np.broadcast_arrays(*np.atleast_1d(rot, tilt, psi)), axis=-1)
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()


def euler_angles(matrices: NDArray) -> NDArray[np.float64]:
    """Angles (n, 3) = rot, tilt, psi in degrees of Euler matrices (n, 3, 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gimbal lock: one angle is arbitrary
        return Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True)


# ---------------------------------------------------------------- tilt series


@dataclass
class Tomogram:
    """One tilt series of n images: geometry, optics, and where its images are."""

    name: str
    pixel_size: float  # Å, of the tilt images
    size: tuple[int, int, int]  # x, y, z px of the tomogram at that pixel size
    hand: float  # sign of the defocus gradient
    voltage: float  # kV
    cs: float  # mm
    q0: float  # amplitude contrast
    optics_group: str
    images: list[tuple[int, str]]  # (section in the file from 0, path) of each tilt
    rotations: NDArray[np.float64]  # (n, 3, 3)
    shifts: NDArray[np.float64]  # (n, 2) px
    defocus_u: NDArray[np.float64]  # (n,) Å
    defocus_v: NDArray[np.float64]  # (n,) Å
    defocus_angle: NDArray[np.float64]  # (n,) degrees
    scale: NDArray[np.float64]  # (n,) rlnCtfScalefactor
    pre_exposure: NDArray[np.float64]  # (n,) e/Å²
    phase_shift: NDArray[np.float64]  # (n,) degrees
    bfactor: NDArray[np.float64]  # (n,) Å²
    bfactor_per_dose: float = 0.0  # Å² per e/Å²; if > 0 it replaces the exposure filter
    star_file: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the tilt images in px, from the first one's header."""
        first = tilt_images.open_images(self.images[0][1])
        return first.nx, first.ny

    def project(self, positions: NDArray) -> NDArray[np.float64]:
        """Where positions (m, 3) or, per tilt, (m, n, 3) in Å lie in the images: (m, n, 2) = x, y in px."""
        width, height = self.image_size
        # in RELION a tomogram of odd size has its centre half a pixel further
        positions = positions + self.pixel_size / 2 * (np.array(self.size) % 2)
        return self._rotate(positions, rows=2) / self.pixel_size + self.shifts + (width // 2, height // 2)

    def depth(self, positions: NDArray) -> NDArray[np.float64]:
        """Height (m, n) in Å above the centre, along the beam, of positions (m, 3) or (m, n, 3) in Å."""
        return self._rotate(positions, rows=3)[..., 2]

    def defocus_offset(self, positions: NDArray) -> NDArray[np.float64]:
        """What to add to the tilts' defocus at positions (m, 3): (m, n) in Å."""
        return self.hand * self.depth(positions)

    def _rotate(self, positions: NDArray, rows: int) -> NDArray[np.float64]:
        per_tilt = "mnj" if np.ndim(positions) == 3 else "mj"
        return np.einsum(f"nij,{per_tilt}->mni", self.rotations[:, :rows], positions)


TOMOGRAM_NUMBERS = [
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnTomoTiltSeriesPixelSize",
    "rlnTomoHand",
]
TILT_NUMBERS = [
    "rlnMicrographPreExposure",
    "rlnTomoYTilt",
    "rlnTomoZRot",
    "rlnTomoXShiftAngst",
    "rlnTomoYShiftAngst",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
]


def load_tomograms(path: str | Path) -> dict[str, Tomogram]:
    """All tilt series of a tomograms.star, by name, in the file's order. Raises EngineError."""
    table = _table(read_star(path), "global", path)
    _require(table, ["rlnTomoName", "rlnTomoTiltSeriesStarFile", *TOMOGRAM_NUMBERS], path, "global")
    if "rlnTomoDeformationGridSizeX" in table.columns:
        raise EngineError(
            f"{path}: image deformations (rlnTomoDeformation..) are not in the embedded engine."
        )
    sizes = [f"rlnTomoSize{axis}" for axis in "XYZ"]
    optional = ["rlnCtfBfactorPerElectronDose", *sizes]
    _check_numbers(table, [*TOMOGRAM_NUMBERS, *optional], path, "global")
    if table.empty:
        raise EngineError(f"{path}: table data_global is empty.")
    if (table["rlnTomoTiltSeriesPixelSize"] <= 0).any():
        raise EngineError(f"{path}: rlnTomoTiltSeriesPixelSize must be positive.")
    repeated = table["rlnTomoName"][table["rlnTomoName"].duplicated()]
    if len(repeated):
        raise EngineError(f"{path}: tomogram {repeated.iloc[0]} is there twice; names must be unique.")
    tomograms = [_load_tomogram(row) for row in table.to_dict("records")]
    return {tomogram.name: tomogram for tomogram in tomograms}


def _load_tomogram(row: dict[Any, Any]) -> Tomogram:
    name, path = row["rlnTomoName"], row["rlnTomoTiltSeriesStarFile"]
    tables = read_star(path)
    tilts = _table(tables, name, path)
    _require(tilts, ["rlnMicrographName", *TILT_NUMBERS], path, name)
    _check_numbers(
        tilts,
        [*TILT_NUMBERS, "rlnTomoXTilt", "rlnCtfScalefactor", "rlnPhaseShift", "rlnCtfBfactor"],
        path,
        name,
    )
    pixel = float(row["rlnTomoTiltSeriesPixelSize"])
    angles = np.stack([_column(tilts, f"rlnTomo{angle}") for angle in ("ZRot", "YTilt", "XTilt")], axis=-1)
    return Tomogram(
        name=name,
        pixel_size=pixel,
        size=tuple(int(row.get(f"rlnTomoSize{axis}", 0)) for axis in "XYZ"),  # type: ignore[arg-type]
        hand=float(row["rlnTomoHand"]),
        voltage=float(row["rlnVoltage"]),
        cs=float(row["rlnSphericalAberration"]),
        q0=float(row["rlnAmplitudeContrast"]),
        optics_group=str(row.get("rlnOpticsGroupName", "opticsGroup1")),
        images=[tilt_images.reference(text) for text in tilts["rlnMicrographName"]],
        rotations=Rotation.from_euler("ZYX", angles, degrees=True).as_matrix(),
        shifts=tilts[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].to_numpy(float) / pixel,
        defocus_u=_column(tilts, "rlnDefocusU"),
        defocus_v=_column(tilts, "rlnDefocusV"),
        defocus_angle=_column(tilts, "rlnDefocusAngle"),
        scale=_column(tilts, "rlnCtfScalefactor", 1.0),
        pre_exposure=_column(tilts, "rlnMicrographPreExposure"),
        phase_shift=_column(tilts, "rlnPhaseShift"),
        bfactor=_column(tilts, "rlnCtfBfactor"),
        bfactor_per_dose=float(row.get("rlnCtfBfactorPerElectronDose", 0.0)),
        star_file=str(path),
    )


def load_tilt_images(tomogram: Tomogram) -> NDArray[np.float32]:
    """The tilt images (n, height, width) of a tomogram, from one stack or many files. Raises EngineError."""
    width, height = tomogram.image_size
    stack = np.empty((len(tomogram), height, width), np.float32)
    by_file: dict[str, list[int]] = {}
    for tilt, (_, path) in enumerate(tomogram.images):
        by_file.setdefault(path, []).append(tilt)
    for path, tilts in by_file.items():
        file = tilt_images.open_images(path)
        _check_images(tomogram, file, [tomogram.images[tilt][0] for tilt in tilts])
        for tilt in tilts:
            stack[tilt] = file.read(tomogram.images[tilt][0])
    if not np.isfinite(stack).all():
        raise EngineError(f"the tilt images of {tomogram.name} contain values that are not finite.")
    return stack


def _check_images(tomogram: Tomogram, file: ImageFile, sections: Sequence[int]) -> None:
    width, height = tomogram.image_size
    missing = [section for section in sections if not 0 <= section < file.sections]
    if missing:
        raise EngineError(
            f"{file.path} has {file.sections} images; {tomogram.star_file} names image {missing[0] + 1}."
        )
    if (file.nx, file.ny) != (width, height):
        raise EngineError(f"{file.path}: images of {file.nx} x {file.ny} px, others {width} x {height}.")
    if file.pixel > 0 and abs(file.pixel - tomogram.pixel_size) > 0.01 * tomogram.pixel_size:
        raise EngineError(
            f"{file.path}: pixel size {file.pixel:g} Å in the header, {tomogram.pixel_size:g} Å for {tomogram.name}."
        )


# ---------------------------------------------------------------- trajectories

Trajectories = dict[str, NDArray[np.float64]]
_TRAJECTORY = re.compile(r"^data_(\S+)\s+loop_\s+((?:_.*\n\s*)+)", re.MULTILINE)


def read_trajectories(path: str | Path) -> Trajectories:
    """Displacements (n, 3) in Å of each particle of a motion.star, by name; one row per image of the series.

    They are along the tomogram's axes, in the order of the tilt series' STAR file, relative to the particle's
    refined position. The general reader is too slow for a table per particle. Raises EngineError.
    """
    if not Path(path).is_file():
        raise EngineError(f"{path} does not exist.")
    text = re.sub(r"^#.*", "", Path(path).read_text(errors="replace"), flags=re.MULTILINE)
    tables = list(_TRAJECTORY.finditer(text))
    if not tables:
        raise EngineError(f"{path} holds no trajectories (a table of {', '.join(ORIGINS)} per particle).")
    ends = [table.start() for table in tables[1:]] + [len(text)]
    found: Trajectories = {}
    for table, end in zip(tables, ends, strict=True):
        name, columns = table[1], re.findall(r"^_(\S+)", table[2], re.MULTILINE)
        if not set(ORIGINS) <= set(columns):
            raise EngineError(f"{path}: table data_{name} must have the columns {', '.join(ORIGINS)}.")
        try:
            numbers = [float(word) for word in text[table.end() : end].split()]
            rows = np.reshape(numbers, (-1, len(columns)))
            if not np.isfinite(rows).all():
                raise ValueError
        except ValueError:
            raise EngineError(f"{path}: table data_{name} is not a table of numbers.") from None
        found[name] = rows[:, [columns.index(column) for column in ORIGINS]]
    return found


def write_trajectories(path: str | Path, trajectories: Mapping[str, NDArray]) -> None:
    """Write a motion.star: displacements (n, 3) in Å of each particle by name, as `read_trajectories` gives."""
    header = "\n".join(["loop_", *(f"_{column} #{number}" for number, column in enumerate(ORIGINS, 1))])
    parts = [f"\ndata_general\n\n_rlnParticleNumber {len(trajectories)}\n"]
    for name, moves in trajectories.items():
        rows = "%.6f %.6f %.6f\n" * len(moves) % tuple(np.ravel(moves))
        parts.append(f"\n\ndata_{name}\n\n{header}\n{rows}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text("".join(parts))
    partial.replace(path)


# ---------------------------------------------------------------- particles


@dataclass
class ParticleSet:
    """The tables of a RELION particles.star, and its trajectories; `particles` has a plain index 0 .. n - 1."""

    particles: pd.DataFrame
    optics: pd.DataFrame | None = None
    general: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    trajectories: Trajectories | None = None

    @classmethod
    def read(cls, path: str | Path, trajectories: str | Path = "") -> ParticleSet:
        tables = read_star(path)
        particles = _table(tables, "particles", path)
        _require(particles, ["rlnTomoName", *COORDINATES], path, "particles")
        if particles.empty:
            raise EngineError(f"{path}: table data_particles is empty.")
        numbers = [*COORDINATES, *ORIGINS, *ANGLES, *SUBTOMOGRAM_ANGLES, "rlnRandomSubset"]
        _check_numbers(particles, numbers, path, "particles")
        general = tables.get("general", {})
        if isinstance(general, pd.DataFrame):
            general = general.iloc[0].to_dict()
        optics = _table(tables, "optics", path) if "optics" in tables else None
        if optics is not None:
            _require(optics, ["rlnOpticsGroup"], path, "optics")
            _require(particles, ["rlnOpticsGroup"], path, "particles")
            _check_numbers(optics, TOMOGRAM_NUMBERS, path, "optics")
        elif "rlnOpticsGroup" in particles:
            raise EngineError(f"{path}: has rlnOpticsGroup but no table data_optics.")
        motion = read_trajectories(trajectories) if trajectories else None
        return cls(particles.reset_index(drop=True), optics, general, str(path), motion)

    def write(self, path: str | Path) -> None:
        tables: dict[str, Any] = {"general": self.general or {"rlnTomoSubTomosAre2DStacks": 1}}
        if self.optics is not None:
            tables["optics"] = self.optics
        write_star(tables | {"particles": self.particles}, path)

    def __len__(self) -> int:
        return len(self.particles)

    def subset(self, rows: ArrayLike) -> ParticleSet:
        """The particles of the given row numbers or boolean mask, in that order."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index
        return replace(self, particles=self.particles.iloc[index].reset_index(drop=True))

    @property
    def positions(self) -> NDArray[np.float64]:
        """Refined positions (n, 3) in Å: coordinate - A_subtomogram · origin."""
        coordinates = self.particles[COORDINATES].to_numpy(float)
        return coordinates - np.einsum("nij,nj->ni", self.subtomogram_rotations, self.origins)

    def paths(self, positions: NDArray) -> NDArray[np.float64]:
        """Where the particles, all of one tilt series, are in each of its n images, at rest at positions (m, 3) Å.

        (m, n, 3) Å with trajectories; without them they do not move: `positions`.
        """
        if self.trajectories is None or not len(self):
            return positions
        return positions[:, None] + np.stack([self.trajectories[name] for name in self.names])

    @property
    def names(self) -> list[str]:
        """rlnTomoParticleName of each particle. Raises EngineError if there are none."""
        _require(self.particles, ["rlnTomoParticleName"], self.path, "particles")
        return list(self.particles["rlnTomoParticleName"])

    def check_trajectories(self, tomograms: Mapping[str, Tomogram]) -> None:
        """Raise EngineError unless each particle has a trajectory as long as its tilt series, or none has."""
        if self.trajectories is None:
            return
        for name, tomogram in zip(self.names, self.particles["rlnTomoName"], strict=True):
            if name not in self.trajectories:
                raise EngineError(
                    f"{self.path}: particle {name} has no trajectory; the motion file must be that of "
                    "these particles."
                )
            rows, images = len(self.trajectories[name]), len(tomograms[tomogram])
            if rows != images:
                raise EngineError(
                    f"{self.path}: the trajectory of particle {name} has {rows} rows, its tilt series "
                    f"{tomogram} has {images} images."
                )

    @property
    def origins(self) -> NDArray[np.float64]:
        """Refined origins (n, 3) in Å, zero if there are none."""
        return np.stack([_column(self.particles, name) for name in ORIGINS], axis=-1)

    @property
    def subtomogram_rotations(self) -> NDArray[np.float64]:
        """A_subtomogram (n, 3, 3), the identity if there are no rlnTomoSubtomogramRot.."""
        return self._matrices(SUBTOMOGRAM_ANGLES)

    @property
    def rotations(self) -> NDArray[np.float64]:
        """Orientation in the tomogram A_subtomogram · A (n, 3, 3); a tilt's is R_tilt times that."""
        return self.subtomogram_rotations @ self._matrices(ANGLES)

    def _matrices(self, columns: Sequence[str]) -> NDArray[np.float64]:
        return euler_matrix(*(_column(self.particles, name) for name in columns))

    @property
    def half_sets(self) -> NDArray[np.int64] | None:
        """rlnRandomSubset (n,) of 1 and 2, or None. Raises EngineError for other values."""
        if "rlnRandomSubset" not in self.particles.columns:
            return None
        halves = self.particles["rlnRandomSubset"].to_numpy(np.int64)
        if not np.isin(halves, (1, 2)).all():
            raise EngineError(f"{self.path}: rlnRandomSubset must be 1 or 2.")
        return halves

    @property
    def visible(self) -> list[NDArray[np.bool_]] | None:
        """Visible tilts of each particle, or None before extraction."""
        if "rlnTomoVisibleFrames" not in self.particles.columns:
            return None
        return [parse_visible(text) for text in self.particles["rlnTomoVisibleFrames"]]


def parse_visible(text: str) -> NDArray[np.bool_]:
    """`[1,0,1]` as a boolean array."""
    return np.array([flag == "1" for flag in text.strip("[]").split(",")])


def format_visible(visible: ArrayLike) -> str:
    """A boolean array as `[1,0,1]`."""
    return "[" + ",".join(str(int(flag)) for flag in np.asarray(visible)) + "]"


# ---------------------------------------------------------------- optimisation sets


@dataclass(frozen=True)
class OptimisationSet:
    """File names of a state: RELION's optimisation_set.star."""

    particles: str
    tomograms: str
    trajectories: str = ""


def read_optimisation_set(path: str | Path) -> OptimisationSet:
    """Raises EngineError if a file is not named."""
    tables = read_star(path)
    table: Any = next(iter(tables.values()), {})
    if isinstance(table, pd.DataFrame):
        table = table.iloc[0].to_dict()
    names = {key: str(table.get(column, "")) for key, column in SET_FILES.items()}
    for key in ("particles", "tomograms"):
        if not names[key]:
            raise EngineError(f"{path} has no {SET_FILES[key]}.")
    return OptimisationSet(**names)


def write_optimisation_set(
    path: str | Path, particles: str | Path, tomograms: str | Path, trajectories: str | Path | None = None
) -> None:
    names = {"particles": particles, "tomograms": tomograms, "trajectories": trajectories}
    write_star({"": {SET_FILES[key]: str(name) for key, name in names.items() if name}}, path)


def resolve_inputs(program: str, i: str, p: str = "", t: str = "", mot: str = "") -> OptimisationSet:
    """The input state: `--i SET`, or `--p PARTICLES --t TOMOGRAMS [--mot TRAJECTORIES]`, which win."""
    found = read_optimisation_set(i) if i else OptimisationSet("", "")
    result = OptimisationSet(p or found.particles, t or found.tomograms, mot or found.trajectories)
    if not result.particles or not result.tomograms:
        raise EngineError(
            f"{program}: give --i optimisation_set.star, or --p particles.star --t tomograms.star."
        )
    return result
