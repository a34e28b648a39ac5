"""Look and decide: where the config asks for a pause, `stacycle run` stops, says what to look at and what to write, and
goes on when it is run again.

The graph of jobs knows nothing of pauses: a run to a pause only asks for fewer of its files. What was there to be
looked at is noted by content; if it has changed since, as an earlier step ran again, the pause is a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacycle.cli.targets import ends_of
from stacycle.files import content
from stacycle.files.atomic import read_json, write_json
from stacycle.files.job_folder import DECISION
from stacycle.inputs.asked import files_of
from stacycle.jobs.redo import MONTAGE
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of

NOTES = "results/pauses.json"
# Of a kind of step, the key of the config that overrides what it decided, and the file to look at.
_DECIDES = {
    "select": ("classes", "[2, 3]", MONTAGE),
    "mask": ("threshold", "0.01", "mask.mrc"),
    "align": ("iteration", "20", DECISION),
    "class3d": ("iteration", "20", DECISION),
    "score": ("cut", "0.3", DECISION),
    "postprocess": ("bfactor", "-100", "postprocess.mrc"),
}


@dataclass(frozen=True)
class Pause:
    """A pause after a step of a round: `targets` are the files of all steps up to it."""

    round: str
    step: str
    targets: list[str] = field(default_factory=list)
    before: tuple[str, ...] = ()  # files by whose content it is the same pause

    @property
    def name(self) -> str:
        """As in the config."""
        return f"{self.round}/{self.step}"


def ahead(config: Mapping[str, Any], recipe: Recipe) -> list[Pause]:
    """The pauses of the config, in order, but for those that were confirmed and cannot have changed since."""
    asked = config.get("pause") or ()
    asked = [asked] if isinstance(asked, str) else asked
    order, found = list(recipe), []
    for number, (round_, step) in enumerate(order):
        if step in asked or f"{round_}/{step}" in asked:
            targets = [file for place in order[: number + 1] for file in ends_of(recipe, *place)]
            before = (*recipe.state(round_, step), *recipe.decided(round_, step))
            pause = Pause(round_, step, list(dict.fromkeys(targets)), before)
            same = read_json(NOTES).get(pause.name, {}).get("config") == _digest(config)
            if not (same and is_confirmed(pause, config)):
                found.append(pause)
    return found


def is_confirmed(pause: Pause, config: Mapping[str, Any]) -> bool:
    """Whether this very pause was reached before: then running again, as now, confirms it, which is noted.

    To be asked when all that comes before the pause has been done with this config.
    """
    notes = read_json(NOTES)
    known = notes.get(pause.name)
    if not known or known["before"] != _contents(pause):
        return False
    if "confirmed" not in known:
        known["confirmed"] = _now()
        print(
            f"Going on after the pause at {pause.name}, which was reached on {known['reached']}.", flush=True
        )
    known["config"] = _digest(config)
    write_json(NOTES, notes)
    return True


def _digest(config: Mapping[str, Any]) -> str:
    """A digest of all that results follow from, the times of the input files included."""
    told = {key: value for key, value in config.items() if key not in ("pause", "onsuccess", "onerror")}
    times = [os.stat(path).st_mtime_ns for path in files_of(config["inputs"]) if os.path.exists(path)]
    return hashlib.sha256(json.dumps([told, times], sort_keys=True, default=str).encode()).hexdigest()[:32]


def reached(pause: Pause, config: Mapping[str, Any]) -> str:
    """Note that a pause was reached; returns what to look at, and what to write."""
    shown = _to_look_at(pause)
    notes = read_json(NOTES)
    looked_at = {path: content.digest(path)[:32] for path in shown if Path(path).is_file()}
    known = {"reached": _now(), "before": _contents(pause), "looked_at": looked_at, "config": _digest(config)}
    notes[pause.name] = known
    write_json(NOTES, notes)
    folder = Path("results", pause.round, pause.step)
    lines = [f"Paused after {pause.name}, as the config asks. Look at", *(f"  {path}" for path in shown)]
    if reason := read_json(folder / DECISION).get("reason"):
        lines.append(f"It was decided: {reason}")
    if kind_of(pause.step) in _DECIDES:
        key, example, _ = _DECIDES[kind_of(pause.step)]
        line = f"rounds: {{{pause.round}: {{{pause.step}: {{{key}: {example}}}}}}}"
        lines.append(f"To decide otherwise, write into the config, with your value:\n  {line}")
    lines.append("Then, or if you agree: stacycle run\n")
    return "\n".join(lines)


def _to_look_at(pause: Pause) -> list[str]:
    folder = Path("results", pause.round, pause.step)
    _, _, name = _DECIDES.get(kind_of(pause.step), ("", "", DECISION))
    files = [folder / name, folder / "view.cxc", folder / DECISION]
    found = [str(path) for path in dict.fromkeys(files) if path.exists()]
    page = Path("results/report.html")
    return [*found, f"{page} ({pause.round}, {pause.step})"] if page.exists() else found


def _contents(pause: Pause) -> dict[str, str]:
    """The content of what the step started from: what tells one pause from another."""
    return {path: content.digest(path)[:32] for path in pause.before if Path(path).is_file()}


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
