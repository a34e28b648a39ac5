"""relion_align_symmetry: turns a map so that its symmetry axes lie where RELION has those of the point group.

With A the Euler matrix of the printed angles, aligned(x) = input(Aᵀ x), x counted from the centre of mass unless
--keep_centre is given. A particle of orientation B in the input map has B · Aᵀ in the aligned one. DIFF2 is what
`symmetry_search` measures, 0 for a symmetric map, and not RELION's sum over pixels.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine import cli
from staengine.errors import EngineError
from staengine.numerics import fourier, maps, rotation, symmetry
from staengine.numerics.euler import euler_angles
from staengine.numerics.symmetry_search import find_axes
from staengine.tilt_series.star import loop_of, numbers, read_star, require_columns, require_numbers

PROGRAM = "relion_align_symmetry"
FLAGS = {
    "--i": cli.Flag("required", "", "map, or run_itNNN_model.star"),
    "--o": cli.Flag("value", "aligned.mrc", "output map"),
    "--sym": cli.Flag("required", "", "point group"),
    "--select_largest_class": cli.Flag("switch", help="of a model.star, take the class with most particles"),
    "--select_highest_resol": cli.Flag("switch", help="of a model.star, take the class of best resolution"),
    "--apply_sym": cli.Flag("switch", help="average the aligned map over the group"),
    "--keep_centre": cli.Flag("switch", help="do not move the centre of mass to the middle of the box"),
    "--only_rot": cli.Flag("switch", help="turn about z alone"),
    "--angpix": cli.Flag("value", -1.0, "pixel size, Å (negative: from the header)"),
    "--box_size": cli.Flag("value", 64, "the map is brought to at most this box for the search, px"),
    "--nr_uniform": cli.Flag("value", 400, "orientations to begin from"),
    "--maxres": cli.Flag("value", -1.0, "use nothing beyond this resolution for the search, Å"),
    "--pad": cli.Flag("value", 2, "padding factor of transforms"),
    **cli.no_effect(local_search_range=2.0, local_search_step=2.0),  # the refinement is continuous
    **cli.unsupported("--NN"),
}


def main(argv: list[str]) -> int:
    flags = cli.parse(PROGRAM, FLAGS, argv)
    operators = symmetry.rotations(flags.sym)
    _check(flags)
    name = _map_name(flags)
    print(f" Reading map: {name}")
    values, pixel = maps.read_map(name)
    pixel = flags.angpix if flags.angpix > 0 else pixel
    if len(operators) == 1:
        maps.write_map(Path(flags.o), values, pixel)
        print(f" The selected map has been written to {flags.o}\n done!")
        return 0
    if pixel <= 0:
        raise EngineError(f"{PROGRAM}: {name} has no pixel size in its header; give --angpix.")
    print(f" The input box size: {len(values)}")
    if not flags.keep_centre:
        values = _recentred(values)
    matrix = _search(values, pixel, operators, flags)
    print("\n Now rotating the original (full size) volume ...\n")
    aligned = rotation.turned(values, matrix, operators if flags.apply_sym else None, flags.pad)
    maps.write_map(Path(flags.o), aligned, pixel)
    print(f" The aligned map has been written to {flags.o}\n done!")
    return 0


def _check(flags: SimpleNamespace) -> None:
    faults = [
        (flags.nr_uniform < 1, "--nr_uniform must be at least 1."),
        (flags.box_size < 16, "--box_size must be at least 16."),
        (flags.pad < 1, "--pad must be at least 1."),
        (
            flags.select_largest_class and flags.select_highest_resol,
            "--select_largest_class and --select_highest_resol exclude each other.",
        ),
    ]
    for wrong, sentence in faults:
        if wrong:
            raise EngineError(f"{PROGRAM}: {sentence}")


def _map_name(flags: SimpleNamespace) -> str:
    """The map to align: --i itself, or that of the class that the flags choose of a model.star. Raises EngineError."""
    if Path(flags.i).suffix != ".star":
        if flags.select_largest_class or flags.select_highest_resol:
            raise EngineError(f"{PROGRAM}: to select a class, --i must be a model.star, not {flags.i}.")
        return flags.i
    classes = loop_of(read_star(flags.i), "model_classes", flags.i)
    label = "rlnEstimatedResolution" if flags.select_highest_resol else "rlnClassDistribution"
    require_columns(classes, ["rlnReferenceImage", label], flags.i, "model_classes")
    require_numbers(classes, [label], flags.i, "model_classes")
    if len(classes) > 1 and not (flags.select_largest_class or flags.select_highest_resol):
        raise EngineError(f"{PROGRAM}: {flags.i} has {len(classes)} classes; give --select_largest_class.")
    quality = numbers(classes, label)
    chosen = int(quality.argmin() if flags.select_highest_resol else quality.argmax())
    return str(classes["rlnReferenceImage"].iloc[chosen])


def _recentred(values: NDArray[Any]) -> NDArray[np.float32]:
    centre = rotation.centre_of_mass(values)
    print(f" Center of mass: x= {centre[0]:g} y= {centre[1]:g} z= {centre[2]:g}")
    print(" Re-centred to the centre of the mass")
    return rotation.shifted(values, -centre)


def _search(
    values: NDArray[Any], pixel: float, operators: NDArray[Any], flags: SimpleNamespace
) -> NDArray[np.float64]:
    box = min(flags.box_size - flags.box_size % 2, len(values))
    working = fourier.resample(values, box, 3)
    print(
        f" Downsampled to the working box size {box} px. This corresponds to {pixel * len(values) / box:g} A/px."
    )
    print(f" Comparing {flags.nr_uniform} orientations that are spread evenly.\n Searching globally ...")
    limit = len(values) * pixel / flags.maxres if flags.maxres > 0 else np.inf
    if limit < 2:
        most = len(values) * pixel / 2
        raise EngineError(
            f"{PROGRAM}: --maxres {flags.maxres:g} leaves nothing of the map; give at most {most:g}."
        )
    first, best, difference = find_axes(
        working, operators, flags.nr_uniform, flags.only_rot, limit, flags.pad
    )
    print(f" The best solution is {_angles(first)}\n\n Refining locally ...")
    print(f" The refined solution is {_angles(best)} DIFF2= {difference:g}")
    return best


def _angles(matrix: NDArray[Any]) -> str:
    rot, tilt, psi = euler_angles(matrix[None])[0]
    return f"ROT = {rot % 360:g} TILT = {tilt:g} PSI = {psi % 360:g}"
