"""What is simulated: a setting for each flag of `simulate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staengine.errors import EngineError


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SimulationSettings:
    """What is simulated. Every field is a flag of the same name; errors are standard deviations."""

    o: Path = _setting(Path("simulated"), "folder to write")  # noqa: RUF009
    root: str = _setting("", "project folder that the paths in STAR files are relative to (default: --o)")
    seed: int = _setting(1, "seed of all random numbers")
    sets: int = _setting(
        1, "data sets; more than one are written to set1/ set2/ .. with the same names inside"
    )
    tomos: int = _setting(2, "tilt series per set")
    optics_groups: int = _setting(1, "optics groups per set, given to tilt series in turn")
    map: str = _setting("", "density (MRC) of the particle instead of the phantom; give its --diameter")
    occupancy: float = _setting(1.0, "weight of the half beyond the middle of the particle's longest axis")
    particles: int = _setting(40, "true particles per tilt series")
    junk: float = _setting(0.15, "junk among all picks, fraction")
    clumps: float = _setting(0.0, "junk picks that sit on amorphous protein instead of bare ice, fraction")
    fraction_b: float = _setting(0.3, "particles in conformation B, fraction")
    hinge: float = _setting(0.0, "degrees that the half beyond the middle swings in each particle, rms")
    size: int = _setting(480, "image and tomogram width and height, px")
    depth: int = _setting(200, "tomogram thickness, px")
    angpix: float = _setting(4.0, "pixel size, Å")
    diameter: float = _setting(260.0, "particle diameter, Å")
    tilt_max: float = _setting(60.0, "largest tilt angle, degrees")
    tilt_step: float = _setting(6.0, "angle between tilts, degrees; acquired dose-symmetrically")
    dose: float = _setting(4.0, "exposure per tilt, e/Å^2")
    snr: float = _setting(1.0, "variance of a projection without CTF over that of the noise, per pixel")
    defocus_min: float = _setting(20000.0, "smallest defocus of a tilt series, Å; they are spread evenly")
    defocus_max: float = _setting(40000.0, "largest defocus of a tilt series, Å")
    defocus_spread: float = _setting(150.0, "scatter of the defocus among a series' tilts, Å")
    angle_error: float = _setting(4.5, "error of the picks' orientation, degrees")
    position_error: float = _setting(6.0, "error of the picks' position, Å")
    shift: float = _setting(20.0, "shift of a tilt image along each axis, Å")
    shift_error: float = _setting(4.0, "error of a tilt's recorded shift along each axis, Å")
    hand: int = _setting(1, "rlnTomoHand: 1 or -1, whether defocus grows or falls with height")
    defocus_error: float = _setting(400.0, "error of a tilt's recorded defocus, Å")
    defocus_offset: float = _setting(300.0, "error of recorded defocus common to all tilts, Å")
    j: int = _setting(2, "threads")

    def __post_init__(self) -> None:
        """Raises EngineError for settings that cannot be."""
        at_least_one = ("sets", "tomos", "optics_groups", "particles", "size", "depth", "j")
        positive = ("angpix", "diameter", "tilt_step", "snr")
        errors = (
            "dose",
            "angle_error",
            "position_error",
            "shift",
            "shift_error",
            "defocus_error",
            "seed",
            "hinge",
        )
        rules: list[tuple[tuple[str, ...], Callable[[float], bool], str]] = [
            (at_least_one, lambda v: v >= 1, "must be at least 1"),
            (positive, lambda v: v > 0, "must be positive"),
            (errors, lambda v: v >= 0, "must not be negative"),
            (("clumps", "fraction_b", "occupancy"), lambda v: 0 <= v <= 1, "is a fraction between 0 and 1"),
            (("junk",), lambda v: 0 <= v < 1, "is a fraction of all picks, below 1"),
            (("tilt_max",), lambda v: 0 <= v < 90, "is an angle between 0 and 90 degrees"),
            (("hand",), lambda v: v in (1, -1), "must be 1 or -1"),
        ]
        for names, fits, rule in rules:
            for name in names:
                if not fits(getattr(self, name)):
                    raise EngineError(f"simulate: --{name} {rule}, not {getattr(self, name):g}.")
