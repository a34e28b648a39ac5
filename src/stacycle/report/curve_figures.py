"""Curves and bars: by iteration, Fourier shell correlations, resolution by step, sizes of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stacycle.decisions.decision import BEFORE
from stacycle.files.relion_output import Iteration, PostProcess
from stacycle.report.drawing import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SHADE, SKY, Target, drawn
from stacycle.report.plots import Key
from stacycle.report.resolution import ROLLED_BACK

_PANELS = {
    "resolution": "Resolution (Å)",
    "changed_classes": "Particles that change class (%)",
    "accuracy_rotations": "Accuracy of rotations (°)",
}
_NO_AMPLITUDE = -90  # RELION writes -99 where there is none
_RUNS = (BLUE, ORANGE, GREEN, RED, PINK, SKY, INK, GREY)  # colours of the lines of runs
_RESOLUTION_TICKS = (1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)


def panels(runs: Mapping[str, Sequence[Iteration]]) -> list[str]:
    """What can be drawn by iteration, as far as a run has numbers."""
    found = [name for name in _PANELS if any(np.nansum(_values(run, name)) > 0 for run in runs.values())]
    return found or [next(iter(_PANELS))]


def iterations_figure(
    runs: Mapping[str, Sequence[Iteration]], name: str, path: Target, chosen: Mapping[str, int] | None = None
) -> None:
    """One of `panels` by iteration: one line per run, in the colours of `iterations_key`. `chosen` circles one
    iteration of a run."""
    with drawn(path, 3.3, 2.5) as figure:
        _iterations_panel(figure.subplots(), name, runs, chosen or {})


def iterations_key(runs: Mapping[str, Sequence[Iteration]], chosen: Mapping[str, int]) -> tuple[Key, ...]:
    """The runs by the colours of their lines; `chosen` ones are strong."""
    return tuple(Key(_RUNS[i % len(_RUNS)], name, strong=name in chosen) for i, name in enumerate(runs))


def fsc_figure(result: PostProcess, path: Target) -> None:
    """The FSC curves of a postprocess, the 0.143 line, and the resolution marked."""
    lines = {
        "unmasked": ("unmasked", GREEN, "-", 1.6),
        "masked": ("masked", BLUE, "-", 1.6),
        "randomised": ("phase-randomised", RED, "--", 1.6),
        "corrected": ("corrected", INK, "-", 2.4),
    }
    with drawn(path, 4.6, 3.3) as figure:
        axes = figure.subplots()
        frequency, at = result.fsc["frequency"], 1 / result.resolution
        for name, (label, colour, style, width) in lines.items():
            if name in result.fsc:
                axes.plot(frequency, result.fsc[name], style, color=colour, label=label, linewidth=width)
        axes.axvline(at, color=ORANGE, linewidth=1.5)
        place: dict[str, Any] = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right"}
        said = f"{result.resolution:.2f} Å" + (" = Nyquist" if result.at_nyquist else "")
        axes.annotate(said, (at, 1.03), va="bottom", color="#9A6A00", weight="bold", **place)
        _fsc_axes(axes, result, end=frequency.max() * 1.01)
        _legend(figure, "outside lower center", 2)


def guinier_figure(table: pd.DataFrame, path: Target) -> None:
    """Logarithms of amplitudes by squared resolution, of the table `guinier` of a `postprocess.star`."""
    lines = {
        "rlnLogAmplitudesOriginal": ("original", GREY, "-"),
        "rlnLogAmplitudesWeighted": ("weighted by FSC", BLUE, "-"),
        "rlnLogAmplitudesSharpened": ("sharpened", ORANGE, "-"),
        "rlnLogAmplitudesIntercept": ("fitted", INK, "--"),
    }
    with drawn(path, 4.6, 3.3) as figure:
        axes = figure.subplots()
        table = table[table["rlnResolutionSquared"] > 0]  # the mean of the map is no amplitude
        squared = table["rlnResolutionSquared"]
        for column, (label, colour, dash) in lines.items():
            if column in table:
                known = table[column].where(table[column] > _NO_AMPLITUDE)
                axes.plot(squared, known, dash, color=colour, label=label)
        axes.set(xlim=(0, squared.max()), xlabel="1 / resolution² (1/Å²)", ylabel="ln(amplitude)")
        _legend(figure, "outside lower center", 2)


def sweep_figure(results: Mapping[str, PostProcess], kept: str, path: Target) -> None:
    """The corrected FSC of each variant of a sweep, of one box and mask, by name, with the looks of `sweep_key`. The
    axis ends where no variant has signal any more."""
    styles, finest, end = _variant_styles(results, kept), _finest(results), _end(results)
    with drawn(path, 4.6, 3.0) as figure:
        axes = figure.subplots()
        for name, result in results.items():
            axes.plot(result.fsc["frequency"], result.fsc["corrected"], **styles[name])
        _fsc_axes(axes, finest, end=end)


def sweep_difference_figure(results: Mapping[str, PostProcess], kept: str, path: Target) -> None:
    """By how much each variant's FSC is above that of the state before it: curves that lie on one another lie apart."""
    styles, finest, end = _variant_styles(results, kept), _finest(results), _end(results)
    before = results[BEFORE].fsc["corrected"].to_numpy()
    with drawn(path, 4.6, 3.0) as figure:
        axes, most = figure.subplots(), 0.0
        for name, result in results.items():
            values = result.fsc["corrected"].to_numpy()
            if len(values) != len(before):
                continue
            frequency, difference = result.fsc["frequency"].to_numpy(), values - before
            axes.plot(frequency, difference, **styles[name])
            most = max(most, float(np.nanmax(np.abs(difference[frequency <= end]), initial=0)))
        _frequency_axis(axes, finest, end)
        axes.set(ylim=(-1.15 * most - 1e-4, 1.15 * most + 1e-4), ylabel="FSC - FSC before")


