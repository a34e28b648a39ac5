"""relion_postprocess --locres: resolution of each voxel, the map filtered by it, and the curves that both rest on.

As in RELION the mask is for the histogram alone, and _fscs.star has the curves of the leader's share. Lengths in Å are
rounded to whole voxels, half of one upwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine import cli
from staengine.errors import EngineError
from staengine.files import written_atomically
from staengine.numerics import fourier, maps
from staengine.numerics.fsc import fsc, shell_resolution
from staengine.numerics.half_maps import PROGRAM, pixel_size, read_halves, read_mask, say
from staengine.numerics.local_resolution import LocalCurve, LocalMaps, Spheres, local_curves, maps_of, sums
from staengine.numerics.sharpening import fsc_weights, sharpen
from staengine.ranks import ALONE, Ranks
from staengine.tilt_series.star import BLOCK

CURVES = [
    "rlnSpectralIndex",
    "rlnResolution",
    "rlnAngstromResolution",
    "rlnFourierShellCorrelationCorrected",
    "rlnFourierShellCorrelationUnmaskedMaps",
    "rlnFourierShellCorrelationMaskedMaps",
    "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
]


def local_resolution_of(flags: SimpleNamespace, ranks: Ranks = ALONE) -> int:
    """Make all files of --locres; return the exit status. Raises EngineError for flags that do not go together."""
    if flags.auto_bfac:
        raise EngineError(f"{PROGRAM}: --auto_bfac does not work with --locres; give --adhoc_bfac.")
    if flags.low_pass:
        raise EngineError(f"{PROGRAM}: --locres filters by the local resolution; leave out --low_pass.")
    half1, half2, header_pixel, _ = read_halves(flags.i, flags.i2)
    box, pixel = len(half1), pixel_size(flags.angpix, header_pixel)
    mask = None
    if flags.mask:
        mask = read_mask(flags.mask, box, header_pixel)
        print(
            " WARNING: --mask is used only to make a histogram of local resolutions; it is not used for ",
            end="",
        )
        print("local resolution calculation itself.")
    spheres = _spheres(flags, box, pixel)
    start = _randomised_from(flags, box, pixel)
    centres = spheres.centres(box)
    print(f" Calculating local resolution in {len(centres)} sampling points ...")
    own = centres[ranks.rank :: ranks.size]

    texts: list[str] = []
    unmasked = fsc(half1, half2)

    def told(curves: Iterator[LocalCurve]) -> Iterator[LocalCurve]:
        with cli.ProgressBar(len(own)) as bar:
            for curve in curves:
                texts.append(_table(curve, unmasked, box, pixel))
                yield curve
                bar.advance()

    rng = np.random.default_rng(flags.random_seed)
    curves = local_curves(half1, half2, spheres, pixel, start, flags.locres_minres, rng, own)
    parts = ranks.gathered(sums(told(curves), spheres, box, _filter((half1 + half2) / 2, pixel, flags)))
    if not ranks.leads:
        return 0
    made = maps_of(np.sum(parts, axis=0))
    _write(flags.o, made, pixel)
    with written_atomically(f"{flags.o}_locres_fscs.star") as partial:
        partial.write_text("".join(texts))
    if mask is not None:
        _histogram(made.resolution[mask > 0.5], flags.o)
    print(" done! ")
    return 0


def _voxels(length: float, pixel: float) -> int:
    return math.floor(length / pixel + 0.5)


def _spheres(flags: SimpleNamespace, box: int, pixel: float) -> Spheres:
    """The spheres that the flags ask for. Raises EngineError if there are none or too many to end."""
    sampling = flags.locres_sampling
    radius = flags.locres_maskrad if flags.locres_maskrad >= 0 else sampling / 2
    edge = flags.locres_edgwidth if flags.locres_edgwidth >= 0 else sampling
    spheres = Spheres(_voxels(sampling, pixel), _voxels(radius, pixel), _voxels(edge, pixel))
    if spheres.step < 1:
        raise EngineError(
            f"{PROGRAM}: --locres_sampling {sampling:g} Å is less than half a voxel; give at least {pixel:g}, a voxel."
        )
    if spheres.radius >= box // 2:
        raise EngineError(
            f"{PROGRAM}: --locres_maskrad {radius:g} Å leaves no room in a box of {box * pixel:g} Å; lower it."
        )
    if flags.locres_minres <= 0:
        raise EngineError(f"{PROGRAM}: --locres_minres must be positive.")
    if flags.locres_minres <= 2 * pixel:
        print(f" WARNING: every voxel gets --locres_minres, {flags.locres_minres:g} A, which is ", end="")
        print(f"beyond Nyquist, {2 * pixel:g} A: raise it.")
    return spheres


def _randomised_from(flags: SimpleNamespace, box: int, pixel: float) -> int:
    """First shell with random phases. Raises EngineError if that would be all of them."""
    at = flags.locres_randomize_at
    start = int(box * pixel / at) if at > 0 else 0
    if start < 1:
        raise EngineError(
            f"{PROGRAM}: --locres_randomize_at {at:g} is no resolution of a box of {box * pixel:g} Å."
        )
    say("randomize phases beyond:", f"{box * pixel / start:g} Angstroms")
    if start > box // 2:
        print(
            f" WARNING: that is beyond Nyquist, {2 * pixel:g} A: the curves are not corrected for their ",
            end="",
        )
        print("spheres, and the resolution is too good; raise --locres_randomize_at.")
    say("Metadata output file:", f"{flags.o}_locres_fscs.star")
    return start


def _filter(average: NDArray[Any], pixel: float, flags: SimpleNamespace) -> Any:
    """Makes of a curve the half transform of the average as it asks: weighted, sharpened, low-passed."""
    box = len(average)
    transform = sharpen(fourier.rfft(average, 3), pixel, flags.adhoc_bfac)
    shells = fourier.shell_index(box, 3)

    def filtered(curve: LocalCurve) -> NDArray[Any]:
        wanted = transform
        if not flags.skip_fsc_weighting:
            wanted = wanted * np.r_[fsc_weights(curve.corrected), np.zeros(box)].astype(np.float32)[shells]
        return maps.lowpass(wanted, pixel, curve.resolution, flags.filter_edge_width)

    return filtered


def _write(root: str, made: LocalMaps, pixel: float) -> None:
    maps.write_map(f"{root}_locres_filtered.mrc", made.filtered, pixel)
    maps.write_map(f"{root}_locres.mrc", made.resolution, pixel)


def _table(curve: LocalCurve, unmasked: NDArray[Any], box: int, pixel: float) -> str:
    """One sphere's table, and RELION's line after it, which is no STAR."""
    resolution = shell_resolution(box, pixel)
    columns = np.column_stack(
        [1 / resolution, resolution, curve.corrected, unmasked, curve.masked, curve.randomised]
    )
    x, y, z = (int(place) for place in curve.centre)
    labels = "".join(f"_{label} #{i} \n" for i, label in enumerate(CURVES, 1))
    rows = "".join(
        f"{i:>12} " + "".join(f"{value:12.6f} " for value in row) + "\n" for i, row in enumerate(columns)
    )
    tail = f" kk= {x} ii= {y} jj= {z} local resolution= {curve.resolution:g}\n"
    return f"{BLOCK.format(f'fsc_{x:05d}_{y:05d}_{z:05d}')}loop_ \n{labels}{rows} \n{tail}"


def _histogram(values: NDArray[Any], root: str) -> None:
    """The local resolutions (Å) inside the mask as text and as EPS, in bins half as wide as Scott's (1979)."""
    low, quarter, middle, three_quarters, high = np.percentile(values, [0, 25, 50, 75, 100])
    print(f"Number of items: {len(values)}")
    print(f"Min: {low:g} Q1: {quarter:g} Median: {middle:g} Q3: {three_quarters:g} Max: {high:g}")
    print(f"Mean: {values.mean(dtype=float):g} Std: {values.std(dtype=float):g}")
    width = 3.49 * values.std(dtype=float) / len(values) ** (1 / 3) / 2
    bins = max(1, round((high - low) / width)) if width > 0 else 1
    counts, edges = np.histogram(values, bins, (low, high) if high > low else (low, low + 1))
    print(f"Bin size: {bins} width: {edges[1] - edges[0]:g}")
    for count, first, last in zip(counts, edges[:-1], edges[1:], strict=True):
        print(f"[{first:g}, {last:g}): {count}")
    with written_atomically(f"{root}_histogram.eps") as partial:
        partial.write_text(_eps(counts, edges))
    print(f"Written the histogram to {root}_histogram.eps")


def _eps(counts: NDArray[Any], edges: NDArray[Any]) -> str:
    """A bar chart of 400 x 300 points, its axis labelled with the first and the last edge."""
    wide, high = 400 / len(counts), 260 / max(counts.max(), 1)
    bars = [
        f"{40 + i * wide:.2f} 40 {0.9 * wide:.2f} {count * high:.2f} rectfill\n"
        for i, count in enumerate(counts)
    ]
    words = [
        f"{x} 22 moveto ({text}) show\n"
        for x, text in (
            (40, f"{edges[0]:.1f}"),
            (410, f"{edges[-1]:.1f}"),
            (170, "local resolution, Angstrom"),
        )
    ]
    head = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 480 320\n/Helvetica findfont 12 scalefont setfont\n"
    return f"{head}0.2 0.4 0.7 setrgbcolor\n{''.join(bars)}0 setgray\n{''.join(words)}showpage\n%%EOF\n"
