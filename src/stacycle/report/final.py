"""`results/final/`: the map that the headline is of, with all that belongs to it, under names that stay the same.

Files are hard links where the file system has them, and copies elsewhere. What an earlier making left, and this one has
not, is removed; other files in the folder stay.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from stacycle.decisions.decision import read_decision
from stacycle.files import job_folder
from stacycle.files.atomic import write_text
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.report import deposit, final_readme, methods, viewers
from stacycle.report.chimerax import OVER_MAP, Shown, view
from stacycle.report.curve_figures import fsc_figure
from stacycle.report.final_files import Final, of_headline, put
from stacycle.report.final_names import (
    CONTENTS,
    CURVES,
    FOLDER,
    HALVES,
    LOCAL,
    MASK,
    METHODS,
    MOTION,
    PARTICLES,
    PICTURE,
    PLOT,
    README,
    SHARPENED,
    STATE,
    TOMOGRAMS,
    UNSHARPENED,
    VIEW,
)
from stacycle.report.local_resolution_figures import colour_range
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution
from stacycle.report.surface_figures import map_figure


def follow(project: Project, rows: Sequence[MapResolution], folder: str | Path = FOLDER) -> None:
    """As `make`, if the folder is not of the headline's map already."""
    folder, final = Path(folder), of_headline(project, rows)
    try:
        is_of_it = final_readme.head(final) in (folder / README).read_text(encoding="utf-8")
        if is_of_it and all((folder / one.name).samefile(one.source) for one in final.items):
            return
    except OSError:
        pass  # a file is not there
    make(project, rows, folder)


def make(project: Project, rows: Sequence[MapResolution], folder: str | Path = FOLDER) -> Path:
    """Make the folder of the last map of the whole particle among the `rows` of `resolution.resolutions`; returns its
    README. The current folder is the project's. UserError if there is no such map."""
    folder = Path(folder)
    final = of_headline(project, rows)
    texts = {
        CURVES: final.result.fsc.to_csv(sep="\t", index=False, float_format="%.6g"),
        STATE: _own_state(final, folder).to_text(),
        VIEW: _view(final, folder),
        METHODS: _methods(project, rows),
    }
    folder.mkdir(parents=True, exist_ok=True)
    before = _made_before(folder)
    for one in final.items:
        put(one.source, folder / one.name)
    _draw(final, folder)
    deposited = deposit.make(project, final, folder)
    texts[README] = final_readme.text(final, texts, deposited)
    texts[CONTENTS] = _contents(final, [*texts, CONTENTS, PICTURE, PLOT], deposited)
    for name, text in texts.items():
        write_text(folder / name, text)
    made = {*texts, PICTURE, PLOT, *(one.name for one in final.items), *deposited}
    for name in before - made:
        (folder / name).unlink(missing_ok=True)
    return folder / README


def _own_state(final: Final, folder: Path) -> OptimisationSet:
    """The state by the names that its files have in the folder."""
    trajectories = str(folder / MOTION) if final.item(MOTION) else None
    return OptimisationSet(str(folder / PARTICLES), str(folder / TOMOGRAMS), trajectories)


def _view(final: Final, folder: Path) -> str:
    """ChimeraX's commands: the map, in the colours of local resolution if there is one; the mask and half maps."""
    there = {one.name: folder / one.name for one in final.items}
    shown = [Shown(there[SHARPENED], final.level, pixel=final.pixel)]
    if LOCAL in there:
        local = final.item(LOCAL)
        choice = read_decision(local.source.with_name(job_folder.DECISION)).choice if local else {}
        shown = [viewers.coloured(there[SHARPENED], there[LOCAL], final.level, choice, final.pixel)]
    shown += [Shown(there[MASK], 0.5, OVER_MAP, clear=0.8, pixel=final.pixel)] if MASK in there else []
    for name in (UNSHARPENED, *HALVES):
        if (one := final.item(name)) is not None:
            level = viewers.level_of(one.source, final.mask)
            shown.append(Shown(there[name], level, hidden=True, pixel=final.pixel))
    return view(f"{final.row.where}: {final.row.resolution:.2f} Å", shown, folder)


def _draw(final: Final, folder: Path) -> None:
    """The pictures for whoever has no viewer at hand."""
    local, between = final.item(LOCAL), (0.0, 1.0)
    if local:
        between = colour_range(read_decision(local.source.with_name(job_folder.DECISION)).choice)
    fsc_figure(final.result, folder / PLOT)
    map_figure(final.result.map, final.level, folder / PICTURE, local.source if local else None, between)


def _methods(project: Project, rows: Sequence[MapResolution]) -> str:
    """The methods paragraph, and what it cites."""
    cited = "\n".join(f"- {work}" for work in methods.citations(project))
    head = "Made of the run's own numbers. Read it, and say what was done otherwise."
    return f"# Methods\n\n{head}\n\n{methods.paragraph(project, rows)}\n\n## To cite\n\n{cited}\n"


def _contents(final: Final, written: Sequence[str], deposited: Mapping[str, str]) -> str:
    """A table of all files: name, what it is, which result it is, of which step, and the resolution of the map."""
    lines = ["file\twhat\tresult\tstep\tresolution"]
    reached = f"{final.row.resolution:.2f}"
    lines += [f"{one.name}\t{one.what}\t{one.source}\t{one.step}\t{reached}" for one in final.items]
    lines += [f"{name}\t{final_readme.WHAT.get(name, '')}\t\t\t{reached}" for name in written]
    lines += [f"{name}\t{what}\t\t\t{reached}" for name, what in deposited.items()]
    return "\n".join(lines) + "\n"


def _made_before(folder: Path) -> set[str]:
    """The files that an earlier making left, as its table says."""
    try:
        with open(folder / CONTENTS, encoding="utf-8", newline="") as file:
            return {row["file"] for row in csv.DictReader(file, delimiter="\t")}
    except (OSError, KeyError):
        return set()
