"""The files of a refinement, in the words and forms of RELION 5."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.cli import version_text
from staengine.numerics.maps import write_map
from staengine.refinement.model import ClassModel, Model, Progress
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import PERTURBATION_FACTOR, Sampling
from staengine.tilt_series.tomo import OptimisationSet

# columns of RELION's optimiser.star for what the embedded engine does not do, at RELION's defaults
NOT_DONE: dict[str, Any] = {
    "rlnDoExternalReconstruct": 0,
    "rlnDoBlush": 0,
    "rlnBlushNoSpectralTrailing": 0,
    "rlnDoGradientRefine": 0,
    "rlnDoStochasticGradientDescent": 0,
    "rlnGradEmIters": 0,
    "rlnGradHasConverged": 0,
    "rlnGradCurrentStepsize": 0.0,
    "rlnGradSubsetOrder": 0,
    "rlnGradSuspendFinerSamplingIter": -1,
    "rlnGradSuspendLocalSamplingIter": -1,
    "rlnSgdInitialIterationsFraction": 0.3,
    "rlnSgdFinalIterationsFraction": 0.2,
    "rlnSgdMinimumResolution": 20.0,
    "rlnSgdInitialResolution": -1.0,
    "rlnSgdFinalResolution": -1.0,
    "rlnSgdInitialSubsetSize": -1,
    "rlnSgdFinalSubsetSize": -1,
    "rlnSgdMuFactor": 0.0,
    "rlnSgdSkipAnneal": 0,
    "rlnSgdClassInactivityThreshold": 0.0,
    "rlnSgdSubsetSize": -1,
    "rlnSgdWriteEverySubset": 10,
    "rlnSgdStepsize": -1.0,
    "rlnSgdStepsizeScheme": "",
    "rlnTau2FudgeScheme": "",
}
NOT_HELICAL: dict[str, Any] = {
    "rlnDoHelicalRefine": 0,
    "rlnIgnoreHelicalSymmetry": 0,
    "rlnFourierMask": "None",
    "rlnHelicalTwistInitial": 0.0,
    "rlnHelicalRiseInitial": 0.0,
    "rlnHelicalCentralProportion": 0.3,
    "rlnNrHelicalNStart": 1,
    "rlnHelicalMaskTubeInnerDiameter": -1.0,
    "rlnHelicalMaskTubeOuterDiameter": -1.0,
    "rlnHelicalSymmetryLocalRefinement": 0,
    "rlnHelicalSigmaDistance": -1.0,
    "rlnHelicalKeepTiltPriorFixed": 0,
}
BLOCK = "\n# version 50001\n\ndata_{}\n\n"


def number(value: Any) -> str:
    """A value as RELION writes it: six decimals, an exponent if very large or small; text in quotes if needed."""
    if isinstance(value, str):
        return f'"{value}"' if not value or " " in value else value
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (int, np.integer)):
        return str(value)
    value = float(value)
    if math.isnan(value):
        return "-nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    plain = value == 0 or 1e-3 <= abs(value) < 1e6
    return f"{value:.6f}" if plain else f"{value:.6e}"


def write_tables(
    path: str | Path, tables: dict[str, dict[str, Any] | pd.DataFrame], comment: str = ""
) -> None:
    """Write lists (dict) and loops (DataFrame) atomically, laid out as RELION does."""
    text = [comment]
    for name, table in tables.items():
        text.append(BLOCK.format(name))
        if isinstance(table, dict):
            text += [f"_{key:<40} {number(value):>24}\n" for key, value in table.items()]
        else:
            columns = [[number(v) for v in table[c]] for c in table]
            text.append("loop_ \n" + "".join(f"_{c} #{i} \n" for i, c in enumerate(table, 1)))
            text += ["".join(f"{cell:>12} " for cell in row) + "\n" for row in zip(*columns, strict=True)]
        text.append(" \n")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text("".join(text))
    partial.replace(path)


@dataclass
class Run:
    """Where a refinement writes and what it was called with."""

    root: str  # --o
    command: list[str]
    options: SimpleNamespace
    inputs: OptimisationSet
    n_iterations: int
    split_halves: bool

    def prefix(self, iteration: int, final: bool = False) -> str:
        return self.root if final else f"{self.root}_it{iteration:03d}"


def write_iteration(
    run: Run,
    data: RefineData,
    models: list[Model],
    sampling: Sampling,
    progress: Progress,
    columns: dict[str, Any],
    unfiltered: list[np.ndarray] | None = None,
    final: bool = False,
) -> None:
    """All files of an iteration (or the final ones); optimiser.star and optimisation_set.star come last."""
    prefix = run.prefix(progress.iteration, final)
    halves = len(models) > 1 and not final
    names = [f"{prefix}_half{h}" for h in (1, 2)] if halves else [prefix]
    for name, model in zip(names, models[: len(names)], strict=True):
        for k, one in enumerate(model.classes, 1):
            write_map(f"{name}_class{k:03d}.mrc", one.reference, data.pixel)
        _write_model(f"{name}_model.star", name, run, data, model, sampling)
    for half, volume in enumerate(unfiltered or [], 1):
        write_map(f"{prefix}_half{half}_class001_unfil.mrc", volume, data.pixel)
    particles = data.table(columns)
    write_tables(
        f"{prefix}_data.star",
        {
            "general": particles.general,
            "optics": particles.optics,  # type: ignore[dict-item]
            "particles": particles.particles,
        },
    )
    if progress.iteration > 0 or run.options.auto_refine:
        _write_sampling(f"{prefix}_sampling.star", sampling)
    header = f"# RELION optimiser; {version_text().removeprefix('RELION ')}\n# {shlex.join(run.command)} \n"
    optimiser = _optimiser(run, prefix, names, progress, final)
    write_tables(f"{prefix}_optimiser.star", {"optimiser_general": optimiser}, header)
    state = {
        "rlnTomoParticlesFile": f"{prefix}_data.star",
        "rlnTomoTomogramsFile": run.inputs.tomograms,
        "rlnTomoTrajectoriesFile": run.inputs.trajectories,
    }
    write_tables(f"{prefix}_optimisation_set.star", {"": state})


def _write_model(path: str, name: str, run: Run, data: RefineData, model: Model, sampling: Sampling) -> None:
    length = data.box * data.pixel
    shells = np.arange(data.box // 2 + 1)
    general = {
        "rlnReferenceDimensionality": 3,
        "rlnDataDimensionality": 2,
        "rlnOriginalImageSize": data.box,
        "rlnCurrentResolution": length / model.resolution if model.resolution else math.inf,
        "rlnCurrentImageSize": model.image_size,
        "rlnPaddingFactor": float(run.options.pad),
        "rlnIsHelix": 0,
        "rlnFourierSpaceInterpolator": 1,
        "rlnMinRadiusNnInterpolation": 10,
        "rlnPixelSize": data.pixel,
        "rlnNrClasses": len(model.classes),
        "rlnNrBodies": 1,
        "rlnNrGroups": len(data.group_names),
        "rlnNrOpticsGroups": len(data.optics_names),
        "rlnTau2FudgeFactor": run.options.tau2_fudge,
        "rlnNormCorrectionAverage": 1.0,
        "rlnSigmaOffsetsAngst": model.sigma_offset,
        "rlnOrientationalPriorMode": int(model.sigma_angle > 0),
        "rlnSigmaPriorRotAngle": model.sigma_angle,
        "rlnSigmaPriorTiltAngle": model.sigma_angle,
        "rlnSigmaPriorPsiAngle": model.sigma_angle,
        "rlnLogLikelihood": model.log_likelihood,
        "rlnAveragePmax": model.average_pmax,
    }
    classes = pd.DataFrame(
        {
            "rlnReferenceImage": [f"{name}_class{k:03d}.mrc" for k in range(1, len(model.classes) + 1)],
            "rlnClassDistribution": [c.share for c in model.classes],
            "rlnAccuracyRotations": [c.accuracy_rotations for c in model.classes],
            "rlnAccuracyTranslationsAngst": [c.accuracy_offsets for c in model.classes],
            "rlnEstimatedResolution": [
                length / c.resolution if c.resolution else math.inf for c in model.classes
            ],
            "rlnOverallFourierCompleteness": [c.overall_completeness() for c in model.classes],
        }
    )
    resolution = {
        "rlnSpectralIndex": shells,
        "rlnResolution": shells / length,
        "rlnAngstromResolution": [length / k if k else 999.0 for k in shells],
    }
    tables: dict[str, Any] = {"model_general": general, "model_classes": classes}
    for k, one in enumerate(model.classes, 1):
        tables[f"model_class_{k}"] = pd.DataFrame(resolution | _spectra(one, data.mean_ctf2.mean(0)))
    tables["model_groups"] = pd.DataFrame(
        {
            "rlnGroupNumber": range(1, len(data.group_names) + 1),
            "rlnGroupName": data.group_names,
            "rlnGroupNrParticles": np.bincount(
                [p.group for p in data.particles], minlength=len(data.group_names)
            ),
            "rlnGroupScaleCorrection": model.scales,
        }
    )
    for o, noise in enumerate(model.noise, 1):
        raw = noise * data.mean_ctf2[o - 1]  # RELION's is the noise after multiplication by the CTF
        spectrum = {"rlnSpectralIndex": shells, "rlnResolution": shells / length, "rlnSigma2Noise": raw}
        tables[f"model_optics_group_{o}"] = pd.DataFrame(spectrum)
    for k, one in enumerate(model.classes, 1):
        distribution = pd.DataFrame({"rlnOrientationDistribution": one.directions})
        tables[f"model_pdf_orient_class_{k}"] = distribution
    write_tables(path, tables)


def _spectra(one: ClassModel, mean_ctf2: NDArray) -> dict[str, Any]:
    columns = {
        "rlnSsnrMap": one.ssnr,
        "rlnGoldStandardFsc": one.fsc,
        "rlnFourierCompleteness": one.completeness,
        "rlnReferenceSigma2": one.sigma2 * mean_ctf2,
        "rlnReferenceTau2": one.tau2,
    }
    if one.orientability is not None:
        columns["rlnSpectralOrientabilityContribution"] = one.orientability
    return columns


def _write_sampling(path: str, sampling: Sampling) -> None:
    original = sampling.original
    general = {
        "rlnIs3DSampling": 1,
        "rlnIs3DTranslationalSampling": 1,
        "rlnHealpixOrder": sampling.healpix_order,
        "rlnSymmetryGroup": sampling.symmetry.upper(),
        "rlnTiltAngleLimit": -91.0,
        "rlnPsiStep": sampling.psi_step,
        "rlnOffsetRange": sampling.offset_range,
        "rlnOffsetStep": sampling.offset_step,
        "rlnHelicalOffsetStep": -1.0,
        "rlnSamplingPerturbInstance": sampling.instance,
        "rlnSamplingPerturbFactor": PERTURBATION_FACTOR,
        "rlnHealpixOrderOriginal": int(original["healpix_order"]),
        "rlnPsiStepOriginal": 60.0 / 2 ** original["healpix_order"],
        "rlnOffsetRangeOriginal": original["offset_range"],
        "rlnOffsetStepOriginal": original["offset_step"],
    }
    directions = pd.DataFrame(sampling.directions(), columns=["rlnAngleRot", "rlnAngleTilt"])
    write_tables(path, {"sampling_general": general, "sampling_directions": directions})


def _optimiser(run: Run, prefix: str, names: list[str], progress: Progress, final: bool) -> dict[str, Any]:
    options = run.options
    files = {"rlnOutputRootName": run.root, "rlnModelStarFile": f"{names[0]}_model.star"}
    if len(names) > 1:
        files["rlnModelStarFile2"] = f"{names[1]}_model.star"
    best = progress.best_resolution / run.options.box_length if progress.best_resolution else 1 / 999
    return files | {
        "rlnExperimentalDataStarFile": f"{prefix}_data.star",
        "rlnTomoTomogramsFile": run.inputs.tomograms,
        "rlnTomoTrajectoriesFile": run.inputs.trajectories,
        "rlnOrientSamplingStarFile": f"{prefix}_sampling.star",
        "rlnCurrentIteration": -1 if final else progress.iteration,
        "rlnNumberOfIterations": run.n_iterations,
        "rlnDoSplitRandomHalves": int(run.split_halves and not final),
        "rlnJoinHalvesUntilThisResolution": options.low_resol_join_halves,
        "rlnAdaptiveOversampleOrder": options.oversampling,
        "rlnAdaptiveOversampleFraction": options.adaptive_fraction,
        "rlnRandomSeed": options.random_seed,
        "rlnParticleDiameter": options.particle_diameter,
        "rlnWidthMaskEdge": options.maskedge,
        "rlnDoZeroMask": options.zero_mask,
        "rlnDoSolventFlattening": options.flatten_solvent,
        "rlnDoSolventFscCorrection": options.solvent_correct_fsc,
        "rlnSolventMaskName": options.solvent_mask or "None",
        "rlnSolventMask2Name": "None",
        "rlnBodyStarFile": "None",
        "rlnTauSpectrumName": "None",
        "rlnMaximumCoarseImageSize": options.coarse_size,
        "rlnHighresLimitExpectation": options.strict_highres_exp,
        "rlnLowresLimitExpectation": -1.0,
        "rlnIncrementImageSize": options.incr_size,
        "rlnDoMapEstimation": 1,
        "rlnDoFastSubsetOptimisation": 0,
        **NOT_DONE,
        "rlnTau2FudgeArg": options.tau2_fudge_arg,
        "rlnMaximumSignificantPoses": -1,
        "rlnDoAutoRefine": options.auto_refine,
        "rlnDoAutoSampling": options.auto_refine,
        "rlnAutoLocalSearchesHealpixOrder": options.auto_local_healpix_order,
        "rlnNumberOfIterWithoutResolutionGain": progress.without_gain,
        "rlnBestResolutionThusFar": best,
        "rlnNumberOfIterWithoutChangingAssignments": progress.settled,
        "rlnDoSkipAlign": options.skip_align,
        "rlnDoSkipRotate": 0,
        "rlnOverallAccuracyRotations": progress.accuracy_rotations,
        "rlnOverallAccuracyTranslationsAngst": progress.accuracy_offsets,
        "rlnChangesOptimalOrientations": progress.changes_angles,
        "rlnChangesOptimalOffsets": progress.changes_offsets,
        "rlnChangesOptimalClasses": progress.changes_classes,
        "rlnSmallestChangesOrientations": progress.smallest_angles,
        "rlnSmallestChangesOffsets": progress.smallest_offsets,
        "rlnSmallestChangesClasses": round(progress.smallest_classes),
        "rlnLocalSymmetryFile": "None",
        **NOT_HELICAL,
        "rlnHasConverged": progress.converged,
        "rlnHasHighFscAtResolLimit": progress.high_fsc_at_limit,
        "rlnHasLargeSizeIncreaseIterationsAgo": 0,
        "rlnDoCorrectNorm": 0,
        "rlnDoCorrectScale": options.scale,
        "rlnDoCorrectCtf": options.ctf,
        "rlnDoCenterClasses": 0,
        "rlnDoIgnoreCtfUntilFirstPeak": 0,
        "rlnCtfDataArePhaseFlipped": 0,
        "rlnDoOnlyFlipCtfPhases": 0,
        "rlnRefsAreCtfCorrected": 1,
        "rlnFixSigmaNoiseEstimates": options.fix_sigma_noise,
        "rlnFixSigmaOffsetEstimates": options.fix_sigma_offset,
        "rlnMaxNumberOfPooledParticles": options.pool,
        "rlnOffsetRangeX": -1.0,
        "rlnOffsetRangeY": -1.0,
        "rlnOffsetRangeZ": -1.0,
    }
