"""What the faults that an import can make do to the average of a simulated set, as FSC to the map that was simulated.

`python benchmarks/import_faults.py` simulates a set with hand -1, thick and fine enough to tell the hand by.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from stacycle.files import star
from stacycle.files.star_labels import ANGLES, CENTRED, SERIES
from staengine import __main__ as engine
from staengine.numerics import maps
from staengine.simulation import truth
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate

BOX = 64
SIMULATED = Path("simulated")  # in the folder where all of this happens
SET = SimulationSettings(
    **{"o": SIMULATED, "root": ".", "hand": -1, "tomos": 2, "particles": 12, "junk": 0, "fraction_b": 0, "j": 1},
    **{"size": 320, "depth": 800, "angpix": 2.5, "diameter": 120, "tilt_max": 54, "tilt_step": 6, "dose": 3},
    **{"snr": 100, "shift": 4, "defocus_spread": 700, "angle_error": 0, "position_error": 0, "shift_error": 0},
    **{"defocus_error": 0, "defocus_offset": 0},
)  # fmt: skip


@dataclass
class Tables:
    """A set's tables: tomograms, particles, and the tilts of each tomogram by its name."""

    tomograms: pd.DataFrame
    particles: pd.DataFrame
    tilts: dict[str, pd.DataFrame]

    @classmethod
    def read(cls, folder: Path) -> Tables:
        """Those of the STAR files in a folder."""
        tomograms = star.read(folder / "tomograms.star")["global"]
        tilts = {
            name: star.read(path)[name]
            for name, path in zip(tomograms.rlnTomoName, tomograms[SERIES], strict=True)
        }
        return cls(tomograms, star.read(folder / "particles.star")["particles"], tilts)

    def write(self, folder: Path) -> None:
        """As STAR files in a new folder."""
        for name, table in self.tilts.items():
            star.write(folder / f"{name}.star", {name: table})
        self.tomograms[SERIES] = [str(folder / f"{name}.star") for name in self.tomograms.rlnTomoName]
        star.write(folder / "tomograms.star", {"global": self.tomograms})
        star.write(folder / "particles.star", {"particles": self.particles})


def _axis_turned(tables: Tables) -> None:
    for tilts in tables.tilts.values():
        tilts["rlnTomoZRot"] += 180


def _axis_sign(tables: Tables) -> None:
    for tilts in tables.tilts.values():
        tilts["rlnTomoZRot"] *= -1


def _hand(tables: Tables) -> None:
    tables.tomograms["rlnTomoHand"] *= -1


def _ctf_rows_shifted(tables: Tables) -> None:
    defocus = ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]
    for tilts in tables.tilts.values():
        tilts[defocus] = np.roll(tilts[defocus].to_numpy(), 1, axis=0)


def _dose_reversed(tables: Tables) -> None:
    for tilts in tables.tilts.values():
        exposure = tilts["rlnMicrographPreExposure"]
        tilts["rlnMicrographPreExposure"] = exposure.max() - exposure


def _angles_transposed(tables: Tables) -> None:
    tables.particles[ANGLES] = -tables.particles[ANGLES[::-1]].to_numpy()


def _z_mirrored(tables: Tables) -> None:
    tables.particles[CENTRED[2]] *= -1


def _all_mirrored(tables: Tables) -> None:
    """The axis is turned by 180°, and picks are those made in the tomogram that this gives."""
    _axis_turned(tables)
    tables.particles[CENTRED] *= -1


def _all_mirrored_and_hand(tables: Tables) -> None:
    _all_mirrored(tables)
    _hand(tables)


NONE = "none"
FAULTS: dict[str, Callable[[Tables], None]] = {
    "tilt axis turned by 180°": _axis_turned,
    "sign of the tilt axis": _axis_sign,
    "hand": _hand,
    "CTF rows shifted by one": _ctf_rows_shifted,
    "dose reversed": _dose_reversed,
    "angles transposed": _angles_transposed,
    "z mirrored": _z_mirrored,
    "all mirrored": _all_mirrored,
    "all mirrored, and the hand": _all_mirrored_and_hand,
}


class Agreement(NamedTuple):
    """A map's FSC with the truth: its mean over shells, resolution at 0.5 in Å, and the mean with the mirror image."""

    mean: float
    angst: float
    mirrored: float


def average(folder: Path, out: Path, box: int = BOX, binning: float = 1) -> np.ndarray:
    """The average (box, box, box) of the particles in a folder's STAR files, at the tilt series' pixel size, binned."""
    files = ["--p", folder / "particles.star", "--t", folder / "tomograms.star", "--o", out]
    options = ["--b", box, "--bin", binning, "--j", 1, "--no_backup"]
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as said:
        status = engine.main(["relion_tomo_reconstruct_particle", *map(str, files + options)])
    if status:
        said.seek(0)
        raise RuntimeError(said.read())
    return maps.read_map(out / "merged.mrc")[0]


def agreement(density: np.ndarray) -> Agreement:
    """How a map agrees with what was simulated."""
    phantom, pixel = maps.read_map(SIMULATED / "phantom_A.mrc")
    mirrored = np.roll(phantom[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))  # the origin stays where it is
    curve, of_mirror = (truth.map_fsc(density, SET.angpix, one, pixel) for one in (phantom, mirrored))
    angst = truth.resolution_at(curve, len(density), SET.angpix)
    return Agreement(float(curve[1:].mean()), angst, float(of_mirror[1:].mean()))


def measure() -> dict[str, Agreement]:
    """The set without a fault and with each, in this folder, where SET is simulated."""
    found = {}
    for number, (name, spoil) in enumerate({NONE: lambda tables: None, **FAULTS}.items()):
        tables, folder = Tables.read(SIMULATED), Path(f"fault{number}")
        spoil(tables)
        tables.write(folder)
        found[name] = agreement(average(folder, folder / "average"))
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        simulate(SET)
        print("\n| fault | mean FSC to truth | FSC 0.5 | mean FSC to its mirror image |\n|---|---|---|---|")
        for name, found in measure().items():
            print(f"| {name} | {found.mean:.3f} | {found.angst:.1f} Å | {found.mirrored:.3f} |")


if __name__ == "__main__":
    main()