def sweep_key(results: Mapping[str, PostProcess], kept: str) -> tuple[Key, ...]:
    """The variants of a sweep with their resolutions by the looks of their curves."""
    dashes = {"-": "solid", "--": "dashed", "-.": "dashed", ":": "dotted"}
    found = []
    for name, style in _variant_styles(results, kept).items():
        said = f"{name}, {results[name].resolution:.2f} Å" + (" (kept)" if name == kept else "")
        found.append(Key(style["color"], said, dashes[style.get("linestyle", "-")], name == kept))
    return tuple(found)


def resolution_figure(table: pd.DataFrame, path: Target) -> None:
    """The resolution by step from top to bottom, a row for each of `resolution.to_table`. Grey is beyond Nyquist of the
    row's map; a hollow point was rolled back."""
    at = np.arange(len(table))
    resolution, nyquist = table["resolution"].to_numpy(float), table["nyquist"].to_numpy(float)
    resolution = np.where(np.isfinite(resolution), resolution, np.nan)
    back = (table["kept"] == ROLLED_BACK).to_numpy()
    coarse, fine = 1.55 * np.nanmax([resolution, nyquist]), 0.72 * np.nanmin([resolution, nyquist])
    with drawn(path, 5.6, 0.3 * len(table) + 0.95) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_xlim(coarse, fine)
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.barh(at, nyquist - fine, left=fine, height=1, color=SHADE, label="beyond Nyquist")
        axes.plot(resolution, at, "-", color=BLUE)
        for these, fill, label in ((~back, BLUE, "resolution"), (back, "white", ROLLED_BACK)):
            if these.any():
                point: dict[str, Any] = {"color": BLUE, "markerfacecolor": fill, "markersize": 7}
                axes.plot(resolution[these], at[these], "o", label=label, **point)
        _write_resolutions(axes, resolution)
        for row in at[1:][table["round"].to_numpy()[1:] != table["round"].to_numpy()[:-1]]:
            axes.axhline(row - 0.5, color=GREY, linewidth=0.8)
        axes.set_yticks(at, table["round"] + "  " + table["step"])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        ticks = [t for t in _RESOLUTION_TICKS if fine < t < coarse]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("Resolution (Å), finer to the right")
        _legend(figure, "outside upper right", 3)


def class_sizes_figure(classes: pd.DataFrame, path: Target) -> None:
    """Particles per class as bars, kept ones in colour; `classes` as `choose_classes` leaves them."""
    kept = classes["kept"]
    with drawn(path, max(3.2, 0.7 * len(classes) + 1.2), 2.6) as figure:
        axes = figure.subplots()
        axes.grid(axis="x", visible=False)
        colours = [BLUE if k else GREY for k in kept]
        bars = axes.bar(classes["class"].astype(str), classes["n"], color=colours, width=0.7)
        labels = [f"{n}\n{share:.0%}" for n, share in zip(classes["n"], classes["fraction"], strict=True)]
        axes.bar_label(bars, labels, padding=2)
        axes.margins(y=0.3)
        axes.set_xlabel("Class" if kept.all() else "Class (grey: rejected)")
        axes.set_ylabel("Particles")


def scores_figure(scores: NDArray[Any], flagged: int, path: Target) -> None:
    """A histogram of the scores (n,) of particles, of which so many are flagged: those that score lowest."""
    ordered = np.sort(scores)
    with drawn(path, 4.6, 2.6) as figure:
        axes = figure.subplots()
        low, high = np.quantile(ordered, (0.001, 0.999))
        bins = np.linspace(low, high, 41)
        for part, colour in ((ordered[:flagged], ORANGE), (ordered[flagged:], BLUE)):
            axes.hist(part.clip(low, high), list(bins), color=colour)
        if 0 < flagged < len(ordered):
            axes.axvline(ordered[flagged - 1 : flagged + 1].mean(), color=INK, linewidth=1, linestyle="--")
        axes.set_xlabel("Score: 1 shows all of the other half's map (orange: flagged)")
        axes.set_ylabel("Particles")


