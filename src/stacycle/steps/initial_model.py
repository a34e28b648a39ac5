"""3D initial model: several from other random seeds, of which two must agree; or a map of one's own, in both hands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files import mrc
from stacycle.files.job_folder import DECISION
from stacycle.files.removed import ITERATIONS
from stacycle.programs import refine
from stacycle.programs.scratch import scratch_folder
from stacycle.recipe import auto, geometry
from stacycle.recipe.auto import State
from stacycle.recipe.variants import GIVEN_ITERATIONS, GIVEN_LOWPASS, model_iterations, models
from stacycle.resources.site import ONE_GPU
from stacycle.steps import sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, filled, folder_of, layout_of


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Make a model from one seed, or align the particles to one hand of a map of one's own, searching everywhere."""
    params, state, layout = job.params, reader.state(job.input.state[0]), layout_of(job)
    settings = params.settings
    given = {
        "state": state.path,
        "out": f"{folder_of(job)}/run",
        "mask_diameter": _mask_diameter(settings, params.diameter, state),
        "sampling": settings["sampling"],
        "offset_range": settings["offset_range"],
        "offset_step": settings["offset_step"],
        "T": settings["T"],
        "pool": engine["pool"],
        "scratch": scratch_folder(engine["scratch"]),
        "threads": layout.threads,
        "gpu": layout.gpu,
    }
    if not settings.get("reference"):
        return refine.initial_model(**given, iterations=settings["iterations"], seed=params.variant)
    return refine.align(
        **given | {"T": 1},
        reference=_brought(job),
        lowpass=max(GIVEN_LOWPASS, geometry.nyquist(state.pixel)),
        local_range=None,
        iterations=GIVEN_ITERATIONS,
        highres_limit=geometry.estep_limit(state.pixel),
        symmetry="C1",
        seed=settings["seed"],
    )


def prepare(job: Any) -> None:
    """Write the hand of the map of one's own that the job is for, in the pixels and box of the particles."""
    if job.params.settings.get("reference"):
        from stacycle.decisions.initial_model import brought

        state = auto.read_state(job.input.state[0])
        hand, diameter = job.wildcards.variant, job.params.diameter
        density = brought(job.input.reference[0], hand, state.box, state.pixel, diameter)
        mrc.write_map(_brought(job), density, state.pixel)


def _mask_diameter(settings: Settings, diameter: float, state: State) -> float:
    given = settings["mask_diameter"]
    return geometry.model_diameter(diameter, state.box, state.pixel) if given == "auto" else float(given)


def _brought(job: Any) -> str:
    return f"{folder_of(job)}_reference/reference.mrc"


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """One run for each model."""
    for variant in models(run.settings).values():
        yield step.name, run.command(step, filled(run.settings), variant=variant)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    for _ in models(settings):
        number = model_iterations(settings)
        maps = sizes.maps(
            1 if settings.get("reference") else 4, size.image
        )  # and the moments of the gradient
        order = geometry.healpix_order(settings["sampling"])
        yield size.need("maps of iterations", maps * max(0, number - 1), ITERATIONS)
        yield size.need("maps and tables", maps * 2 + size.iteration(order) * (number + 1))
    yield size.need("tables", size.rows() + sizes.tables(4) + sizes.maps(1, size.image))


STEP = Step(
    "initial_model",
    "3D initial model",
    command,
    dry_run,
    space,
    device=ONE_GPU,
    last=DECISION,
    removable={ITERATIONS: ("initial_model/*",)},
    pictures=("initial_models",),
)
