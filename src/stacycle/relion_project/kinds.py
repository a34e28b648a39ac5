"""What RELION 5.0.1 calls its kinds of jobs, and the files that they leave (nodes)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stacycle.programs.command import Command


@dataclass(frozen=True)
class Kind:
    """A kind of job: the `folder` that RELION keeps such jobs in, its `label` in a pipeline, and the labels of files
    that it leaves, by a pattern of their name. `of_iterations` if these are of the last iteration."""

    folder: str
    label: str
    nodes: Mapping[str, str] = field(default_factory=dict)
    of_iterations: bool = False


_PARTICLES, _MAP, _SET = (
    "ParticleGroupMetadata.star.relion",
    "DensityMap.mrc.relion",
    "TomoOptimisationSet.star.relion",
)
_OPTIMISER, _TOMOGRAMS, _POST = (
    "OptimiserData.star.relion",
    "TomogramGroupMetadata.star.relion",
    "ProcessData.star.relion",
)

IMPORT = Kind(
    "Import",
    "relion.importtomo",
    {
        r"optimisation_set\.star": _SET,
        r"particles\.star": f"{_PARTICLES}.tomo.import",
        r"tomograms\.star": f"{_TOMOGRAMS}.tomo.import",
    },
)
TOMOGRAM = Kind(
    "Tomograms",
    "relion.reconstructtomograms",
    {r"tomograms\.star": f"{_TOMOGRAMS}.tomo.reconstruct"},
)
EXTRACT = Kind(
    "Extract",
    "relion.pseudosubtomo",
    {r"optimisation_set\.star": f"{_SET}.tomo.extract", r"particles\.star": f"{_PARTICLES}.tomo.extract"},
)
RECONSTRUCT = Kind(
    "Reconstruct",
    "relion.reconstructparticletomo",
    {
        r"merged\.mrc": f"{_MAP}.tomo.map.reconstruct",
        r"half[12]\.mrc": f"{_MAP}.tomo.halfmap.reconstruct",
        r"optimisation_set\.star": f"{_SET}.tomo.reconstruct",
    },
)
CTF_REFINE = Kind(
    "CtfRefine",
    "relion.ctfrefinetomo",
    {r"optimisation_set\.star": f"{_SET}.tomo.ctfrefine", r"tomograms\.star": f"{_TOMOGRAMS}.tomo.ctfrefine"},
)
POLISH = Kind(
    "Polish",
    "relion.framealigntomo",
    {
        r"optimisation_set\.star": f"{_SET}.tomo.polish",
        r"tomograms\.star": f"{_TOMOGRAMS}.tomo.polish",
        r"particles\.star": f"{_PARTICLES}.tomo.polish",
        r"motion\.star": "TomoTrajectoryData.star.relion.polish",
    },
)
MASK = Kind("MaskCreate", "relion.maskcreate", {r"mask\.mrc": "Mask3D.mrc.relion"})
POST = Kind(
    "PostProcess",
    "relion.postprocess",
    {
        r"postprocess\.mrc": f"{_MAP}.postprocess",
        r"postprocess_masked\.mrc": f"{_MAP}.postprocess.masked",
        r"postprocess\.star": f"{_POST}.postprocess",
    },
)
LOCAL = Kind(
    "LocalRes",
    "relion.localres.own",
    {
        r"relion_locres_filtered\.mrc": f"{_MAP}.localresfiltered",
        r"relion_locres\.mrc": "Image3D.mrc.relion.localresmap",
    },
)
REFINE = Kind(
    "Refine3D",
    "relion.refine3d.tomo",
    {
        r"run_data\.star": f"{_PARTICLES}.refine3d",
        r"run_optimiser\.star": f"{_OPTIMISER}.refine3d",
        r"run_half[12]_class001_unfil\.mrc": f"{_MAP}.halfmap.refine3d",
        r"run_class001\.mrc": f"{_MAP}.refine3d",
        r"run_optimisation_set\.star": f"{_SET}.refine3d",
    },
)
MULTIBODY = Kind(
    "MultiBody",
    "relion.multibody",
    {
        r"run_data\.star": f"{_PARTICLES}.multibody",
        r"run_optimiser\.star": f"{_OPTIMISER}.multibody",
        r"run_half[12]_body\d{3}_unfil\.mrc": f"{_MAP}.halfmap.multibody",
    },
)


def _of_iterations(folder: str, label: str, name: str) -> Kind:
    nodes = {
        r"run_it\d{3}_data\.star": f"{_PARTICLES}.{name}",
        r"run_it\d{3}_optimiser\.star": f"{_OPTIMISER}.{name}",
        r"run_it\d{3}_class\d{3}\.mrc": f"{_MAP}.{name}",
        r"run_it\d{3}_optimisation_set\.star": f"{_SET}.{name}",
    }
    return Kind(folder, label, nodes, of_iterations=True)


CLASS3D = _of_iterations("Class3D", "relion.class3d", "class3d")
INITIAL = _of_iterations("InitialModel", "relion.initialmodel.tomo", "initialmodel")
# What goes on from a choice, under names that stay; and what other programs leave.
_GENERAL = {
    r"(run_)?optimisation_set\.star": _SET,
    r"particles\.star|run_data\.star": _PARTICLES,
    r"tomograms\.star": _TOMOGRAMS,
    r"motion\.star": "TomoTrajectoryData.star.relion",
    r"postprocess\.star": f"{_POST}.postprocess",
    r"(run_)?half[12](_class001_unfil)?\.mrc": "DensityMap.mrc.halfmap",
    r"mask\.mrc": "Mask3D.mrc",
    r"(reference|merged|density|composite|run_class001)\.mrc": "DensityMap.mrc",
}
SELECT = Kind("Select", "relion.select.interactive", _GENERAL)
EXTERNAL = Kind("External", "relion.external", _GENERAL)
KINDS = (
    *(
        IMPORT,
        TOMOGRAM,
        EXTRACT,
        RECONSTRUCT,
        CTF_REFINE,
        POLISH,
        MASK,
        POST,
        LOCAL,
        REFINE,
        MULTIBODY,
        CLASS3D,
        INITIAL,
        SELECT,
    ),
    EXTERNAL,
)
_BY_PROGRAM = {
    "relion_tomo_reconstruct_tomogram": TOMOGRAM,
    "relion_tomo_subtomo": EXTRACT,
    "relion_tomo_reconstruct_particle": RECONSTRUCT,
    "relion_tomo_refine_ctf": CTF_REFINE,
    "relion_tomo_align": POLISH,
    "relion_mask_create": MASK,
    "relion_postprocess": POST,
    "relion_refine": CLASS3D,
}
_BY_FLAG = {
    "--locres": LOCAL,
    "--multibody_masks": MULTIBODY,
    "--auto_refine": REFINE,
    "--denovo_3dref": INITIAL,
    "--grad": INITIAL,
}


def kind_of(command: Command) -> Kind:
    """The kind of job that runs a command."""
    special = (kind for flag, kind in _BY_FLAG.items() if flag in command.flags)
    return next(special, _BY_PROGRAM.get(command.kind, EXTERNAL))


def label_of(kind: Kind, name: str) -> str:
    """The label of a file that a job of a kind left, by its name; "" if RELION has none for it."""
    tables = (kind.nodes, _GENERAL) if kind is not EXTERNAL else (_GENERAL,)
    return next(
        (label for table in tables for pattern, label in table.items() if re.fullmatch(pattern, name)),
        _by_ending(name),
    )


def _by_ending(name: str) -> str:
    """The label of any file that another job may read."""
    if name.endswith(".mrc"):
        return "Mask3D.mrc" if "mask" in name else "DensityMap.mrc"
    kinds = {"_data.star": _PARTICLES, "_optimisation_set.star": _SET, "_optimiser.star": _OPTIMISER}
    return next((label for ending, label in kinds.items() if name.endswith(ending)), "")