def distances_figure(pairs: pd.DataFrame, cut: float, path: Target) -> None:
    """Pairs of particles by their distance in Å; those nearer than the `cut` in colour."""
    with drawn(path, 4.6, 2.6) as figure:
        axes = figure.subplots()
        low, high = pairs["from"].to_numpy(float), pairs["to"].to_numpy(float)
        colours = [ORANGE if middle < cut else BLUE for middle in (low + high) / 2]
        axes.bar(low, pairs["pairs"], width=high - low, align="edge", color=colours)
        axes.axvline(cut, color=INK, linewidth=1, linestyle="--")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0, high[-1])
        axes.set_ylim(0, max(1, 1.08 * pairs["pairs"].max()))
        axes.set_xlabel(f"Distance (Å); nearer than {cut:.3g} Å (orange) one particle stays")
        axes.set_ylabel("Pairs")


def _iterations_panel(
    axes: Axes, name: str, runs: Mapping[str, Sequence[Iteration]], chosen: Mapping[str, int]
) -> None:
    for index, (label, run) in enumerate(runs.items()):
        colour = _RUNS[index % len(_RUNS)]
        numbers = np.array([it.number for it in run])
        values = _values(run, name)
        axes.plot(numbers, values, "-o", color=colour, markersize=3)
        at = numbers == chosen.get(label, -1)
        if at.any():
            circle: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgewidth": 2}
            axes.plot(numbers[at], values[at], "o", color=colour, clip_on=False, **circle)
    axes.set(title=_PANELS[name], xlabel="Iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    everything = np.concatenate([_values(run, name) for run in runs.values()])
    if not np.isfinite(everything).any():
        return
    low, high = np.nanmin(everything), np.nanmax(everything)
    space = max(0.1 * (high - low), 0.03 * high)
    axes.set_ylim((high + space, low - space) if name == "resolution" else (0, high + space))


def _values(run: Sequence[Iteration], name: str) -> NDArray[Any]:
    values = np.array([getattr(it, name) for it in run], float)
    values[~np.isfinite(values)] = np.nan
    return values * 100 if name == "changed_classes" else values


def _write_resolutions(axes: Axes, resolution: NDArray[Any]) -> None:
    """The number beside each point, on the side where the line does not run."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    for row in np.flatnonzero(~np.isnan(resolution)).tolist():
        value, neighbours = resolution[row], np.delete(resolution[max(0, row - 1) : row + 2], min(row, 1))
        left = (neighbours < 0.9 * value).any() and not (neighbours > 1.1 * value).any()
        offset, side = (-8, "right") if left else (8, "left")
        place: dict[str, Any] = {"xytext": (offset, 0), "textcoords": "offset points", "ha": side}
        axes.annotate(f"{value:.2f}", (value, row), va="center", weight="bold", bbox=box, **place)


def _fsc_axes(axes: Axes, result: PostProcess, end: float) -> None:
    """The axes of FSC curves up to the frequency `end` (1/Å), labelled in Å; with the 0.143 line."""
    axes.axhline(0.143, color=GREY, linewidth=1, linestyle=":")
    axes.text(0.002, 0.155, "0.143", transform=axes.get_yaxis_transform(), color=GREY, va="bottom")
    _frequency_axis(axes, result, end)
    axes.set(ylim=(-0.1, 1.12), ylabel="Fourier shell correlation")


def _frequency_axis(axes: Axes, result: PostProcess, end: float) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlim=(0, end), xlabel="Resolution (Å)")
    ticks = [x for x in axes.get_xticks() if 0 < x <= min(end, 1 / result.nyquist * 1.001)]
    axes.set_xticks(ticks, [f"{1 / x:.3g}" for x in ticks])


def _finest(results: Mapping[str, PostProcess]) -> PostProcess:
    return min(results.values(), key=lambda result: result.resolution)


def _end(results: Mapping[str, PostProcess]) -> float:
    """The frequency (1/Å) beyond which no variant has signal any more."""
    finest = _finest(results)
    return float(np.clip(1.6 / finest.resolution, 0.25 / finest.nyquist, 1 / finest.nyquist))


def _variant_styles(names: Iterable[str], kept: str) -> dict[str, dict[str, Any]]:
    """A colour and dash for each curve: six colours, then the same ones dash-dotted and dotted; the state `before`
    dashed, the one `kept` thick."""
    looks = cycle(product(("-", "-.", ":"), (ORANGE, GREEN, RED, PINK, SKY, GREY)))
    styles: dict[str, dict[str, Any]] = {}
    for name in names:
        if name == BEFORE:
            styles[name] = {"color": INK, "linestyle": "--"}
        elif name == kept:
            styles[name] = {"color": BLUE}
        else:
            dash, colour = next(looks)
            styles[name] = {"color": colour, "linestyle": dash, "linewidth": 1.3}
    if kept in styles:
        styles[kept] |= {"linewidth": 3, "zorder": 3}
    return styles


def _legend(figure: Figure, place: Any, columns: int) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc=place, ncols=columns)
