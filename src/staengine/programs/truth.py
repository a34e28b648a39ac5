"""truth: how far results are from what was simulated (see simulation.truth)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from staengine import cli
from staengine.errors import EngineError
from staengine.simulation.truth import (
    PoseError,
    class_table,
    compare_map,
    pose_error,
    read_truth,
    selection,
    tilt_errors,
)
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.tomograms import load_tomograms

PROGRAM = "truth"
FLAGS = {
    "--truth": cli.Flag("required", "", "folder that simulate wrote"),
    "--picks": cli.Flag("value", "", "particles.star before selection (default: those of --truth)"),
    "--data": cli.Flag("value", "", "particles.star or run_data.star to judge"),
    "--map": cli.Flag("value", "", "map to compare with the phantoms, in the frame of --data"),
    "--tomograms": cli.Flag("value", "", "tomograms.star to judge"),
    "--json": cli.Flag("value", "", "also write everything to this file"),
}


def main(argv: list[str]) -> int:
    flags = cli.parse(PROGRAM, FLAGS, argv)
    if not (flags.data or flags.map or flags.tomograms):
        raise EngineError(f"{PROGRAM}: give --data, --map or --tomograms to judge.")
    report = measure(flags)
    print(table(report))
    if flags.json:
        Path(flags.json).write_text(json.dumps(report, indent=1))
    return 0


def measure(flags: SimpleNamespace) -> dict[str, Any]:
    """Everything that the given files allow to say, as plain values; keys: pose, pose_picks, selection, .."""
    truth = read_truth(flags.truth)
    report: dict[str, Any] = {}
    motion = None
    if flags.data:
        data = ParticleSet.read(flags.data)
        picks = (
            ParticleSet.read(flags.picks)
            if flags.picks
            else ParticleSet(truth.picks.assign(rlnTomoName=truth.picks.tomogram))
        )
        motion = pose_error(data, truth)
        report |= {"pose_picks": _describe(pose_error(picks, truth)), "pose": _describe(motion)}
        report["selection"] = selection(picks, data, truth)
        if "rlnClassNumber" in data.particles:
            report["classes"] = {str(k): v for k, v in class_table(data, truth).to_dict().items()}
    if flags.map:
        report["map"] = compare_map([flags.map], truth, motion)
    if flags.tomograms:
        report["tilts"] = tilt_errors(load_tomograms(flags.tomograms), truth).to_dict("index")
    return report


def _describe(error: PoseError) -> dict[str, float]:
    return {
        "angle_deg": error.angle_deg,
        "position_angst": error.position_angst,
        "within_angst": error.within_angst,
        "common_rotation_deg": float(np.degrees(error.rotation.magnitude())),
        "common_shift_angst": float(np.linalg.norm(error.shift_angst)),
    }


def table(report: dict[str, Any]) -> str:
    """The report as text, a line per quantity; whole FSC curves are left to the JSON file."""
    lines = []
    for key, values in report.items():
        if key == "map":
            lines += [f"map against phantom {n}: FSC 0.5 at {values[n]['fsc05_angst']:.1f} A" for n in "AB"]
            lines.append(f"map is made of {values['best']}")
            shells = zip(values["shell_angst"][1:], values[values["best"]]["fsc"][1:], strict=True)
            lines.append("FSC to truth: " + " ".join(f"{d:.3g}A:{fsc:.2f}" for d, fsc in shells))
        elif all(isinstance(v, dict) for v in values.values()):
            lines += [key, pd.DataFrame.from_dict(values, orient="index").to_string(float_format="%.2f")]
        else:
            lines.append(f"{key:<12}" + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))
    return "\n".join(lines)
