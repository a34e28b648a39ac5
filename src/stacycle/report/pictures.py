"""What each step shows of itself in the report, drawn from its files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.decisions.decision import BEFORE, Decision
from stacycle.files import job_folder, relion_output, star
from stacycle.report import (
    body_figures,
    class_panel,
    curve_figures,
    images,
    local_resolution_panel,
    mask_tuner,
    particle_figures,
    particle_table,
)
from stacycle.report import class_flow as flow
from stacycle.report.class_panel import Classes
from stacycle.report.images import Slices
from stacycle.report.mask_tuner import Tuner
from stacycle.report.plots import Picture, Plot, plot
from stacycle.report.project import Project
from stacycle.steps import multibody

Shown = Plot | Picture | Slices | Classes | Tuner
_OUTLINE = (("mask", "mask 0.5"), ("edge", "end of the soft edge"))


def of_resolutions(table: pd.DataFrame) -> Plot:
    """The resolution by step, of `resolution.to_table`."""
    draw = partial(curve_figures.resolution_figure, table)
    return plot("Resolution by step", ("results/ladder.tsv",), draw)


def sweep_by_iteration(project: Project, folder: str) -> Plot | None:
    """Curves by iteration of the variants that a decision names, where their folders are still there."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision):
        return None
    chosen = str(decision.choice.get("variant"))
    tables = [part.candidates for part in decision.parts if "variant" in part.candidates]
    names = [str(name) for table in tables for name in table["variant"]] or [chosen]
    parent = Path(path).parent
    runs = {name: _iterations(project, str(parent / name)) for name in names}
    marked = {chosen: decision.choice.get("iteration", -1)}
    return _by_iteration(runs, "By iteration; the one chosen is circled", str(parent), marked)


def class_flow(project: Project, folder: str) -> Plot | None:
    """How particles go from class to class."""
    return flow.flow(project, folder)


def refinement_by_iteration(project: Project, folder: str) -> Plot | None:
    """Curves by iteration of a refinement."""
    data = project.of("refined", folder)
    if not data:
        return None
    parent = str(Path(data).parent)
    return _by_iteration({folder: _iterations(project, parent)}, "Refinement by iteration", parent)


def directions(project: Project, folder: str) -> Plot | None:
    """From which directions the particles of a refinement are seen."""

    def drawn(path: str) -> Plot | None:
        found = particle_table.read(path).directions
        if found is None:
            return None
        caption = (
            "Directions that the particles are seen from, in their own frame, along the tomogram's z axis"
        )
        return plot(caption, (path,), partial(particle_figures.directions_figure, found))

    return project.read(project.of("refined", folder), drawn)


def guinier(project: Project, folder: str) -> Plot | None:
    """The Guinier plot of a post-processed map."""

    def drawn(path: str) -> Plot | None:
        tables = star.read(path)
        if "guinier" not in tables:
            return None
        said = (
            f"; sharpened with {bfactor:.0f} Å²" if (bfactor := relion_output.fsc(path).bfactor) < 0 else ""
        )
        draw = partial(curve_figures.guinier_figure, tables["guinier"].astype(float))
        return plot(f"Guinier plot{said}", (path,), draw)

    return project.read(project.of("postprocess", folder), drawn)


def class_montage(project: Project, folder: str) -> Classes | Picture | None:
    """The classes that a selection chose from; the picture that was made before the choice, if their maps are gone."""
    if found := class_panel.classes(project, folder):
        return found
    montage = project.of("montages", folder)
    png = project.read(montage, lambda one: images.smaller(Path(one).read_bytes()))
    return (
        Picture(png, "Central slices of the classes, whose maps were removed", (montage,))
        if png and montage
        else None
    )


def class_sizes(project: Project, folder: str) -> Plot | None:
    """The sizes of the classes."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision) or not {"class", "n", "fraction", "kept"} <= set(decision.candidates):
        return None
    draw = partial(curve_figures.class_sizes_figure, decision.candidates)
    return plot("Particles per class", (path,), draw)


def scores(project: Project, folder: str) -> Plot | None:
    """A histogram of the particles' scores."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision):
        return None
    table = str(Path(path).with_name("scores.tsv"))
    caption = f"Scores of particles; {decision.choice['flagged']} are flagged"

    def drawn(file: str) -> Plot:
        values = pd.read_csv(file, sep="\t")["score"].to_numpy()
        draw = partial(curve_figures.scores_figure, values, decision.choice["flagged"])
        return plot(caption, (file,), draw)

    return project.read(table, drawn)


