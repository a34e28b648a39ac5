"""What a `relion_refine` or `relion_postprocess` run left in its folder, as numbers.

RELION writes numbers that are not numbers: a resolution of `inf` (no shell reaches SSNR 1), a completeness of
`-nan`, changes of `9.999999e+06` or `999` (not measured yet). They come back as `inf` and `nan`; nothing else is hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from stacycle import star
from stacycle.errors import UserError

_NOT_MEASURED = 999.0  # RELION's start value of changes of poses and of accuracies; that of classes is 9.999999e+06


@dataclass(frozen=True)
class Iteration:
    """One finished iteration. Å and degrees; `changed_classes` is the fraction of particles that changed class.

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
    """The complete iterations of a run, in order; of an auto-refine run too, where the halves are averaged.

    Complete means optimiser, data, model(s) and, if `maps`, every class map: an interrupted run leaves some out.
    """
    numbers = sorted(int(path.name[6:9]) for path in Path(folder).glob("run_it[0-9][0-9][0-9]_optimiser.star"))
    return [_iteration(Path(folder), number) for number in numbers if _complete(Path(folder), number, maps)]


def classes(folder: str | Path, iteration: int) -> pd.DataFrame:
    """The classes of one iteration, one row each, for K classes of n particles.

    Columns: `class`, `n`, `fraction` (of particles, by their best class), `resolution` (Å, may be inf),
    `accuracy_rotations` (degrees), `accuracy_translations` (Å), `completeness` (of Fourier space, 0..1, may be
    nan), `pmax` and `loglik` (means over the class's particles; nan if it has none), `map` (path).
    """
    folder = Path(folder)
    model = star.read(folder / f"run_it{iteration:03d}_model.star", {"model_classes": ["rlnReferenceImage"]})
    table = model["model_classes"].reset_index(drop=True)
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
    path = Path(folder) / f"run_it{iteration:03d}_data.star"
    table = star.read(path, {"particles": ["rlnClassNumber"]})["particles"]
    names = next(
        (table[label] for label in ("rlnTomoParticleName", "rlnImageName") if label in table), table.index
    )
    return pd.DataFrame(
        {
            "particle": np.asarray(names).astype(str),
            "class": table["rlnClassNumber"].astype(int).to_numpy(),
            "pmax": _column(table, "rlnMaxValueProbDistribution"),
            "loglik": _column(table, "rlnLogLikeliContribution"),
        }
    )


@dataclass(frozen=True)
class PostProcess:
    """What `postprocess.star` says: resolutions in Å, and the four curves of `fsc`."""

    resolution: float
    nyquist: float
    randomised_from: float
    bfactor: float
    fsc: pd.DataFrame

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
    """Read a `postprocess.star`; `fsc` has `frequency` (1/Å), `resolution` (Å) and the curves found in the file."""
    tables = star.read(path, {"general": ["rlnFinalResolution"], "fsc": ["rlnResolution", "rlnAngstromResolution"]})
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
    )


def half_names(folder: Path, number: int) -> list[str]:
    """`["half1_", "half2_"]` of an auto-refine run with independent halves, else `[""]`."""
    return ["half1_", "half2_"] if (folder / f"run_it{number:03d}_half1_model.star").exists() else [""]


def _complete(folder: Path, number: int, maps: bool) -> bool:
    start = f"run_it{number:03d}_"
    halves = half_names(folder, number)
    if not all((folder / f"{start}{name}").exists() for name in ["data.star", *(f"{h}model.star" for h in halves)]):
        return False
    if not maps:
        return True
    count = _number_of_classes(folder / f"{start}{halves[0]}model.star")
    return all((folder / f"{start}{h}class{k:03d}.mrc").exists() for h in halves for k in range(1, count + 1))


def _number_of_classes(model: Path) -> int:
    found = re.search(r"^_rlnNrClasses\s+(\d+)", model.read_text(errors="replace"), re.MULTILINE)
    if not found:
        raise UserError(f"{model}: does not say its number of classes (rlnNrClasses); was it cut short?")
    return int(found[1])


def _iteration(folder: Path, number: int) -> Iteration:
    start = folder / f"run_it{number:03d}_"
    optimiser = star.read(f"{start}optimiser.star")["optimiser_general"]
    models = [star.read(f"{start}{half}model.star")["model_general"] for half in half_names(folder, number)]
    changed = _value(optimiser, "rlnChangesOptimalClasses")
    return Iteration(
        number=number,
        resolution=float(np.mean([_value(model, "rlnCurrentResolution") for model in models])),
        changed_classes=changed if number > 1 and 0 <= changed <= 1 else nan,
        changed_orientations=float(_measured(_value(optimiser, "rlnChangesOptimalOrientations"))),
        changed_offsets=float(_measured(_value(optimiser, "rlnChangesOptimalOffsets"))),
        accuracy_rotations=float(_measured(_value(optimiser, "rlnOverallAccuracyRotations"))),
        accuracy_translations=float(_measured(_value(optimiser, "rlnOverallAccuracyTranslationsAngst"))),
        log_likelihood=float(np.sum([_value(model, "rlnLogLikelihood") for model in models])),
        pmax=float(np.mean([_value(model, "rlnAveragePmax") for model in models])),
    )


def _column(table: pd.DataFrame, label: str) -> np.ndarray:
    """A column as floats, `nan` throughout if the table has none."""
    return table[label].astype(float).to_numpy() if label in table else np.full(len(table), nan)


def _value(table: pd.DataFrame, label: str) -> float:
    return float(table[label].iloc[0]) if label in table else nan


def _measured(value: float | np.ndarray) -> np.ndarray:
    return np.where(np.asarray(value) >= _NOT_MEASURED, nan, value)

