"""The numbers in the output of `relion_refine` and `relion_postprocess`.

RELION writes numbers that are not numbers: a resolution of `inf` (no shell reaches SSNR 1), a completeness of `-nan`,
changes of `9.999999e+06` or `999` (not measured yet). They come back as `inf` and `nan`; nothing else is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd

from stacycle.errors import UserError
from stacycle.files import job_folder, star

_NOT_MEASURED = 999.0  # what RELION starts from, for changes of poses and for accuracies
_NUMBER = r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|inf|nan)"


@dataclass(frozen=True)
class Iteration:
    """One finished iteration. Å and degrees; `changed_classes` is a fraction of the particles.

    A resolution may be `inf`. Changes and accuracies are `nan` where RELION had not measured them; changes of
    classes are so at iterations 0 and 1, where there is nothing to compare with.
    """

    number: int
    resolution: float
    changed_classes: float
    changed_orientations: float
    changed_offsets: float
    accuracy_rotations: float
    accuracy_translations: float
    log_likelihood: float
    pmax: float


def iterations(folder: str | Path, maps: bool = True) -> list[Iteration]:
    """The complete iterations of a run, in order; of auto-refine with the numbers of both halves averaged.
    Complete means optimiser, data, model(s) and, if `maps`, every class map: an interrupted run lacks some."""
    found = Path(folder).glob(job_folder.every_iteration("optimiser.star"))
    numbers = sorted(map(job_folder.iteration_of, found))
    return [_iteration(Path(folder), number) for number in numbers if _complete(Path(folder), number, maps)]


def classes(folder: str | Path, iteration: int) -> pd.DataFrame:
    """The classes of one iteration, one row each, for K classes of n particles.

    Columns: `class`, `n`, `fraction` (of particles, by their best class), `resolution` (Å, may be inf),
    `accuracy_rotations` (degrees), `accuracy_translations` (Å), `completeness` (of Fourier space, 0..1, may
    be nan), `pmax` and `loglik` (means over the class's particles; nan if it has none), `map` (path).
    """
    folder = Path(folder)
    table = _model(folder, iteration)["model_classes"].reset_index(drop=True)
    found = assignments(folder, iteration)
    number = pd.Series(np.arange(1, len(table) + 1), name="class")
    members = found.groupby("class")
    n = members.size().reindex(number, fill_value=0)
    return pd.DataFrame(
        {
            "class": number,
            "n": n.to_numpy(),
            "fraction": n.to_numpy() / max(1, len(found)),
            "resolution": _column(table, "rlnEstimatedResolution"),
            "accuracy_rotations": _measured(_column(table, "rlnAccuracyRotations")),
            "accuracy_translations": _measured(_column(table, "rlnAccuracyTranslationsAngst")),
            "completeness": _column(table, "rlnOverallFourierCompleteness"),
            "pmax": members["pmax"].mean().reindex(number).to_numpy(),
            "loglik": members["loglik"].mean().reindex(number).to_numpy(),
            "map": [str(folder / Path(str(name)).name) for name in table["rlnReferenceImage"]],
        }
    )


def assignments(folder: str | Path, iteration: int) -> pd.DataFrame:
    """Each particle's `particle` (name), `class`, `pmax` and `loglik`, in the order of the data file."""
    path = Path(folder) / job_folder.iteration(iteration, "data.star")
    with suppress(OSError):  # the reader says what is wrong
        stat = path.stat()
        return _assignments(str(path), stat.st_size, stat.st_mtime_ns).copy(deep=False)
    return _assignments(str(path))


@lru_cache(maxsize=3)
def _assignments(path: str, *state: int) -> pd.DataFrame:
    """Those of a data file; the last ones that were read are remembered as long as its `state` stays."""
    table = star.columns(path, "particles", ["rlnClassNumber"])
    count = len(table["rlnClassNumber"])
    labels = [label for label in ("rlnTomoParticleName", "rlnImageName") if label in table]
    names = _each_once(pd.Series(table[labels[0]], dtype=str)) if labels else pd.RangeIndex(count)

    def numbers(label: str) -> np.ndarray:
        return np.array(table[label], float) if label in table else np.full(count, nan)

    return pd.DataFrame(
        {
            "particle": np.asarray(names).astype(str),
            "class": numbers("rlnClassNumber").astype(int),
            "pmax": numbers("rlnMaxValueProbDistribution"),
            "loglik": numbers("rlnLogLikeliContribution"),
        }
    )


def _each_once(names: pd.Series) -> pd.Series:
    """Names of particles, of which copies that were made of one are numbered."""
    number = names.groupby(names).cumcount()
    return names.where(number == 0, names.astype(str) + " copy " + number.astype(str))


def moved(folder: str | Path, iteration: int, since: int = 2) -> float:
    """Fraction of the particles whose class at `iteration` is not that at `since`; nan if either is missing.

    Classes start from random subsets, and iteration 2 is the first to show them (after `--firstiter_cc`). Few
    particles with a large T stay where chance put them: each is a good part of its own class average.
    """
    paths = [Path(folder) / job_folder.iteration(number, "data.star") for number in (since, iteration)]
    return unlike_last(folder, [since, iteration])[since] if all(path.exists() for path in paths) else nan


def unlike_last(folder: str | Path, numbers: Sequence[int]) -> Mapping[int, float]:
    """For each of these iterations, the fraction of particles whose class is not that of the last of them.
    A data file is read when its iteration is asked for: a run has many, and they are large."""
    return _UnlikeLast(Path(folder), numbers)


class _UnlikeLast(Mapping[int, float]):
    def __init__(self, folder: Path, numbers: Sequence[int]) -> None:
        self._folder, self._numbers, self._known = folder, numbers, dict[int, float]()

    def __getitem__(self, number: int) -> float:
        if number not in self._numbers:
            raise KeyError(number)
        if number not in self._known:
            self._known[number] = float(
                (self._classes(number).reindex(self._last.index) != self._last).mean()
            )
        return self._known[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @cached_property
    def _last(self) -> pd.Series:
        return self._classes(max(self._numbers))

    def _classes(self, number: int) -> pd.Series:
        """The class of each particle, by its name."""
        return assignments(self._folder, number).set_index("particle")["class"]


def ssnr(class_map: str | Path) -> tuple[np.ndarray, float]:
    """SSNR by shell (T is a factor of it) of the class whose map is `run_itNNN_classKKK.mrc`, and its T."""
    found = job_folder.class_of(class_map)
    if not found:
        raise UserError(f"{class_map}: is not a class map of a run (run_itNNN_classKKK.mrc)")
    model = _model(Path(class_map).parent, found[0])
    table = star.table(class_map, model, f"model_class_{found[1]}", ["rlnSsnrMap"])
    return _column(table, "rlnSsnrMap"), _value(model["model_general"], "rlnTau2FudgeFactor")


def resolution_at_unit_T(folder: str | Path, iteration: int) -> float:
    """Resolution (Å) at which SSNR / T of class 1 falls below 1, between shells; inf if it never exceeds 1.

    RELION's own resolution is where SSNR, which has T as a factor, falls below 1: it says more of T than of
    the data. This one still does, a little: a larger T damps the map less.
    """
    model = _model(folder, iteration)
    table = model["model_class_1"]
    signal = _column(table, "rlnSsnrMap")[1:] / _value(model["model_general"], "rlnTau2FudgeFactor")
    frequency = _column(table, "rlnResolution")[1:]
    below = np.flatnonzero(signal < 1)
    if not len(below):
        return float(1 / frequency[-1])
    last = below[0]
    if last == 0:
        return inf
    high, low = np.log(signal[last - 1]), np.log(max(signal[last], 1e-30))
    return float(1 / (frequency[last - 1] + (frequency[last] - frequency[last - 1]) * high / (high - low)))


@dataclass(frozen=True)
class PostProcess:
    """What `postprocess.star` says: resolutions in Å, the four curves of `fsc`, and the maps and mask it names."""

    resolution: float
    nyquist: float
    randomised_from: float
    bfactor: float
    fsc: pd.DataFrame
    map: str = ""
    mask: str = ""
    half_maps: tuple[str, str] = ("", "")

    @property
    def at_nyquist(self) -> bool:
        """Whether the data end before the signal does."""
        return bool(self.resolution <= self.nyquist * 1.001)


_CURVES = {
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "rlnFourierShellCorrelationCorrected",
}


def fsc(path: str | Path) -> PostProcess:
    """Read a `postprocess.star`; `fsc` has `frequency` (1/Å), `resolution` (Å) and the curves of the file."""
    columns = ["rlnResolution", "rlnAngstromResolution"]
    tables = star.read(path, {"general": ["rlnFinalResolution"], "fsc": columns})
    general, table = tables["general"], tables["fsc"]
    curves = pd.DataFrame({"frequency": table["rlnResolution"], "resolution": table["rlnAngstromResolution"]})
    for name, label in _CURVES.items():
        if label in table:
            curves[name] = _column(table, label)
    return PostProcess(
        resolution=_value(general, "rlnFinalResolution"),
        nyquist=float(curves["resolution"].iloc[-1]),
        randomised_from=_value(general, "rlnRandomiseFrom"),
        bfactor=_value(general, "rlnBfactorUsedForSharpening"),
        fsc=curves.astype(float),
        map=_word(general, "rlnPostprocessedMap"),
        mask=_word(general, "rlnMaskName"),
        half_maps=(_word(general, "rlnUnfilteredMapHalf1"), _word(general, "rlnUnfilteredMapHalf2")),
    )


def half_names(folder: Path, number: int) -> list[str]:
    """`["half1_", "half2_"]` of an auto-refine run with independent halves, else `[""]`."""
    of_half1 = folder / job_folder.iteration(number, "half1_model.star")
    return ["half1_", "half2_"] if of_half1.exists() else [""]


def _model(folder: str | Path, iteration: int) -> star.Tables:
    path = Path(folder) / job_folder.iteration(iteration, "model.star")
    return star.read(path, {"model_general": [], "model_classes": ["rlnReferenceImage"]})


def _complete(folder: Path, number: int, maps: bool) -> bool:
    halves = half_names(folder, number)
    models = [folder / job_folder.iteration(number, f"{half}model.star") for half in halves]
    if not all(path.exists() for path in (folder / job_folder.iteration(number, "data.star"), *models)):
        return False
    if not maps:
        return True
    general = _numbers(models[0], "model_general")
    classes, bodies = (int(general.get(label, 1)) for label in ("rlnNrClasses", "rlnNrBodies"))
    kind, count = ("body", bodies) if bodies > 1 else ("class", classes)
    names = [f"{half}{kind}{k:03d}.mrc" for half in halves for k in range(1, count + 1)]
    return all((folder / job_folder.iteration(number, name)).exists() for name in names)


def _iteration(folder: Path, number: int) -> Iteration:
    optimiser = _numbers(folder / job_folder.iteration(number, "optimiser.star"), "optimiser_general")
    halves = [
        _numbers(folder / job_folder.iteration(number, f"{half}model.star"), "model_general")
        for half in half_names(folder, number)
    ]
    changed = optimiser.get("rlnChangesOptimalClasses", nan)
    return Iteration(
        number=number,
        resolution=_mean(halves, "rlnCurrentResolution"),
        changed_classes=changed if number > 1 and 0 <= changed <= 1 else nan,
        changed_orientations=float(_measured(optimiser.get("rlnChangesOptimalOrientations", nan))),
        changed_offsets=float(_measured(optimiser.get("rlnChangesOptimalOffsets", nan))),
        accuracy_rotations=float(_measured(optimiser.get("rlnOverallAccuracyRotations", nan))),
        accuracy_translations=float(_measured(optimiser.get("rlnOverallAccuracyTranslationsAngst", nan))),
        log_likelihood=_mean(halves, "rlnLogLikelihood") * len(halves),
        pmax=_mean(halves, "rlnAveragePmax"),
    )


def _numbers(path: Path, block: str) -> dict[str, float]:
    """The numbers of a simple block."""
    row = {label: values[0] for label, values in star.columns(path, block).items()}
    return {label: float(value) for label, value in row.items() if re.fullmatch(_NUMBER, value)}


def _mean(blocks: list[dict[str, float]], label: str) -> float:
    return float(np.mean([block.get(label, nan) for block in blocks]))


def _column(table: pd.DataFrame, label: str) -> np.ndarray:
    """A column as floats, `nan` throughout if the table has none."""
    return table[label].astype(float).to_numpy() if label in table else np.full(len(table), nan)


def _value(table: pd.DataFrame, label: str) -> float:
    return float(table[label].iloc[0]) if label in table else nan


def _word(table: pd.DataFrame, label: str) -> str:
    return str(table[label].iloc[0]) if label in table else ""


def _measured(value: float | np.ndarray) -> np.ndarray:
    return np.where(np.asarray(value) >= _NOT_MEASURED, nan, value)
