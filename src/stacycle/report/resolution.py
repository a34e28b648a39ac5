"""The resolution by step: one row for each map that was post-processed; and its table, `results/ladder.tsv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.decisions.cycle import area
from stacycle.decisions.decision import BEFORE, Decision, read_decision
from stacycle.decisions.half_maps import compare
from stacycle.files import mrc
from stacycle.files.atomic import write_text
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.report.project import Project

TIGHTER = 0.95  # of the volume of the mask before: a mask so small may be why a resolution is finer
ROLLED_BACK = "rolled back"  # in the table's column `kept`: no variant was better than the state before


@dataclass(frozen=True)
class Note:
    """What to know of a map's resolution; `warns` of a map that is worse than the one before it, or that is better
    within a tighter mask."""

    text: str
    warns: bool = False


@dataclass(frozen=True)
class MapResolution:
    """The resolution after a step.

    `cycle` is 0 outside of cycles, `binning` the map's; `resolution` and `nyquist` in Å; `kept` the variant of a sweep,
    or BEFORE if the step was rolled back, or "". `particles_in` are those of the row before, or the given ones,
    `particles` those that the map is of; nan if unknown. `box` in px, `pixel_size` in Å, `area` under the corrected
    FSC in shells, `mask_volume` in Å³. `postprocess` is the file that says so, `map` the map that it names, `part` the
    part of the particle that the map is of; "" for the whole.
    """

    round: str
    step: str
    cycle: int
    binning: float
    resolution: float
    nyquist: float
    at_nyquist: bool
    kept: str
    particles_in: float
    particles: float
    box: int
    pixel_size: float
    area: float
    mask: str
    mask_volume: float
    state: str
    half_maps: tuple[str, str] = ("", "")
    postprocess: str = ""
    part: str = ""
    map: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def where(self) -> str:
        """Round and step, for a sentence."""
        return f"{self.round}, {self.step}"

    @property
    def anchor(self) -> str:
        """The page's section about it: of `results/bin4/cycle1/...`, `bin4-cycle1`."""
        return "-".join(Path(self.postprocess).parts[1:3])

    @property
    def rolled_back(self) -> bool:
        """Whether a sweep ended with the state before it."""
        return self.kept == BEFORE


_LEFT_OUT = ("half_maps", "postprocess", "part", "map", "notes")
_COLUMNS = [*(field.name for field in fields(MapResolution) if field.name not in _LEFT_OUT), "note"]


def resolutions(project: Project) -> list[MapResolution]:
    """A row for each step of which there is a `postprocess.star`, in the order of work."""
    count, volume = cache(project.count), cache(partial(_volume, project))
    rows: list[MapResolution] = []
    for step in project.steps_with_resolution:
        if result := project.fsc(step["postprocess"]):
            decision = project.read(step["decision"], read_decision)
            state = project.read(step["state"], OptimisationSet.read)
            shells = len(result.fsc) - 1  # to Nyquist, which is half a box
            before = next((row for row in reversed(rows) if row.part in ("", step["part"])), None)
            row = MapResolution(
                round=step["round"],
                step=step["label"] + (f", cycle {step['cycle']}" if step["cycle"] else ""),
                cycle=step["cycle"],
                binning=step["binning"],
                resolution=result.resolution,
                nyquist=result.nyquist,
                at_nyquist=result.at_nyquist,
                kept=_kept(decision) if decision else "",
                particles_in=before.particles if before else project.facts.get("particles") or nan,
                particles=count(state.particles) if state else nan,
                box=2 * shells,
                pixel_size=result.nyquist / 2,
                area=area(result, shells) if "corrected" in result.fsc else nan,
                mask=result.mask,
                mask_volume=volume(result.mask),
                state=step["state"],
                half_maps=result.half_maps,
                postprocess=step["postprocess"],
                part=step["part"],
                map=result.map,
            )
            rows.append(replace(row, notes=_notes(row, before, project)))
    return rows


def of_whole(rows: Sequence[MapResolution]) -> list[MapResolution]:
    """The rows of maps of the whole particle."""
    return [row for row in rows if not row.part]


