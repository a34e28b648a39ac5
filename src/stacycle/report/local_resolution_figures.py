"""Pictures of local resolutions: a histogram, slices of the map coloured by them, and the same for ChimeraX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from numpy.typing import NDArray

from stacycle.decisions.mask import otsu_level
from stacycle.files import mrc
from stacycle.report.chimerax import COLOURS, Shown, view
from stacycle.report.drawing import INK, Target, drawn
from stacycle.report.images import DIRECTIONS, central
from stacycle.report.map_figures import scale_bar, show

_MAP = LinearSegmentedColormap.from_list("local_resolution", COLOURS)
_NARROW = 0.05  # of the median is the least half width of the colours' range

Array = NDArray[Any]
Range = tuple[float, float]


def colour_range(percentiles: Mapping[str, float]) -> Range:
    """From which to which resolution (Å) colours run: the 5th to the 95th percentile, but not too narrow to tell."""
    middle = percentiles["median"]
    least = max(0.1, _NARROW * middle)
    return (
        round(min(percentiles["finest"], middle - least), 1),
        round(max(percentiles["coarsest"], middle + least), 1),
    )


def histogram_figure(values: Array, numbers: Mapping[str, float], colours: Range, path: Target) -> None:
    """The voxels inside the mask by their resolution in Å, in the colours of the slices; `numbers` has the whole map's
    `resolution` and `nyquist`."""
    told, reached, nyquist = values[values > 0], numbers["resolution"], numbers["nyquist"]
    low, high = np.percentile(told, (0.1, 99.9)) if len(told) else (nyquist, 2 * nyquist)
    edges = np.linspace(min(low, nyquist), max(high, 1.05 * nyquist), 46)
    counts, scale = np.histogram(told, edges)[0], Normalize(*colours)
    with drawn(path, 4.6, 2.6) as figure:
        axes = figure.subplots()
        middle = (edges[1:] + edges[:-1]) / 2
        options: dict[str, Any] = {"edgecolor": "#8A8F98", "linewidth": 0.3}
        share = counts / max(1, len(values)) * 100
        axes.bar(middle, share, np.diff(edges), color=_MAP(scale(middle)), **options)
        axes.axvline(reached, color=INK, linewidth=1.2, linestyle="--")
        place: dict[str, Any] = {"xytext": (4, -2), "textcoords": "offset points", "va": "top"}
        axes.annotate(f"whole map {reached:.1f} Å", (reached, share.max(initial=1) * 1.16), **place)
        axes.set_ylim(0, share.max(initial=1) * 1.2)
        axes.set_xlabel(f"Local resolution (Å); Nyquist {nyquist:.4g}")
        axes.set_ylabel("Voxels inside the mask (%)")


def slices_figure(density: str | Path, local: Array, within: Array, colours: Range, path: Target) -> None:
    """The three central slices of the locally filtered map, inside the mask in the colours of local resolutions
    (n, n, n)."""
    slices, pixel = central(density)
    with drawn(path, 9.2, 3.1) as figure:
        panels = figure.subplots(1, 3)
        for axes, name, shown in zip(
            panels, DIRECTIONS, coloured(slices, local, within, colours), strict=True
        ):
            show(axes, shown, interpolation="nearest")
            axes.set_title(name)
        scale_bar(panels[0], len(slices[0]), pixel)
        scale = Normalize(*colours)
        bar = figure.colorbar(ScalarMappable(scale, _MAP), ax=list(panels), shrink=0.9, extend="both")
        bar.set_label("Local resolution (Å)")


def coloured(slices: Sequence[Array], local: Array, within: Array, colours: Range) -> list[Array]:
    """Central slices of a map (n, n) as red, green, blue (n, n, 3) from 0 to 1: bright as they are, inside the mask in
    the colours of local resolutions (n, n, n)."""
    low, high = np.percentile(slices, [0.5, 99.9])
    scale, found = Normalize(*colours), []
    for number, grey in enumerate(slices):
        bright = np.clip((grey - low) / max(high - low, 1e-30), 0, 1)[..., None]
        values, inside = (_central(one, number) for one in (local, within))
        of_value = _MAP(scale(values))[..., :3] * (0.4 + 0.6 * bright)
        shown = np.where((inside & (values > 0))[..., None], of_value, np.repeat(0.5 * bright, 3, axis=2))
        found.append(shown)
    return found


def _central(volume: Array, direction: int) -> Array:
    """The central slice of a map (z, y, x) across an axis: XY, XZ, YZ in turn."""
    return np.take(volume, volume.shape[direction] // 2, axis=direction)


def chimerax(filtered: str | Path, local: str | Path, within: Array, colours: Range) -> str:
    """ChimeraX's commands that show the filtered map in the colours of the map of local resolutions beside it."""
    level = otsu_level(np.asarray(mrc.voxels(filtered), np.float32)[within])
    shown = Shown(Path(filtered), level, values=Path(local), between=colours)
    title = (
        "The map filtered by its local resolution, in the colours of that: blue is fine, red is coarse, in Å."
    )
    return view(title, [shown], Path(filtered).parent)
