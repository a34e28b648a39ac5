"""What the decisions of a project of a given size read, as RELION writes it: tables, maps, records of states.

Numbers are made up: of random particles, of a map of blobs in noise. Files that no decision compares are links to one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.decisions.mask import distance, low_pass
from stacycle.files import job_folder, mrc
from stacycle.files.job_folder import HALF_MAPS, MERGED, OPTIMISATION_SET, POSTPROCESS, STATE_FILE
from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.provenance import record
from stacycle.provenance.identity import digest, identity, record_of

TILTS, CLASSES = 41, 6
SERIES_PIXEL, DIAMETER = 1.35, 220.0  # Å
SMALL, LARGE = 96, 336  # px of a box in bin4 and in bin1
START = Path("results/start")
ALIGN, CLASS3D, MODELS = (Path("results/bin4") / name for name in ("align", "class3d", "initial_model"))
CYCLE, MAPS = Path("results/bin1/cycle1"), Path("maps")
SEEDS, HANDS = ("seed1", "seed2", "seed3"), ("given", "mirrored")

_OPTICS = {
    "Voltage": 300.0,
    "SphericalAberration": 2.7,
    "AmplitudeContrast": 0.1,
    "TomoTiltSeriesPixelSize": SERIES_PIXEL,
    "OpticsGroup": 1,
    "OpticsGroupName": "optics1",
    "CtfDataAreCtfPremultiplied": 1,
    "ImageDimensionality": 2,
    "TomoSubtomogramBinning": 4.0,
    "ImagePixelSize": 4 * SERIES_PIXEL,
    "ImageSize": SMALL,
}
_PARTICLE = (
    *("TomoName", "CenteredCoordinateXAngst", "CenteredCoordinateYAngst", "CenteredCoordinateZAngst"),
    *("AngleRot", "AngleTilt", "AnglePsi", "OpticsGroup", "TomoParticleName", "TomoVisibleFrames", "ImageName"),
    *("OriginXAngst", "OriginYAngst", "OriginZAngst", "RandomSubset", "GroupNumber", "ClassNumber"),
    *("NormCorrection", "LogLikeliContribution", "MaxValueProbDistribution", "NrOfSignificantSamples"),
)  # fmt: skip
_TILT = (
    *("MicrographName", "TomoXTilt", "TomoYTilt", "TomoZRot", "TomoXShiftAngst", "TomoYShiftAngst"),
    *("DefocusU", "DefocusV", "DefocusAngle", "CtfScalefactor", "MicrographPreExposure"),
)


@dataclass(frozen=True)
class Size:
    """Particles in so many tomograms; variants of each sweep, and iterations of each run."""

    particles: int
    tomograms: int
    variants: int = 4
    iterations: int = 25


def write(size: Size) -> None:
    """All that the decisions read, in the working folder."""
    rng = np.random.default_rng(1)
    rows = Rows(size, rng)
    tilt_series(size, START)
    rows.write(START / "particles.star", np.ones(size.particles, int))
    state = OptimisationSet(str(START / "particles.star"), str(START / "tomograms.star"), None)
    state.write(START / OPTIMISATION_SET)
    record.adopt(START / OPTIMISATION_SET)
    maps(rng)
    runs(size, state, rows, rng)
    scores(size, rng)
    cycle(size, state, rng)
    facts = [{"name": f"TS_{number + 1:04d}", "set": "a"} for number in range(size.tomograms)]
    _new(Path("results/inputs/preflight.json")).write_text(json.dumps({"tomograms": facts}))


class Rows:
    """The rows of particles, of which only the class differs between files."""

    def __init__(self, size: Size, rng: np.random.Generator) -> None:
        n, each = size.particles, size.particles // size.tomograms
        at = rng.uniform(-2000, 2000, (n, 3)) * [1, 1, 0.4]
        angles = rng.uniform(0, 180, (n, 3))
        shift = rng.normal(0, 5, (n, 3))
        likely, pmax = rng.normal(2e4, 300, n), rng.uniform(0.1, 1, n)
        visible = "[" + ",".join(["1"] * TILTS) + "]"
        self._before, self._after = [], []
        for i in range(n):
            tomogram, number = f"TS_{i // each + 1:04d}", i % each + 1
            self._before.append(
                f"{tomogram:>10} {_numbers(at[i])} {_numbers(angles[i])} {1:12d} {tomogram}/{number} {visible} "
                f"results/bin4/extract/Subtomograms/{tomogram}/{number}_stack2d.mrcs {_numbers(shift[i])} "
                f"{i % 2 + 1:12d} {i // each + 1:12d} "
            )
            self._after.append(f" {_numbers((1, likely[i], pmax[i]))} {3:12d} \n")

    def write(self, path: Path, classes: NDArray[np.integer], copies: int = 1) -> None:
        """The particles with these classes (n)."""
        made = [*zip(self._before, classes.tolist(), self._after, strict=True)] * copies
        with _new(path).open("w") as file:
            file.write(_simple("general", {"TomoSubTomosAre2DStacks": 1}) + _loop("optics", [_OPTICS]))
            file.write(_head("particles", _PARTICLE))
            file.writelines(f"{before}{number:12d}{after}" for before, number, after in made)


def tilt_series(size: Size, folder: Path, defocus: float = 30000.0) -> None:
    """The tomograms and their tilt series in a folder."""
    names = [f"TS_{number + 1:04d}" for number in range(size.tomograms)]
    rows = []
    for name in names:
        rng = np.random.default_rng(len(rows))
        tilts = zip(np.linspace(-60, 60, TILTS), rng.normal(0, 5, (TILTS, 2)), strict=True)
        values = []
        for tilt, (angle, shift) in enumerate(tilts):
            image, of_ctf = f"{tilt + 1:03d}@frames/{name}.mrcs", (defocus, defocus - 200, 30.0, 1.0)
            values.append((image, 0.0, angle, 85.0, *shift, *of_ctf, 3.0 * tilt))
        path = _new(folder / f"tilt_series/{name}.star")
        path.write_text(_loop(name, [dict(zip(_TILT, row, strict=True)) for row in values]))
        size_of = dict(zip(("TomoSizeX", "TomoSizeY", "TomoSizeZ"), (3700, 3700, 1400), strict=True))
        rows.append(
            {"TomoName": name, "Voltage": 300.0, "SphericalAberration": 2.7, "AmplitudeContrast": 0.1}
            | {"TomoTiltSeriesPixelSize": SERIES_PIXEL, "TomoHand": -1, "OpticsGroupName": "optics1"}
            | size_of
            | {"TomoTiltSeriesStarFile": path}
        )
    _new(folder / "tomograms.star").write_text(_loop("global", rows))


def maps(rng: np.random.Generator) -> None:
    """Averages in both boxes: blobs in noise, two half maps of each and another map that is a little unlike them."""
    for box in (SMALL, LARGE):
        pixel = 4 * SERIES_PIXEL * SMALL / box
        particle = _blobs(box, pixel)
        noise = [low_pass(rng.normal(0, 1, (box,) * 3), pixel, 4 * pixel) for _ in (1, 2)]
        folder = MAPS / str(box)
        for name, own in zip(HALF_MAPS, noise, strict=True):
            mrc.write_map(folder / name, particle + 2 * own, pixel)
        mrc.write_map(folder / MERGED, particle + noise[0] + noise[1], pixel)
        mrc.write_map(folder / "worse.mrc", particle + 3 * noise[0], pixel)
        inside = np.clip((0.6 * DIAMETER - distance(box) * pixel) / 10, 0, 1)
        mrc.write_map(folder / "mask.mrc", inside, pixel)
        mrc.write_map(folder / "locres.mrc", 8 + 8 * distance(box) / box + noise[0].clip(-1, 1), pixel)


def _blobs(box: int, pixel: float) -> NDArray[np.floating]:
    """A particle (n, n, n) of blobs of 8 Å in an ellipsoid."""
    rng, density = np.random.default_rng(3), np.zeros((box,) * 3, np.float32)
    places = rng.normal(0, 1, (300, 3))
    places *= rng.uniform(0, 1, (300, 1)) ** (1 / 3) / np.linalg.norm(places, axis=1, keepdims=True)
    reach = int(24 / pixel) + 1
    axis = np.arange(-reach, reach + 1)
    for place in places * [0.3, 0.35, 0.48] * DIAMETER / pixel + box // 2:
        near = np.rint(place).astype(int)
        x, y, z = (np.exp(-(((axis + near[i] - place[i]) * pixel / 8) ** 2) / 2) for i in range(3))
        part = tuple(slice(middle - reach, middle + reach + 1) for middle in near)
        density[part] += (x[:, None, None] * y[:, None] * z).astype(np.float32)
    return density


def runs(size: Size, state: OptimisationSet, rows: Rows, rng: np.random.Generator) -> None:
    """The runs of an alignment, of a classification, and of initial models with the files of every iteration."""
    data = Path("data")
    last = rng.integers(1, CLASSES + 1, size.particles)
    for number in range(size.iterations + 1):
        other = rng.random(size.particles) < 0.9 * 2 ** (-number / 3)
        rows.write(data / str(number), np.where(other, rng.integers(1, CLASSES + 1, size.particles), last))
    rows.write(data / "one", np.ones(size.particles, int))
    rows.write(data / "copies", np.ones(size.particles, int), copies=2)
    variants = [f"T{T:g}" for T in (0.5, 1, 2, 4, 8, 16)[: size.variants]]
    for name in variants:
        run(ALIGN / name, state, float(name[1:]), 1, dict.fromkeys(range(size.iterations + 1), data / "one"))
        of_number = {number: data / str(number) for number in range(size.iterations + 1)}
        run(CLASS3D / f"{name}_K{CLASSES}", state, float(name[1:]), CLASSES, of_number)
    for name in (*SEEDS, *HANDS):
        run(MODELS / name, state, 4.0, 1, {size.iterations: data / "one"})
    _link(MAPS / str(SMALL) / MERGED, MODELS / f"{HANDS[0]}_reference/reference.mrc")
    _link(MAPS / str(SMALL) / MERGED, MODELS / f"{HANDS[1]}_reference/reference.mrc")


def run(folder: Path, state: OptimisationSet, T: float, classes: int, data: dict[int, Path]) -> None:
    """A run of relion_refine that started from a state, with the data files of its iterations."""
    resolution, changed = 12 + 30 * np.exp(-np.arange(100) / 4), 0.9 * 2 ** (-np.arange(100) / 3) + 0.002
    for number, source in data.items():
        names = [job_folder.iteration(number, f"class{k + 1:03d}.mrc") for k in range(classes)]
        _link(source, folder / job_folder.iteration(number, "data.star"))
        for k, name in enumerate(names):
            of_class = MERGED if k % 2 == 0 else "worse.mrc"
            _link(MAPS / str(SMALL) / of_class, folder / name)
        told = {"ChangesOptimalClasses": changed[number], "ChangesOptimalOrientations": 1.0}
        told |= {"ChangesOptimalOffsets": 1.0, "OverallAccuracyRotations": 2.0}
        optimiser = _simple("optimiser_general", told | {"OverallAccuracyTranslationsAngst": 2.0})
        _new(folder / job_folder.iteration(number, "optimiser.star")).write_text(optimiser)
        model = _model(folder, names, T, resolution[number])
        _new(folder / job_folder.iteration(number, "model.star")).write_text(model)
        own = str(folder / job_folder.iteration(number, "data.star"))
        OptimisationSet(own, state.tomograms, None).write(
            folder / job_folder.iteration(number, OPTIMISATION_SET)
        )
    _write_record(folder, identity(state), START)


def _model(folder: Path, names: list[str], T: float, resolution: float) -> str:
    extent = SMALL * 4 * SERIES_PIXEL
    general = {"NrClasses": len(names), "Tau2FudgeFactor": T, "CurrentResolution": resolution}
    general |= {"LogLikelihood": 1e9, "AveragePmax": 0.5}
    rows = [
        {"ReferenceImage": folder / name, "ClassDistribution": 1 / len(names), "AccuracyRotations": 2.0 + k % 2}
        | {"AccuracyTranslationsAngst": 2.0, "EstimatedResolution": resolution}
        | {"OverallFourierCompleteness": 1.0}
        for k, name in enumerate(names)
    ]  # fmt: skip
    shells = [
        {"SpectralIndex": s, "Resolution": s / extent, "AngstromResolution": extent / max(s, 0.5)}
        | {"SsnrMap": T * 100 * np.exp(-s / 6), "GoldStandardFsc": 0.0, "FourierCompleteness": 1.0}
        | {"ReferenceSigma2": 1e-6, "ReferenceTau2": 1e-4, "SpectralOrientabilityContribution": 0.0}
        for s in range(SMALL // 2 + 1)
    ]
    of_classes = (_loop(f"model_class_{k + 1}", shells) for k in range(len(names)))
    return _simple("model_general", general) + _loop("model_classes", rows) + "".join(of_classes)


def scores(size: Size, rng: np.random.Generator) -> None:
    """The table of scores: a fifth of the particles is junk."""
    values = np.where(rng.random(size.particles) < 0.2, rng.normal(0.05, 0.15, size.particles), 1)
    values = np.where(values == 1, rng.normal(1, 0.15, size.particles), values)
    each = size.particles // size.tomograms
    names = (f"TS_{i // each + 1:04d}/{i % each + 1}" for i in range(size.particles))
    lines = [f"{name}\t{value:.6g}\t{value * 9:.6g}\t1" for name, value in zip(names, values, strict=True)]
    text = "\n".join(["rlnTomoParticleName\tscore\tz\tgain", *lines]) + "\n"
    _new(Path("results/bin1/score/scores.tsv")).write_text(text)


def cycle(size: Size, state: OptimisationSet, rng: np.random.Generator) -> None:
    """The variants of a CTF refinement, and of a polishing, which leaves trajectories."""
    averaged(Path("results/bin1/reconstruct"), record_of(START), START, 0.02)
    ctf_refinements(size, state)
    polishings(size, rng)


def ctf_refinements(size: Size, state: OptimisationSet) -> None:
    """The variants of a CTF refinement."""
    for number in range(size.variants):
        folder = CYCLE / f"ctfrefine/v{number}"
        tilt_series(size, folder, 30000.0 + 100 * (number + 1))
        _variant(folder, replace(state, tomograms=str(folder / "tomograms.star")), number)


def polishings(size: Size, rng: np.random.Generator) -> None:
    """The variants of a polishing."""
    _trajectories(Path("motion"), size, rng)
    for number in range(size.variants):
        folder = CYCLE / f"polish/v{number}"
        tilt_series(size, folder)
        _link(Path("motion"), folder / "motion.star")
        _link(Path("data/one"), folder / "particles.star")
        made = (folder / name for name in ("particles.star", "tomograms.star", "motion.star"))
        _variant(folder, OptimisationSet(*map(str, made)), number)


def _variant(folder: Path, files: OptimisationSet, number: int) -> None:
    files.write(folder / OPTIMISATION_SET)
    _write_record(folder, identity(files), START)
    averaged(folder / "reconstruct", record_of(folder), folder, 0.03 + 0.01 * number)
    post = folder / "postprocess"
    post.mkdir()
    (folder / "reconstruct" / POSTPROCESS).rename(post / POSTPROCESS)
    (folder / "reconstruct" / STATE_FILE).replace(post / STATE_FILE)
    halves = {name: digest(folder / "reconstruct" / name) for name in (*HALF_MAPS, MERGED)}
    _write_record(folder / "reconstruct", record_of(folder), folder, halves)


def averaged(folder: Path, of: dict | None, start: Path, better: float) -> None:
    """Half maps, their merged map and FSC, of a state with this record."""
    for name in (*HALF_MAPS, MERGED):
        _link(MAPS / str(LARGE) / name, folder / name)
    extent = LARGE * SERIES_PIXEL * 4 * SMALL / LARGE
    curve = 1 / (1 + np.exp((np.arange(LARGE // 2 + 1) / LARGE * 2 - 0.5 - better) * 20))
    names = [f"FourierShellCorrelation{one}" for one in ("Corrected", "UnmaskedMaps", "MaskedMaps")]
    shells = [
        {"SpectralIndex": s, "Resolution": s / extent, "AngstromResolution": extent / max(s, 0.5)}
        | dict.fromkeys(names, value)
        for s, value in enumerate(curve)
    ]
    resolution = extent / int(np.flatnonzero(curve > 0.143)[-1])
    general = {"FinalResolution": resolution, "RandomiseFrom": 10.0}
    (folder / POSTPROCESS).write_text(_simple("general", general) + _loop("fsc", shells))
    made = {name: digest(folder / name) for name in (*HALF_MAPS, MERGED, POSTPROCESS)}
    _write_record(folder, of, start, made)


def _trajectories(path: Path, size: Size, rng: np.random.Generator) -> None:
    each = size.particles // size.tomograms
    with path.open("w") as file:
        file.write(_simple("general", {"ParticleNumber": size.particles}))
        for i in range(size.particles):
            rows = (f"{_numbers(row)} \n" for row in rng.normal(0, 1, (TILTS, 3)).tolist())
            labels = [f"Origin{axis}Angst" for axis in "XYZ"]
            file.write(_head(f"TS_{i // each + 1:04d}/{i % each + 1}", labels) + "".join(rows))


def _write_record(folder: Path, of: dict | None, start: Path, made: dict[str, str] | None = None) -> None:
    """The record of a state or of its maps, as the workflow leaves it."""
    assert of
    before = record_of(start)
    assert before
    found = {key: of[key] for key in ("id", *KINDS)}
    found |= {"parent": {"id": before["id"], "path": str(start)}, "maps": made or {}, "resolution": 12.0}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATE_FILE).write_text(json.dumps(found))


def _head(name: str, labels: tuple[str, ...] | list[str]) -> str:
    columns = "".join(f"_rln{label} #{number} \n" for number, label in enumerate(labels, 1))
    return f"\n# version 50001\n\ndata_{name}\n\nloop_ \n{columns}"


def _loop(name: str, rows: list[dict]) -> str:
    return _head(name, list(rows[0])) + "".join(f"{_numbers(row.values())} \n" for row in rows) + "\n"


def _simple(name: str, values: dict) -> str:
    lines = (f"_rln{label:40} {_numbers([value])}\n" for label, value in values.items())
    return f"\n# version 50001\n\ndata_{name}\n\n{''.join(lines)}\n"


def _numbers(values: object) -> str:
    return " ".join(_written(values))  # type: ignore[arg-type]


def _written(values: list[object]) -> Iterator[str]:
    for value in values:
        yield f"{value:12.6f}" if isinstance(value, float) else f"{value!s:>12}"


def _new(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _link(source: Path, path: Path) -> None:
    os.link(source, _new(path))
