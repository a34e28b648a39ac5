"""Figures of the workflow, as PNG files. Colours are those of Okabe and Ito, safe for the colour-blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import mrcfile
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stacycle.decisions import BEFORE
from stacycle.files.relion_output import Iteration, PostProcess

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8F98"
INK = "#1F2430"
DIRECTIONS = ("XY", "XZ", "YZ")  # of central slices; arrays are (z, y, x)
DPI = 150
ROLLED_BACK = "rolled back"  # in `kept` of the ladder: no variant was better than the state before
_RESOLUTION_TICKS = (1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
Target = str | Path | IO[bytes]  # where a figure goes
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#E4E6EA",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "image.cmap": "gray",
}


def class_montage(classes: pd.DataFrame, path: Target, columns: int = 6) -> None:
    """Central slices in three directions of every class map, with size, resolution and accuracy under each.

    `classes` is the table of `runs.classes`; with a column `kept`, kept classes are framed and the others
    faded. One greyscale for all, so that a weak class looks weak.
    """
    slices = [central_slices(read_map(name)) for name in classes["map"]]
    pixels = np.concatenate([s.ravel() for three in slices for s in three])
    grey = {"vmin": np.percentile(pixels, 0.5), "vmax": np.percentile(pixels, 99.8)}
    columns = min(columns, len(classes))
    bands = -(-len(classes) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(1.75 * columns + 0.3, 6.5 * bands), facecolor="white")
        for band, block in enumerate(figure.subfigures(bands, 1, squeeze=False)[:, 0]):
            grid = block.subplots(3, columns, squeeze=False)
            block.subplots_adjust(
                left=0.3 / (1.75 * columns + 0.3), right=0.99, top=0.94, bottom=0.19, wspace=0.08, hspace=0.05
            )
            for column in range(columns):
                index = band * columns + column
                for row in range(3):
                    axes = grid[row, column]
                    if index < len(classes):
                        _class_slice(axes, slices[index][row], classes.iloc[index], grey)
                    else:
                        axes.set_axis_off()
                    if column == 0:
                        axes.set_ylabel(DIRECTIONS[row])
                if index < len(classes):
                    _class_caption(grid[0, column], grid[2, column], classes.iloc[index])
        _save(figure, path)


_PANELS = {
    "resolution": "Resolution (Å)",
    "changed_classes": "Particles that change class (%)",
    "accuracy_rotations": "Accuracy of rotations (°)",
}


def iterations_figure(
    runs: dict[str, Sequence[Iteration]], path: Target, chosen: dict[str, int] | None = None
) -> None:
    """Resolution, changing classes and accuracy of rotations by iteration; one line per run, named in the
    legend.

    What no run has numbers for is left out. `chosen` circles one iteration of a run.
    """
    shown = [name for name in _PANELS if any(np.nansum(_values(run, name)) > 0 for run in runs.values())]
    columns = max(1, len(shown))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.6 * columns, 2.9), layout="constrained")
        panels = figure.subplots(1, columns, squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=False):
            _iterations_panel(axes, name, runs, chosen or {})
        if shown and len(runs) > 1:
            lines = panels[0].get_legend_handles_labels()
            figure.legend(*lines, loc="outside lower center", ncols=min(6, len(runs)))
        _save(figure, path)


def fsc_figure(result: PostProcess, path: Target) -> None:
    """The FSC curves of a postprocess, the 0.143 line, and the resolution marked."""
    lines = {
        "unmasked": ("unmasked", GREEN, "-"),
        "masked": ("masked", BLUE, "-"),
        "randomised": ("phase-randomised", RED, "--"),
        "corrected": ("corrected", INK, "-"),
    }
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for name, (label, colour, style) in lines.items():
            if name in result.fsc:
                width = 2.4 if name == "corrected" else 1.6
                axes.plot(
                    result.fsc["frequency"],
                    result.fsc[name],
                    style,
                    color=colour,
                    label=label,
                    linewidth=width,
                )
        axes.axvline(1 / result.resolution, color=ORANGE, linewidth=1.5)
        axes.annotate(
            f"{result.resolution:.2f} Å" + (" = Nyquist" if result.at_nyquist else ""),
            (1 / result.resolution, 1.03),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color="#9A6A00",
            weight="bold",
        )
        _fsc_axes(axes, result, end=result.fsc["frequency"].max() * 1.01)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        _save(figure, path)


def slices_figure(density: str | Path, path: Target) -> None:
    """The three central slices of a map."""
    images, pixel_size = _read_slices(density)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 3.1), layout="constrained")
        low, high = np.percentile(images, [0.5, 99.9])
        for axes, name, image in zip(figure.subplots(1, 3), DIRECTIONS, images, strict=True):
            _image(axes, image, vmin=low, vmax=high)
            axes.set_title(name)
        _scale_bar(figure.axes[0], len(images[0]), pixel_size)
        _save(figure, path)


def mask_figure(density: str | Path, mask: str | Path, path: Target, threshold: float | None = None) -> None:
    """The three central slices of a map, with the outline of its mask: at 0.5, and where its soft edge
    ends.
    """
    images, pixel_size = _read_slices(density)
    weights, _ = _read_slices(mask)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 3.3), layout="constrained")
        low, high = np.percentile(images, [0.5, 99.9])
        for axes, name, image, weight in zip(figure.subplots(1, 3), DIRECTIONS, images, weights, strict=True):
            _image(axes, image, vmin=low, vmax=high)
            if weight.max() > 0.5:
                axes.contour(weight, [0.5], colors=[ORANGE], linewidths=1.8)
            if weight.max() > 0.01:
                axes.contour(weight, [0.01], colors=["#56B4E9"], linewidths=1, linestyles="dashed")
            axes.set_title(name)
        _scale_bar(figure.axes[0], len(images[0]), pixel_size)
        said = "orange: mask 0.5 · blue: end of the soft edge"
        figure.supxlabel(
            said + (f" · threshold {threshold:.4g}" if threshold is not None else ""), fontsize=9
        )
        _save(figure, path)


def sweep_figure(results: Mapping[str, PostProcess], kept: str, path: Target) -> None:
    """The corrected FSC of each variant of a sweep, by name; the state `before` dashed, the one `kept` thick.

    All are of one box and mask. The axis ends where no variant has signal any more.
    """
    styles = _variant_styles([name for name in results if name not in (BEFORE, kept)])
    styles[BEFORE] = {"color": INK, "linestyle": "--"}
    styles[kept] = styles.get(kept, {"color": BLUE}) | {"linewidth": 3, "zorder": 3}
    labels = {
        name: f"{name}, {result.resolution:.2f} Å" + (" (kept)" if name == kept else "")
        for name, result in results.items()
    }
    columns = max(1, min(len(results), 90 // (max(map(len, labels.values())) + 8)))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.6, 3.2 + 0.2 * -(-len(results) // columns)), layout="constrained")
        axes = figure.subplots()
        for name, result in results.items():
            curve = result.fsc["corrected"]
            axes.plot(result.fsc["frequency"], curve, label=labels[name], **styles[name])
        finest = min(results.values(), key=lambda result: result.resolution)
        end = np.clip(1.6 / finest.resolution, 0.25 / finest.nyquist, 1 / finest.nyquist)
        _fsc_axes(axes, finest, end=float(end))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
        _save(figure, path)


def ladder_figure(rungs: pd.DataFrame, path: Target) -> None:
    """The ladder of resolutions from top to bottom, one row per rung of `report.ladder`.

    Grey is beyond Nyquist of the rung's map; a hollow point was rolled back.
    """
    at = np.arange(len(rungs))
    resolution, nyquist = rungs["resolution"].to_numpy(float), rungs["nyquist"].to_numpy(float)
    resolution = np.where(np.isfinite(resolution), resolution, np.nan)
    back = (rungs["kept"] == ROLLED_BACK).to_numpy()
    coarse, fine = 1.3 * np.nanmax([resolution, nyquist]), 0.72 * np.nanmin([resolution, nyquist])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 0.36 * len(rungs) + 0.95), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_xlim(coarse, fine)
        axes.set_ylim(len(rungs) - 0.5, -0.5)
        axes.barh(at, nyquist - fine, left=fine, height=1, color="#ECEEF1", label="beyond Nyquist")
        axes.plot(resolution, at, "-", color=BLUE)
        for these, fill, label in ((~back, BLUE, "resolution"), (back, "white", ROLLED_BACK)):
            if these.any():
                points: dict[str, Any] = {
                    "color": BLUE,
                    "markerfacecolor": fill,
                    "markersize": 7,
                    "label": label,
                }
                axes.plot(resolution[these], at[these], "o", **points)
        _write_resolutions(axes, resolution)
        for row in at[1:][rungs["round"].to_numpy()[1:] != rungs["round"].to_numpy()[:-1]]:
            axes.axhline(row - 0.5, color=GREY, linewidth=0.8)
        axes.set_yticks(at, rungs["round"] + "  " + rungs["step"])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        ticks = [t for t in _RESOLUTION_TICKS if fine < t < coarse]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("Resolution (Å), finer to the right")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
        _save(figure, path)


def class_sizes_figure(classes: pd.DataFrame, path: Target) -> None:
    """Particles per class as bars, kept ones in colour."""
    kept = classes["kept"] if "kept" in classes else pd.Series(True, index=classes.index)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(3.2, 0.7 * len(classes) + 1.2), 2.6), layout="constrained")
        axes = figure.subplots()
        axes.grid(axis="x", visible=False)
        bars = axes.bar(
            classes["class"].astype(str),
            classes["n"],
            color=[BLUE if k else "#C9CDD3" for k in kept],
            width=0.7,
        )
        axes.bar_label(
            bars, [f"{n}\n{f:.0%}" for n, f in zip(classes["n"], classes["fraction"], strict=True)], padding=2
        )
        axes.margins(y=0.3)
        axes.set_xlabel("Class (grey: rejected)" if not kept.all() else "Class")
        axes.set_ylabel("Particles")
        _save(figure, path)


def central_slices(volume: np.ndarray) -> list[np.ndarray]:
    """XY, XZ and YZ through the centre of a map (z, y, x)."""
    z, y, x = (n // 2 for n in volume.shape)
    return [volume[z], volume[:, y], volume[:, :, x]]


def read_map(path: str | Path) -> np.ndarray:
    """The voxels of an MRC map as float32 (z, y, x)."""
    with mrcfile.open(path, permissive=True) as file:
        return np.asarray(file.data, np.float32)


def _read_slices(path: str | Path) -> tuple[list[np.ndarray], float]:
    """The central slices of a map, without reading the rest of it (bin1 maps are large); the pixel size in Å."""
    with mrcfile.mmap(path, mode="r", permissive=True) as file:
        return [np.array(s, np.float32) for s in central_slices(file.data)], float(file.voxel_size.x)


def _iterations_panel(
    axes: Axes, name: str, runs: dict[str, Sequence[Iteration]], chosen: dict[str, int]
) -> None:
    for (label, run), colour in zip(runs.items(), _colours(len(runs)), strict=True):
        numbers = np.array([it.number for it in run])
        values = _values(run, name)
        axes.plot(numbers, values, "-o", color=colour, markersize=3, label=label)
        at = numbers == chosen.get(label, -1)
        if at.any():
            circle: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgewidth": 2}
            axes.plot(numbers[at], values[at], "o", color=colour, clip_on=False, **circle)
    axes.set(title=_PANELS[name], xlabel="Iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    everything = np.concatenate([_values(run, name) for run in runs.values()])
    low, high = np.nanmin(everything), np.nanmax(everything)
    space = max(0.1 * (high - low), 0.03 * high)
    axes.set_ylim((high + space, low - space) if name == "resolution" else (0, high + space))


def _write_resolutions(axes: Axes, resolution: NDArray) -> None:
    """The number beside each point of the ladder, on the side where its line does not run."""
    for row in np.flatnonzero(~np.isnan(resolution)).tolist():
        value, neighbours = resolution[row], np.delete(resolution[max(0, row - 1) : row + 2], min(row, 1))
        left = (neighbours < 0.9 * value).any() and not (neighbours > 1.1 * value).any()
        axes.annotate(
            f"{value:.2f}",
            (value, row),
            xytext=(-8 if left else 8, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            weight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )


def _fsc_axes(axes: Axes, result: PostProcess, end: float) -> None:
    """The axes of FSC curves up to the frequency `end` (1/Å), told in Å; with the 0.143 line."""
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axhline(0.143, color=GREY, linewidth=1, linestyle=":")
    axes.text(0.002, 0.155, "0.143", transform=axes.get_yaxis_transform(), color=GREY, va="bottom")
    axes.set(ylim=(-0.1, 1.12), xlim=(0, end), xlabel="Resolution (Å)", ylabel="Fourier shell correlation")
    ticks = [x for x in axes.get_xticks() if 0 < x <= min(end, 1 / result.nyquist * 1.001)]
    axes.set_xticks(ticks, [f"{1 / x:.3g}" for x in ticks])


def _variant_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and dash for each curve: six colours, then the same ones dash-dotted and dotted."""
    colours = (ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", GREY)
    dashes = ("-", "-.", ":")
    return {
        name: {
            "color": colours[i % len(colours)],
            "linestyle": dashes[i // len(colours) % len(dashes)],
            "linewidth": 1.3,
        }
        for i, name in enumerate(names)
    }


def _class_slice(axes: Axes, image: np.ndarray, row: pd.Series, grey: dict[str, float]) -> None:
    rejected = not row.get("kept", True)
    _image(axes, image, alpha=0.3 if rejected else 1.0, **grey)
    framed = bool(row.get("kept", False))
    for spine in axes.spines.values():
        spine.set(visible=True, color=BLUE if framed else "#D5D8DD", linewidth=2.5 if framed else 1)


def _class_caption(top: Axes, bottom: Axes, row: pd.Series) -> None:
    judged = {True: " · kept", False: " · rejected"}.get(row.get("kept"), "")  # type: ignore[arg-type]
    rejected = judged.endswith("rejected")
    top.set_title(
        f"class {row['class']}{judged}",
        loc="center",
        fontsize=9,
        color=GREY if rejected else BLUE if judged else INK,
    )
    lines = [
        f"{row['n']} particles ({row['fraction']:.0%})",
        f"resolution {_number(row['resolution'], 1)} Å",
        f"rotations ± {_number(row['accuracy_rotations'], 1)}°",
        f"shifts ± {_number(row['accuracy_translations'], 1)} Å",
    ]
    if "likeness" in row:
        lines.append(f"like consensus {row['likeness']:.0%}")
    bottom.set_xlabel("\n".join(lines), color=GREY if rejected else INK, fontsize=8.5, linespacing=1.35)


def _image(axes: Axes, image: np.ndarray, **options: Any) -> None:
    axes.imshow(image, origin="lower", interpolation="bicubic", **options)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _scale_bar(axes: Axes, box: int, pixel_size: float) -> None:
    """A white bar of a round length, about a quarter of the box."""
    if pixel_size <= 0:
        return
    wanted = box * pixel_size / 4
    length = max(x for x in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if x <= max(1, wanted))
    start = box * 0.06
    axes.plot([start, start + length / pixel_size], [box * 0.07] * 2, color="white", linewidth=3)
    axes.text(start, box * 0.1, f"{length} Å", color="white", fontsize=8)


def _values(run: Sequence[Iteration], name: str) -> np.ndarray:
    values = np.array([getattr(it, name) for it in run], float)
    values[~np.isfinite(values)] = np.nan
    return values * 100 if name == "changed_classes" else values


def _colours(count: int) -> list[str]:
    palette = [BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", INK, GREY]
    return [palette[i % len(palette)] for i in range(count)]


def _number(value: float, digits: int) -> str:
    return "∞" if np.isinf(value) else "–" if np.isnan(value) else f"{value:.{digits}f}"


def _save(figure: Figure, path: Target) -> None:
    if isinstance(path, str | Path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
