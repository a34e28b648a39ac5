"""The averages that tell whether a step made its particles' poses better: with those before it, and those after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stacycle.steps import reconstruct, sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import Settings

AVERAGES = 2


def dry_run(run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """The average, made as those of its round; none if the config asks for the poses after the step."""
    if run.settings["poses"] != "after":
        settings = run.recipe.settings(run.round, reconstruct.STEP.name)
        yield "poses", run.command(reconstruct.STEP, settings)


def space(size: Sizes, settings: Settings, kept: int) -> Iterator[Need]:
    """What the averages and their states write, and the `kept` maps of those that go on."""
    if settings["poses"] == "after":
        return
    for need in reconstruct.of_box(replace(size, half_sets=True), size.image):
        yield replace(need, bytes=AVERAGES * need.bytes, files=AVERAGES * need.files)
    yield size.need("tables", (size.rows() + sizes.tables(3)) * AVERAGES + sizes.tables(3))
    yield size.need("maps", sizes.maps(kept, size.image))
