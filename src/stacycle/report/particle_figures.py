"""Figures of particles: seen from which directions, how many in each tomogram, where in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stacycle.report.drawing import BLUE, GREY, INK, ORANGE, SKY, Target, drawn

_ROT, _TILT = 36, 18  # bins of equal area; of few particles half as many either way
_FEW = 3000
_BARS = 40  # tomograms that have a bar each; of more there is a histogram

Array = NDArray[Any]


def directions_figure(directions: Array, path: Target) -> None:
    """From where particles are seen: directions (n, 3) in their own frame, in parts of the sphere of equal area, beside
    as many as there would be if all were alike."""
    rot = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
    by = 2 if len(directions) < _FEW else 1
    counts, _, _ = np.histogram2d(directions[:, 2], rot, [_TILT // by, _ROT // by], [[-1, 1], [-180, 180]])
    share = counts / max(1e-9, counts.mean())
    with drawn(path, 4.6, 2.9) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        place: dict[str, Any] = {
            "origin": "lower",
            "aspect": "auto",
            "interpolation": "none",
            "cmap": "viridis",
        }
        image = axes.imshow(share, extent=(-180, 180, -1, 1), vmin=0, vmax=max(1.5, share.max()), **place)
        angles = (0, 45, 60, 90, 120, 135, 180)
        axes.set_yticks([np.cos(np.radians(angle)) for angle in angles], [f"{angle}°" for angle in angles])
        axes.set_xticks(range(-180, 181, 90), [f"{angle}°" for angle in range(-180, 181, 90)])
        axes.set(xlabel="Rot", ylabel="Tilt")
        bar = figure.colorbar(image, ax=axes)
        bar.set_label("times as many as if even")
        bar.outline.set_visible(False)


def per_tomogram_figure(given: Mapping[str, int], left: Mapping[str, int], path: Target) -> None:
    """Particles in each tomogram that were given, and of these how many are left; a histogram of many tomograms."""
    names = list(given)
    before = np.array([given[name] for name in names])
    after = np.array([left.get(name, 0) for name in names])
    with drawn(path, 4.6, 2.9) as figure:
        axes = figure.subplots()
        if len(names) <= _BARS:
            _bars(axes, names, before, after)
        else:
            bins = list(np.histogram_bin_edges(before, min(40, max(1, int(before.max())))))
            axes.hist(before, bins, color=GREY, alpha=0.5, label="given")
            axes.hist(after, bins, color=BLUE, histtype="step", linewidth=1.8, label="kept")
            axes.set(xlabel="Particles in a tomogram", ylabel="Tomograms")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def positions_figure(
    image: Array, width: float, height: float, left: Array, lost: Array, diameter: float = 0, *, path: Target
) -> None:
    """Where the particles that are left, and those that were lost, (n, 2) Å, lie in an image of so many Å: in rings of
    their diameter (Å), if it is given."""
    with drawn(path, 4.6, 4.0 * min(1.2, height / width) + 0.9) as figure:
        axes = figure.subplots()
        low, high = np.percentile(image, [1, 99])
        place: dict[str, Any] = {
            "origin": "lower",
            "interpolation": "none",
            "cmap": "gray",
            "vmin": low,
            "vmax": high,
        }
        axes.imshow(image, extent=(0, width / 10, 0, height / 10), **place)
        for places, colour, label in ((left, SKY, "kept"), (lost, ORANGE, "lost")):
            ring: dict[str, Any] = {"facecolors": "none", "linewidths": 1.2, "edgecolors": colour}
            if diameter:
                circles = [Circle(place, diameter / 20) for place in places / 10]
                axes.add_collection(PatchCollection(circles, **ring))
            shown = np.zeros((0, 2)) if diameter else places / 10
            x, y = shown.T
            axes.scatter(x, y, s=26, label=f"{label}: {len(places):,}", **ring)
        axes.grid(visible=False)
        axes.set(xlim=(0, width / 10), ylim=(0, height / 10), xlabel="nm", ylabel="nm")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def shifts_figure(distances: Array, path: Target) -> None:
    """A histogram of how far (n) Å particles moved, with their median."""
    end = max(1e-3, float(np.percentile(distances, 99.5)))
    with drawn(path, 4.6, 2.6) as figure:
        axes = figure.subplots()
        axes.hist(np.minimum(distances, end), np.linspace(0, end, 41).tolist(), color=BLUE)
        axes.axvline(float(np.median(distances)), color=INK, linewidth=1, linestyle="--")
        over = "; the last bar has all that moved further" if distances.max() > 1.05 * end else ""
        axes.set(xlim=(0, end), xlabel=f"Distance from the pick (Å){over}", ylabel="Particles")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def shifts_by_step_figure(steps: Mapping[str, tuple[Array, float]], path: Target) -> None:
    """By step the 5th, 50th and 95th percentile of how far particles moved in it, and how far an iteration of it
    searched, Å; nan if that is not known."""
    with drawn(path, 4.6, 0.9 + 0.3 * len(steps)) as figure:
        axes = figure.subplots()
        for row, (least, half, most) in enumerate(spread for spread, _ in steps.values()):
            axes.plot([least, most], [row, row], color=BLUE, linewidth=3, alpha=0.45, solid_capstyle="round")
            axes.plot(half, row, "o", color=BLUE, markersize=6)
        searched = [far for _, far in steps.values()]
        axes.plot(searched, range(len(steps)), "|", color=ORANGE, markersize=13, markeredgewidth=2.2)
        axes.set_yticks(range(len(steps)), list(steps))
        axes.set(xlim=(0, None), ylim=(len(steps) - 0.5, -0.5), xlabel="Moved in a step (Å)")
        axes.grid(axis="y", visible=False)


def _bars(axes: Axes, names: list[str], before: Array, after: Array) -> None:
    at = np.arange(len(names))
    axes.bar(at, before, color=GREY, alpha=0.5, width=0.8, label="given")
    axes.bar(at, after, color=BLUE, width=0.8, label="kept")
    few = len(names) <= 8
    axes.set_xticks(at if few else [], [name[:14] for name in names] if few else [])
    axes.set_xlabel("" if few else f"{len(names)} tomograms")
    axes.set_ylabel("Particles")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", visible=False)
    if not few:
        axes.axhline(after.mean(), color=INK, linewidth=0.8, linestyle=":")
