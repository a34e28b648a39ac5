"""Continuation of a refinement from the files of one of its iterations."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from staengine.errors import EngineError
from staengine.numerics.maps import read_map
from staengine.refinement.model import ClassModel, Model, Progress
from staengine.refinement.moments import moment_files, read_moments
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import Sampling
from staengine.tilt_series.star import as_list, as_loop, read_star

PROGRESS = {
    "iteration": "rlnCurrentIteration",
    "without_gain": "rlnNumberOfIterWithoutResolutionGain",
    "settled": "rlnNumberOfIterWithoutChangingAssignments",
    "changes_angles": "rlnChangesOptimalOrientations",
    "changes_offsets": "rlnChangesOptimalOffsets",
    "changes_classes": "rlnChangesOptimalClasses",
    "smallest_angles": "rlnSmallestChangesOrientations",
    "smallest_offsets": "rlnSmallestChangesOffsets",
    "smallest_classes": "rlnSmallestChangesClasses",
    "accuracy_rotations": "rlnOverallAccuracyRotations",
    "accuracy_offsets": "rlnOverallAccuracyTranslationsAngst",
    "high_fsc_at_limit": "rlnHasHighFscAtResolLimit",
}


def merged_command(argv: list[str]) -> list[str]:
    """The arguments recorded in --continue's optimiser.star, overridden by those given now. Raises EngineError."""
    given = _grouped(argv)
    optimiser = given.pop("--continue")
    if len(optimiser) != 1:
        raise EngineError("--continue needs the optimiser.star of an iteration.")
    merged = _grouped(_command_of(optimiser[0])) | given
    return [token for flag, values in merged.items() for token in (flag, *values)]


def _grouped(argv: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for token in argv:
        if token.startswith("--"):
            groups[flag := token] = []
        elif groups:
            groups[flag].append(token)
        else:
            raise EngineError(f"'{token}' is neither a flag nor the value of one.")
    return groups


def _command_of(optimiser: str) -> list[str]:
    if not Path(optimiser).is_file():
        raise EngineError(f"--continue: {optimiser} does not exist.")
    lines = Path(optimiser).read_text().splitlines()[:2]
    if len(lines) < 2 or not lines[0].startswith("# RELION optimiser"):
        raise EngineError(
            f"--continue: {optimiser} is not an optimiser.star (its second line holds the command)."
        )
    return shlex.split(lines[1].removeprefix("#"))


def read_optimiser(path: str) -> dict[str, Any]:
    """The general table of an unfinished iteration's optimiser.star. Raises EngineError."""
    table = read_star(path).get("optimiser_general")
    if not isinstance(table, dict) or "rlnModelStarFile" not in table:
        raise EngineError(f"--continue: {path} has no table data_optimiser_general.")
    if int(table["rlnCurrentIteration"]) < 0:
        raise EngineError(f"--continue: {path} is the end of a refinement that has converged.")
    return table


def read_progress(optimiser: dict[str, Any], box_length: float) -> Progress:
    """Progress of the refinement at that iteration; box_length in Å converts resolutions to shells."""
    progress = Progress()
    for name, column in PROGRESS.items():
        setattr(progress, name, type(getattr(progress, name))(optimiser[column]))
    progress.best_resolution = round(float(optimiser["rlnBestResolutionThusFar"]) * box_length)
    return progress


def read_sampling(path: str, fresh: Sampling) -> Sampling:
    """The grid of a sampling.star; other settings are those of `fresh`, from the command line."""
    table = as_list(read_star(path)["sampling_general"])
    return replace(
        fresh,
        healpix_order=int(table["rlnHealpixOrder"]),
        offset_range=float(table["rlnOffsetRange"]),
        offset_step=float(table["rlnOffsetStep"]),
        instance=float(table["rlnSamplingPerturbInstance"]),
    )


def take_moments(model: Model, path: str, box: int, age: int) -> None:
    """Give the classes of a gradient refinement the moments that its model.star names. Raises EngineError."""
    rows = as_loop(read_star(path)["model_classes"])
    if "rlnGradMoment1" not in rows:
        raise EngineError(f"--continue: {path} is not of a run with --grad, it has no rlnGradMoment1.")
    for k, class_model in enumerate(model.classes, 1):
        root = str(rows["rlnGradMoment1"].iloc[k - 1]).rsplit("_1moment", 1)[0]
        class_model.moments = read_moments(moment_files(root, k, len(rows)), box, age)


def read_model(path: str, data: RefineData) -> Model:
    """The model of a model.star with its maps. Raises EngineError if it belongs to other data."""
    tables = read_star(path)
    general, rows = as_list(tables["model_general"]), as_loop(tables["model_classes"])
    if int(general["rlnOriginalImageSize"]) != data.box or int(general["rlnNrGroups"]) != len(
        data.group_names
    ):
        raise EngineError(f"--continue: {path} is of other particles than {data.set.path}.")
    length = data.box_length
    classes = []
    for k, row in enumerate(rows.to_dict("records"), 1):
        reference, _ = read_map(row["rlnReferenceImage"], "reference map")
        spectra = as_loop(tables[f"model_class_{k}"])
        resolution = float(row["rlnEstimatedResolution"])
        classes.append(
            ClassModel(
                reference,
                tau2=spectra["rlnReferenceTau2"].to_numpy(float),
                sigma2=spectra["rlnReferenceSigma2"].to_numpy(float) / data.mean_ctf2.mean(0),
                ssnr=spectra["rlnSsnrMap"].to_numpy(float),
                fsc=spectra["rlnGoldStandardFsc"].to_numpy(float),
                completeness=spectra["rlnFourierCompleteness"].to_numpy(float),
                share=float(row["rlnClassDistribution"]),
                resolution=round(length / resolution) if np.isfinite(resolution) else 0,
                accuracy_rotations=float(row["rlnAccuracyRotations"]),
                accuracy_offsets=float(row["rlnAccuracyTranslationsAngst"]),
                directions=as_loop(tables[f"model_pdf_orient_class_{k}"])[
                    "rlnOrientationDistribution"
                ].to_numpy(float),
            )
        )
    noise = [
        as_loop(tables[f"model_optics_group_{o}"])["rlnSigma2Noise"].to_numpy(float)
        for o in range(1, len(data.optics_names) + 1)
    ]
    resolution = float(general["rlnCurrentResolution"])
    return Model(
        classes,
        np.array(noise) / data.mean_ctf2,
        as_loop(tables["model_groups"])["rlnGroupScaleCorrection"].to_numpy(float, copy=True),
        sigma_offset=float(general["rlnSigmaOffsetsAngst"]),
        sigma_angle=float(general["rlnSigmaPriorTiltAngle"]),
        resolution=round(length / resolution) if np.isfinite(resolution) else 0,
    )
