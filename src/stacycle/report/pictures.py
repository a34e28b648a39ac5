"""The pictures of the report: what each step shows of itself, drawn from its files."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.decisions.decision import BEFORE, Decision
from stacycle.files import job_folder, relion_output
from stacycle.report import curve_figures, map_figures
from stacycle.report.drawing import DPI
from stacycle.report.project import Project


@dataclass(frozen=True)
class Picture:
    """A PNG in base64, its caption, and its width on the page in px."""

    data: str
    caption: str
    width: int


def of_resolutions(table: pd.DataFrame) -> Picture:
    """The resolution by step, of `resolution.to_table`."""
    return _draw(partial(curve_figures.resolution_figure, table), "Resolution by step")


def sweep_by_iteration(project: Project, folder: str) -> Picture | None:
    """Curves by iteration of the variants that a decision names, where their folders are still there."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision):
        return None
    chosen = str(decision.choice.get("variant"))
    tables = [part.candidates for part in decision.parts if "variant" in part.candidates]
    names = [str(name) for table in tables for name in table["variant"]] or [chosen]
    runs = {name: _iterations(project, str(Path(path).parent / name)) for name in names}
    marked = {chosen: decision.choice.get("iteration", -1)}
    return _by_iteration(runs, "By iteration; the one chosen is circled", marked)


def refinement_by_iteration(project: Project, folder: str) -> Picture | None:
    """Curves by iteration of a refinement."""
    data = project.of("refined", folder)
    runs = {folder: _iterations(project, str(Path(data).parent))} if data else {}
    return _by_iteration(runs, "Refinement by iteration")


def class_montage(project: Project, folder: str) -> Picture | None:
    """The picture of all classes that was made before the choice."""
    montage = project.of("montages", folder)
    return _picture(Path(montage).read_bytes(), "Central slices of the classes") if montage else None


def class_sizes(project: Project, folder: str) -> Picture | None:
    """The sizes of the classes."""
    decision = project.decision_of(folder)
    if not decision or not {"class", "n", "fraction", "kept"} <= set(decision.candidates):
        return None
    return _draw(partial(curve_figures.class_sizes_figure, decision.candidates), "Particles per class")


def scores(project: Project, folder: str) -> Picture | None:
    """A histogram of the particles' scores."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision):
        return None
    table = str(Path(path).with_name("scores.tsv"))
    caption = f"Scores of particles; {decision.choice['flagged']} are flagged"

    def drawn(file: str) -> Picture:
        values = pd.read_csv(file, sep="\t")["score"].to_numpy()
        return _draw(partial(curve_figures.scores_figure, values, decision.choice["flagged"]), caption)

    return project.read(table, drawn)


def distances(project: Project, folder: str) -> Picture | None:
    """A histogram of how far apart particles are that lie near each other."""
    decision = project.decision_of(folder)
    if not decision or not {"from", "to", "pairs"} <= set(decision.candidates):
        return None
    caption = f"Pairs of particles by their distance; {decision.choice['removed']} particles are left out"
    cut = decision.choice["distance"]
    return _draw(partial(curve_figures.distances_figure, decision.candidates, cut), caption)


def local_resolution_slices(project: Project, folder: str) -> Picture | None:
    """The map filtered by its local resolution, coloured by that."""
    caption = "Central slices of the locally filtered map; inside the mask coloured by local resolution"
    return _drawn_before(project, folder, "slices.png", caption)


def local_resolution_histogram(project: Project, folder: str) -> Picture | None:
    """A histogram of local resolutions."""
    return _drawn_before(project, folder, "histogram.png", "Local resolutions inside the mask")


def body_motions(project: Project, folder: str) -> Picture | None:
    """How the bodies of a multi-body refinement moved, and its principal components."""
    caption = "Motions of the bodies by iteration, and the principal components of what is left at the end"
    return _drawn_before(project, folder, "motions.png", caption)


def mask(project: Project, folder: str) -> Picture | None:
    """A round's mask around its post-processed map."""
    mask = Path(folder)
    density = project.of("maps", f"{mask.parent}/{mask.name.replace('mask', 'postprocess', 1)}")
    outlined = project.of("masks", folder)
    caption = "The mask around the post-processed map"
    return outline(project, density, outlined, project.decision_of(folder), caption)


def fsc(project: Project, folder: str) -> Picture | None:
    """The FSC of a post-processed map."""
    result = project.fsc(project.of("postprocess", folder))
    caption = "Fourier shell correlation of the half maps"
    return _draw(partial(curve_figures.fsc_figure, result), caption) if result else None


def postprocessed_map(project: Project, folder: str) -> Picture | None:
    """Central slices of a post-processed map."""
    return slices(project, project.of("maps", folder), "Central slices of the post-processed map")


def initial_models(project: Project, folder: str) -> Picture | None:
    """Central slices of the reference that an initial model is."""
    return slices(project, project.of("averages", folder), "Central slices of the initial model")


def slices(project: Project, density: str | None, caption: str) -> Picture | None:
    """Central slices of a map."""
    return project.read(density, lambda path: _draw(partial(map_figures.slices_figure, path), caption))


def outline(
    project: Project, density: str | None, mask: str | None, decision: Decision | None, caption: str
) -> Picture | None:
    """A map with the outline of its mask, and the threshold that was decided."""
    if not density:
        return None
    threshold = decision.choice.get("threshold") if decision else None
    draw = partial(map_figures.mask_figure, density, threshold=threshold)
    return project.read(mask, lambda path: _draw(partial(draw, path), caption))


def sweep(
    project: Project, before: dict[str, Any] | None, step: dict[str, Any], decision: Decision
) -> Picture | None:
    """The corrected FSC of a sweep's variants, as far as they finished, and of the step before."""
    table, folder = decision.candidates, Path(step["decision"]).parent
    files = {BEFORE: before["postprocess"]} if before else {}
    for name in table.loc[table["resolution"].notna(), "variant"]:
        files.setdefault(name, f"{folder}/{name}/postprocess/{job_folder.POSTPROCESS}")
    read = {name: project.fsc(file) for name, file in files.items()}
    results = {name: result for name, result in read.items() if result and "corrected" in result.fsc}
    if not results:
        return None
    draw = partial(curve_figures.sweep_figure, results, str(decision.choice.get("variant")))
    return _draw(draw, "Corrected FSC of every variant and of the state before; same box, same mask")


def _iterations(project: Project, folder: str) -> list[relion_output.Iteration]:
    return project.read(folder, lambda name: relion_output.iterations(name, maps=False), [])


def _by_iteration(
    runs: dict[str, list[relion_output.Iteration]], caption: str, chosen: dict[str, int] | None = None
) -> Picture | None:
    found = {name: run for name, run in runs.items() if run}
    if not found:
        return None
    return _draw(partial(curve_figures.iterations_figure, found, chosen=chosen), caption)


def _drawn_before(project: Project, folder: str, name: str, caption: str) -> Picture | None:
    """A picture that a step with a decision drew itself."""
    if not (path := project.of("decisions", folder)):
        return None
    png = project.read(str(Path(path).with_name(name)), lambda file: Path(file).read_bytes())
    return _picture(png, caption) if png else None


def _draw(draw: Callable[..., None], caption: str) -> Picture:
    file = io.BytesIO()
    draw(path=file)
    return _picture(file.getvalue(), caption)


def _picture(png: bytes, caption: str) -> Picture:
    width = int.from_bytes(png[16:20], "big") * 100 // DPI  # of the PNG's header: an inch is 100 px here
    return Picture(base64.b64encode(png).decode(), caption, width)
