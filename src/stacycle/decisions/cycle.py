"""Which variant of a CTF-refinement or polishing sweep to keep, or whether to go back to the state before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, nan

import numpy as np
import pandas as pd

from stacycle.decisions.decision import BEFORE, By, Decision, check_override
from stacycle.errors import UserError
from stacycle.files.relion_output import PostProcess

EQUAL = 1  # shell: resolutions that are no farther apart are equal
BEYOND = 1.25  # x the finest resolution is integrated to: signal goes on below 0.143, farther out is noise
# Of the integrated shells: a smaller gain of the integral may be noise (docs/decisions-evidence.md).
MARGIN = 0.01
NEAR_EDGE = 0.75  # of the range that was searched
SCALES = 10.0  # largest over smallest contrast scale of a tilt


@dataclass(frozen=True)
class Candidate:
    """One variant of a sweep, or `BEFORE`, the state that it started from.

    `fsc` is that of its `postprocess.star`, None if the variant failed, for the cause `failed` (one sentence), or was
    ended early, for the reason `ended`.
    `changes` is from `tilt_changes.changes`; `limits` says how large some of them could become in the search, by the
    same names (`{"defocus_largest": 4000, "shift_largest": 5 px in Å}`).
    """

    name: str
    fsc: PostProcess | None
    changes: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    limits: dict[str, float] = field(default_factory=dict)
    ended: str = ""


def cycle_variant(
    before: Candidate, variants: Sequence[Candidate], choice: str = "auto", key: str = "cycle.variant"
) -> Decision:
    """The variant of the best corrected FSC, if it beats the state before it; else that state (a roll-back).

    The finest resolution (FSC 0.143) wins; within a shell of it the integral of the FSC. To beat the state
    before, that integral has to grow by `MARGIN` of its shells, and the resolution must not be coarser by more
    than a shell. A finer resolution alone is no proof: noise moves it, too. UserError if every variant failed,
    if the config names one that failed or does not exist, or if boxes or pixel sizes differ.
    """
    finished = _comparable(before, variants)
    if choice != "auto":
        _check_choice(choice, variants, key)
    table = _table([before, *variants], finished)
    rule, reason = _rule(table)
    by: By = "rule" if choice == "auto" else "config"
    kept = rule if by == "rule" else choice
    table["kept"] = table["variant"] == kept
    row = table[table["kept"]].iloc[0]
    return Decision(
        question="Variant",
        choice={"variant": kept},
        by=by,
        reason=reason if by == "rule" else f"The config asks for {kept} ({key}); the rule: {reason}",
        candidates=table.drop(columns=["shell", "of"]),
        warnings=_warnings(variants, kept),
        numbers={"resolution": float(row["resolution"]), "area": float(row["area"])},
    )


def area(fsc: PostProcess, shells: int) -> float:
    """Integral of the corrected FSC over the shells 1 .. `shells`, in shells: 1 each if it were perfect."""
    return float(np.nan_to_num(fsc.fsc["corrected"].to_numpy(float))[1 : shells + 1].sum())


def integrated(curves: Iterable[PostProcess]) -> int:
    """The number of shells over which curves of the same shells are compared."""
    found = list(curves)
    return min(len(found[0].fsc) - 1, round(BEYOND * max(map(_shell, found))))


def _comparable(before: Candidate, variants: Sequence[Candidate]) -> dict[str, PostProcess]:
    """The curves of those that finished, by name. UserError if there are none, or other shells."""
    finished = {c.name: c.fsc for c in (before, *variants) if c.fsc is not None}
    if before.fsc is None:
        raise UserError(f"The state before the sweep has no FSC: {before.failed or 'postprocess failed'}")
    if len(finished) == 1:
        causes = "; ".join(f"{c.name}: {(c.failed or c.ended).rstrip('.')}" for c in list(variants)[:3])
        raise UserError(f"All {len(variants)} variants failed ({causes})", "look at their logs")
    shells = before.fsc.fsc["frequency"].to_numpy()
    for name, fsc in finished.items():
        own = fsc.fsc["frequency"].to_numpy()
        if len(own) != len(shells) or not np.allclose(own[1:], shells[1:], rtol=1e-3):
            other = f"that of the state before it {len(shells)} to {before.fsc.nyquist:.4g} Å"
            fault = f"{name}: its FSC has {len(own)} shells to {fsc.nyquist:.4g} Å, {other}"
            raise UserError(fault, "use the same box and pixel size for all")
    return finished


def _check_choice(choice: str, variants: Sequence[Candidate], key: str) -> None:
    check_override(key, choice, [BEFORE, *(c.name for c in variants)], "variant")
    for candidate in variants:
        if candidate.name == choice and candidate.fsc is None:
            raise UserError(f"{key}: {choice} failed ({candidate.failed.rstrip('.')})", "name another one")


def _table(candidates: Sequence[Candidate], finished: dict[str, PostProcess]) -> pd.DataFrame:
    """A row per candidate; `shell` is that of the resolution, `of` the number of shells that are integrated."""
    shell = {name: _shell(fsc) for name, fsc in finished.items()}
    of = integrated(finished.values())
    areas = {name: area(fsc, of) for name, fsc in finished.items()}
    rows = [
        {
            "variant": c.name,
            "resolution": c.fsc.resolution if c.fsc else nan,
            "area": areas.get(c.name, nan),
            "gain": areas.get(c.name, nan) - areas[BEFORE],
            "shell": shell.get(c.name, nan),
            "of": of,
            **c.changes,
            "failed": c.failed,
            "ended": c.ended,
        }
        for c in candidates
    ]
    table, last = pd.DataFrame(rows), ["failed", "ended"]
    return table[[*table.columns.drop(last), *last]]


def _rule(table: pd.DataFrame) -> tuple[str, str]:
    """What to keep, and why: of the variants as fine as the finest that of largest area, if it beats `BEFORE`."""
    old, variants = table.iloc[0], table.iloc[1:]
    finest = variants[variants["shell"] >= variants["shell"].max() - EQUAL]
    new = finest.loc[finest["area"].idxmax()]
    needed = MARGIN * new["of"]
    numbers = (
        f"from {old['resolution']:.4g} to {new['resolution']:.4g} Å, the integral of the corrected FSC by "
        f"{new['gain']:+.2f} of {new['of']} shells (a gain counts from {needed:.2g})"
    )
    if new["shell"] >= old["shell"] - EQUAL and new["gain"] > needed:
        return new["variant"], f"{new['variant']} is the best and beats the state before it: {numbers}."
    reason = f"Rolled back: no variant beats the state before it; {new['variant']}, the best, went {numbers}."
    return BEFORE, reason


def _warnings(variants: Sequence[Candidate], kept: str) -> list[str]:
    failed = [f"{c.name} failed and was left out: {c.failed}" for c in variants if c.failed]
    return failed + [said for c in variants if c.name == kept for said in _implausible(c)]


def _implausible(candidate: Candidate) -> list[str]:
    """What of a variant's changes a person should look at."""
    name, changes = candidate.name, candidate.changes
    said = [
        f"{name}: {change.replace('_', ' ')} {changes[change]:.0f} Å is near the edge of what was searched "
        f"({limit:.0f} Å): look at the tilts; a wider search may be needed, or the values are wrong."
        for change, limit in candidate.limits.items()
        if abs(changes.get(change, 0)) > NEAR_EDGE * limit
    ]
    for what in ("defocus", "shift"):
        if count := int(changes.get(f"{what}_outliers", 0)):
            said.append(f"{name}: the {what} of {count} tilts changed unlike that of their neighbours.")
    if changes.get("scale_max", 0) > SCALES * changes.get("scale_min", inf):
        said.append(
            f"{name}: contrast scales of tilts run from {changes['scale_min']:.2g} to "
            f"{changes['scale_max']:.2g}; tilts of almost no weight are better left out."
        )
    return said


def _shell(fsc: PostProcess) -> int:
    """Number of the shell at the resolution; 0 if there is no resolution."""
    away = np.abs(fsc.fsc["resolution"].to_numpy() - fsc.resolution)
    return int(np.argmin(away)) if fsc.resolution > 0 else 0
