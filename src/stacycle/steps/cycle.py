"""CTF and alignment refinement cycle: the bin1 reference, mask and FSC; then sweeps, whose best variant is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stacycle.files.removed import PARTS
from stacycle.recipe import auto
from stacycle.recipe.rounds import SWEEPS
from stacycle.steps import ctfrefine, mask, pilot, polish, postprocess, reconstruct, sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import Settings, Step, filled

_STEP_OF_SWEEP = {step.name: step for step in (ctfrefine.STEP, polish.STEP)}


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """What the reference is made with, then each variant and what is made of it."""
    settings = run.settings
    average = run.command(reconstruct.STEP, settings["reconstruct"], box=settings["box"])
    fsc = run.command(postprocess.STEP, settings["postprocess"])
    yield "cycle_reference", average
    yield "cycle_mask", run.command(mask.STEP, filled(settings["mask"]))
    yield "cycle_postprocess", fsc
    for sweep in SWEEPS:
        for variant in (settings[sweep] or {}).values():
            for rule in (sweep, pilot.STEP.name) if settings["pilot"] else (sweep,):
                yield rule, run.command(_STEP_OF_SWEEP[sweep], variant, rule, box=settings["estimation_box"])
            yield "variant_reconstruct", average
            yield "variant_postprocess", fsc


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    box = auto.unbinned_box(settings["box"], size.image, size.binning)
    maps = [*reconstruct.of_box(size, box), size.need("maps", postprocess.of_box(box))]
    swept = [name for name in SWEEPS if settings[name]]
    found = [
        *maps,
        size.need("maps", sizes.maps(2 + 3 * len(swept), box)),
    ]  # mask, its map; what each sweep keeps
    for sweep in swept:
        for variant in settings[sweep].values():
            found += [*maps, *_STEP_OF_SWEEP[sweep].space(size, variant)]
    for need in found:
        yield replace(need, bytes=need.bytes * settings["repeat"], files=need.files * settings["repeat"])


def may_leave_trajectories(settings: Settings) -> bool:
    """Whether a polishing with motion can be what is kept."""
    polished, choice = settings["polish"] or {}, settings["choose"]["polish"]
    possible = polished.values() if choice == "auto" else [polished[choice]] if choice in polished else []
    return any(one["motion"] and not one["shift_only"] for one in possible)


STEP = Step(
    "cycle",
    "Cycle",
    dry_run=dry_run,
    space=space,
    removable={PARTS: ("cycle*/reference*", "cycle*/*/*/reconstruct*")},
    may_leave_trajectories=may_leave_trajectories,
)
