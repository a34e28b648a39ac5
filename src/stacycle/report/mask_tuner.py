"""The threshold of a mask on the page: slices of the very map that was cut, to be cut elsewhere with a slider."""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass, field
from math import pi
from pathlib import Path
from typing import Any

import numpy as np

from stacycle.decisions.mask import AROUND, coarse, distance
from stacycle.files import mrc
from stacycle.jobs import record as job_record
from stacycle.programs.command import Command
from stacycle.report import images
from stacycle.report.config_line import config_line
from stacycle.report.images import ScaleBar
from stacycle.report.plots import for_scripts
from stacycle.report.project import Project

_STEPS = 60  # thresholds whose volumes the page knows


@dataclass(frozen=True)
class Tuner:
    """What the page's script needs as JSON, where its slider (0 to 1000) stands, and the config's line: `@` is the
    threshold."""

    data: str
    at: float
    line: str
    bar: ScaleBar | None
    caption: str
    files: tuple[str, ...]
    names: tuple[str, ...] = images.DIRECTIONS
    kind: str = field(default="tuner", init=False)


def tuner(project: Project, folder: str, key: str) -> Tuner | None:
    """The threshold of the mask that a job in `folder` made, whose key is in the config; None if its map is gone, or if
    it was made of a shape."""
    command = job_record.read(folder).get("command")
    argv = Command.of(shlex.split(command)) if command else None
    map_, asked = (argv.get("--i"), argv.get("--ini_threshold")) if argv else (None, None)
    diameter = (project.config.get("particle") or {}).get("diameter")
    if argv is None or not (map_ and asked and diameter) or not Path(map_).is_file():
        return None
    lowpass = argv.get("--lowpass")
    data = project.read(map_, lambda path: _data(path, float(lowpass or 0), float(asked), float(diameter)))
    if not data:
        return None
    pixel, box, at = (data.pop(name) for name in ("pixel", "box", "at"))
    filtered = f", low-passed at {float(lowpass):g} Å" if lowpass else ""
    caption = f"The map of the mask{filtered}, and where it is cut, before it is extended and softened"
    bar = images.scale_bar(box, pixel)
    return Tuner(for_scripts(data), at, config_line(key, "@"), bar, caption, (map_,))


def _data(path: str, lowpass: float, chosen: float, diameter: float) -> dict[str, Any]:
    """Slices as bytes, from black (`low`) to white (`high`), and the volume (Å³) above thresholds between them."""
    density, pixel = np.asarray(mrc.voxels(path), np.float32), mrc.header(path).pixel
    if lowpass:
        density, pixel = coarse(density, pixel, lowpass)
    n = len(density)
    three = [density[n // 2], density[:, n // 2], density[:, :, n // 2]]
    low, high = min(float(np.min(three)), chosen), max(float(np.max(three)), chosen)
    scaled = np.clip((np.array(three)[:, ::-1] - low) / max(high - low, 1e-30), 0, 1) * 255
    inside = np.sort(density[distance(n) * pixel <= AROUND * diameter / 2])
    thresholds = np.linspace(low, high, _STEPS)
    above = len(inside) - np.searchsorted(inside, thresholds, side="right")
    return {
        "slices": base64.b64encode(np.rint(scaled).astype(np.uint8).tobytes()).decode(),
        "size": n,
        "low": low,
        "high": high,
        "chosen": chosen,
        "thresholds": [float(f"{value:.5g}") for value in thresholds],
        "volumes": [float(f"{value:.5g}") for value in above * pixel**3],
        "sphere": pi / 6 * diameter**3,
        "diameter": diameter,
        "pixel": pixel,
        "box": n,
        "at": round(1000 * (chosen - low) / max(high - low, 1e-30), 4),
    }