def within_one_mask(rows: Sequence[MapResolution]) -> tuple[MapResolution, float, float] | None:
    """The first map with the box and pixels of the last one, and the resolutions (Å) of the half maps of both within
    the last one's mask: comparable as those of the rows are not. None if there is none, or files of it are gone."""
    *earlier, last = rows
    grid = last.box, last.pixel_size
    first = next((row for row in earlier if (row.box, row.pixel_size) == grid), None)
    if first is None or not all(
        Path(path).is_file() for path in (last.mask, *first.half_maps, *last.half_maps)
    ):
        return None
    halves = {row is last: [mrc.voxels(path) for path in row.half_maps] for row in (first, last)}
    found = compare(
        {at: (one, two) for at, (one, two) in halves.items()}, last.pixel_size, mrc.voxels(last.mask)
    )
    return first, found.resolution(False), found.resolution(True)


def _kept(decision: Decision) -> str:
    return BEFORE if decision.rolled_back else str(decision.choice.get("variant", ""))


def to_table(rows: Sequence[MapResolution]) -> pd.DataFrame:
    """The rows as `results/ladder.tsv` has them: the notes as one sentence, and `kept` in words."""
    kept = [ROLLED_BACK if row.rolled_back else row.kept for row in rows]
    notes = ["; ".join(note.text for note in row.notes) for row in rows]
    return pd.DataFrame([vars(row) for row in rows], columns=_COLUMNS).assign(kept=kept, note=notes)


def write_table(path: str | Path, rows: Sequence[MapResolution]) -> None:
    """Write `results/ladder.tsv`, tab-separated, complete or not at all; what is unknown stays empty."""
    write_text(path, to_table(rows).to_csv(sep="\t", index=False, float_format="%.6g"))


def _notes(row: MapResolution, before: MapResolution | None, project: Project) -> tuple[Note, ...]:
    """Nyquist, and a resolution that is coarser than before, or finer, but of another kind of map."""
    notes = []
    if before and row.resolution > 1.0001 * before.resolution:
        if row.at_nyquist:
            said = f"the step before had {before.resolution:.2f} Å, which this binning cannot show"
            notes.append(Note(said))
        else:
            notes.append(Note(_beside("coarser", row, before), warns=True))
    elif before and row.resolution < before.resolution and _differ(row, before):
        tighter = _of_volumes(row, before) < TIGHTER
        notes.append(Note(_beside("finer", row, before), warns=tighter))
    if row.at_nyquist:
        finer = project.finer_round(row.binning) or "a finer binning"
        further = f"go on to {finer}" if row.binning > 1 else "the data's own limit"
        notes.append(Note(f"Nyquist of binning {row.binning}: {further}"))
    return tuple(notes)


def _differ(row: MapResolution, before: MapResolution) -> list[str]:
    """What makes two resolutions not quite comparable; of masks, by how much their volumes differ."""
    differ = [name for name in ("binning", "box", "mask") if getattr(row, name) != getattr(before, name)]
    return ["mask" + _changed(_of_volumes(row, before)) if name == "mask" else name for name in differ]


def _changed(ratio: float) -> str:
    """How much larger or smaller a mask is than the one before; "" if that is not known."""
    if not ratio > 0:
        return ""
    if abs(ratio - 1) < 0.005:
        return " of the same volume"
    if not 0.5 < ratio < 2:
        return f", {ratio:.2g} times as large"
    return f", {abs(ratio - 1):.0%} {'larger' if ratio > 1 else 'smaller'}"


def _of_volumes(row: MapResolution, before: MapResolution) -> float:
    """A mask's volume beside that of the one before; nan if it is not known."""
    return row.mask_volume / before.mask_volume if before.mask_volume else nan


def _beside(how: str, row: MapResolution, before: MapResolution) -> str:
    return f"{how} than the step before, {before.resolution:.2f} Å{caveat(row, before)}"


def caveat(row: MapResolution, before: MapResolution) -> str:
    """What makes two resolutions not quite comparable, as words in brackets; "" if nothing does."""
    differ = _differ(row, before)
    return f" (not quite comparable: another {listed(differ)})" if differ else ""


def _volume(project: Project, mask: str) -> float:
    """The volume in Å³ of a mask; nan if there is none."""
    there = mask if Path(mask).is_file() else None
    return project.read(there, lambda path: float(mrc.voxels(path).sum()) * mrc.header(path).pixel ** 3, nan)


def listed(words: Sequence[Any]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(word) for word in words]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
