"""The README of `results/final/`: what was reached, what each file is, and how to look at it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from stacycle.report.final_files import Final
from stacycle.report.final_names import (
    CONTENTS,
    CURVES,
    HALVES,
    MASK,
    METHODS,
    PICTURE,
    PLOT,
    SHARPENED,
    STATE,
    VIEW,
)

WHAT = {
    CURVES: "the FSC curves as a table: of the maps without mask, in the mask, phase-randomised, corrected",
    STATE: "RELION's optimisation set of particles.star and tomograms.star here",
    METHODS: "a methods paragraph of the run's own numbers, and what to cite",
    VIEW: "opens the maps in ChimeraX",
    PLOT: "the FSC curves, drawn",
    PICTURE: "three slices and the surface, for a first look",
    CONTENTS: "this table, for programs",
}


def text(final: Final, texts: Mapping[str, str], deposited: Mapping[str, str]) -> str:
    """The README, in Markdown."""
    lines = [
        "# The final map",
        "",
        head(final),
        *_of_which_step(final),
        "",
        "| file | what it is | which result |",
        "|---|---|---|",
        *(f"| `{one.name}` | {one.what} | `{one.source}` |" for one in final.items),
        *(f"| `{name}` | {WHAT[name]} | |" for name in WHAT),
        "",
        "Files that are a result are hard links to it where the file system has them: do not edit them in place. This",
        "folder is made again whenever the final map is another one, and can be deleted.",
        "",
        *_how_to_look(final),
        *_to_deposit(deposited),
    ]
    return "\n".join(lines) + "\n"


def head(final: Final) -> str:
    """What was reached: the README's first sentence, which is of this map alone."""
    row = final.row
    particles = f", of {row.particles:,.0f} particles" if isfinite(row.particles) else ""
    limit = f" That is Nyquist of its pixels, {row.nyquist:.2f} Å." if row.at_nyquist else ""
    inside = "within the mask" if row.mask else "without a mask"
    where = f"{row.where}; box {row.box} px of {row.pixel_size:.4g} Å"
    return f"**{row.resolution:.2f} Å** by FSC 0.143 {inside}{particles}: {where}.{limit}"


def _of_which_step(final: Final) -> list[str]:
    """Where the map comes from, if the last step was undone."""
    if not final.row.rolled_back:
        return []
    source = final.item(SHARPENED)
    made = source.step if source else ""
    return [
        "",
        f"That step brought no gain and was undone: the files are those of the state before it (`{made}`).",
    ]


def _how_to_look(final: Final) -> list[str]:
    there = [one for one in (SHARPENED, MASK, *HALVES) if final.item(one)]
    return [
        "## How to look at it",
        "",
        f"A level that shows the particle: {final.level:.4g}.",
        "",
        "| with | command, in this folder |",
        "|---|---|",
        "| nothing but a terminal | copy `map.png` to where pictures are shown |",
        "| ChimeraX | `chimerax view.cxc` |",
        f"| IMOD | `3dmod {' '.join(there)}` (slices; its menu Image has Slicer and Isosurface) |",
        f"| napari, with the plug-in napari-mrcfile-reader | `napari {SHARPENED}` (Ctrl-Y: in 3D) |",
        f"| RELION | `relion_display --i {SHARPENED}` |",
        "",
    ]


def _to_deposit(deposited: Mapping[str, str]) -> list[str]:
    return [
        "## To deposit it",
        "",
        "`deposit/` has the files under names that EMDB's form asks for, and two tables with what the forms of EMDB",
        "and EMPIAR ask, as far as this project knows it. What it does not know is marked.",
        "",
        *(f"- `{name}`: {what}" for name, what in deposited.items()),
        "",
        "The methods are in `methods.md`.",
    ]
