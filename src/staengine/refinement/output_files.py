"""The files of a refinement, in the words and forms of RELION 5."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.cli import version_text
from staengine.numerics.maps import write_map
from staengine.refinement.model import ClassModel, Model
from staengine.refinement.moments import moment_files, write_moments
from staengine.refinement.sampling import PERTURBATION_FACTOR, Sampling
from staengine.refinement.state import Refinement
from staengine.tilt_series.star import Table, six_decimals, write_star

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


def write_iteration(
    run: Refinement, unfiltered: list[NDArray[Any]] | None = None, final: bool = False
) -> None:
    """All files of an iteration (or the final ones); optimiser.star and optimisation_set.star come last."""
    root, data = run.options.o, run.data
    prefix = root if final else f"{root}_it{run.progress.iteration:03d}"
    models = run.models[:1] if final else run.models
    names = [f"{prefix}_half{h}" for h in (1, 2)] if len(models) > 1 else [prefix]
    for name, model in zip(names, models, strict=True):
        for k, class_model in enumerate(model.classes, 1):
            write_map(f"{name}_class{k:03d}.mrc", class_model.reference, data.pixel)
            if class_model.moments:
                write_moments(class_model.moments, moment_files(name, k, len(model.classes)))
        _write(f"{name}_model.star", _model_tables(run, name, model))
    for half, volume in enumerate(unfiltered or [], 1):
        write_map(f"{prefix}_half{half}_class001_unfil.mrc", volume, data.pixel)
    particles = data.table(run.statistics or {"rlnNormCorrection": np.ones(len(data))})
    assert particles.optics is not None
    tables: dict[str, Table] = {
        "general": particles.general,
        "optics": particles.optics,
        "particles": particles.particles,
    }
    _write(f"{prefix}_data.star", tables)
    if run.progress.iteration > 0 or run.options.auto_refine:
        _write(f"{prefix}_sampling.star", _sampling_tables(run.sampling))
    header = f"# RELION optimiser; {version_text().removeprefix('RELION ')}\n# {shlex.join(run.command)} \n"
    optimiser = _optimiser(run, prefix, names, final)
    _write(f"{prefix}_optimiser.star", {"optimiser_general": optimiser}, header)
    state = replace(run.inputs, particles=f"{prefix}_data.star")
    _write(f"{prefix}_optimisation_set.star", {"": state.as_list()})


def _write(path: str, tables: Mapping[str, Table], comment: str = "") -> None:
    write_star(tables, path, number=six_decimals, comment=comment)


def _model_tables(run: Refinement, name: str, model: Model) -> dict[str, Table]:
    data = run.data
    length = data.box_length
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
        "rlnTau2FudgeFactor": run.stage.tau2_fudge if run.stage else run.options.tau2_fudge,
        "rlnNormCorrectionAverage": 1.0,
        "rlnSigmaOffsetsAngst": model.sigma_offset,
        "rlnOrientationalPriorMode": int(model.sigma_angle > 0),
        "rlnSigmaPriorRotAngle": model.sigma_angle,
        "rlnSigmaPriorTiltAngle": model.sigma_angle,
        "rlnSigmaPriorPsiAngle": model.sigma_angle,
        "rlnLogLikelihood": model.log_likelihood,
        "rlnAveragePmax": model.average_pmax,
    }
    numbers = range(1, len(model.classes) + 1)
    moments = [moment_files(name, k, len(model.classes)) for k in numbers] if run.options.grad else []
    classes = pd.DataFrame(
        {"rlnReferenceImage": [f"{name}_class{k:03d}.mrc" for k in numbers]}
        | (
            {"rlnGradMoment1": [m[0] for m in moments], "rlnGradMoment2": [m[2] for m in moments]}
            if moments
            else {}
        )
        | {
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
    tables: dict[str, Table] = {"model_general": general, "model_classes": classes}
    for k, class_model in enumerate(model.classes, 1):
        tables[f"model_class_{k}"] = pd.DataFrame(resolution | _spectra(class_model, data.mean_ctf2.mean(0)))
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
    for k, class_model in enumerate(model.classes, 1):
        distribution = pd.DataFrame({"rlnOrientationDistribution": class_model.directions})
        tables[f"model_pdf_orient_class_{k}"] = distribution
    return tables


def _spectra(class_model: ClassModel, mean_ctf2: NDArray[Any]) -> dict[str, Any]:
    columns = {
        "rlnSsnrMap": class_model.ssnr,
        "rlnGoldStandardFsc": class_model.fsc,
        "rlnFourierCompleteness": class_model.completeness,
        "rlnReferenceSigma2": class_model.sigma2 * mean_ctf2,
        "rlnReferenceTau2": class_model.tau2,
    }
    if class_model.orientability is not None:
        columns["rlnSpectralOrientabilityContribution"] = class_model.orientability
    return columns


def _sampling_tables(sampling: Sampling) -> dict[str, Table]:
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
    return {"sampling_general": general, "sampling_directions": directions}


def _gradient(run: Refinement) -> dict[str, Any]:
    """Columns of optimiser.star that only a gradient refinement fills; `NOT_DONE` has them otherwise."""
    options = run.options
    if not options.grad:
        return {}
    stage, (first, final) = run.stage or run.schedule.at(1), run.schedule.batches
    return {
        "rlnDoGradientRefine": 1,
        "rlnDoStochasticGradientDescent": 1,
        "rlnGradCurrentStepsize": stage.step_size,
        "rlnSgdInitialIterationsFraction": options.grad_ini_frac,
        "rlnSgdFinalIterationsFraction": options.grad_fin_frac,
        "rlnSgdInitialResolution": options.grad_ini_resol,
        "rlnSgdFinalResolution": options.grad_fin_resol,
        "rlnSgdInitialSubsetSize": first,
        "rlnSgdFinalSubsetSize": final,
        "rlnSgdMuFactor": options.mu,
        "rlnSgdSubsetSize": stage.batch if stage.batch < len(run.data) else -1,
        "rlnSgdStepsize": options.grad_stepsize,
    }


def _optimiser(run: Refinement, prefix: str, names: list[str], final: bool) -> dict[str, Any]:
    options, progress = run.options, run.progress
    files = {"rlnOutputRootName": options.o, "rlnModelStarFile": f"{names[0]}_model.star"}
    if len(names) > 1:
        files["rlnModelStarFile2"] = f"{names[1]}_model.star"
    best = progress.best_resolution / run.data.box_length if progress.best_resolution else 1 / 999
    return files | {
        "rlnExperimentalDataStarFile": f"{prefix}_data.star",
        "rlnTomoTomogramsFile": run.inputs.tomograms,
        "rlnTomoTrajectoriesFile": run.inputs.trajectories,
        "rlnOrientSamplingStarFile": f"{prefix}_sampling.star",
        "rlnCurrentIteration": -1 if final else progress.iteration,
        "rlnNumberOfIterations": run.n_iterations,
        "rlnDoSplitRandomHalves": int(options.auto_refine and not final),
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
        "rlnSolventMask2Name": options.solvent_mask2 or "None",
        "rlnBodyStarFile": "None",
        "rlnTauSpectrumName": "None",
        "rlnMaximumCoarseImageSize": options.coarse_size,
        "rlnHighresLimitExpectation": options.strict_highres_exp,
        "rlnLowresLimitExpectation": -1.0,
        "rlnIncrementImageSize": options.incr_size,
        "rlnDoMapEstimation": 1,
        "rlnDoFastSubsetOptimisation": 0,
        **NOT_DONE,
        **_gradient(run),
        "rlnTau2FudgeArg": options.tau2_fudge_arg,
        "rlnMaximumSignificantPoses": options.maxsig,
        "rlnDoAutoRefine": options.auto_refine,
        "rlnDoAutoSampling": options.auto_refine or options.auto_sampling,
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