def distances(project: Project, folder: str) -> Plot | None:
    """A histogram of how far apart particles are that lie near each other."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision) or not {"from", "to", "pairs"} <= set(decision.candidates):
        return None
    caption = f"Pairs of particles by their distance; {decision.choice['removed']} particles are left out"
    cut = decision.choice["distance"]
    return plot(caption, (path,), partial(curve_figures.distances_figure, decision.candidates, cut))


def local_resolution_slices(project: Project, folder: str) -> Slices | Picture | None:
    """The map filtered by its local resolution, coloured by that; the picture that the step drew, if a map is gone."""
    if found := local_resolution_panel.slices(project, folder):
        return found
    caption = "Central slices of the locally filtered map; inside the mask coloured by local resolution"
    return _drawn_before(project, folder, "slices.png", caption)


def local_resolution_histogram(project: Project, folder: str) -> Plot | Picture | None:
    """A histogram of local resolutions; the picture that the step drew, if a map is gone."""
    if found := local_resolution_panel.histogram(project, folder):
        return found
    return _drawn_before(project, folder, "histogram.png", "Local resolutions inside the mask")


def body_motions(project: Project, folder: str) -> Plot | None:
    """How the bodies of a multi-body refinement moved, and its principal components."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision) or "body" not in decision.candidates:
        return None
    table = decision.candidates
    analysis = multibody.analysis_beside(Path(path).parent)
    explained = multibody.explained_by(analysis, table["body"].nunique())
    draw = [partial(body_figures.offsets_figure, table)]
    files, caption = [path], "Motions of the bodies by iteration"
    if explained:
        draw.append(partial(body_figures.components_figure, explained))
        files.append(str(analysis / job_folder.PROGRAM_OUTPUT))
        caption += ", and the principal components of what is left at the end"
    return plot(caption, tuple(files), *draw)


def mask(project: Project, folder: str) -> Slices | None:
    """A round's mask around its post-processed map."""
    mask = Path(folder)
    density = project.of("maps", f"{mask.parent}/{mask.name.replace('mask', 'postprocess', 1)}")
    return outline(project, density, project.of("masks", folder), "The mask around the post-processed map")


def mask_threshold(project: Project, folder: str) -> Tuner | None:
    """Where a mask's map is cut."""
    return mask_tuner.tuner(project, f"results/{folder}", f"rounds.{folder.replace('/', '.')}.threshold")


def fsc(project: Project, folder: str) -> Plot | None:
    """The FSC of a post-processed map."""
    path = project.of("postprocess", folder)
    result = project.fsc(path)
    caption = "Fourier shell correlation of the half maps"
    return plot(caption, (str(path),), partial(curve_figures.fsc_figure, result)) if result else None


def postprocessed_map(project: Project, folder: str) -> Slices | None:
    """Central slices of a post-processed map."""
    return slices(project, project.of("maps", folder), "Central slices of the post-processed map")


def initial_models(project: Project, folder: str) -> Slices | None:
    """Central slices of the reference that an initial model is."""
    return slices(project, project.of("averages", folder), "Central slices of the initial model")


def slices(project: Project, density: str | None, caption: str) -> Slices | None:
    """Central slices of a map."""
    return project.read(density, lambda path: images.slices(path, caption))


def outline(project: Project, density: str | None, mask: str | None, caption: str) -> Slices | None:
    """A map with the outline of its mask."""
    if not density:
        return None
    return project.read(mask, lambda path: images.slices(density, caption, path, _OUTLINE))


def sweep(
    project: Project, before: dict[str, Any] | None, step: dict[str, Any], decision: Decision
) -> Plot | None:
    """The corrected FSC of a sweep's variants, as far as they finished, and of the step before."""
    table, folder = decision.candidates, Path(step["decision"]).parent
    files = {BEFORE: before["postprocess"]} if before else {}
    for name in table.loc[table["resolution"].notna(), "variant"]:
        files.setdefault(name, f"{folder}/{name}/postprocess/{job_folder.POSTPROCESS}")
    read = {name: project.fsc(file) for name, file in files.items()}
    results = {name: result for name, result in read.items() if result and "corrected" in result.fsc}
    if not results:
        return None
    kept = str(decision.choice.get("variant"))
    caption = "Corrected FSC of every variant and of the state before; same box, same mask"
    curves = [partial(curve_figures.sweep_figure, results, kept)]
    if BEFORE in results and len(results) > 1:
        curves.append(partial(curve_figures.sweep_difference_figure, results, kept))
        caption += "; beside them, by how much each variant is above it"
    return plot(caption, tuple(files.values()), *curves, key=curve_figures.sweep_key(results, kept))


def _iterations(project: Project, folder: str) -> list[relion_output.Iteration]:
    return project.read(folder, lambda name: relion_output.iterations(name, maps=False), [])


def _by_iteration(
    runs: dict[str, list[relion_output.Iteration]],
    caption: str,
    folder: str,
    chosen: Mapping[str, int] | None = None,
) -> Plot | None:
    found = {name: run for name, run in runs.items() if run}
    if not found:
        return None
    panels = curve_figures.panels(found)
    draw = [partial(curve_figures.iterations_figure, found, name, chosen=chosen) for name in panels]
    key = curve_figures.iterations_key(found, chosen or {}) if len(found) > 1 else ()
    return plot(caption, (folder,), *draw, key=key)


def _drawn_before(project: Project, folder: str, name: str, caption: str) -> Picture | None:
    """A picture that a step with a decision drew itself."""
    if not (path := project.of("decisions", folder)):
        return None
    file = str(Path(path).with_name(name))
    png = project.read(file, lambda one: images.smaller(Path(one).read_bytes()))
    return Picture(png, caption, (file,)) if png else None
